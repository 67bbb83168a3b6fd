# SPDX-License-Identifier: Apache-2.0
"""What waits to be sent to one client. A slow one is dropped to a fresh snapshot and never delays the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from giaoban_gateway.metrics import MESSAGES_DROPPED, MESSAGES_SENT

MAX_WAITING = 64
"""State messages that wait for one client before they are replaced by a snapshot."""

MAX_DIRECT = 1_000
"""Replies and offers; a client that leaves so many unread is gone."""


def _cannot(_: str) -> bool:
    return False


class Member:
    """One client's outbox: direct messages first, then state."""

    def __init__(self, *, press: bool, moderator: bool, write: Callable[[str], bool] = _cannot) -> None:
        """`press` sees the reduced state, `moderator` the waiting list; `write` sends at once if it can."""
        self.press = press
        self.moderator = moderator
        self._write = write
        self._direct: deque[str] = deque()
        self._state: deque[str] = deque()
        self._admissions: str | None = None
        self._snapshot: Callable[[Member], str] | None = None
        self._more = asyncio.Event()  # not set: nothing waits, and nothing is on its way through `next`

    def send(self, text: str) -> None:
        """A message to this client alone."""
        if len(self._direct) < MAX_DIRECT:
            self._direct.append(text)
        else:
            MESSAGES_DROPPED.labels("direct").inc()
        self._more.set()

    def tell(self, text: str | None, snapshot: Callable[[Member], str] | None = None) -> None:
        """A delta; None: nothing of it is for this client. Too many are replaced by a snapshot."""
        if text is None or self._snapshot is not None:  # a snapshot that is still to be made holds it too
            return
        if self._sent(text):
            return
        if len(self._state) >= MAX_WAITING and snapshot is not None:
            MESSAGES_DROPPED.labels("state").inc(len(self._state) + 1)
            self.refresh(snapshot)
            return
        self._state.append(text)
        self._more.set()

    def tell_talking(self, text: str) -> None:
        """Who is heard; a client that does not keep up misses it."""
        if self._sent(text):
            return
        if len(self._state) < MAX_WAITING:
            self._state.append(text)
            self._more.set()
        else:
            MESSAGES_DROPPED.labels("talking").inc()

    def _sent(self, text: str) -> bool:
        """Whether it could be sent at once: what waits goes before, and a client that reads slowly lets it wait."""
        if self._more.is_set() or not self._write(text):
            return False
        MESSAGES_SENT.inc()
        return True

    def tell_admissions(self, text: str) -> None:
        """The whole waiting list; only the newest one is sent."""
        self._admissions = text
        self._more.set()

    def refresh(self, snapshot: Callable[[Member], str]) -> None:
        """Whatever state waits is replaced by a snapshot, made when it can be sent."""
        self._state.clear()
        self._snapshot = snapshot
        self._more.set()

    async def next(self) -> str:
        """The next message to send."""
        while True:
            if self._direct:
                return self._direct.popleft()
            if self._snapshot is not None:
                snapshot, self._snapshot = self._snapshot, None
                text = snapshot(self)
                self._state.clear()  # making it may have told everyone of what it already holds
                return text
            if self._state:
                return self._state.popleft()
            if self._admissions is not None:
                text, self._admissions = self._admissions, None
                return text
            self._more.clear()
            await self._more.wait()

    def take_all(self) -> list[str]:
        """Every direct message that still waits."""
        waiting = list(self._direct)
        self._direct.clear()
        return waiting
