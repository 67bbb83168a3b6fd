# SPDX-License-Identifier: Apache-2.0
"""Owns the doubles of recording's ports, for tests; the stores' contract suite holds them to the real ones."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from giaoban_kit.errors import GiaobanError, NotFound

from giaoban_recording.domain import MAX_ATTEMPTS, Look, Recording, State, Track
from giaoban_recording.errors import RecordingRunning
from giaoban_recording.ports import Appointment, Unit


@dataclass
class Stored:
    """Everything that is stored, by key."""

    recordings: dict[str, Recording] = field(default_factory=dict)
    leases: dict[str, datetime] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    news: list[tuple[str, str]] = field(default_factory=list)  # verb, recording id


class MemoryRecordings:
    """The `Recordings` port in memory."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    async def get(self, recording_id: str) -> Recording | None:
        return self._stored.recordings.get(recording_id)

    async def running(self, meeting_id: str) -> Recording | None:
        found = [each for each in self._in(State.CAPTURING) if each.meeting_id == meeting_id]
        return found[0] if found else None

    async def unfinished(self) -> Sequence[Recording]:
        return self._in(State.CAPTURING, State.SHIPPING, State.COMPOSING)

    async def newest(
        self, organisation_id: str, meeting_id: str | None, before: str | None, limit: int
    ) -> Sequence[Recording]:
        found = [
            each
            for each in self._stored.recordings.values()
            if each.organisation_id == organisation_id
            and meeting_id in (None, each.meeting_id)
            and (before is None or each.id < before)
        ]
        return sorted(found, key=lambda each: each.id, reverse=True)[:limit]

    async def add(self, recording: Recording) -> None:
        running = await self.running(recording.meeting_id)
        if recording.state is State.CAPTURING and running is not None:
            raise RecordingRunning("The meeting is being recorded already.")
        self._stored.recordings[recording.id] = recording

    async def save(self, recording: Recording) -> None:
        self._stored.recordings[recording.id] = recording
        self._stored.leases.pop(recording.id, None)

    async def lease(self, now: datetime, until: datetime) -> Recording | None:
        for each in self._in(State.COMPOSING):
            if self._free(each, now) and each.attempts < MAX_ATTEMPTS:
                leased = replace(each, attempts=each.attempts + 1)
                self._stored.recordings[each.id] = leased
                self._stored.leases[each.id] = until
                return leased
        return None

    async def renew(self, recording_id: str, held: datetime, until: datetime, progress: int) -> bool:
        if not self._holds(recording_id, held):
            return False
        renewed = replace(self._stored.recordings[recording_id], progress_percent=progress)
        self._stored.recordings[recording_id] = renewed
        self._stored.leases[recording_id] = until
        return True

    async def hand_back(self, recording: Recording, held: datetime, again: datetime | None = None) -> bool:
        if not self._holds(recording.id, held):
            return False
        await self.save(recording)
        if again is not None:
            self._stored.leases[recording.id] = again
        return True

    async def given_up(self, now: datetime) -> Sequence[Recording]:
        found = self._in(State.COMPOSING)
        return [each for each in found if each.attempts >= MAX_ATTEMPTS and self._free(each, now)]

    async def name_participant(self, meeting_id: str, participant_id: str, name: str) -> None:
        self._stored.names.setdefault(meeting_id, {})[participant_id] = name

    async def names(self, meeting_id: str) -> Mapping[str, str]:
        return dict(self._stored.names.get(meeting_id, {}))

    def _in(self, *states: State) -> list[Recording]:
        found = [each for each in self._stored.recordings.values() if each.state in states]
        return sorted(found, key=lambda each: each.id)

    def _free(self, recording: Recording, now: datetime) -> bool:
        held = self._stored.leases.get(recording.id)
        return held is None or held < now

    def _holds(self, recording_id: str, held: datetime) -> bool:
        recording = self._stored.recordings.get(recording_id)
        composing = recording is not None and recording.state is State.COMPOSING
        return composing and self._stored.leases.get(recording_id) == held


class MemoryNews:
    """The `News` port in memory."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    async def tell(self, verb: str, recording: Recording) -> None:
        self._stored.news.append((verb, recording.id))


class MemoryTransactions:
    """The `Begin` port in memory: what a failed block did is undone."""

    def __init__(self) -> None:
        self.stored = Stored()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Unit]:
        before = copy.deepcopy(self.stored)
        try:
            yield Unit(MemoryRecordings(self.stored), MemoryNews(self.stored))
        except BaseException:
            vars(self.stored).update(vars(before))
            raise


class MemoryMeetings:
    """The `Meetings` port: what scheduling and identity would say of the caller."""

    def __init__(self) -> None:
        self.appointments: dict[str, Appointment] = {}
        self.overseen: set[str] = set()
        self.asked: list[str] = []

    async def appointment(self, meeting_id: str) -> Appointment:
        self.asked.append(meeting_id)
        if meeting_id not in self.appointments:
            raise NotFound("There is no such meeting.")
        return self.appointments[meeting_id]

    async def may_oversee(self, unit_id: str) -> bool:
        return unit_id in self.overseen


class MemoryRooms:
    """The `Rooms` port: what media was told last, and what it answers."""

    def __init__(self) -> None:
        self.recorded: dict[str, str] = {}
        self.error: GiaobanError | None = None

    async def record(self, meeting_id: str, recording_id: str, *, active: bool) -> None:
        if self.error is not None:
            raise self.error
        if active:
            self.recorded[meeting_id] = recording_id
        elif self.recorded.get(meeting_id) == recording_id:
            del self.recorded[meeting_id]


class MemoryLibrary:
    """What the use cases read of storage: tracks, looks and composed files that a test puts here."""

    def __init__(self) -> None:
        self.found: list[Track] = []
        self.seen: list[Look] = []
        self.results: dict[tuple[str, str], bytes] = {}

    async def tracks(self, recording_id: str) -> Sequence[Track]:
        return [each for each in self.found if each.name.recording_id == recording_id]

    async def looks(self) -> Sequence[Look]:
        return self.seen

    async def read_result(
        self, recording_id: str, sha256: str, offset: int, length: int
    ) -> AsyncIterator[bytes]:
        yield self.results[recording_id, sha256][offset : offset + length]
