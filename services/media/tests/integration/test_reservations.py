# SPDX-License-Identifier: Apache-2.0
"""Room held for scheduled meetings: from scheduling's facts, through a real bucket, to what is left for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from giaoban.scheduling.v1.events_pb2 import MeetingCancelled, MeetingChanged, MeetingEnded, MeetingScheduled
from giaoban.scheduling.v1.scheduling_pb2 import Appointment, Meeting
from giaoban_kit.events import Event, subject
from giaoban_kit.ids import new_id
from giaoban_kit.kv import Bucket, ensure_bucket
from giaoban_kit.tasks import beside
from giaoban_kit.testing.clock import FixedClock
from giaoban_media.consumers import ScheduleEvents
from giaoban_media.domain import demand
from giaoban_media.reservations import HELD_AFTER, HELD_BEFORE, Reservations
from nats.js import JetStreamContext

from services.media.tests.integration.conftest import until

OTHER = "of another meeting"
"""One for which nothing is held."""


class Town:
    """Meetings that are called, and what two replicas hold for them."""

    def __init__(self, bucket: Bucket) -> None:
        self.clock = FixedClock(datetime.now(UTC).replace(microsecond=0))
        self.replicas = [Reservations(bucket, self.clock) for _ in range(2)]
        self.present: dict[str, int] = {}
        self._events = ScheduleEvents(self.replicas[0])

    def meeting(self, invited: int, starts_in: timedelta, *, called: int = 0, changed: int = 0) -> Meeting:
        """One that was called and last changed so many minutes from now."""
        meeting = Meeting(id=new_id(), appointments=[Appointment(id=new_id()) for _ in range(invited)])
        meeting.start_time.FromDatetime(self.clock.now() + starts_in)
        meeting.create_time.FromDatetime(self.clock.now() + timedelta(minutes=called))
        meeting.update_time.FromDatetime(self.clock.now() + timedelta(minutes=changed))
        return meeting

    async def hear(
        self, fact: MeetingScheduled | MeetingChanged | MeetingCancelled | MeetingEnded, verb: str
    ) -> None:
        """The fact reaches one replica."""
        await self._events.handle(
            Event(
                new_id(),
                subject("scheduling", "meeting", verb, fact.meeting.id),
                fact,
                "scheduling",
                self.clock.now(),
            )
        )

    def held(self, meeting_id: str = OTHER) -> set[int]:
        """What each replica keeps back from a meeting."""
        return {each.held(meeting_id, lambda who: self.present.get(who, 0)) for each in self.replicas}

    async def holds(self, packets: int, meeting_id: str = OTHER) -> None:
        """Waits until both keep so much back."""
        await until(lambda: self.held(meeting_id) == {packets})


@pytest.fixture
async def town(js: JetStreamContext) -> AsyncIterator[Town]:
    """Both replicas follow a bucket of the test's own."""
    town = Town(await ensure_bucket(js, f"test-reservations-{new_id()}"))
    async with beside(*(each.follow() for each in town.replicas)):
        yield town


async def test_room_is_held_around_the_start_for_those_who_have_not_come(town: Town) -> None:
    """From a quarter of an hour before until a quarter after; whoever comes takes of it; nobody is kept out by it."""
    briefing = town.meeting(45, timedelta(hours=1))
    await town.hear(MeetingScheduled(meeting=briefing), "scheduled")
    await asyncio.sleep(0.2)
    assert town.held() == {0}
    town.clock.advance(timedelta(hours=1) - HELD_BEFORE)
    await town.holds(demand(45, 45))
    assert town.held(briefing.id) == {0}
    town.present[briefing.id] = 40
    assert town.held() == {demand(45, 45) - demand(40, 40)}
    town.present[briefing.id] = 50
    assert town.held() == {0}
    town.present[briefing.id] = 0
    town.clock.advance(HELD_BEFORE + HELD_AFTER - timedelta(seconds=1))
    assert town.held() == {demand(45, 45)}
    town.clock.advance(timedelta(seconds=1))
    assert town.held() == {0}


async def test_whoever_called_earlier_goes_first(town: Town) -> None:
    """Of two that begin together, and before those for whom nothing is held; beyond the invited all are the same."""
    first, second = (town.meeting(each, timedelta(minutes=5), called=each) for each in (10, 20))
    for each in (second, first):
        await town.hear(MeetingScheduled(meeting=each), "scheduled")
    await town.holds(demand(10, 10) + demand(20, 20))
    assert town.held(first.id) == {0}
    assert town.held(second.id) == {demand(10, 10)}
    town.present[first.id] = 10
    assert town.held(first.id) == {demand(20, 20)}
    assert town.held(second.id) == {0}


async def test_what_is_held_follows_the_schedule(town: Town) -> None:
    """More are invited, an older fact comes late, the meeting is moved, called off, or over."""
    meetings = [town.meeting(10, timedelta(minutes=5)) for _ in range(2)]
    for each in meetings:
        await town.hear(MeetingScheduled(meeting=each), "scheduled")
    await town.holds(2 * demand(10, 10))
    more = town.meeting(12, timedelta(minutes=5), changed=2)
    late = town.meeting(11, timedelta(minutes=5), changed=1)
    more.id = late.id = meetings[0].id
    for each in (more, late):
        await town.hear(MeetingChanged(meeting=each), "changed")
    await town.holds(demand(12, 12) + demand(10, 10))
    await town.hear(MeetingCancelled(meeting=meetings[0]), "cancelled")
    await town.holds(demand(10, 10))
    moved = town.meeting(10, timedelta(days=1), changed=1)
    moved.id = meetings[1].id
    await town.hear(MeetingChanged(meeting=moved), "changed")
    await town.holds(0)
    town.clock.advance(timedelta(days=1))
    assert town.held() == {demand(10, 10)}
    await town.hear(MeetingEnded(meeting=moved), "ended")
    await town.holds(0)


async def test_a_meeting_that_began_long_ago_holds_nothing(town: Town) -> None:
    """Facts may be heard days later."""
    past = town.meeting(10, timedelta(days=-1))
    await town.hear(MeetingScheduled(meeting=past), "scheduled")
    now = town.meeting(2, timedelta(0))
    await town.hear(MeetingScheduled(meeting=now), "scheduled")
    await town.holds(demand(2, 2))
