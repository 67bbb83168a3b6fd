# SPDX-License-Identifier: Apache-2.0
"""Owns the meeting, its rules, and the one decision about who comes in. Pure; times are aware and in UTC."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import available_timezones

MAX_TITLE = 200
MAX_DESCRIPTION = 5000
MAX_REASON = 500
MAX_IDEMPOTENCY_KEY = 200
MIN_DURATION = timedelta(minutes=5)
MAX_DURATION = timedelta(hours=24)
MAX_AHEAD = timedelta(days=730)
CLOCK_SKEW = timedelta(minutes=5)  # a start this far in the past is "now" on a slow clock
MAX_APPOINTMENTS = 500
MAX_SECRETARIES = 5
MAX_OPERATORS = 5
MAX_LIST_WINDOW = timedelta(days=400)

OPENS_BEFORE = timedelta(minutes=60)
CLOSES_AFTER = timedelta(hours=12)  # after the planned end
WAITING_LIMIT = 100
KEEP_KEYS = timedelta(days=30)  # a request with the same idempotency key is a new one after that


class PartyKind(enum.Enum):
    """What can be invited."""

    USER = "user"
    SITE = "site"
    UNIT = "unit"


class Role(enum.Enum):
    """The role of an appointment; the words are those of the grant."""

    CHAIR = "chair"
    SECRETARY = "secretary"
    OPERATOR = "operator"
    DELEGATE = "delegate"
    OBSERVER = "observer"
    PRESS = "press"


ROLE_WITHOUT_APPOINTMENT = Role.OBSERVER  # whom the chair lets in sees and hears; to speak, be appointed


class Status(enum.Enum):
    """Where a meeting is in its life."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    ENDED = "ended"
    CANCELLED = "cancelled"


class MicrophonePolicy(enum.Enum):
    """Who may send audio: those with the floor, or everyone who is not muted."""

    FLOOR = "floor"
    OPEN = "open"


class AdmissionState(enum.Enum):
    """What became of a wish to come in."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PartyRef:
    """Who or what is meant."""

    kind: PartyKind
    id: str


@dataclass(frozen=True, slots=True)
class Party:
    """A party with the names people read, as they were when it was invited or came."""

    ref: PartyRef
    name: str
    office: str
    unit_id: str
    unit_name: str


@dataclass(frozen=True, slots=True)
class Appointment:
    """The role a party has in one meeting."""

    id: str
    party: Party
    role: Role


@dataclass(frozen=True, slots=True)
class Wish:
    """An appointment as somebody asks for it."""

    ref: PartyRef
    role: Role


@dataclass(frozen=True, slots=True)
class Draft:
    """A meeting as somebody asks for it; every field clean in itself."""

    unit_id: str
    title: str
    description: str
    start: datetime
    duration: timedelta
    time_zone: str
    microphone_policy: MicrophonePolicy
    appointments: tuple[Wish, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes somebody asks for; None leaves a field as it is."""

    title: str | None = None
    description: str | None = None
    start: datetime | None = None
    duration: timedelta | None = None
    time_zone: str | None = None
    microphone_policy: MicrophonePolicy | None = None
    appointments: tuple[Wish, ...] | None = None


@dataclass(frozen=True, slots=True)
class Meeting:
    """The scheduled thing."""

    id: str
    organisation_id: str
    unit_id: str
    unit_name: str
    title: str
    description: str
    start: datetime
    duration: timedelta
    time_zone: str
    microphone_policy: MicrophonePolicy
    appointments: tuple[Appointment, ...]
    created_by: str
    created_at: datetime
    updated_at: datetime
    status: Status = Status.SCHEDULED
    actual_start: datetime | None = None
    actual_end: datetime | None = None
    version: int = 1
    sequence: int = 0
    cancel_reason: str = ""

    @property
    def end(self) -> datetime:
        """The planned end."""
        return self.start + self.duration

    @property
    def etag(self) -> str:
        """Changes with every edit, not with people coming in."""
        return str(self.version)

    def site_ids(self) -> list[str]:
        """The sites that the meeting books, sorted."""
        return sorted(a.party.ref.id for a in self.appointments if a.party.ref.kind is PartyKind.SITE)

    def role_of(self, ref: PartyRef, unit_id: str | None) -> Role | None:
        """The role of a party: its own appointment, else, for a user, that of its unit."""
        roles = {appointment.party.ref: appointment.role for appointment in self.appointments}
        if ref in roles or ref.kind is not PartyKind.USER or unit_id is None:
            return roles.get(ref)
        return roles.get(PartyRef(PartyKind.UNIT, unit_id))


