# SPDX-License-Identifier: Apache-2.0
"""What recording needs of the outside, in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from giaoban_kit.tokens import Principal

from giaoban_recording.domain import Look, Recording, Track


class Recordings(Protocol):
    """The recordings of one transaction."""

    async def get(self, recording_id: str) -> Recording | None:
        """By id."""
        ...

    async def running(self, meeting_id: str) -> Recording | None:
        """The recording of a meeting that is being captured."""
        ...

    async def unfinished(self) -> Sequence[Recording]:
        """Everything captured, shipped or waiting to be composed."""
        ...

    async def newest(
        self, organisation_id: str, meeting_id: str | None, before: str | None, limit: int
    ) -> Sequence[Recording]:
        """By id, newest first, below `before`."""
        ...

    async def add(self, recording: Recording) -> None:
        """A new one. Raises `RecordingRunning`."""
        ...

    async def save(self, recording: Recording) -> None:
        """Changes one."""
        ...

    async def lease(self, now: datetime, until: datetime) -> Recording | None:
        """The eldest one to compose that no living worker has; it is the caller's until then.

        `until` is also the caller's proof: only who names it may renew or return the lease.
        """
        ...

    async def renew(self, recording_id: str, held: datetime, until: datetime, progress: int) -> bool:
        """Keeps the lease held until `held`, and tells progress; False when it is somebody else's by now."""
        ...

    async def hand_back(self, recording: Recording, held: datetime, again: datetime | None = None) -> bool:
        """Saves what the holder of a lease made of it; False when the lease is somebody else's by now.

        `again`: nobody leases it before then.
        """
        ...

    async def given_up(self, now: datetime) -> Sequence[Recording]:
        """Those whose last permitted attempt ended without a word: the worker was killed."""
        ...

    async def name_participant(self, meeting_id: str, participant_id: str, name: str) -> None:
        """Remembers how a participant is called."""
        ...

    async def names(self, meeting_id: str) -> Mapping[str, str]:
        """Names of a meeting's participants by id."""
        ...


class News(Protocol):
    """Facts for the other services, in the same transaction."""

    async def tell(self, verb: str, recording: Recording) -> None:
        """started, stopped, completed or failed."""
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction's view."""

    recordings: Recordings
    news: News


class Begin(Protocol):
    """Opens a transaction that commits when its block ends well."""

    def __call__(self) -> AbstractAsyncContextManager[Unit]:
        """A new transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Appointment:
    """What scheduling says of the caller and a meeting."""

    role: str
    organisation_id: str
    unit_id: str
    meeting_title: str
    running: bool


class Meetings(Protocol):
    """Questions to scheduling and identity on the caller's behalf."""

    async def appointment(self, meeting_id: str) -> Appointment:
        """The caller's role ("" without one). Raises `NotFound`."""
        ...

    async def may_oversee(self, unit_id: str) -> bool:
        """Whether the caller oversees the unit."""
        ...


class Grants(Protocol):
    """What lets somebody play one recording for longer than an access token holds."""

    def sign(self, caller: Principal, recording: Recording) -> str:
        """The grant of somebody who may see it."""
        ...

    def check(self, grant: str, recording_id: str) -> None:
        """Raises `GrantInvalid` unless it is for this recording and holds."""
        ...


class Rooms(Protocol):
    """Commands to media."""

    async def record(self, meeting_id: str, recording_id: str, *, active: bool) -> None:
        """Starts or stops capture. Raises `NotFound` when nobody is in the room."""
        ...


class Library(Protocol):
    """What durable storage holds. Everything raises `Unavailable`."""

    async def tracks(self, recording_id: str) -> Sequence[Track]:
        """All tracks of a recording."""
        ...

    async def looks(self) -> Sequence[Look]:
        """The last look of every shipper."""
        ...

    def read_result(self, recording_id: str, sha256: str, offset: int, length: int) -> AsyncIterator[bytes]:
        """Bytes of the composed file."""
        ...


class Storage(Library, Protocol):
    """The same for a worker, who reads tracks and stores what it made of them."""

    async def fetch_track(self, track: Track, file: Path) -> None:
        """Writes a track to a file. Raises `TrackDamaged`."""
        ...

    async def put_result(self, recording_id: str, sha256: str, file: Path) -> None:
        """Stores the composed file under its checksum, so that no late worker replaces what another made."""
        ...
