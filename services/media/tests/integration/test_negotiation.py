# SPDX-License-Identifier: Apache-2.0
"""What is asked of a receiving connection while an offer still waits for its answer."""

import asyncio

from services.media.tests.integration.conftest import Guest, House, guests, until

PEOPLE = (("Quận 1", "chair"), ("Bình Tân", "delegate"), ("Củ Chi", "delegate"))


async def _with_an_offer_unanswered(people: list[Guest]) -> None:
    """Who is second has not answered yet that the third came."""
    chair, slow, third = people
    tiles = [each.id for each in people]
    for each in (chair, slow):
        await each.join("one", tiles=tiles)
    await until(lambda: slow.sees(chair) > 20)
    slow.answers.clear()
    offers = slow.offers
    await third.join("one", tiles=tiles)
    await until(lambda: slow.offers > offers)


async def test_an_ice_restart_comes_after_the_answer(house: House) -> None:
    """The node would not even answer a request for one before."""
    async with guests(house, *PEOPLE) as people:
        await _with_an_offer_unanswered(people)
        _, slow, third = people
        assert slow.receiver is not None
        before, seen = slow.receiver.remote_ufrag, slow.sees(third)
        await slow.restart_ice()
        await asyncio.sleep(0.3)
        slow.answers.set()
        await until(lambda: slow.receiver is not None and slow.receiver.remote_ufrag != before)
        await until(lambda: slow.sees(third) > seen + 20)
        assert slow.connections == 1


async def test_a_replica_that_never_saw_the_answer_makes_the_connection_anew(house: House) -> None:
    """The answer went to the one before it, or nowhere: without it the node makes no other offer."""
    async with guests(house, *PEOPLE) as people:
        await _with_an_offer_unanswered(people)
        _, slow, third = people
        await slow.drop()
        slow.answers.set()
        await slow.join("two", resume=True, tiles=[each.id for each in people])
        assert slow.resumed
        await until(lambda: slow.connections == 2)
        await until(lambda: slow.sees(third) > 20)