@dataclass(frozen=True, slots=True)
class Admission:
    """One party's way into one meeting."""

    id: str
    meeting_id: str
    party: Party
    role: Role
    state: AdmissionState
    requested_at: datetime
    participant_id: str
    decision: AdmissionState | None = None  # by a person; it stands whatever appointments come and go
    decided_by: str | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """One stay of a participant in the room; the leave may become known before the join."""

    id: str
    meeting_id: str
    participant_id: str
    party: Party | None = None
    role: Role | None = None
    joined_at: datetime | None = None
    left_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether the participant is there."""
        return self.joined_at is not None and self.left_at is None

    def left(self, at: datetime) -> Presence:
        """The stay with its end; the earliest end counts, and nobody leaves before coming."""
        ends = [moment for moment in (self.left_at, at) if moment is not None]
        end = min(ends)
        return replace(self, left_at=end if self.joined_at is None else max(end, self.joined_at))

    def joined(self, party: Party, role: Role, at: datetime) -> Presence:
        """The stay with its beginning."""
        stay = replace(self, party=party, role=role, joined_at=at)
        return stay if stay.left_at is None else stay.left(stay.left_at)


@dataclass(frozen=True, slots=True)
class Attendance:
    """One line of the attendance; without times the party was invited and never came."""

    party: Party
    role: Role
    joined_at: datetime | None
    left_at: datetime | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A field that breaks a rule: which, why, and what to do."""

    field: str
    reason: str
    remedy: str


@cache
def time_zones() -> frozenset[str]:
    """The IANA zones a meeting may be called in."""
    return frozenset(name for name in available_timezones() if name not in {"Factory", "localtime"})


def problems_of_start(start: datetime, now: datetime) -> list[Problem]:
    """Whether a meeting may be called for this time."""
    if start < now - CLOCK_SKEW:
        return [Problem("start_time", "IN_THE_PAST", "Choose a start in the future.")]
    if start > now + MAX_AHEAD:
        return [Problem("start_time", "TOO_FAR_AHEAD", "Choose a start within the next two years.")]
    return []


def problems_of_appointments(wishes: Sequence[Wish]) -> list[Problem]:
    """Whether these appointments make a meeting."""
    found: list[Problem] = []
    seen: set[PartyRef] = set()
    for index, wish in enumerate(wishes):
        if wish.ref in seen:
            found.append(
                Problem(f"appointments[{index}].party", "DUPLICATE", "Appoint each party only once.")
            )
        seen.add(wish.ref)
        if wish.role is Role.CHAIR and wish.ref.kind is PartyKind.UNIT:
            found.append(
                Problem(f"appointments[{index}].role", "CHAIR_IS_UNIT", "Appoint a user or a site as chair.")
            )
    chairs, secretaries, operators = (
        sum(wish.role is role for wish in wishes) for role in (Role.CHAIR, Role.SECRETARY, Role.OPERATOR)
    )
    if chairs != 1:
        found.append(Problem("appointments", "ONE_CHAIR", "Appoint exactly one chair."))
    if secretaries > MAX_SECRETARIES:
        found.append(
            Problem("appointments", "TOO_MANY_SECRETARIES", f"Appoint at most {MAX_SECRETARIES} secretaries.")
        )
    if operators > MAX_OPERATORS:
        found.append(
            Problem("appointments", "TOO_MANY_OPERATORS", f"Appoint at most {MAX_OPERATORS} operators.")
        )
    return found


class Outcome(enum.Enum):
    """How the decision about an admission comes out."""

    ADMITTED = "admitted"
    WAITING = "waiting"
    NOT_FOUND = "not_found"
    NOT_OPEN = "not_open"
    ENDED = "ended"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    PARTICIPANTS_FULL = "participants_full"
    WAITING_FULL = "waiting_full"


