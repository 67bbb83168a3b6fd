# SPDX-License-Identifier: Apache-2.0
"""Owns what the use cases need from outside, in our words. Everything in `Records` is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from giaoban_scheduling.domain import (
    Admission,
    AdmissionState,
    Appointment,
    Meeting,
    Party,
    PartyRef,
    Presence,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a use case runs: a user or a site (terminal)."""

    ref: PartyRef
    organisation_id: str


@dataclass(frozen=True, slots=True)
class PageMark:
    """The last meeting of a page."""

    start: datetime
    id: str


@dataclass(frozen=True, slots=True)
class MeetingQuery:
    """Meetings that overlap [since, until) and that the party, its unit or an overseen unit has to do with."""

    organisation_id: str
    party: PartyRef
    unit_id: str | None
    overseen: frozenset[str]
    since: datetime
    until: datetime
    now: datetime  # a running meeting lasts until now, whatever was planned
    after: PageMark | None
    limit: int


@dataclass(frozen=True, slots=True)
class Clash:
    """A site that another meeting has at an overlapping time."""

    site_id: str
    meeting: Meeting


@dataclass(frozen=True, slots=True)
class Standing:
    """What is stored of somebody who wants to come in, and of the meeting: all that admission is decided by."""

    meeting: Meeting
    """With the appointments of the party and its unit only."""
    admission: Admission | None
    counts: Mapping[AdmissionState, int]
    """As `Admissions.counts`."""


class Meetings(Protocol):
    """The meetings of all organisations; every question names the organisation."""

    async def get(
        self,
        organisation_id: str,
        meeting_id: str,
        *,
        lock: bool = False,
        bare: bool = False,
    ) -> Meeting | None:
        """The meeting; with `lock` nobody else changes it, or who is in it, until the transaction ends.

        `bare`: without its appointments, of which a large meeting has hundreds.
        """
        ...

    async def add(self, meeting: Meeting) -> None:
        """Adds it with its appointments, and books its sites. Raises: SiteBooked."""
        ...

    async def save(self, meeting: Meeting) -> None:
        """Saves its own fields; appointments and bookings stay."""
        ...

    async def appoint(self, meeting: Meeting) -> None:
        """Replaces its appointments."""
        ...

    async def book(self, meeting: Meeting) -> None:
        """Books its sites for its time instead of what was booked before. Raises: SiteBooked."""
        ...

    async def release(self, meeting_id: str) -> None:
        """Gives its sites free."""
        ...

    async def clash(self, meeting: Meeting) -> Clash | None:
        """The first booking of another meeting that stands in the way."""
        ...

    async def page(self, query: MeetingQuery) -> Sequence[Meeting]:
        """By start, then id; of the appointments only those of the asking party and its unit."""
        ...

    async def lock_overdue(self, ended_before: datetime, limit: int) -> Sequence[Meeting]:
        """Running meetings whose planned end lies before, locked; those that others hold are left out."""
        ...


class Admissions(Protocol):
    """Admissions of meetings; writers hold the meeting's lock."""

    async def get(self, meeting_id: str, admission_id: str) -> Admission | None:
        """By id."""
        ...

    async def of(self, meeting_id: str, ref: PartyRef) -> Admission | None:
        """By party."""
        ...

    async def standing(
        self, organisation_id: str, meeting_id: str, party: Party, *, lock: bool = False
    ) -> Standing | None:
        """All that a party's admission is decided by, read at one moment; None: no such meeting.

        With `lock` nobody else changes it until the transaction ends.
        """
        ...

    async def put(self, admission: Admission) -> None:
        """Adds or replaces it."""
        ...

    async def counts(self, meeting_id: str) -> Mapping[AdmissionState, int]:
        """How many are in each state (absent: none)."""
        ...

    async def all(self, meeting_id: str, state: AdmissionState | None) -> Sequence[Admission]:
        """By time of request; of one state if given."""
        ...


