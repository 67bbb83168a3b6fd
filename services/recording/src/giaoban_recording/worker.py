# SPDX-License-Identifier: Apache-2.0
"""Owns the composing of recordings: leased from the queue, killed at any point, begun again by anybody."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from giaoban_kit.clock import Clock
from giaoban_kit.errors import GiaobanError
from giaoban_kit.logging import get_logger

from giaoban_recording.composer import MEDIA_TYPE, Piece, Tools, compose, unpack
from giaoban_recording.domain import MAX_ATTEMPTS, Recording, State, Track
from giaoban_recording.errors import ComposeFailed, TrackDamaged
from giaoban_recording.metrics import COMPOSE_SECONDS, COMPOSED
from giaoban_recording.ports import Begin, Storage
from giaoban_recording.storage import sha256_of_async

LEASE = timedelta(seconds=30)
"""Time after which a worker that fell silent counts as dead."""

RENEW_SECONDS = 5.0
IDLE_SECONDS = 2.0

log = get_logger(__name__)


class LeaseLostError(Exception):
    """Somebody else composes this recording now."""


class Worker:
    """Composes one recording after the other."""

    def __init__(self, begin: Begin, storage: Storage, clock: Clock, tools: Tools, work: Path) -> None:
        """`work` is a folder for temporary files; what is left in it is nobody's."""
        self._begin = begin
        self._storage = storage
        self._clock = clock
        self._tools = tools
        self._work = work

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            if not await self.work_once():
                await asyncio.sleep(IDLE_SECONDS)

    async def work_once(self) -> bool:
        """Composes one recording, if there is one to compose."""
        now = self._clock.now()
        async with self._begin() as unit:
            recording = await unit.recordings.lease(now, now + LEASE)
        if recording is None:
            return False
        folder = Path(tempfile.mkdtemp(prefix=f"{recording.id}-", dir=self._work))
        began = time.monotonic()
        try:
            done = await self._compose(recording, folder)
        except LeaseLostError:
            log.warning("compose_lease_lost", recording_id=recording.id)
        except (ComposeFailed, TrackDamaged) as error:
            await self._give_up(recording, error)
        else:
            await self._finish(done)
            COMPOSE_SECONDS.observe(time.monotonic() - began)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return True

    async def _compose(self, recording: Recording, folder: Path) -> Recording:
        progress = _Progress(self, recording.id)
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(progress.keep())
            try:
                done = await self._make(recording, folder, progress)
            finally:
                renewing.cancel()
        return done

    async def _make(self, recording: Recording, folder: Path, progress: _Progress) -> Recording:
        tracks = await self._storage.tracks(recording.id)
        async with self._begin() as unit:
            names = await unit.recordings.names(recording.meeting_id)
        pieces, left_out = await self._pieces(tracks, folder)
        if not pieces:
            raise ComposeFailed("No track holds any media." + "".join(f" {each}" for each in left_out[:5]))
        target = folder / "meeting.mp4"
        duration = await compose(self._tools, pieces, names, target, progress.tell)
        await self._storage.put_result(recording.id, target)
        return replace(
            recording,
            state=State.READY,
            duration=duration,
            size_bytes=target.stat().st_size,
            sha256=await sha256_of_async(target),
            media_type=MEDIA_TYPE,
            progress_percent=100,
            failure=f"Left out as unreadable: {'; '.join(left_out)}"[:500] if left_out else "",
        )

    async def _pieces(self, tracks: Sequence[Track], folder: Path) -> tuple[list[Piece], list[str]]:
        """The readable tracks, aligned; and what is wrong with the others. One bad track spoils no recording."""
        found, left_out = [], []
        for number, track in enumerate(tracks):
            source = folder / f"{number:04}.mjr"
            try:
                await self._storage.fetch_track(track, source)
                media = await unpack(self._tools, track, source)
            except (ComposeFailed, TrackDamaged) as error:
                log.warning("track_left_out", file=track.name.file, reason=error.reason)
                left_out.append(error.detail)
                continue
            await asyncio.to_thread(source.unlink)
            if media is not None:
                found.append((*media, track.name.participant_id))
        if not found:
            return [], left_out
        begin = min(header.first_packet for header, *_ in found)
        pieces = [
            Piece(file, participant, header.kind, header.first_packet - begin, duration)
            for header, file, duration, participant in found
        ]
        return pieces, left_out

    async def _finish(self, done: Recording) -> None:
        async with self._begin() as unit:
            newest = await unit.recordings.get(done.id)
            if newest is None or newest.state is not State.COMPOSING:
                return
            await unit.recordings.save(done)
            await unit.news.tell("completed", done)
        COMPOSED.labels("ready").inc()
        log.info("recording_composed", recording_id=done.id, bytes=done.size_bytes)

    async def _give_up(self, recording: Recording, error: GiaobanError) -> None:
        final = recording.attempts >= MAX_ATTEMPTS
        log.error(
            "compose_failed", recording_id=recording.id, attempts=recording.attempts, detail=error.detail
        )
        COMPOSED.labels("failed" if final else "again").inc()
        failed = replace(recording, failure=error.detail[:500])
        async with self._begin() as unit:
            if final:
                failed = replace(failed, state=State.FAILED)
                await unit.news.tell("failed", failed)
            await unit.recordings.save(failed)
        await asyncio.sleep(IDLE_SECONDS)

    async def renew(self, recording_id: str, progress: int) -> None:
        """Keeps the lease. Raises `LeaseLostError`."""
        async with self._begin() as unit:
            if not await unit.recordings.renew(recording_id, self._clock.now() + LEASE, progress):
                raise LeaseLostError


class _Progress:
    """Percents, told with every renewal of the lease."""

    def __init__(self, worker: Worker, recording_id: str) -> None:
        self._worker = worker
        self._recording_id = recording_id
        self._percent = 0

    async def tell(self, percent: int) -> None:
        """Remembers; the next renewal says it."""
        self._percent = percent

    async def keep(self) -> None:
        """Renews until cancelled."""
        while True:
            await self._worker.renew(self._recording_id, self._percent)
            await asyncio.sleep(RENEW_SECONDS)