@dataclass(frozen=True, slots=True)
class AdmissionFacts:
    """All that the decision depends on."""

    now: datetime
    status: Status
    start: datetime
    end: datetime  # planned
    same_organisation: bool
    role: Role | None  # by appointment
    previous: AdmissionState | None  # of this party in this meeting
    decision: AdmissionState | None  # ADMITTED or REFUSED by a person, whatever the state since
    admitted: int  # parties admitted now
    waiting: int
    participant_limit: int


def decide_admission(facts: AdmissionFacts) -> Outcome:
    """The only way into a meeting, whatever the path: browser, terminal, press.

    An appointment outweighs an earlier refusal: who appoints knows it.
    """
    closed = _closed(facts)
    if closed is not None:
        return closed
    if facts.role is not None or facts.decision is AdmissionState.ADMITTED:
        full = facts.previous is not AdmissionState.ADMITTED and facts.admitted >= facts.participant_limit
        return Outcome.PARTICIPANTS_FULL if full else Outcome.ADMITTED
    if facts.decision is AdmissionState.REFUSED:
        return Outcome.REFUSED
    full = facts.previous is not AdmissionState.WAITING and facts.waiting >= WAITING_LIMIT
    return Outcome.WAITING_FULL if full else Outcome.WAITING


def _closed(facts: AdmissionFacts) -> Outcome | None:
    """Why nobody comes in, if so."""
    if not facts.same_organisation:
        return Outcome.NOT_FOUND
    return _shut(facts.status, facts.start, facts.end, facts.now)


def _shut(status: Status, start: datetime, end: datetime, now: datetime) -> Outcome | None:
    if status is Status.CANCELLED:
        return Outcome.CANCELLED
    if status is Status.ENDED or now >= end + CLOSES_AFTER:
        return Outcome.ENDED
    if status is Status.SCHEDULED and now < start - OPENS_BEFORE:
        return Outcome.NOT_OPEN
    return None


def guest_view(
    meeting: Meeting, admission: Admission, *, took_part: bool, now: datetime
) -> tuple[Meeting, Role | None] | None:
    """What somebody without an appointment reads, and as what; None: nothing.

    Whom a person let in reads what a participant reads, while the doors are open and afterwards if it took
    part. Who waits learns what it waits for.
    """
    is_open = _shut(meeting.status, meeting.start, meeting.end, now) is None
    let_in = admission.state is admission.decision is AdmissionState.ADMITTED
    if let_in and (is_open or took_part):
        return meeting, admission.role
    if admission.state is AdmissionState.WAITING and is_open:
        return for_waiting(meeting), None
    return None


def for_waiting(meeting: Meeting) -> Meeting:
    """A meeting as those see it about whom nobody has decided: which, when, whose; not what about, nor with whom."""
    return replace(meeting, description="", appointments=())


def attendance(appointments: Iterable[Appointment], stays: Iterable[Presence]) -> list[Attendance]:
    """Who was there, by time of coming; then who was invited and never came, as invited.

    An invited unit was there if any of its users or sites was.
    """
    came = [
        Attendance(stay.party, stay.role, stay.joined_at, stay.left_at)
        for stay in stays
        if stay.party is not None and stay.role is not None and stay.joined_at is not None
    ]
    there = {line.party.ref for line in came} | {
        PartyRef(PartyKind.UNIT, line.party.unit_id) for line in came if line.party.unit_id
    }
    absent = [Attendance(a.party, a.role, None, None) for a in appointments if a.party.ref not in there]
    came.sort(key=lambda line: (line.joined_at, line.party.name, line.party.ref.id))
    return [*came, *absent]


def is_overdue(meeting: Meeting, *, somebody_there: bool, now: datetime, grace: timedelta) -> bool:
    """Whether a running meeting is over though nobody ended it.

    After the doors have closed nobody counts as there: a stay that never ended was lost, not held.
    """
    if meeting.status is not Status.RUNNING or now < meeting.end + grace:
        return False
    return not somebody_there or now >= meeting.end + CLOSES_AFTER
