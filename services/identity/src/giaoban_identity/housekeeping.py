# SPDX-License-Identifier: Apache-2.0
"""Owns the regular removal of what no longer decides anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from giaoban_kit.logging import get_logger
from giaoban_kit.tasks import beside

from giaoban_identity.signin import SignIns

EVERY = timedelta(minutes=10)

log = get_logger(__name__)


@asynccontextmanager
async def housekeeping(sign_ins: SignIns) -> AsyncIterator[None]:
    """Tidies up while the block runs; a failure is logged and tried again at the next turn."""

    async def tidy() -> None:
        while True:
            try:
                await sign_ins.forget_the_past()
            except Exception as error:  # noqa: BLE001  # the next turn tries again; serving goes on
                log.warning("housekeeping_failed", error=type(error).__name__)
            await asyncio.sleep(EVERY.total_seconds())

    async with beside(tidy()):
        yield