class Presences(Protocol):
    """Stays in rooms; writers hold the meeting's lock."""

    async def get(self, meeting_id: str, presence_id: str) -> Presence | None:
        """By id."""
        ...

    async def put(self, presence: Presence) -> None:
        """Adds or replaces it."""
        ...

    async def all(self, meeting_id: str) -> Sequence[Presence]:
        """Every stay."""
        ...

    async def somebody_there(self, meeting_id: str) -> bool:
        """Whether a stay is open."""
        ...

    async def close_all(self, meeting_id: str, at: datetime) -> None:
        """Ends every open stay at this time (or at its own beginning, if that is later)."""
        ...


class Keys(Protocol):
    """Idempotency keys, each the caller's own."""

    async def find(self, caller: Caller, key: str) -> tuple[bytes, str] | None:
        """The digest of what was asked with the key, and the meeting it made."""
        ...

    async def claim(self, caller: Caller, key: str, digest: bytes, meeting_id: str) -> bool:
        """Remembers it; False if somebody has it already. Waits for others who claim the same key."""
        ...

    async def forget(self, claimed_before: datetime) -> int:
        """Forgets those claimed before; how many."""
        ...


class News(Protocol):
    """Facts that become public when the transaction commits."""

    async def scheduled(self, meeting: Meeting) -> None:
        """A meeting was called."""
        ...

    async def changed(
        self,
        meeting: Meeting,
        removed: Sequence[Appointment],
        added: Sequence[Appointment],
        *,
        announce_to_all: bool,
    ) -> None:
        """A meeting was changed."""
        ...

    async def cancelled(self, meeting: Meeting) -> None:
        """A meeting was called off."""
        ...

    async def ended(self, meeting: Meeting) -> None:
        """A meeting is over."""
        ...

    async def admission_requested(self, admission: Admission) -> None:
        """Somebody waits."""
        ...

    async def admission_decided(self, admission: Admission) -> None:
        """Somebody was admitted or refused."""
        ...


class Records(Protocol):
    """One transaction's view."""

    @property
    def meetings(self) -> Meetings: ...
    @property
    def admissions(self) -> Admissions: ...
    @property
    def presences(self) -> Presences: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def news(self) -> News: ...


class Reading(Protocol):
    """What can be asked without a transaction: each question sees what is committed when it is asked."""

    @property
    def meetings(self) -> Meetings: ...
    @property
    def admissions(self) -> Admissions: ...


class Transactions(Protocol):
    """Begins a transaction: committed when the block ends, undone when it raises."""

    def __call__(self) -> AbstractAsyncContextManager[Records]: ...

    def reading(self) -> AbstractAsyncContextManager[Reading]:
        """For questions alone; nothing is to be written there."""
        ...

    async def add_to_running(self, organisation_id: str, stay: Presence) -> bool:
        """Adds a stay in a transaction of its own, if that is all there is to do: the meeting runs since before the
        stay began, and the stay is not known. False: nothing was done.
        """
        ...


class Directory(Protocol):
    """Who is who, asked with the caller's own token; never inside a transaction."""

    async def parties(self, refs: Collection[PartyRef]) -> Mapping[PartyRef, Party]:
        """Names; unknown, foreign and inactive references are left out."""
        ...

    async def may_convene(self, unit_id: str) -> bool:
        """Whether the caller may call meetings for the unit. Raises: UnitNotFound."""
        ...

    async def may_oversee(self, unit_id: str) -> bool:
        """Whether the caller may see the unit's meetings. Raises: UnitNotFound."""
        ...

    async def own_and_watched_units(self) -> tuple[str, frozenset[str]]:
        """The caller's own unit, and every unit whose meetings it convenes or oversees. For users only.

        Raises: NotFound if the caller is no active user any more.
        """
        ...


class Grants(Protocol):
    """What media demands of those who come in."""

    def sign(self, meeting: Meeting, admission: Admission) -> str:
        """The grant of an admitted party."""
        ...
