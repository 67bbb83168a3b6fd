# SPDX-License-Identifier: Apache-2.0
"""What a seat does beside answering: tasks that end with it, timers, and writes that outlast an absent bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from giaoban_kit.errors import GiaobanError
from giaoban_kit.tasks import ended

RETRY_DELAY = 0.2
EVENTUALLY = 150
"""Attempts, `RETRY_DELAY` apart, until a write to the live state is given up: half a minute without NATS."""

_log = structlog.get_logger(__name__)


class Background:
    """The tasks and timers of one participant's seat."""

    def __init__(self, participant_id: str) -> None:
        """The id is for the log."""
        self._participant_id = participant_id
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Does something beside; its failure is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def write(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does something beside that needs the bucket; tries again while it is away."""
        self.spawn(self.eventually(work))

    def later(self, name: str, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Does something after a while, unless a later call with the same name comes first."""
        if name in self._timers:
            self._timers[name].cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(seconds, lambda: self.spawn(work()))

    def waits_for(self, name: str) -> bool:
        """Whether `later` was called with this name."""
        return name in self._timers

    async def eventually(self, work: Callable[[], Awaitable[None]]) -> None:
        """The same, waited for."""
        async with self._writing:  # in the order in which things happened
            for _ in range(EVENTUALLY):
                try:
                    await work()
                except GiaobanError as error:
                    _log.info(
                        "seat_write_postponed", participant_id=self._participant_id, reason=error.reason
                    )
                    await asyncio.sleep(RETRY_DELAY)
                else:
                    return
        _log.error("seat_write_given_up", participant_id=self._participant_id)

    def stop(self) -> None:
        """Ends every task and timer but the task that asks."""
        for timer in self._timers.values():
            timer.cancel()
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()

    async def stopped(self) -> None:
        """Ends them and waits for it."""
        self.stop()
        await ended(*(self._tasks - {asyncio.current_task()}))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("seat_task_failed", participant_id=self._participant_id, exc_info=error)


class Turn:
    """A moment to wait for before something is done; `wake` is set when it has come."""

    def __init__(self, wake: asyncio.Event) -> None:
        """There is nothing to wait for yet."""
        self._wake = wake
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def is_ahead(self, seconds: float) -> bool:
        """Whether it has yet to come. The first question after `over` says in how many seconds it does."""
        loop = asyncio.get_running_loop()
        if self._at is None:
            self._at = loop.time() + seconds
        self._forget()
        if loop.time() >= self._at:
            return False
        self._timer = loop.call_at(self._at, self._wake.set)
        return True

    def over(self) -> None:
        """What was waited for is done, or need not wait."""
        self._forget()
        self._at = None

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
