# SPDX-License-Identifier: Apache-2.0
"""Owns the use cases around coming in: admission, who waits, who was there."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from giaoban_kit.clock import Clock
from giaoban_kit.errors import GiaobanError

from giaoban_scheduling.access import LEADERS, STAFF, Access
from giaoban_scheduling.domain import (
    OPENS_BEFORE,
    ROLE_WITHOUT_APPOINTMENT,
    WAITING_LIMIT,
    Admission,
    AdmissionFacts,
    AdmissionState,
    Attendance,
    Meeting,
    Outcome,
    Party,
    Presence,
    Role,
    Status,
    attendance,
    decide_admission,
    for_waiting,
)
from giaoban_scheduling.errors import (
    AdmissionDecided,
    AdmissionNotFound,
    AdmissionRefused,
    AdmitForbidden,
    AttendanceForbidden,
    MeetingCancelled,
    MeetingEnded,
    MeetingNotFound,
    MeetingNotOpen,
    ParticipantLimitReached,
    WaitingLimitReached,
)
from giaoban_scheduling.metrics import ADMISSIONS
from giaoban_scheduling.ports import Caller, Directory, Grants, Records, Standing, Transactions

CHECK_HOLDS = timedelta(seconds=5)
"""For how long what identity said of a caller is used once more: from the ticket to the join, not longer."""
MAX_CHECKED = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody who wants to come in is told; `grant` is empty while waiting.

    The meeting is without appointments but those that let the party in.
    """

    admission: Admission
    meeting: Meeting
    grant: str


