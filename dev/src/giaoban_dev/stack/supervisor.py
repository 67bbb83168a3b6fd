# SPDX-License-Identifier: Apache-2.0
"""Starts parts in order, starts them again when they crash, stops them in reverse order, a wave at a time."""

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Protocol, Self

from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.process import Probe, Process

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0
STEADY_SECONDS = 30.0

Say = Callable[[str], None]


class Part(Protocol):
    """Something that runs: a server of the stack or a service."""

    process: Process

    async def start(self) -> None:
        """Start, and return when ready; raises InfraError."""

    async def stop(self) -> None:
        """Stop, and return when gone."""


class Program:
    """A part that is one plain process with a readiness probe."""

    def __init__(self, process: Process, probe: Probe, *, start_seconds: float = 30.0) -> None:
        self.process = process
        self._probe = probe
        self._start_seconds = start_seconds

    async def start(self) -> None:
        await self.process.start()
        await self.process.wait_ready(self._probe, self._start_seconds)

    async def stop(self) -> None:
        await self.process.stop()


class Supervisor:
    """Runs parts; an asynchronous context manager that leaves nothing running."""

    def __init__(self, *, say: Say) -> None:
        self._say = say
        self._waves: list[list[tuple[Part, asyncio.Task[None]]]] = [[]]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def run(self, part: Part) -> None:
        """Start a part and keep it running from now on; raises InfraError when its first start fails."""
        try:
            await part.start()
        except BaseException:
            await part.stop()
            raise
        keeper = asyncio.create_task(self._keep(part), name=f"keep-{part.process.name}")
        self._waves[-1].append((part, keeper))

    def next_wave(self) -> None:
        """Parts run from now on need those before: they are stopped before them."""
        self._waves.append([])

    async def stop(self) -> None:
        """Stop every part: the parts of a wave together, the last wave first."""
        while self._waves:
            wave = self._waves.pop()
            await asyncio.gather(*(self._stop(part, keeper) for part, keeper in wave))
        self._waves = [[]]

    async def _stop(self, part: Part, keeper: "asyncio.Task[None]") -> None:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await part.stop()

    async def _keep(self, part: Part) -> None:
        loop = asyncio.get_running_loop()
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            began = loop.time()
            status = await part.process.wait()
            if loop.time() - began > STEADY_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            while True:
                self._say(
                    f"{part.process.name} stopped (exit {status}); starting it again in {backoff:g} s. Log: {part.process.log_file}"
                )
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                try:
                    await part.start()
                except InfraError as error:
                    self._say(f"{part.process.name} does not start: {error}")
                    await part.stop()
                    status = part.process.returncode or 0
                else:
                    self._say(f"{part.process.name} runs again")
                    break


class StackLock:
    """Only one stack per state directory; the kernel lets go of the lock when its holder dies, however."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "stack.lock"
        self._held: IO[str] | None = None

    def __enter__(self) -> Self:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        held = self._file.open("a+", encoding="ascii")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            holder = held.read().strip()
            held.close()
            raise InfraError(
                f"the stack runs already (pid {holder or 'unknown'}). Stop it with Ctrl-C in its terminal"
                + (f" or: kill {holder}" if holder else "")
            ) from None
        held.seek(0)
        held.truncate()
        held.write(str(os.getpid()))
        held.flush()
        self._held = held
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


async def run_once(process: Process, *, seconds: float) -> None:
    """Run a process to its end; raises InfraError with the end of its log when it fails or takes too long."""
    await process.start()
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        raise InfraError(
            f"{process.name} did not end within {seconds:.0f} s. End of its log:\n{process.log_tail()}"
        ) from None
    finally:
        await process.stop()
    if status != 0:
        raise InfraError(
            f"{process.name} failed (exit {status}). End of {process.log_file}:\n{process.log_tail()}"
        )


async def together(*waiting: Awaitable[None]) -> None:
    """Wait for all; when one fails, the others are cancelled and its error is raised as it is."""
    tasks = [asyncio.ensure_future(each) for each in waiting]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
