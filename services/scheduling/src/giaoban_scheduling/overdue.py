# SPDX-License-Identifier: Apache-2.0
"""Owns what happens by itself with time: meetings that everyone has left end, old idempotency keys go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from giaoban_kit.logging import get_logger
from giaoban_kit.tasks import beside

from giaoban_scheduling.metrics import ENDED_OVERDUE
from giaoban_scheduling.service import Scheduling

log = get_logger(__name__)


@asynccontextmanager
async def ending_overdue(
    scheduling: Scheduling, *, grace: timedelta, every: timedelta
) -> AsyncIterator[None]:
    """Looks for them while the block runs; any number of replicas may. A failure waits for the next turn."""

    async def look() -> None:
        while True:
            try:
                ended = await scheduling.end_overdue(grace)
                ENDED_OVERDUE.inc(ended)
                if ended:
                    log.info("overdue_meetings_ended", meetings=ended)
                await scheduling.forget_keys()
            except Exception as error:  # noqa: BLE001  # the next turn tries again; serving goes on
                log.warning("end_overdue_failed", error=type(error).__name__)
            await asyncio.sleep(every.total_seconds())

    async with beside(look()):
        yield
