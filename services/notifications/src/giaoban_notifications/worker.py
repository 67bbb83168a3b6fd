# SPDX-License-Identifier: Apache-2.0
"""Owns the background task that sends mail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from giaoban_kit.logging import get_logger

from giaoban_notifications.service import MAILS_PER_CLAIM, Postman

log = get_logger(__name__)


@asynccontextmanager
async def sending(postman: Postman, poll: timedelta) -> AsyncIterator[None]:
    """Sends while the block runs; at the end the round that is under way gets to finish."""
    stop = asyncio.Event()
    task = asyncio.create_task(_rounds(postman, poll, stop), name="send-mail")
    try:
        yield
    finally:
        stop.set()
        await task


async def _rounds(postman: Postman, poll: timedelta, stop: asyncio.Event) -> None:
    while not stop.is_set():
        taken = 0
        try:
            taken = await postman.round()
        except Exception as error:  # noqa: BLE001  # the database is away: the next round tries again
            log.warning("mail_round_failed", error=type(error).__name__)
        if taken < MAILS_PER_CLAIM:
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping}, timeout=poll.total_seconds())
            stopping.cancel()
