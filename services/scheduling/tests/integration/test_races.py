# SPDX-License-Identifier: Apache-2.0
"""Races on real PostgreSQL, with the window between looking and writing held wide open."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database, ping
from giaoban_kit.errors import Exhausted, GiaobanError
from giaoban_kit.ids import new_id
from giaoban_kit.testing.clock import FixedClock
from giaoban_scheduling.domain import (
    Admission,
    AdmissionState,
    Draft,
    Meeting,
    MicrophonePolicy,
    Party,
    PartyKind,
    PartyRef,
    Presence,
    Role,
    Status,
    Wish,
)
from giaoban_scheduling.entry import Entry
from giaoban_scheduling.ports import Caller, Standing
from giaoban_scheduling.service import Scheduling
from giaoban_scheduling.store import SqlMeetings
from giaoban_scheduling.store_entry import SqlAdmissions, SqlRecords, SqlTransactions
from giaoban_scheduling.testing import MemoryDirectory, PlainGrants

PAUSE = 0.02
LIMIT = 13  # no multiple of the connections: waves of them must not hit it by luck
HOUR = timedelta(hours=1)


class HesitantAdmissions(SqlAdmissions):
    """Thinks after looking, so that others could slip in between."""

    async def counts(self, meeting_id: str) -> Mapping[AdmissionState, int]:
        counts = await super().counts(meeting_id)
        await asyncio.sleep(PAUSE)
        return counts

    async def standing(
        self, organisation_id: str, meeting_id: str, party: Party, *, lock: bool = False
    ) -> Standing | None:
        found = await super().standing(organisation_id, meeting_id, party, lock=lock)
        await asyncio.sleep(PAUSE)
        return found


class HesitantMeetings(SqlMeetings):
    """Thinks after booking and before the commit."""

    async def book(self, meeting: Meeting) -> None:
        await super().book(meeting)
        await asyncio.sleep(10 * PAUSE)


class HesitantTransactions(SqlTransactions):
    """The real transactions, slower."""

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlRecords]:
        async with super().__call__() as records:
            connection = await records.session.connection()
            yield replace(
                records,
                meetings=HesitantMeetings(connection),
                admissions=HesitantAdmissions(connection),
            )


class House:
    """Two replicas over one database, and a directory with a convener, a chair, a site and a crowd."""

    def __init__(self, begins: list[HesitantTransactions]) -> None:
        self.clock, self.organisation, directory = FixedClock(), new_id(), MemoryDirectory()

        def party(kind: PartyKind) -> Party:
            ref = PartyRef(kind, new_id())
            return directory.add(Party(ref, kind.value, "", "elsewhere", "Đơn vị"))

        self.unit, self.chair, self.site = party(PartyKind.UNIT), party(PartyKind.USER), party(PartyKind.SITE)
        self.crowd = [party(PartyKind.USER) for _ in range(50)]
        directory.convenes = {self.unit.ref.id}
        self.begin = begins[0]
        self.schedulings = [Scheduling(begin, directory, self.clock, new_id) for begin in begins]
        self.entries = [
            Entry(begin, directory, PlainGrants(), self.clock, new_id, participant_limit=LIMIT)
            for begin in begins
        ]

    def by(self, party: Party) -> Caller:
        return Caller(party.ref, self.organisation)

    def draft(self, *wishes: Wish, after: timedelta = timedelta()) -> Draft:
        return Draft(
            unit_id=self.unit.ref.id,
            title="Giao ban",
            description="",
            start=self.clock.now() + after,
            duration=HOUR,
            time_zone="Asia/Ho_Chi_Minh",
            microphone_policy=MicrophonePolicy.FLOOR,
            appointments=(Wish(self.chair.ref, Role.CHAIR), *wishes),
        )

    async def call(self, replica: int, draft: Draft, key: str = "") -> Meeting:
        return (await self.schedulings[replica].create(self.by(self.chair), draft, key))[0]


@pytest.fixture(name="house")
async def _house(database_config: ServiceConfig) -> AsyncIterator[House]:
    await migrate_database(database_config, "giaoban_scheduling")
    async with database(database_config) as one, database(database_config) as two:
        await asyncio.gather(*(ping(db) for db in (one, two) for _ in range(2)))  # connected before the race
        yield House([HesitantTransactions(one), HesitantTransactions(two)])


async def test_the_limit_is_exact(house: House) -> None:
    """Fifty come at once to two replicas: exactly as many as the limit says are admitted."""
    crowd = [Wish(party.ref, Role.DELEGATE) for party in house.crowd]
    meeting = await house.call(0, house.draft(*crowd))
    results = await asyncio.gather(
        *(house.entries[n % 2].request(house.by(party), meeting.id) for n, party in enumerate(house.crowd)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Exhausted) for each in results) == len(house.crowd) - LIMIT
    async with house.begin() as records:
        assert await records.admissions.counts(meeting.id) == {AdmissionState.ADMITTED: LIMIT}


async def test_two_who_decide(house: House) -> None:
    """One admits and one refuses at the same moment: one of them learns that it was decided."""
    meeting = await house.call(0, house.draft())
    waiting = (await house.entries[0].request(house.by(house.crowd[0]), meeting.id)).admission
    chair = house.by(house.chair)
    results = await asyncio.gather(
        *(house.entries[n].decide(chair, meeting.id, waiting.id, admit=bool(n)) for n in range(2)),
        return_exceptions=True,
    )
    assert [each.reason for each in results if isinstance(each, GiaobanError)] == ["ADMISSION_DECIDED"]
    won = next(each for each in results if isinstance(each, Admission))
    async with house.begin() as records:
        assert await records.admissions.get(meeting.id, waiting.id) == won


async def test_a_site_goes_to_one(house: House) -> None:
    """Eight overlapping meetings want one site at once: one gets it, seven learn whose time stands in the way."""
    site = Wish(house.site.ref, Role.DELEGATE)
    drafts = [house.draft(site, after=timedelta(minutes=7 * n)) for n in range(8)]
    results = await asyncio.gather(
        *(house.call(n % 2, draft) for n, draft in enumerate(drafts)), return_exceptions=True
    )
    won = [each for each in results if isinstance(each, Meeting)]
    assert len(won) == 1
    for lost in (each for each in results if not isinstance(each, Meeting)):
        assert isinstance(lost, GiaobanError)
        assert (lost.reason, lost.metadata["meeting_id"]) == ("SITE_BOOKED", won[0].id)


async def test_one_key_makes_one_meeting(house: House) -> None:
    """The same request reaches both replicas while the first still works: both answer with the same meeting."""
    draft = house.draft(Wish(house.site.ref, Role.DELEGATE))
    first, second = await asyncio.gather(*(house.call(n, draft, "k") for n in range(2)))
    assert first == second


async def test_replicas_end_a_meeting_once(house: House) -> None:
    """Both replicas look for overdue meetings at the same moment; the meeting is ended, and told, once."""
    meeting = await house.call(0, house.draft())
    stay = Presence(new_id(), meeting.id, new_id())
    now = house.clock.now()
    await house.entries[0].joined(house.organisation, stay, house.chair, Role.CHAIR, now)
    await house.entries[1].left(house.organisation, stay, now + HOUR)
    house.clock.advance(2 * HOUR)
    ended = await asyncio.gather(*(each.end_overdue(HOUR / 2) for each in house.schedulings))
    assert sum(ended) == 1
    found, _ = await house.schedulings[0].get(house.by(house.chair), meeting.id)
    assert (found.status, found.version) == (Status.ENDED, meeting.version + 1)


async def test_nobody_stays_in_a_meeting_that_ends(house: House) -> None:
    """People come in while it is ended: whichever is first, no stay is left open, and each has a line."""
    meeting = await house.call(0, house.draft())
    now, chair = house.clock.now(), house.by(house.chair)

    async def come(number: int) -> Presence:
        stay = Presence(new_id(), meeting.id, new_id())
        await house.entries[number % 2].joined(
            house.organisation, stay, house.crowd[number], Role.DELEGATE, now
        )
        return stay

    await come(0)
    came = [asyncio.create_task(come(number)) for number in range(1, 30)]
    await asyncio.sleep(PAUSE)
    await house.schedulings[0].end(chair, meeting.id)
    await asyncio.gather(*came)
    async with house.begin() as records:
        assert not await records.presences.somebody_there(meeting.id)
        assert len(await records.presences.all(meeting.id)) == 30
