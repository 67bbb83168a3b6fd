# SPDX-License-Identifier: Apache-2.0
"""Owns the composing of recordings: leased from the queue, killed at any point, begun again by anybody."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from giaoban_kit.clock import Clock
from giaoban_kit.errors import GiaobanError, Unavailable
from giaoban_kit.logging import get_logger

from giaoban_recording.composer import MEDIA_TYPE, Piece, Tools, compose, unpack
from giaoban_recording.domain import MAX_ATTEMPTS, Recording, State, Track
from giaoban_recording.errors import ComposeFailed, TrackDamaged
from giaoban_recording.metrics import COMPOSE_SECONDS, COMPOSED
from giaoban_recording.ports import Begin, Storage
from giaoban_recording.storage import sha256_of

LEASE = timedelta(seconds=30)
"""Time after which a worker that fell silent counts as dead."""

RENEW_SECONDS = 5.0
IDLE_SECONDS = 2.0
PAUSES = tuple(timedelta(seconds=each) for each in (5, 15, 60, 180))
"""Before the second attempt, the third, and so on."""

AWAY = timedelta(seconds=10)
"""Pause when storage or disk failed; that is no attempt."""

LOCK = ".lock"

log = get_logger(__name__)


class LeaseLostError(Exception):
    """Somebody else composes this recording now."""


class Worker:
    """Composes one recording after the other."""

    def __init__(self, begin: Begin, storage: Storage, clock: Clock, tools: Tools, work: Path) -> None:
        """`work` is a folder for temporary files; workers may share it."""
        self._begin = begin
        self._storage = storage
        self._clock = clock
        self._tools = tools
        self._work = work

    async def run(self) -> None:
        """Works until cancelled."""
        await asyncio.to_thread(remove_leftovers, self._work)
        while True:
            try:
                found = await self.work_once()
            except Exception as error:  # noqa: BLE001 - what is away comes back; the lease runs out by itself
                log.warning("work_failed", error=type(error).__name__)
                found = False
            if not found:
                await asyncio.sleep(IDLE_SECONDS)

    async def work_once(self) -> bool:
        """Composes one recording, if there is one to compose."""
        now = self._clock.now()
        until = now + LEASE
        async with self._begin() as unit:
            recording = await unit.recordings.lease(now, until)
        if recording is None:
            return False
        lease = _Lease(self._begin, self._clock, recording.id, until)
        began = time.monotonic()
        try:
            with _own_folder(self._work, recording.id) as folder:
                done = await self._compose(recording, folder, lease)
        except LeaseLostError:
            log.warning("compose_lease_lost", recording_id=recording.id)
        except (ComposeFailed, TrackDamaged) as error:
            await self._give_up(recording, error, lease)
        except (Unavailable, OSError, asyncio.CancelledError) as error:
            # Not the recording's fault, so no attempt: storage or disk are away, or this worker has to go.
            log.warning("compose_postponed", recording_id=recording.id, error=type(error).__name__)
            again = replace(recording, attempts=recording.attempts - 1)
            async with self._begin() as unit:
                await unit.recordings.hand_back(again, lease.held, self._clock.now() + AWAY)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            await self._finish(done, lease)
            COMPOSE_SECONDS.observe(time.monotonic() - began)
        return True

    async def _compose(self, recording: Recording, folder: Path, lease: _Lease) -> Recording:
        making = asyncio.create_task(self._make(recording, folder, lease))
        keeping = asyncio.create_task(lease.keep())
        try:
            await asyncio.wait({making, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                keeping.result()
            # A renewal under way is waited for: its end is the proof that the result is handed back with.
            lease.stop()
            await keeping
            return making.result()
        finally:
            for task in (making, keeping):
                task.cancel()
            await asyncio.gather(making, keeping, return_exceptions=True)

    async def _make(self, recording: Recording, folder: Path, lease: _Lease) -> Recording:
        tracks = await self._storage.tracks(recording.id)
        async with self._begin() as unit:
            names = await unit.recordings.names(recording.meeting_id)
        pieces, left_out = await self._pieces(tracks, folder)
        if not pieces:
            raise ComposeFailed("No track holds any media." + "".join(f" {each}" for each in left_out[:5]))
        target = folder / "meeting.mp4"
        duration = await compose(self._tools, pieces, names, target, lease.tell)
        sha256 = await asyncio.to_thread(sha256_of, target)
        await self._storage.put_result(recording.id, sha256, target)
        return replace(
            recording,
            state=State.READY,
            duration=duration,
            size_bytes=target.stat().st_size,
            sha256=sha256,
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
            Piece(file, participant, header.kind, header.first_packet - begin, duration, header.is_screen)
            for header, file, duration, participant in found
        ]
        return pieces, left_out

    async def _finish(self, done: Recording, lease: _Lease) -> None:
        async with self._begin() as unit:
            if not await unit.recordings.hand_back(done, lease.held):
                log.warning("compose_lease_lost", recording_id=done.id)
                return
            await unit.news.tell("completed", done)
        COMPOSED.labels("ready").inc()
        log.info("recording_composed", recording_id=done.id, bytes=done.size_bytes)

    async def _give_up(self, recording: Recording, error: GiaobanError, lease: _Lease) -> None:
        final = recording.attempts >= MAX_ATTEMPTS
        log.error(
            "compose_failed", recording_id=recording.id, attempts=recording.attempts, detail=error.detail
        )
        COMPOSED.labels("failed" if final else "again").inc()
        failed = replace(recording, failure=error.detail[:500])
        async with self._begin() as unit:
            if final:
                failed = replace(failed, state=State.FAILED)
                if await unit.recordings.hand_back(failed, lease.held):
                    await unit.news.tell("failed", failed)
            else:
                again = self._clock.now() + PAUSES[recording.attempts - 1]
                await unit.recordings.hand_back(failed, lease.held, again)


class _Lease:
    """A lease that is kept while the work goes on; progress is told with every renewal."""

    def __init__(self, begin: Begin, clock: Clock, recording_id: str, until: datetime) -> None:
        self.held = until
        self._begin = begin
        self._clock = clock
        self._recording_id = recording_id
        self._percent = 0
        self._stopped = asyncio.Event()

    async def tell(self, percent: int) -> None:
        """Remembers; the next renewal says it."""
        self._percent = percent

    async def keep(self) -> None:
        """Renews until stopped. Raises `LeaseLostError`."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._stopped.wait()
            if self._stopped.is_set():
                return
            await self._renew()

    def stop(self) -> None:
        """No more renewals."""
        self._stopped.set()

    async def _renew(self) -> None:
        until = self._clock.now() + LEASE
        try:
            async with self._begin() as unit:
                renewed = await unit.recordings.renew(self._recording_id, self.held, until, self._percent)
        except Unavailable:
            renewed = self._clock.now() < self.held  # still ours; the database may be back in time
        else:
            self.held = until if renewed else self.held
        if not renewed:
            raise LeaseLostError


@contextmanager
def _own_folder(work: Path, recording_id: str) -> Iterator[Path]:
    """A temporary folder with a lock that ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix=f"{recording_id}-", dir=work))
    try:
        with (folder / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(work: Path) -> None:
    """Removes the folders of workers that were killed."""
    for lock in work.glob(f"*-*/{LOCK}"):
        with suppress(OSError), lock.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
