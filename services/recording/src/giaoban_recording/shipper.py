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

from giaoban_kit.logging import get_logger

from giaoban_recording.domain import Track, TrackName, parse_track_name
from giaoban_recording.metrics import SHIP_FAILURES, SHIPPED
from giaoban_recording.storage import ObjectStorage

INTERVAL = 2.0
MAX_CHUNK_BYTES = 8 * 1024 * 1024
ABANDONED_AFTER = timedelta(hours=24)
"""An open file that has not grown for so long was left by a node that died; storage has all of it."""

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

    async def run(self) -> None:
        """Ships until cancelled. Storage that does not answer only delays."""
        while True:
            await self.ship_all()
            await asyncio.sleep(INTERVAL)

    async def ship_all(self) -> None:
        """One round over all files."""
        for file in sorted(self._folder.glob("*.mjr*")):
            name = parse_track_name(file.name)
            if name is None:
                continue
            try:
                await self._ship(file, name)
            except FileNotFoundError:
                continue  # renamed at this moment: the next round finds it under its final name
            except Exception as error:  # noqa: BLE001 - whatever storage says, the next round tries again
                SHIP_FAILURES.inc()
                log.warning("track_not_shipped", file=file.name, error=type(error).__name__)

    async def _ship(self, file: Path, name: TrackName) -> None:
        key = replace(name, is_open=False)
        track = self._tracks.get(key) or await self._storage.manifest(self._node_id, key)
        size, changed = _status(file)
        if size < track.size:
            raise ValueError("the file is shorter than what was shipped of it")
        while track.size < size:
            data = await asyncio.to_thread(_read, file, track.size, min(MAX_CHUNK_BYTES, size - track.size))
            chunk = await self._storage.put_chunk(track, data)
            track = replace(track, chunks=(*track.chunks, chunk), update_time=self._now())
            await self._storage.put_manifest(track)
            self._tracks[key] = track
            SHIPPED.inc(chunk.length)
        if not name.is_open or self._now() - changed > ABANDONED_AFTER:
            await self._finish(file, track)

    async def _finish(self, file: Path, track: Track) -> None:
        if not await asyncio.to_thread(_matches, file, track):
            # What was shipped of it is not what the node has in the end: all of it again.
            log.warning("track_shipped_again", file=file.name)
            self._tracks[track.name] = replace(track, chunks=(), complete=False)
            await self._storage.put_manifest(self._tracks[track.name])
            return
        await self._storage.put_manifest(replace(track, complete=True, update_time=self._now()))
        self._tracks.pop(track.name, None)
        await asyncio.to_thread(file.unlink)
        log.info("track_shipped", file=file.name, bytes=track.size)


def _status(file: Path) -> tuple[int, datetime]:
    status = file.stat()
    return status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)


def _read(file: Path, offset: int, length: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(length)


def _matches(file: Path, track: Track) -> bool:
    with file.open("rb") as opened:
        return all(
            hashlib.sha256(opened.read(each.length)).hexdigest() == each.sha256 for each in track.chunks
        )