class Entry:
    """Admission is decided in one place, `decide_admission`; here are the facts gathered for it."""

    def __init__(
        self,
        begin: Transactions,
        directory: Directory,
        grants: Grants,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        participant_limit: int,
    ) -> None:
        self._begin = begin
        self._directory = directory
        self._grants = grants
        self._clock = clock
        self._new_id = new_id
        self._participant_limit = participant_limit
        self._access = Access(begin, directory)
        self._checked: OrderedDict[Caller, tuple[datetime, Party]] = OrderedDict()

    async def request(self, caller: Caller, meeting_id: str) -> Answer:
        """The caller's admission. Those who wait get the meeting without description and appointments.

        Errors: MEETING_NOT_FOUND, MEETING_NOT_OPEN, MEETING_ENDED, MEETING_CANCELLED, ADMISSION_REFUSED,
        PARTICIPANT_LIMIT_REACHED, WAITING_LIMIT_REACHED.
        """
        party = self._just_checked(caller) or await self._party(caller)
        async with self._begin() as records:
            found = await records.admissions.standing(caller.organisation_id, meeting_id, party, lock=True)
            outcome, meeting, role = self._decide(caller, party, found)
            previous = found.admission if found else None
            ADMISSIONS.labels(outcome.value).inc()
            self._raise_unless_let_in(outcome, meeting)
            admission = self._admission(meeting, party, role, previous, AdmissionState(outcome.value))
            if admission != previous:
                await records.admissions.put(admission)
            if admission.state is AdmissionState.WAITING:
                if previous is None or previous.state is not AdmissionState.WAITING:
                    await records.news.admission_requested(admission)
                return Answer(admission, for_waiting(meeting), "")
        return Answer(admission, meeting, self._grants.sign(meeting, admission))

    async def check(self, caller: Caller, meeting_id: str) -> None:
        """What `request` would decide now, without a trace: nobody waits, and no place is taken.

        Errors: those of `request`.
        """
        party = await self._party(caller)
        async with self._begin.reading() as records:
            found = await records.admissions.standing(caller.organisation_id, meeting_id, party)
        outcome, meeting, _ = self._decide(caller, party, found)
        self._raise_unless_let_in(outcome, meeting)
        self._checked[caller] = self._clock.now(), party
        if len(self._checked) > MAX_CHECKED:
            self._checked.popitem(last=False)

    async def waiting(
        self, caller: Caller, meeting_id: str, state: AdmissionState | None
    ) -> Sequence[Admission]:
        """Admissions by time of request. Errors: MEETING_NOT_FOUND, ADMIT_FORBIDDEN."""
        await self._access.guard(caller, meeting_id, STAFF, AdmitForbidden)
        async with self._begin() as records:
            return await records.admissions.all(meeting_id, state)

    async def decide(self, caller: Caller, meeting_id: str, admission_id: str, *, admit: bool) -> Admission:
        """Admits or refuses somebody who waits. A decision stands; the same again changes nothing.

        Errors: MEETING_NOT_FOUND, ADMIT_FORBIDDEN, ADMISSION_NOT_FOUND, ADMISSION_DECIDED, MEETING_ENDED,
        MEETING_CANCELLED, PARTICIPANT_LIMIT_REACHED.
        """
        await self._access.guard(caller, meeting_id, LEADERS, AdmitForbidden)
        wanted = AdmissionState.ADMITTED if admit else AdmissionState.REFUSED
        async with self._begin() as records:
            meeting = await records.meetings.get(caller.organisation_id, meeting_id, lock=True)
            admission = await records.admissions.get(meeting_id, admission_id)
            if meeting is None or admission is None:
                raise AdmissionNotFound
            if admission.state is wanted:
                return admission
            if admission.state is not AdmissionState.WAITING:
                raise AdmissionDecided(admission.state.value)
            if meeting.status is Status.ENDED:
                raise MeetingEnded
            if meeting.status is Status.CANCELLED:
                raise MeetingCancelled
            if admit:
                admitted = (await records.admissions.counts(meeting.id)).get(AdmissionState.ADMITTED, 0)
                if admitted >= self._participant_limit:
                    raise ParticipantLimitReached(self._participant_limit)
            decided = replace(admission, state=wanted, decision=wanted, decided_by=caller.ref.id)
            await records.admissions.put(decided)
            await records.news.admission_decided(decided)
        return decided

    async def attendance(self, caller: Caller, meeting_id: str) -> list[Attendance]:
        """Who was there and who never came. Errors: MEETING_NOT_FOUND, ATTENDANCE_FORBIDDEN."""
        meeting, _ = await self._access.guard(caller, meeting_id, STAFF, AttendanceForbidden, or_watcher=True)
        async with self._begin() as records:
            return attendance(meeting.appointments, await records.presences.all(meeting.id))

    # Whoever hears of the same coming or leaving twice writes the same twice: no inbox is kept.

    async def joined(
        self, organisation_id: str, stay: Presence, party: Party, role: Role, at: datetime
    ) -> None:
        """Somebody came into the room; the first one starts the meeting. Errors: MEETING_NOT_FOUND."""
        if await self._begin.add_to_running(organisation_id, stay.joined(party, role, at)):
            return
        async with self._begin() as records:
            meeting = await _found(records, organisation_id, stay.meeting_id)
            known = await records.presences.get(meeting.id, stay.id) or stay
            known = known.joined(party, role, at)
            if meeting.actual_end is not None and known.left_at is None:
                known = known.left(meeting.actual_end)  # the news came after the end
            await records.presences.put(known)
            started = _started(meeting, at)
            if started != meeting:
                await records.meetings.save(started)

    async def left(self, organisation_id: str, stay: Presence, at: datetime) -> None:
        """Somebody left the room, perhaps heard of before the coming. Errors: MEETING_NOT_FOUND."""
        async with self._begin() as records:
            meeting = await _found(records, organisation_id, stay.meeting_id)
            known = await records.presences.get(meeting.id, stay.id) or stay
            await records.presences.put(known.left(at))

    def _just_checked(self, caller: Caller) -> Party | None:
        """What identity has said of the caller for the ticket with which it now comes in, a moment later."""
        at, party = self._checked.pop(caller, (None, None))
        return party if at is not None and self._clock.now() - at <= CHECK_HOLDS else None

    async def _party(self, caller: Caller) -> Party:
        party = (await self._directory.parties([caller.ref])).get(caller.ref)
        if party is None:
            raise MeetingNotFound
        return party

    def _decide(
        self, caller: Caller, party: Party, found: Standing | None
    ) -> tuple[Outcome, Meeting, Role | None]:
        """The decision, about what, and the role it was made for. Raises: MeetingNotFound."""
        if found is None:
            raise MeetingNotFound
        meeting, previous = found.meeting, found.admission
        role = meeting.role_of(party.ref, party.unit_id)
        facts = AdmissionFacts(
            now=self._clock.now(),
            status=meeting.status,
            start=meeting.start,
            end=meeting.end,
            same_organisation=meeting.organisation_id == caller.organisation_id,
            role=role,
            previous=previous.state if previous else None,
            decision=previous.decision if previous else None,
            admitted=found.counts.get(AdmissionState.ADMITTED, 0),
            waiting=found.counts.get(AdmissionState.WAITING, 0),
            participant_limit=self._participant_limit,
        )
        return decide_admission(facts), meeting, role

    def _admission(
        self,
        meeting: Meeting,
        party: Party,
        role: Role | None,
        previous: Admission | None,
        state: AdmissionState,
    ) -> Admission:
        """The admission as it is now; the participant stays the same whatever becomes of it."""
        base = previous or Admission(
            id=self._new_id(),
            meeting_id=meeting.id,
            party=party,
            role=ROLE_WITHOUT_APPOINTMENT,
            state=state,
            requested_at=self._clock.now(),
            participant_id=self._new_id(),
        )
        return replace(base, party=party, role=role or ROLE_WITHOUT_APPOINTMENT, state=state)

    def _raise_unless_let_in(self, outcome: Outcome, meeting: Meeting) -> None:
        if outcome in {Outcome.ADMITTED, Outcome.WAITING}:
            return
        refusals: dict[Outcome, Callable[[], GiaobanError]] = {
            Outcome.NOT_FOUND: MeetingNotFound,
            Outcome.NOT_OPEN: lambda: MeetingNotOpen(meeting.start - OPENS_BEFORE),
            Outcome.ENDED: MeetingEnded,
            Outcome.CANCELLED: MeetingCancelled,
            Outcome.REFUSED: AdmissionRefused,
            Outcome.PARTICIPANTS_FULL: lambda: ParticipantLimitReached(self._participant_limit),
            Outcome.WAITING_FULL: lambda: WaitingLimitReached(WAITING_LIMIT),
        }
        refusal = refusals[outcome]()
        raise refusal


async def _found(records: Records, organisation_id: str, meeting_id: str) -> Meeting:
    """The meeting, locked. Never with its appointments: each of a large meeting's hundreds comes in."""
    meeting = await records.meetings.get(organisation_id, meeting_id, lock=True, bare=True)
    if meeting is None:
        raise MeetingNotFound
    return meeting


def _started(meeting: Meeting, at: datetime) -> Meeting:
    """The meeting after somebody came in: running, and begun no later than that."""
    if meeting.status is Status.CANCELLED:
        return meeting
    earliest = at if meeting.actual_start is None else min(at, meeting.actual_start)
    status = Status.RUNNING if meeting.status is Status.SCHEDULED else meeting.status
    return replace(meeting, status=status, actual_start=earliest)
