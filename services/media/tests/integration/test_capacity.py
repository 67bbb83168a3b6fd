# SPDX-License-Identifier: Apache-2.0
"""Nodes with a tiny budget: where meetings go, who is refused, and what that does to those who are in."""

from __future__ import annotations

import asyncio
import time

import pytest
from giaoban_kit.errors import Exhausted
from giaoban_media.domain import demand
from giaoban_media.errors import CAPACITY_RETRY_AFTER

from services.media.tests.integration.conftest import Guest, House, guests, participants_on, until

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
