# SPDX-License-Identifier: Apache-2.0
"""Owns work in the background: it runs beside a block, and has ended when the block is left."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

AGAIN_SECONDS = 1.0


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs work beside the block and ends it with the block; when the work fails, so does the block.

    A single error comes as itself, not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
            try:
                yield
            finally:
                await ended(*tasks)
    except BaseExceptionGroup as group_of_errors:
        if len(group_of_errors.exceptions) > 1:
            raise
        raise group_of_errors.exceptions[0] from None


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and waits until they are done, whatever they raise.

    One cancellation may get lost: `asyncio.wait_for` of Python 3.11, which our libraries use, swallows it when what it
    waits for comes in the same moment (cpython gh-86296), and clean-up that fails puts its own error in its place.
    """
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at
