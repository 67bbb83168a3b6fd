# SPDX-License-Identifier: Apache-2.0
"""Nodes with a tiny budget: where meetings go, who is refused, and what that does to those who are in."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from giaoban.scheduling.v1.events_pb2 import MeetingCancelled, MeetingScheduled
from giaoban.scheduling.v1.scheduling_pb2 import Appointment, Meeting
from giaoban_kit.errors import Exhausted
from giaoban_kit.events import Event, connect_nats, ensure_stream, publish, subject
from giaoban_kit.ids import new_id
from giaoban_kit.kv import open_bucket
from giaoban_media.domain import demand
from giaoban_media.errors import CAPACITY_RETRY_AFTER
from giaoban_media.main import RESERVATIONS

from services.media.tests.integration.conftest import (
    Guest,
    House,
    forget,
    guests,
    nats_as,
    participants_on,
    until,
)

REFUSED_WITHIN = 1.0
"""Seconds; the load test `overload` holds the refusal to its goal."""


@pytest.fixture(scope="module")
def budget() -> int:
    """Room for one meeting of two on each node, and nobody else."""
    return demand(2, 2)


async def refused(guest: Guest, replica: str) -> Exhausted:
    """The refusal that a guest gets."""
    started = time.monotonic()
    with pytest.raises(Exhausted) as caught:
        await guest.join(replica)
    assert time.monotonic() - started < REFUSED_WITHIN
    return caught.value


async def let_in(guest: Guest, replica: str) -> None:
    """Joins once what others received before is measured no more."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await guest.join(replica)
            except Exhausted:
                await asyncio.sleep(1)


async def test_full_nodes_refuse_newcomers_only(house: House) -> None:
    """The second meeting goes to the other node; then newcomers wait, others' media goes on, who returns comes in."""
    people = [("Quận 1", "chair"), ("Bình Tân", "delegate"), ("Củ Chi", "delegate")]
    async with guests(house, *people) as (chair, one, third), guests(house, *people[:2]) as second:
        await let_in(chair, "one")
        await one.join("two")
        await until(lambda: one.hears(chair) > 0)
        for guest in second:
            await guest.join("one")
        counts = [
            {name: await participants_on(node, meeting) for name, node in house.nodes.items()}
            for meeting in (chair.meeting, second[0].meeting)
        ]
        assert sorted(counts[0].values()) == sorted(counts[1].values()) == [0, 2]
        assert counts[0] != counts[1]

        for replica, newcomer in (("one", third), ("two", third), ("one", Guest(house, "0" * 26, "Nhà Bè"))):
            refusal = await refused(newcomer, replica)
            assert refusal.reason == "MEDIA_CAPACITY"
            assert refusal.retry_after == CAPACITY_RETRY_AFTER
            await newcomer.close()

        heard = one.hears(chair)
        await until(lambda: one.hears(chair) > heard + 50)
        await one.drop()
        await one.join("one", resume=True)
        assert one.resumed
        await one.drop()
        await one.join("two")  # with new connections: still its own place
        assert not one.resumed

        await one.leave()
        await let_in(third, "two")
        await until(lambda: third.hears(chair) > 0)


async def known(house: House, meeting_id: str) -> None:
    """Waits until media has heard of a meeting: it looks for scheduling's stream every few seconds until it is there."""
    async with connect_nats(nats_as(house, "media")) as nats, asyncio.timeout(20):
        bucket = await open_bucket(nats.jetstream(), RESERVATIONS)
        while await bucket.get(meeting_id) is None:
            await asyncio.sleep(0.1)


async def announce(house: House, verb: str, fact: MeetingScheduled | MeetingCancelled) -> None:
    """Scheduling publishes a fact."""
    async with connect_nats(nats_as(house, "scheduling")) as nats:
        await ensure_stream(nats.jetstream(), "scheduling")
        where = subject("scheduling", "meeting", verb, fact.meeting.id)
        await publish(nats.jetstream(), Event(new_id(), where, fact, "scheduling", datetime.now(UTC)))


async def test_room_is_held_for_a_meeting_that_is_about_to_begin(house: House) -> None:
    """From scheduling's fact on: others get what is left, whoever is invited comes in; until it is called off."""
    await forget(house)
    scheduled = Meeting(id=new_id(), appointments=[Appointment(id=new_id()) for _ in range(2)])
    for moment in (scheduled.start_time, scheduled.create_time, scheduled.update_time):
        moment.GetCurrentTime()
    await announce(house, "scheduled", MeetingScheduled(meeting=scheduled))
    await known(house, scheduled.id)
    people = [("Quận 1", "chair"), ("Bình Tân", "delegate")]
    other = Guest(house, new_id(), "Nhà Bè")
    async with guests(house, *people) as walk_ins:
        for each in walk_ins:
            await each.join("one")
        assert (await refused(other, "two")).reason == "MEDIA_CAPACITY"
        invited = [Guest(house, scheduled.id, name, role) for name, role in people]
        for each in invited:
            await each.join("two")
        await until(lambda: invited[1].hears(invited[0]) > 0)
        await announce(house, "cancelled", MeetingCancelled(meeting=scheduled))
        await let_in(other, "two")
    for each in (*invited, other):
        await each.close()
