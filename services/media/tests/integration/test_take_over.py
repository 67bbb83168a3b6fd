# SPDX-License-Identifier: Apache-2.0
"""Another replica takes over media that goes on: what it may and may not tell the participant."""

from services.media.tests.integration.conftest import House, guests, until


async def test_who_only_watches_is_taken_over_without_a_word(house: House) -> None:
    """Who has sent nothing is not told to build its sending anew, and counts as connected."""
    async with guests(house, ("Quận 1", "chair"), ("Nhà Bè", "observer")) as (chair, observer):
        for each in (chair, observer):
            await each.join("one", tiles=[chair.id])
        await until(lambda: observer.sees(chair) > 10)
        await observer.drop()
        await observer.join("two", resume=True, tiles=[chair.id])
        assert observer.resumed
        before = observer.sees(chair)
        await until(lambda: observer.sees(chair) > before + 20)
        assert observer.rejoins == 0
