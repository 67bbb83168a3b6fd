# SPDX-License-Identifier: Apache-2.0
"""The use cases of recording. No transaction is held while another service is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from giaoban_kit.clock import Clock
from giaoban_kit.errors import Conflict, GiaobanError, NotFound, Precondition
from giaoban_kit.logging import get_logger
from giaoban_kit.tokens import Principal

from giaoban_recording.domain import Recording, State, all_shipped
from giaoban_recording.errors import (
    MeetingNotRunning,
    RangeInvalid,
    RecordForbidden,
    RecordingNotFailed,
    RecordingNotFound,
    RecordingNotReady,
    RecordingRunning,
)
from giaoban_recording.ports import Appointment, Begin, Library, Meetings, Rooms

RECORDERS = frozenset({"chair", "secretary", "operator"})

COUNT_EVERY = timedelta(seconds=10)
"""How often the bytes of a running recording are counted."""

ROOM_GONE_AFTER = timedelta(minutes=10)
"""A room that media has not known for so long does not come back: an end that was never heard of."""

MAX_SCANNED = 500
"""Recordings looked through for one page; a page may be shorter than asked for."""

VISIBILITY_CONCURRENCY = 8

log = get_logger(__name__)


class Recorder:
    """One method per use case."""

    def __init__(
        self,
        begin: Begin,
        meetings: Meetings,
        rooms: Rooms,
        library: Library,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        """Lives as long as the process."""
        self._begin = begin
        self._meetings = meetings
        self._rooms = rooms
        self._library = library
        self._clock = clock
        self._new_id = new_id
        self._counted: dict[str, datetime] = {}
        self._missing_since: dict[str, datetime] = {}

    async def start(self, caller: Principal, meeting_id: str) -> Recording:
        """Starts capture; one that runs is returned. Raises `RecordForbidden`, `MeetingNotRunning`, `NotFound`."""
        appointment = await self._recorder(meeting_id)
        if not appointment.running:
            raise MeetingNotRunning("Recording starts once somebody is in the meeting.")
        fresh = Recording(
            id=self._new_id(),
            organisation_id=appointment.organisation_id,
            unit_id=appointment.unit_id,
            meeting_id=meeting_id,
            meeting_title=appointment.meeting_title,
            state=State.CAPTURING,
            started_by=caller.subject,
            start_time=self._clock.now(),
        )
        try:
            async with self._begin() as unit:
                running = await unit.recordings.running(meeting_id)
                if running is None:
                    await unit.recordings.add(fresh)
                    await unit.news.tell("started", fresh)
        except RecordingRunning:
            async with self._begin() as unit:
                running = await unit.recordings.running(meeting_id)
            if running is None:
                raise Conflict("Another recording was just started and stopped. Try again.") from None
        recording = running or fresh
        # From here on it is desired state: the reconciler asks again should media not answer now.
        try:
            await self._assert_capture(recording)
        except GiaobanError as error:
            log.warning("capture_postponed", recording_id=recording.id, reason=error.reason)
        return recording

    async def stop(self, recording_id: str) -> Recording:
        """Stops capture. Raises `RecordingNotFound`, `RecordForbidden`."""
        await self._guarded(recording_id)
        return await self._stop(recording_id)

    async def meeting_ended(self, meeting_id: str) -> None:
        """Nothing is captured after the end."""
        async with self._begin() as unit:
            running = await unit.recordings.running(meeting_id)
        if running is not None:
            await self._stop(running.id)

    async def get(self, recording_id: str, *, granted: bool = False) -> Recording:
        """One recording that the caller may see, or has a grant for. Raises `RecordingNotFound`."""
        recording = await self._find(recording_id)
        if not granted and not await self._visible(recording):
            raise RecordingNotFound("There is no such recording.")
        return recording

    async def list(
        self, caller: Principal, meeting_id: str | None, before: str | None, limit: int
    ) -> tuple[Sequence[Recording], str | None]:
        """Recordings that the caller may see, newest first, and the id to go on below.

        A page may hold fewer than `limit`, even none, while there are more.
        """
        found: list[Recording] = []
        known: dict[str, bool] = {}
        at_once = asyncio.Semaphore(VISIBILITY_CONCURRENCY)

        async def look(recording: Recording) -> None:
            async with at_once:
                known[recording.meeting_id] = await self._visible(recording)

        for _ in range(0, MAX_SCANNED, limit):
            async with self._begin() as unit:
                batch = await unit.recordings.newest(caller.organisation_id, meeting_id, before, limit)
            fresh = {each.meeting_id: each for each in batch if each.meeting_id not in known}
            await asyncio.gather(*(look(each) for each in fresh.values()))
            for each in batch:
                if known[each.meeting_id]:
                    if len(found) == limit:
                        return found, found[-1].id
                    found.append(each)
            if len(batch) < limit:
                return found, None
            before = batch[-1].id
        return found, before

    async def ready(self, recording_id: str, *, granted: bool = False) -> Recording:
        """As `get`, and it can be played. Raises `RecordingNotFound`, `RecordingNotReady`."""
        recording = await self.get(recording_id, granted=granted)
        if recording.state is not State.READY:
            raise RecordingNotReady("The recording is not composed yet. Its state tells how far it is.")
        return recording

    async def content(
        self, recording_id: str, offset: int, length: int, *, granted: bool = False
    ) -> AsyncIterator[bytes]:
        """Bytes of the composed file. Raises `RecordingNotFound`, `RecordingNotReady`, `RangeInvalid`."""
        recording = await self.ready(recording_id, granted=granted)
        if offset < 0 or length < 0 or offset > recording.size_bytes:
            raise RangeInvalid(f"The file has {recording.size_bytes} bytes; ask for a range within.")
        rest = recording.size_bytes - offset
        return self._library.read_result(recording_id, recording.sha256, offset, min(length or rest, rest))

    async def retry(self, recording_id: str) -> Recording:
        """Composes again. Raises `RecordingNotFound`, `RecordForbidden`, `RecordingNotFailed`."""
        await self._guarded(recording_id)
        async with self._begin() as unit:
            recording = await unit.recordings.get(recording_id)
            if recording is None or recording.state is not State.FAILED:
                raise RecordingNotFailed("Only a recording that failed can be composed again.")
            again = replace(recording, state=State.COMPOSING, attempts=0, failure="", progress_percent=0)
            await unit.recordings.save(again)
        return again

    async def reconcile(self) -> None:
        """Brings every unfinished recording on: capture asserted, shipping counted, composing asked for."""
        async with self._begin() as unit:
            for each in await unit.recordings.given_up(self._clock.now()):
                failed = replace(
                    each,
                    state=State.FAILED,
                    failure=each.failure or "The worker that composed it was ended, again and again.",
                )
                await unit.recordings.save(failed)
                await unit.news.tell("failed", failed)
            unfinished = await unit.recordings.unfinished()
        for recording in unfinished:
            try:
                await self._bring_on(recording)
            except GiaobanError as error:
                log.info("recording_postponed", recording_id=recording.id, reason=error.reason)

    async def _bring_on(self, recording: Recording) -> None:
        if recording.state is State.CAPTURING:
            await self._assert_capture(recording)
            if not self._due(recording):
                return
        elif recording.state is State.SHIPPING:
            # Asked again until media knows it; before that nothing is composed.
            await self._assert_stop(recording)
        else:
            return
        tracks = await self._library.tracks(recording.id)
        looks = await self._library.looks() if recording.state is State.SHIPPING else ()
        shipped = sum(each.size for each in tracks)
        async with self._begin() as unit:
            newest = await unit.recordings.get(recording.id)
            if newest is None or newest.state is not recording.state:
                return
            changed = replace(newest, shipped_bytes=shipped)
            if newest.state is State.SHIPPING and all_shipped(newest, tracks, looks, self._clock.now()):
                if tracks:
                    changed = replace(changed, state=State.COMPOSING)
                else:
                    changed = replace(
                        changed, state=State.FAILED, failure="Nobody sent anything while it ran."
                    )
                    await unit.news.tell("failed", changed)
            if changed != newest:
                await unit.recordings.save(changed)

    def _due(self, recording: Recording) -> bool:
        now = self._clock.now()
        if now - self._counted.get(recording.id, recording.start_time) < COUNT_EVERY:
            return False
        self._counted[recording.id] = now
        return True

    async def _assert_capture(self, recording: Recording) -> None:
        now = self._clock.now()
        try:
            await self._rooms.record(recording.meeting_id, recording.id, active=True)
        except NotFound:
            # Everyone has left, or live state was lost and is built anew: people may come back, and are recorded.
            if now - self._missing_since.setdefault(recording.id, now) >= ROOM_GONE_AFTER:
                await self._stop(recording.id)
        except Precondition as error:
            log.warning("capture_refused", recording_id=recording.id, reason=error.reason)
        else:
            self._missing_since.pop(recording.id, None)

    async def _assert_stop(self, recording: Recording) -> None:
        try:
            await self._rooms.record(recording.meeting_id, recording.id, active=False)
        except NotFound:
            return  # no room, no capture

    async def _stop(self, recording_id: str) -> Recording:
        async with self._begin() as unit:
            recording = await unit.recordings.get(recording_id)
            if recording is None:
                raise RecordingNotFound("There is no such recording.")
            if recording.state is State.CAPTURING:
                recording = replace(recording, state=State.SHIPPING, stop_time=self._clock.now())
                await unit.recordings.save(recording)
                await unit.news.tell("stopped", recording)
        for forgotten in (self._counted, self._missing_since):
            forgotten.pop(recording_id, None)
        try:
            await self._assert_stop(recording)
        except GiaobanError as error:
            log.info("capture_stop_postponed", recording_id=recording.id, reason=error.reason)
        return recording

    async def _find(self, recording_id: str) -> Recording:
        async with self._begin() as unit:
            recording = await unit.recordings.get(recording_id)
        if recording is None:
            raise RecordingNotFound("There is no such recording.")
        return recording

    async def _guarded(self, recording_id: str) -> None:
        """Raises `RecordingNotFound` (also for strangers to the meeting), `RecordForbidden`."""
        recording = await self._find(recording_id)
        try:
            await self._recorder(recording.meeting_id)
        except NotFound:
            raise RecordingNotFound("There is no such recording.") from None

    async def _recorder(self, meeting_id: str) -> Appointment:
        appointment = await self._meetings.appointment(meeting_id)
        if appointment.role not in RECORDERS:
            raise RecordForbidden("Only chair, secretary and operator may record.")
        return appointment

    async def _visible(self, recording: Recording) -> bool:
        try:
            appointment = await self._meetings.appointment(recording.meeting_id)
        except NotFound:
            return False
        if appointment.role and appointment.role != "press":
            return True
        return await self._meetings.may_oversee(recording.unit_id)
