# SPDX-License-Identifier: Apache-2.0
"""Owns the doubles of scheduling's ports, for tests; the stores' contract suite holds them to the real ones."""

import asyncio
import copy
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from giaoban_scheduling.domain import (
    Admission,
    AdmissionState,
    Appointment,
    Meeting,
    Party,
    PartyKind,
    PartyRef,
    Presence,
    Status,
)
from giaoban_scheduling.errors import SiteBooked, UnitNotFound
from giaoban_scheduling.ports import Caller, Clash, MeetingQuery, Standing


@dataclass
class State:
    """Everything that is stored, by key."""

    meetings: dict[str, Meeting] = field(default_factory=dict)
    bookings: dict[tuple[str, str], tuple[datetime, datetime]] = field(default_factory=dict)
    admissions: dict[str, Admission] = field(default_factory=dict)
    presences: dict[tuple[str, str], Presence] = field(default_factory=dict)
    keys: dict[tuple[str, str, str], tuple[bytes, str, datetime]] = field(default_factory=dict)
    news: list[tuple[str, str]] = field(default_factory=list)  # verb, meeting id


class MemoryMeetings:
    """The `Meetings` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(
        self,
        organisation_id: str,
        meeting_id: str,
        *,
        lock: bool = False,
        bare: bool = False,
    ) -> Meeting | None:
        del lock  # a transaction in memory has everything to itself
        meeting = self._state.meetings.get(meeting_id)
        if meeting is None or meeting.organisation_id != organisation_id:
            return None
        return replace(meeting, appointments=()) if bare else meeting

    async def add(self, meeting: Meeting) -> None:
        self._state.meetings[meeting.id] = meeting
        await self.book(meeting)

    async def save(self, meeting: Meeting) -> None:
        kept = self._state.meetings[meeting.id].appointments
        self._state.meetings[meeting.id] = replace(meeting, appointments=kept)

    async def appoint(self, meeting: Meeting) -> None:
        stored = self._state.meetings[meeting.id]
        self._state.meetings[meeting.id] = replace(stored, appointments=meeting.appointments)

    async def book(self, meeting: Meeting) -> None:
        await self.release(meeting.id)
        if await self.clash(meeting) is not None:
            raise SiteBooked
        for site in meeting.site_ids():
            self._state.bookings[meeting.id, site] = (meeting.start, meeting.end)

    async def release(self, meeting_id: str) -> None:
        kept = {key: span for key, span in self._state.bookings.items() if key[0] != meeting_id}
        self._state.bookings = kept

    async def clash(self, meeting: Meeting) -> Clash | None:
        sites = set(meeting.site_ids())
        found = sorted(
            (start, other, site)
            for (other, site), (start, end) in self._state.bookings.items()
            if site in sites and other != meeting.id and start < meeting.end and meeting.start < end
        )
        return Clash(found[0][2], self._state.meetings[found[0][1]]) if found else None

    async def page(self, query: MeetingQuery) -> Sequence[Meeting]:
        mine = {query.party}
        if query.unit_id is not None:
            mine.add(PartyRef(PartyKind.UNIT, query.unit_id))
        found = []
        for meeting in self._state.meetings.values():
            own = tuple(each for each in meeting.appointments if each.party.ref in mine)
            still_on = meeting.status is Status.RUNNING and query.now >= query.since
            if (
                meeting.organisation_id == query.organisation_id
                and meeting.start < query.until
                and (meeting.end > query.since or still_on)
                and (own or meeting.unit_id in query.overseen)
                and (query.after is None or (meeting.start, meeting.id) > (query.after.start, query.after.id))
            ):
                found.append(replace(meeting, appointments=own))
        return sorted(found, key=lambda meeting: (meeting.start, meeting.id))[: query.limit]

    async def lock_overdue(self, ended_before: datetime, limit: int) -> Sequence[Meeting]:
        running = [each for each in self._state.meetings.values() if each.status is Status.RUNNING]
        due = [meeting for meeting in running if meeting.end <= ended_before]
        return sorted(due, key=lambda meeting: meeting.end)[:limit]


class MemoryAdmissions:
    """The `Admissions` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(self, meeting_id: str, admission_id: str) -> Admission | None:
        found = self._state.admissions.get(admission_id)
        return found if found and found.meeting_id == meeting_id else None

    async def of(self, meeting_id: str, ref: PartyRef) -> Admission | None:
        found = [each for each in await self.all(meeting_id, None) if each.party.ref == ref]
        return found[0] if found else None

    async def standing(
        self, organisation_id: str, meeting_id: str, party: Party, *, lock: bool = False
    ) -> Standing | None:
        meeting = await MemoryMeetings(self._state).get(organisation_id, meeting_id, lock=lock)
        if meeting is None:
            return None
        theirs = {party.ref, PartyRef(PartyKind.UNIT, party.unit_id)}
        chosen = tuple(each for each in meeting.appointments if each.party.ref in theirs)
        return Standing(
            replace(meeting, appointments=chosen),
            await self.of(meeting_id, party.ref),
            await self.counts(meeting_id),
        )

    async def put(self, admission: Admission) -> None:
        self._state.admissions[admission.id] = admission

    async def counts(self, meeting_id: str) -> Mapping[AdmissionState, int]:
        states = [each.state for each in await self.all(meeting_id, None)]
        return {state: states.count(state) for state in set(states)}

    async def all(self, meeting_id: str, state: AdmissionState | None) -> Sequence[Admission]:
        found = [
            each
            for each in self._state.admissions.values()
            if each.meeting_id == meeting_id and state in {None, each.state}
        ]
        return sorted(found, key=lambda each: (each.requested_at, each.id))


