# SPDX-License-Identifier: Apache-2.0
"""Owns the use cases of calling a meeting: create, read, change, cancel, end. One method each."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from enum import Enum

from giaoban_kit.clock import Clock
from giaoban_kit.errors import Conflict, FieldViolation

from giaoban_scheduling.access import LEADERS, Access
from giaoban_scheduling.domain import (
    KEEP_KEYS,
    Appointment,
    Draft,
    Edit,
    Meeting,
    Party,
    PartyKind,
    PartyRef,
    Problem,
    Role,
    Status,
    Wish,
    is_overdue,
    problems_of_appointments,
    problems_of_start,
)
from giaoban_scheduling.errors import (
    ConveneForbidden,
    EditForbidden,
    EndForbidden,
    IdempotencyKeyReused,
    MeetingCancelled,
    MeetingChanged,
    MeetingEnded,
    MeetingInvalid,
    MeetingNotFound,
    MeetingNotRunning,
    MeetingRunning,
    SiteBooked,
    UnitNotFound,
)
from giaoban_scheduling.ports import (
    Caller,
    Directory,
    MeetingQuery,
    PageMark,
    Records,
    Transactions,
)

END_BATCH = 20


class Scheduling:
    """Meetings of the caller's organisation."""

    def __init__(
        self, begin: Transactions, directory: Directory, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._begin = begin
        self._directory = directory
        self._clock = clock
        self._new_id = new_id
        self._access = Access(begin, directory)

    async def create(self, caller: Caller, draft: Draft, key: str) -> tuple[Meeting, Role | None]:
        """Calls a meeting; `key` may be empty. Returns it with the caller's role.

        Errors: MEETING_INVALID, CONVENE_FORBIDDEN, UNIT_NOT_FOUND, SITE_BOOKED, IDEMPOTENCY_KEY_REUSED.
        """
        digest = _digest(draft)
        if key and (earlier := await self._earlier(caller, key, digest)) is not None:
            return earlier, await self._access.role(caller, earlier)
        if caller.ref.kind is not PartyKind.USER or not await self._directory.may_convene(draft.unit_id):
            raise ConveneForbidden
        now = self._clock.now()
        unit = PartyRef(PartyKind.UNIT, draft.unit_id)
        parties = await self._directory.parties([unit, *(wish.ref for wish in draft.appointments)])
        if unit not in parties:
            raise UnitNotFound
        problems = problems_of_start(draft.start, now) + _problems_of_wishes(draft.appointments, parties)
        if problems:
            raise _invalid(problems)
        meeting = Meeting(
            id=self._new_id(),
            organisation_id=caller.organisation_id,
            unit_id=draft.unit_id,
            unit_name=parties[unit].name,
            title=draft.title,
            description=draft.description,
            start=draft.start,
            duration=draft.duration,
            time_zone=draft.time_zone,
            microphone_policy=draft.microphone_policy,
            appointments=self._appointments(draft.appointments, parties, ()),
            created_by=caller.ref.id,
            created_at=now,
            updated_at=now,
        )
        try:
            async with self._begin() as records:
                if not key or await records.keys.claim(caller, key, digest, meeting.id):
                    await records.meetings.add(meeting)
                    await records.news.scheduled(meeting)
                else:  # the same request came twice at once, and the other was faster
                    meeting = await _replay(records, caller, key, digest)
        except SiteBooked:
            raise await self._explained(caller, meeting) from None
        return meeting, await self._access.role(caller, meeting)

    async def get(self, caller: Caller, meeting_id: str) -> tuple[Meeting, Role | None]:
        """A meeting and the caller's role by appointment. Errors: MEETING_NOT_FOUND."""
        return await self._access.see(caller, meeting_id)

    async def read(self, caller: Caller, meeting_id: str) -> tuple[Meeting, Role | None]:
        """As `get`, and for guests what they may know, with the role they came in as. Errors: MEETING_NOT_FOUND."""
        return await self._access.read(caller, meeting_id, self._clock.now())

    async def list(
        self, caller: Caller, since: datetime, until: datetime, after: PageMark | None, limit: int
    ) -> tuple[Sequence[tuple[Meeting, Role | None]], PageMark | None]:
        """A page of meetings that overlap [since, until), and where the next page starts, if there is one."""
        is_user = caller.ref.kind is PartyKind.USER
        unit_id, watched = await self._directory.own_and_watched_units() if is_user else (None, frozenset())
        query = MeetingQuery(
            organisation_id=caller.organisation_id,
            party=caller.ref,
            unit_id=unit_id,
            overseen=watched,
            since=since,
            until=until,
            now=self._clock.now(),
            after=after,
            limit=limit + 1,
        )
        async with self._begin.reading() as records:
            found = await records.meetings.page(query)
        more = len(found) > limit
        page = [(meeting, meeting.role_of(caller.ref, unit_id)) for meeting in found[:limit]]
        return page, PageMark(page[-1][0].start, page[-1][0].id) if more else None

    async def update(
        self, caller: Caller, meeting_id: str, etag: str, edit: Edit
    ) -> tuple[Meeting, Role | None]:
        """Changes a meeting that has not ended.

        Errors: MEETING_NOT_FOUND, EDIT_FORBIDDEN, MEETING_INVALID, MEETING_CHANGED, MEETING_ENDED,
        MEETING_CANCELLED, SITE_BOOKED.
        """
        await self._access.guard(caller, meeting_id, LEADERS, EditForbidden, or_convener=True)
        problems: list[Problem] = []
        parties: Mapping[PartyRef, Party] = {}
        if edit.appointments is not None:
            parties = await self._directory.parties([wish.ref for wish in edit.appointments])
            problems = _problems_of_wishes(edit.appointments, parties)
        changed: Meeting | None = None
        try:
            async with self._begin() as records:
                meeting = await _locked(records, caller, meeting_id)
                _still_open(meeting)
                if etag != meeting.etag:
                    raise MeetingChanged
                now = self._clock.now()
                problems += _problems_of_move(meeting, edit, now)
                if problems:
                    raise _invalid(problems)
                changed = self._edited(meeting, edit, parties, now)
                if changed != meeting:
                    await _store_edit(records, meeting, changed)
        except SiteBooked:
            if changed is None:
                raise
            raise await self._explained(caller, changed) from None
        return changed, await self._access.role(caller, changed)

    async def cancel(
        self, caller: Caller, meeting_id: str, etag: str, reason: str
    ) -> tuple[Meeting, Role | None]:
        """Calls a meeting off; an empty etag means whatever its state.

        Errors: MEETING_NOT_FOUND, EDIT_FORBIDDEN, MEETING_CHANGED, MEETING_ENDED, MEETING_RUNNING.
        """
        _, role = await self._access.guard(caller, meeting_id, LEADERS, EditForbidden, or_convener=True)
        async with self._begin() as records:
            meeting = await _locked(records, caller, meeting_id)
            if meeting.status is Status.CANCELLED:
                return meeting, role
            if meeting.status is Status.ENDED:
                raise MeetingEnded
            if meeting.status is Status.RUNNING:
                raise MeetingRunning
            if etag not in {"", meeting.etag}:
                raise MeetingChanged
            cancelled = replace(
                meeting,
                status=Status.CANCELLED,
                cancel_reason=reason,
                updated_at=self._clock.now(),
                version=meeting.version + 1,
                sequence=meeting.sequence + 1,
            )
            await records.meetings.save(cancelled)
            await records.meetings.release(cancelled.id)
            await records.news.cancelled(cancelled)
        return cancelled, role

    async def end(self, caller: Caller, meeting_id: str) -> tuple[Meeting, Role | None]:
        """Ends a running meeting for everyone.

        Errors: MEETING_NOT_FOUND, END_FORBIDDEN, MEETING_NOT_RUNNING.
        """
        _, role = await self._access.guard(caller, meeting_id, LEADERS, EndForbidden)
        async with self._begin() as records:
            meeting = await _locked(records, caller, meeting_id)
            if meeting.status is Status.ENDED:
                return meeting, role
            if meeting.status is not Status.RUNNING:
                raise MeetingNotRunning
            return await _end(records, meeting, self._clock.now()), role

    async def end_overdue(self, grace: timedelta) -> int:
        """Ends running meetings that everyone has left, `grace` after their planned end; how many."""
        now, ended = self._clock.now(), 0
        async with self._begin() as records:
            for meeting in await records.meetings.lock_overdue(now - grace, END_BATCH):
                there = await records.presences.somebody_there(meeting.id)
                if is_overdue(meeting, somebody_there=there, now=now, grace=grace):
                    await _end(records, meeting, now)
                    ended += 1
        return ended

    async def forget_keys(self) -> int:
        """Forgets idempotency keys that nobody sends again; how many."""
        async with self._begin() as records:
            return await records.keys.forget(self._clock.now() - KEEP_KEYS)

    async def _earlier(self, caller: Caller, key: str, digest: bytes) -> Meeting | None:
        async with self._begin() as records:
            if await records.keys.find(caller, key) is None:
                return None
            return await _replay(records, caller, key, digest)

    def _appointments(
        self, wishes: Collection[Wish], parties: Mapping[PartyRef, Party], before: Sequence[Appointment]
    ) -> tuple[Appointment, ...]:
        """Appointments for the wishes; one that stays keeps its id and the names it was made with."""
        kept = {(appointment.party.ref, appointment.role): appointment for appointment in before}
        return tuple(
            kept.get((wish.ref, wish.role)) or Appointment(self._new_id(), parties[wish.ref], wish.role)
            for wish in wishes
        )

    def _edited(
        self, meeting: Meeting, edit: Edit, parties: Mapping[PartyRef, Party], now: datetime
    ) -> Meeting:
        """The meeting after the edit; the very same if nothing changes."""
        wanted = {
            name: value
            for name in ("title", "description", "start", "duration", "time_zone", "microphone_policy")
            if (value := getattr(edit, name)) is not None
        }
        if edit.appointments is not None:
            wanted["appointments"] = self._appointments(edit.appointments, parties, meeting.appointments)
        changed = replace(meeting, **wanted)
        if changed == meeting:
            return meeting
        told = _announce_to_all(meeting, changed) or changed.appointments != meeting.appointments
        return replace(
            changed, updated_at=now, version=meeting.version + 1, sequence=meeting.sequence + int(told)
        )

    async def _explained(self, caller: Caller, meeting: Meeting) -> SiteBooked | Conflict:
        """The error for a site that is taken, with what the caller may know of the other meeting."""
        async with self._begin() as records:
            clash = await records.meetings.clash(meeting)
        if clash is None:
            return Conflict("The site was booked and given free at this moment. Try again.")
        other = clash.meeting
        site = next(a.party for a in meeting.appointments if a.party.ref.id == clash.site_id)
        start, end = other.start.isoformat(), other.end.isoformat()
        known = {"site_id": clash.site_id, "site_name": site.name, "start_time": start, "end_time": end}
        visible = await self._access.role(caller, other) or await self._access.watches(caller, other)
        if visible:
            known |= {"meeting_id": other.id, "meeting_title": other.title}
        return SiteBooked(
            f"{site.name} is booked from {start} to {end}. Choose another time or leave the site out.",
            **known,
        )


def _invalid(problems: Sequence[Problem]) -> MeetingInvalid:
    """The error for these problems (at least one)."""
    violations = [FieldViolation(problem.field, problem.reason, problem.remedy) for problem in problems]
    named = ", ".join(dict.fromkeys(violation.field for violation in violations[:5]))
    return MeetingInvalid(f"Please correct: {named}. {violations[0].remedy}", violations=violations)


def _digest(draft: Draft) -> bytes:
    """What was asked, in few bytes."""

    def plain(value: object) -> str:
        return str(value.value) if isinstance(value, Enum) else str(value)

    return hashlib.sha256(json.dumps(asdict(draft), default=plain, sort_keys=True).encode()).digest()


async def _replay(records: Records, caller: Caller, key: str, digest: bytes) -> Meeting:
    """The meeting that the key made. Raises: IdempotencyKeyReused."""
    found = await records.keys.find(caller, key)
    if found is None or found[0] != digest:
        raise IdempotencyKeyReused
    meeting = await records.meetings.get(caller.organisation_id, found[1])
    if meeting is None:
        raise IdempotencyKeyReused
    return meeting


def _problems_of_wishes(wishes: Sequence[Wish], parties: Collection[PartyRef]) -> list[Problem]:
    unknown = [
        Problem(
            f"appointments[{index}].party",
            "UNKNOWN_PARTY",
            "Choose a user, site or unit of your organisation that is active.",
        )
        for index, wish in enumerate(wishes)
        if wish.ref not in parties
    ]
    return problems_of_appointments(wishes) + unknown


def _problems_of_move(meeting: Meeting, edit: Edit, now: datetime) -> list[Problem]:
    if edit.start is None or edit.start == meeting.start:
        return []
    if meeting.status is Status.RUNNING:
        return [Problem("start_time", "RUNNING", "The meeting is running; leave its start as it is.")]
    return problems_of_start(edit.start, now)


def _announce_to_all(before: Meeting, after: Meeting) -> bool:
    return (before.title, before.start, before.duration, before.time_zone) != (
        after.title,
        after.start,
        after.duration,
        after.time_zone,
    )


def _still_open(meeting: Meeting) -> None:
    if meeting.status is Status.ENDED:
        raise MeetingEnded
    if meeting.status is Status.CANCELLED:
        raise MeetingCancelled


async def _locked(records: Records, caller: Caller, meeting_id: str) -> Meeting:
    meeting = await records.meetings.get(caller.organisation_id, meeting_id, lock=True)
    if meeting is None:
        raise MeetingNotFound
    return meeting


async def _store_edit(records: Records, before: Meeting, after: Meeting) -> None:
    await records.meetings.save(after)
    if after.appointments != before.appointments:
        await records.meetings.appoint(after)
    if (after.start, after.end, after.site_ids()) != (before.start, before.end, before.site_ids()):
        await records.meetings.book(after)
    await records.news.changed(
        after,
        [gone for gone in before.appointments if gone not in after.appointments],
        [new for new in after.appointments if new not in before.appointments],
        announce_to_all=_announce_to_all(before, after),
    )


async def _end(records: Records, meeting: Meeting, now: datetime) -> Meeting:
    """Ends a locked meeting: nobody is there any more, its sites are free."""
    ended = replace(meeting, status=Status.ENDED, actual_end=now, updated_at=now, version=meeting.version + 1)
    await records.meetings.save(ended)
    await records.meetings.release(ended.id)
    await records.presences.close_all(ended.id, now)
    await records.news.ended(ended)
    return ended
