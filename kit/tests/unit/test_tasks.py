# SPDX-License-Identifier: Apache-2.0
"""Work in the background ends with its block."""

import asyncio
from contextlib import suppress

import pytest
from giaoban_kit import tasks
from giaoban_kit.tasks import beside, ended


async def forever() -> None:
    await asyncio.Event().wait()


async def test_work_runs_while_the_block_does() -> None:
    """It has begun at the block's first pause, and is over with the block."""
    began, over = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await forever()
        finally:
            over.set()

    async with beside(work()):
        await asyncio.wait_for(began.wait(), 5)
        assert not over.is_set()
    assert over.is_set()


async def test_a_swallowed_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `asyncio.wait_for` of Python 3.11 loses it, or clean-up that fails."""
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            with suppress(asyncio.CancelledError):
                await forever()
            swallowed += 1
        await forever()

    async with asyncio.timeout(5):
        async with beside(stubborn()):
            await asyncio.sleep(0)
    assert swallowed == 2


async def test_failing_work_ends_the_block() -> None:
    """With its own error; other work ends too."""

    async def fails() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        async with beside(fails(), forever()):
            await forever()


async def test_an_error_of_the_block_comes_as_itself() -> None:
    """Callers catch it by its type."""
    with pytest.raises(KeyError):
        async with beside(forever()):
            raise KeyError("x")


async def test_ending_what_has_ended_is_nothing() -> None:
    """Whatever it raised."""

    async def fails() -> None:
        raise LookupError("gone")

    task = asyncio.create_task(fails())
    await asyncio.wait([task])
    await ended(task)
    assert task.done()