class MemoryPresences:
    """The `Presences` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(self, meeting_id: str, presence_id: str) -> Presence | None:
        return self._state.presences.get((meeting_id, presence_id))

    async def put(self, presence: Presence) -> None:
        self._state.presences[presence.meeting_id, presence.id] = presence

    async def all(self, meeting_id: str) -> Sequence[Presence]:
        return [stay for (meeting, _), stay in self._state.presences.items() if meeting == meeting_id]

    async def somebody_there(self, meeting_id: str) -> bool:
        return any(stay.is_open for stay in await self.all(meeting_id))

    async def close_all(self, meeting_id: str, at: datetime) -> None:
        for stay in await self.all(meeting_id):
            if stay.is_open:
                await self.put(stay.left(at))


class MemoryKeys:
    """The `Keys` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def find(self, caller: Caller, key: str) -> tuple[bytes, str] | None:
        found = self._state.keys.get((caller.organisation_id, caller.ref.id, key))
        return found[:2] if found else None

    async def claim(self, caller: Caller, key: str, digest: bytes, meeting_id: str) -> bool:
        place = (caller.organisation_id, caller.ref.id, key)
        if place in self._state.keys:
            return False
        self._state.keys[place] = (digest, meeting_id, datetime.now(UTC))
        return True

    async def forget(self, claimed_before: datetime) -> int:
        kept = {place: held for place, held in self._state.keys.items() if held[2] >= claimed_before}
        gone = len(self._state.keys) - len(kept)
        self._state.keys = kept
        return gone


class MemoryNews:
    """The `News` port in memory: what was told about which meeting, in order."""

    def __init__(self, state: State) -> None:
        self._told = state.news

    async def scheduled(self, meeting: Meeting) -> None:
        self._told.append(("scheduled", meeting.id))

    async def changed(
        self,
        meeting: Meeting,
        removed: Sequence[Appointment],
        added: Sequence[Appointment],
        *,
        announce_to_all: bool,
    ) -> None:
        verb = f"changed -{len(removed)} +{len(added)}{' to all' if announce_to_all else ''}"
        self._told.append((verb, meeting.id))

    async def cancelled(self, meeting: Meeting) -> None:
        self._told.append(("cancelled", meeting.id))

    async def ended(self, meeting: Meeting) -> None:
        self._told.append(("ended", meeting.id))

    async def admission_requested(self, admission: Admission) -> None:
        self._told.append(("admission_requested", admission.meeting_id))

    async def admission_decided(self, admission: Admission) -> None:
        self._told.append(("admission_decided", admission.meeting_id))


class MemoryRecords:
    """The `Records` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.meetings = MemoryMeetings(state)
        self.admissions = MemoryAdmissions(state)
        self.presences = MemoryPresences(state)
        self.keys = MemoryKeys(state)
        self.news = MemoryNews(state)


class MemoryTransactions:
    """The `Transactions` port in memory: one at a time, undone when the block raises."""

    def __init__(self) -> None:
        self.state = State()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[MemoryRecords]:
        async with self._turn:
            draft = State(**{name: copy.copy(value) for name, value in vars(self.state).items()})
            yield MemoryRecords(draft)
            self.state = draft

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[MemoryRecords]:
        async with self() as records:
            yield records

    async def add_to_running(self, organisation_id: str, stay: Presence) -> bool:
        async with self() as records:
            meeting = await records.meetings.get(organisation_id, stay.meeting_id, bare=True)
            if meeting is None or meeting.status is not Status.RUNNING:
                return False
            begun = meeting.actual_start is not None and stay.joined_at is not None
            if not begun or meeting.actual_start > stay.joined_at:  # type: ignore[operator]  # both are there
                return False
            if await records.presences.get(meeting.id, stay.id) is not None:
                return False
            await records.presences.put(stay)
            return True


class MemoryDirectory:
    """The `Directory` port in memory, as one caller sees it."""

    def __init__(self) -> None:
        self.known: dict[PartyRef, Party] = {}
        self.parents: dict[str, str | None] = {}
        self.convenes: set[str] = set()  # units where the caller was given the right
        self.oversees: set[str] = set()
        self.own_unit_id = ""  # the caller's

    def add(self, party: Party, parent: str | None = None) -> Party:
        """Adds a party; a unit below its parent."""
        self.known[party.ref] = party
        if party.ref.kind is PartyKind.UNIT:
            self.parents[party.ref.id] = parent
        return party

    async def parties(self, refs: Collection[PartyRef]) -> Mapping[PartyRef, Party]:
        return {ref: self.known[ref] for ref in refs if ref in self.known}

    async def may_convene(self, unit_id: str) -> bool:
        return self._held(unit_id, self.convenes)

    async def may_oversee(self, unit_id: str) -> bool:
        return self._held(unit_id, self.oversees)

    async def own_and_watched_units(self) -> tuple[str, frozenset[str]]:
        watched = (unit for unit in self.parents if self._held(unit, self.convenes | self.oversees))
        return self.own_unit_id, frozenset(watched)

    def _held(self, unit_id: str, given: set[str]) -> bool:
        if unit_id not in self.parents:
            raise UnitNotFound
        place: str | None = unit_id
        while place is not None and place not in given:
            place = self.parents[place]
        return place is not None


class PlainGrants:
    """The `Grants` port without a signature: meeting, participant, role."""

    def sign(self, meeting: Meeting, admission: Admission) -> str:
        return f"{meeting.id} {admission.participant_id} {admission.role.value}"
