# SPDX-License-Identifier: Apache-2.0
"""Owns the way of tracks from a media node to storage: while the meeting runs, with checksums, by itself.

It needs only the node's folder and the object store, so that nothing else can stop it. Killed at any point,
it goes on from what storage says. A local file goes only when the node has closed it and every byte of it is
in storage.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from giaoban_kit.errors import Unavailable
from giaoban_kit.logging import get_logger

from giaoban_recording.domain import Chunk, Look, Track, TrackName, parse_track_name
from giaoban_recording.metrics import SHIP_FAILURES, SHIPPED
from giaoban_recording.storage import ObjectStorage

INTERVAL = 2.0
MAX_INTERVAL = 30.0
"""Longest pause between rounds while storage refuses."""

CONCURRENCY = 16
PIECE_BYTES = 8 * 1024 * 1024
"""No piece is read larger, and pieces smaller than this are joined: no meeting leaves thousands of them."""

MAX_SMALL_PIECES = 64
IDLE_AFTER = timedelta(seconds=30)
"""An open file that has not grown for so long counts as complete: the node died, or nobody speaks. Should it
grow again, it is open again."""

ABANDONED_AFTER = timedelta(hours=24)
"""An open file that has not grown for so long is removed: the node died, and storage has all of it."""

log = get_logger(__name__)


class Shipper:
    """Ships one node's folder."""

    def __init__(
        self,
        folder: Path,
        node_id: str,
        storage: ObjectStorage,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`folder` is where the node writes its tracks."""
        self._folder = folder
        self._node_id = node_id
        self._storage = storage
        self._now = now
        self._tracks: dict[TrackName, Track] = {}
        self._round = asyncio.Lock()

    async def run(self) -> None:
        """Ships until cancelled. Storage that does not answer only delays."""
        pause = INTERVAL
        while True:
            pause = INTERVAL if await self.ship_all() else min(pause * 2, MAX_INTERVAL)
            await asyncio.sleep(pause)

    async def ship_all(self) -> bool:
        """One round over all files, never two at once; False when something could not be shipped."""
        async with self._round:
            return await self._ship_all()

    async def _ship_all(self) -> bool:
        began, limit = self._now(), asyncio.Semaphore(CONCURRENCY)

        async def one(file: Path, name: TrackName) -> bool:
            async with limit:
                return await self._try(file, name)

        # By track: a file that is renamed while the folder is read may appear under both names.
        found: dict[str, tuple[Path, TrackName]] = {}
        for file in sorted(self._folder.glob("*.mjr*"), reverse=True):
            name = parse_track_name(file.name)
            if name is not None:
                found[name.file] = (file, name)
        done = await asyncio.gather(*(one(file, name) for file, name in found.values()))
        if not all(done):
            return False
        try:
            await self._storage.put_look(Look(self._node_id, began))
        except Unavailable as error:
            SHIP_FAILURES.inc()
            log.warning("look_not_told", detail=error.detail)
            return False
        return True

    async def _try(self, file: Path, name: TrackName) -> bool:
        try:
            await self._ship(file, name)
        except FileNotFoundError:
            return False  # renamed at this moment: the next round finds it under its final name
        except Exception as error:  # noqa: BLE001 - whatever storage or disk say, the next round tries again
            SHIP_FAILURES.inc()
            log.warning("track_not_shipped", file=file.name, error=type(error).__name__, detail=str(error))
            return False
        return True

    async def _ship(self, file: Path, name: TrackName) -> None:
        key = replace(name, is_open=False)
        track = self._tracks.get(key) or await self._storage.manifest(self._node_id, key)
        size, changed = _status(file)
        while track.size < size:
            data = await asyncio.to_thread(_read, file, track.size, min(PIECE_BYTES, size - track.size))
            chunk = await self._storage.put_chunk(track, track.size, data)
            track = self._with(track, (*track.chunks, chunk))
            track = await self._joined(file, track)
            await self._storage.put_manifest(track)
            SHIPPED.inc(chunk.length)
            self._tracks[key] = track
        idle = self._now() - changed
        if not name.is_open:
            await self._finish(file, track)
        elif idle > ABANDONED_AFTER and size == track.size:
            await self._remove(file, track)
        elif idle > IDLE_AFTER and not track.complete:
            track = replace(track, complete=True, update_time=self._now())
            await self._storage.put_manifest(track)
            self._tracks[key] = track

    async def _joined(self, file: Path, track: Track) -> Track:
        """The track with its last small pieces made one, when there are many of them."""
        first = len(track.chunks)
        while first > 0 and track.chunks[first - 1].length < PIECE_BYTES:
            first -= 1
        small = track.chunks[first:]
        total = sum(each.length for each in small)
        if len(small) < 2 or (len(small) < MAX_SMALL_PIECES and total < PIECE_BYTES):
            return track
        data = await asyncio.to_thread(_read, file, small[0].offset, total)
        if not _is(data, small):
            return track  # the file is not what was shipped of it: seen, and put right, in the end
        chunk = await self._storage.put_chunk(track, small[0].offset, data)
        return replace(track, chunks=(*track.chunks[:first], chunk))

    async def _finish(self, file: Path, track: Track) -> None:
        size, _ = _status(file)
        if size < track.size:
            # A machine that lost power may have less on its disk than it had shipped: storage is right.
            log.warning("track_shorter_than_shipped", file=file.name, bytes=size, shipped=track.size)
        elif not await asyncio.to_thread(_matches, file, track):
            # What was shipped of it is not what the node has in the end: all of it again.
            log.warning("track_shipped_again", file=file.name)
            self._tracks[track.name] = self._with(track, ())
            await self._storage.put_manifest(self._tracks[track.name])
            return
        await self._remove(file, track)

    async def _remove(self, file: Path, track: Track) -> None:
        if not track.complete:
            track = replace(track, complete=True, update_time=self._now())
            await self._storage.put_manifest(track)
        await self._storage.sweep(track)
        self._tracks.pop(track.name, None)
        await asyncio.to_thread(file.unlink, missing_ok=True)
        log.info("track_shipped", file=file.name, bytes=track.size)

    def _with(self, track: Track, chunks: tuple[Chunk, ...]) -> Track:
        return replace(track, chunks=chunks, complete=False, update_time=self._now())


def _status(file: Path) -> tuple[int, datetime]:
    status = file.stat()
    return status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)


def _read(file: Path, offset: int, length: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(length)


def _is(data: bytes, chunks: tuple[Chunk, ...]) -> bool:
    """Whether data is just these pieces, one after the other."""
    begin = chunks[0].offset
    return all(
        hashlib.sha256(data[each.offset - begin : each.offset - begin + each.length]).hexdigest()
        == each.sha256
        for each in chunks
    )


def _matches(file: Path, track: Track) -> bool:
    with file.open("rb") as opened:
        return all(
            hashlib.sha256(opened.read(each.length)).hexdigest() == each.sha256 for each in track.chunks
        )
