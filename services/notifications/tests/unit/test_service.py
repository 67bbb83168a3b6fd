# SPDX-License-Identifier: Apache-2.0
"""What telling many people costs everything else."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from giaoban_kit.clock import SystemClock
from giaoban_kit.ids import new_id
from giaoban_kit.tasks import beside
from giaoban_notifications.domain import Locale, Meeting, PartyRef, Recipient
from giaoban_notifications.letters import JinjaLetters
from giaoban_notifications.service import Announcements
from giaoban_notifications.testing import MemoryTransactions

AT = datetime(2026, 3, 1, tzinfo=UTC)
INVITED = 40
LETTERS = JinjaLetters(
    public_url="https://hop.example", sender_name="Giao ban", sender_address="hop@tphcm.example"
)


class Unit:
    """Many people behind one party."""

    async def behind(self, organisation_id: str, refs: Collection[PartyRef]) -> Sequence[Recipient]:
        assert len(refs) == 1
        return [
            Recipient(f"U{n}", organisation_id, f"Cán bộ {n}", f"p{n}@tphcm.example", Locale.VI, "UTC")
            for n in range(INVITED)
        ]


async def test_everything_else_goes_on_between_two_letters() -> None:
    """A large unit is invited: heartbeats and questions do not wait until all letters are made."""
    begin = MemoryTransactions()
    announcements = Announcements(begin, Unit(), LETTERS, clock=SystemClock(), new_id=new_id)
    meeting = Meeting("M", "O", "Ủy ban", "Giao ban", "", AT, timedelta(hours=1), "UTC", "", "", 0)
    turns = 0

    async def everything_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with beside(everything_else()):
        await announcements.meeting_scheduled("c", "E", AT, meeting, [PartyRef(3, "unit")])
    assert turns >= INVITED
    assert len(begin.state.notifications) == len(begin.state.deliveries) == INVITED
