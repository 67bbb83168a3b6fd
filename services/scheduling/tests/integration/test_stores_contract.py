# SPDX-License-Identifier: Apache-2.0
"""What scheduling's records promise; the in-memory ones and the SQL ones keep the same promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database
from giaoban_kit.ids import new_id
from giaoban_scheduling.domain import (
    Admission,
    AdmissionState,
    Appointment,
    Meeting,
    MicrophonePolicy,
    Party,
    PartyKind,
    PartyRef,
    Presence,
    Role,
    Status,
)
from giaoban_scheduling.errors import SiteBooked
from giaoban_scheduling.ports import Caller, MeetingQuery, PageMark, Standing, Transactions
from giaoban_scheduling.store_entry import SqlTransactions
from giaoban_scheduling.testing import MemoryTransactions

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ORG, UNIT = new_id(), new_id()


@pytest.fixture(name="begin", params=["memory", "sql"])
async def _begin(request: pytest.FixtureRequest) -> AsyncIterator[Transactions]:
    if request.param == "memory":
        yield MemoryTransactions()
        return
    config: ServiceConfig = request.getfixturevalue("database_config")
    await migrate_database(config, "giaoban_scheduling")
    async with database(config) as db:
        yield SqlTransactions(db)


def party(kind: PartyKind = PartyKind.USER, name: str = "An") -> Party:
    return Party(PartyRef(kind, new_id()), name, "Chủ tịch", UNIT, "Ủy ban")


SITE, OTHER_SITE = party(PartyKind.SITE, "Điểm cầu"), party(PartyKind.SITE, "Điểm cầu khác")


def meeting(*parties: Party, start: datetime = NOW, unit: str = UNIT, org: str = ORG) -> Meeting:
    return Meeting(
        id=new_id(),
        organisation_id=org,
        unit_id=unit,
        unit_name="Ủy ban",
        title="Giao ban",
        description="",
        start=start,
        duration=HOUR,
        time_zone="Asia/Ho_Chi_Minh",
        microphone_policy=MicrophonePolicy.FLOOR,
        appointments=tuple(
            Appointment(new_id(), each, Role.DELEGATE if index else Role.CHAIR)
            for index, each in enumerate(parties or (party(),))
        ),
        created_by=new_id(),
        created_at=NOW,
        updated_at=NOW,
    )


async def stored(begin: Transactions, *meetings: Meeting) -> None:
    for each in meetings:
        async with begin() as records:
            await records.meetings.add(each)


async def test_a_meeting_comes_back_as_it_was(begin: Transactions) -> None:
    """Every field survives, appointments keep their order, other organisations find nothing."""
    made = replace(
        meeting(*(party(kind, f"{kind} {n}") for n in range(5) for kind in PartyKind)),
        status=Status.RUNNING,
        actual_start=NOW,
        actual_end=NOW + HOUR,
        version=7,
        sequence=3,
        cancel_reason="vì bão",
        microphone_policy=MicrophonePolicy.OPEN,
    )
    await stored(begin, made)
    async with begin() as records:
        assert await records.meetings.get(ORG, made.id) == made
        assert await records.meetings.get(ORG, made.id, lock=True) == made
        assert await records.meetings.get(new_id(), made.id) is None


async def test_saving_and_appointing_are_apart(begin: Transactions) -> None:
    """Saving leaves the appointments, appointing leaves the rest."""
    made = meeting()
    await stored(begin, made)
    changed = replace(made, title="Khác", version=2, appointments=meeting(party(), SITE).appointments)
    async with begin() as records:
        await records.meetings.save(changed)
    async with begin() as records:
        assert await records.meetings.get(ORG, made.id) == replace(changed, appointments=made.appointments)
        await records.meetings.appoint(changed)
    async with begin() as records:
        assert await records.meetings.get(ORG, made.id) == changed


async def test_a_failed_block_leaves_nothing(begin: Transactions) -> None:
    """What a transaction did is undone when it raises."""
    made = meeting()
    with pytest.raises(ZeroDivisionError):
        async with begin() as records:
            await records.meetings.add(made)
            raise ZeroDivisionError
    async with begin() as records:
        assert await records.meetings.get(ORG, made.id) is None


@pytest.mark.parametrize(
    ("minutes", "taken"), [(-60, False), (-59, True), (0, True), (59, True), (60, False), (600, False)]
)
async def test_a_site_is_booked_once(begin: Transactions, minutes: int, taken: bool) -> None:
    """Times that touch do not overlap; those that share a minute do."""
    first = meeting(party(), SITE)
    second = meeting(party(), OTHER_SITE, SITE, start=NOW + timedelta(minutes=minutes))
    await stored(begin, first)
    if not taken:
        await stored(begin, second)
        return
    with pytest.raises(SiteBooked):
        await stored(begin, second)
    async with begin() as records:
        clash = await records.meetings.clash(second)
    assert clash is not None
    assert (clash.site_id, clash.meeting) == (SITE.ref.id, first)


async def test_a_released_site_is_free(begin: Transactions) -> None:
    """Releasing frees the site; booking again moves the booking and does not clash with itself."""
    first, second = meeting(party(), SITE), meeting(party(), SITE)
    await stored(begin, first)
    moved = replace(first, start=NOW + HOUR / 2)
    async with begin() as records:
        assert await records.meetings.clash(first) is None
        await records.meetings.book(moved)
        assert await records.meetings.clash(replace(second, start=NOW - HOUR / 2)) is None
        await records.meetings.release(first.id)
    await stored(begin, second)


async def test_pages(begin: Transactions) -> None:
    """Pages hold the caller's meetings by start, then id, with its own and its unit's appointments only."""
    me, my_unit = party(), party(PartyKind.UNIT)
    mine = meeting(me, party())
    of_unit = meeting(party(), my_unit, start=NOW + HOUR)
    overseen = meeting(unit="overseen", start=NOW + HOUR)
    others = [
        meeting(),
        meeting(me, org=new_id()),
        meeting(me, start=NOW - HOUR),
        meeting(me, start=NOW + 5 * HOUR),
    ]
    running = replace(meeting(me, start=NOW - 9 * HOUR), status=Status.RUNNING)
    await stored(begin, mine, of_unit, overseen, running, *others)
    query = MeetingQuery(
        ORG, me.ref, my_unit.ref.id, frozenset({"overseen"}), NOW, NOW + 5 * HOUR, NOW, None, limit=2
    )
    found: list[Meeting] = []
    async with begin() as records:
        while page := await records.meetings.page(query):
            found += page
            query = replace(query, after=PageMark(page[-1].start, page[-1].id))
        later = replace(query, after=None, now=NOW - 2 * HOUR, limit=9)
        assert [each.id for each in await records.meetings.page(later)] == [each.id for each in found[1:]]
        nobody = replace(later, party=party().ref, unit_id=None, overseen=frozenset())
        assert await records.meetings.page(nobody) == []
    expected = [running, mine, *sorted((of_unit, overseen), key=lambda each: each.id)]
    assert [each.id for each in found] == [each.id for each in expected]
    appointed = {each.id: [a.party.ref for a in each.appointments] for each in found}
    assert (appointed[mine.id], appointed[of_unit.id], appointed[overseen.id]) == (
        [me.ref],
        [my_unit.ref],
        [],
    )


async def test_overdue_meetings(begin: Transactions) -> None:
    """Only running meetings whose planned end has passed are found, the longest overdue first."""
    late = replace(meeting(start=NOW - 5 * HOUR), status=Status.RUNNING)
    later = replace(meeting(start=NOW - 7 * HOUR), status=Status.RUNNING)
    young = replace(meeting(start=NOW), status=Status.RUNNING)
    await stored(begin, late, later, young, meeting(start=NOW - 5 * HOUR))
    async with begin() as records:
        assert await records.meetings.lock_overdue(NOW, 9) == [later, late]
        assert await records.meetings.lock_overdue(NOW, 1) == [later]


async def test_admissions(begin: Transactions) -> None:
    """An admission is found by id and by party, counted by state, and replaced as a whole."""
    held = meeting()
    await stored(begin, held)
    first = Admission(new_id(), held.id, party(), Role.CHAIR, AdmissionState.ADMITTED, NOW, new_id())
    second = Admission(
        new_id(), held.id, party(), Role.OBSERVER, AdmissionState.WAITING, NOW + HOUR, new_id(), None
    )
    async with begin() as records:
        assert await records.admissions.counts(held.id) == {}
        await records.admissions.put(second)
        await records.admissions.put(first)
        assert await records.admissions.get(held.id, first.id) == first
        assert await records.admissions.get(new_id(), first.id) is None
        assert await records.admissions.of(held.id, second.party.ref) == second
        assert await records.admissions.of(held.id, party().ref) is None
        assert await records.admissions.all(held.id, None) == [first, second]
        refused = replace(
            second,
            state=AdmissionState.REFUSED,
            decision=AdmissionState.REFUSED,
            decided_by=first.party.ref.id,
        )
        await records.admissions.put(refused)
        assert await records.admissions.all(held.id, AdmissionState.REFUSED) == [refused]
        counts = await records.admissions.counts(held.id)
        assert counts == {AdmissionState.ADMITTED: 1, AdmissionState.REFUSED: 1}


async def test_standing(begin: Transactions) -> None:
    """All that admission is decided by, at once: only the party's own and its unit's appointments, its admission, counts."""
    mine, other = party(), party()
    unit = PartyRef(PartyKind.UNIT, mine.unit_id)
    held = meeting(other, mine, Party(unit, "Unit", "", unit.id, "Unit"))
    await stored(begin, held)
    first = Admission(new_id(), held.id, mine, Role.DELEGATE, AdmissionState.WAITING, NOW, new_id())
    second = Admission(new_id(), held.id, other, Role.CHAIR, AdmissionState.ADMITTED, NOW, new_id())
    theirs = replace(held, appointments=held.appointments[1:])
    async with begin() as records:
        found = await records.admissions.standing(ORG, held.id, mine, lock=True)
        assert found == Standing(theirs, None, {})
        await records.admissions.put(first)
        await records.admissions.put(second)
    counts = {AdmissionState.WAITING: 1, AdmissionState.ADMITTED: 1}
    async with begin.reading() as reading:
        assert await reading.admissions.standing(ORG, held.id, mine) == Standing(theirs, first, counts)
        nobody = await reading.admissions.standing(ORG, held.id, replace(party(), unit_id="elsewhere"))
        assert nobody == Standing(replace(held, appointments=()), None, counts)
        assert await reading.admissions.standing(new_id(), held.id, mine) is None
    async with begin() as records:
        assert await records.admissions.standing(ORG, new_id(), mine, lock=True) is None


async def test_stays(begin: Transactions) -> None:
    """A stay may be known by its end first; closing ends what is open, never before its beginning."""
    held, who = meeting(), party()
    await stored(begin, held)
    came = Presence(new_id(), held.id, new_id(), who, Role.DELEGATE, NOW)
    after = Presence(new_id(), held.id, new_id(), who, Role.DELEGATE, NOW + 2 * HOUR)
    gone = Presence(new_id(), held.id, new_id(), left_at=NOW)
    async with begin() as records:
        await records.presences.put(gone)
        assert not await records.presences.somebody_there(held.id)
        await records.presences.put(came)
        await records.presences.put(after)
        assert await records.presences.somebody_there(held.id)
        await records.presences.close_all(held.id, NOW + HOUR)
    async with begin() as records:
        assert not await records.presences.somebody_there(held.id)
        assert await records.presences.get(held.id, new_id()) is None
        assert await records.presences.get(held.id, gone.id) == gone
        ends = {each.id: each.left_at for each in await records.presences.all(held.id)}
    assert ends == {came.id: NOW + HOUR, after.id: NOW + 2 * HOUR, gone.id: NOW}


async def test_a_stay_is_added_to_a_meeting_that_runs(begin: Transactions) -> None:
    """Only where nothing else is to be done: the meeting runs since before, and the stay is new."""
    planned, who = meeting(), party()
    running = replace(meeting(), status=Status.RUNNING, actual_start=NOW)
    ended = replace(meeting(), status=Status.ENDED, actual_start=NOW, actual_end=NOW + HOUR)
    await stored(begin, planned, running, ended)

    def stay(held: Meeting, came: datetime) -> Presence:
        return Presence(new_id(), held.id, new_id(), who, Role.DELEGATE, came)

    for held in (planned, ended, meeting()):
        assert not await begin.add_to_running(ORG, stay(held, NOW))
    assert not await begin.add_to_running(ORG, stay(running, NOW - HOUR))
    assert not await begin.add_to_running(new_id(), stay(running, NOW))
    first = stay(running, NOW)
    assert await begin.add_to_running(ORG, first)
    assert not await begin.add_to_running(ORG, replace(first, joined_at=NOW + HOUR))
    async with begin() as records:
        assert await records.presences.all(running.id) == [first]
        assert not await records.presences.all(planned.id)


async def test_keys_count_once(begin: Transactions) -> None:
    """A key belongs to one caller and one meeting."""
    me = Caller(party().ref, ORG)
    made = new_id()
    async with begin() as records:
        assert await records.keys.find(me, "k") is None
        assert await records.keys.claim(me, "k", b"digest", made)
        assert not await records.keys.claim(me, "k", b"other", new_id())
        assert await records.keys.claim(Caller(party().ref, ORG), "k", b"other", new_id())
    async with begin() as records:
        assert await records.keys.find(me, "k") == (b"digest", made)


async def test_keys_are_forgotten_by_age(begin: Transactions) -> None:
    """Only those claimed before; a forgotten key can be claimed anew."""
    me, now = Caller(party().ref, ORG), datetime.now(UTC)
    async with begin() as records:
        assert await records.keys.claim(me, "k", b"digest", new_id())
    async with begin() as records:
        assert await records.keys.forget(now - HOUR) == 0
        assert await records.keys.find(me, "k") is not None
        assert await records.keys.forget(now + HOUR) == 1
        assert await records.keys.find(me, "k") is None
        assert await records.keys.claim(me, "k", b"other", new_id())
