# SPDX-License-Identifier: Apache-2.0
"""Owns the layout of object storage; the only importer of obstore.

    recordings/<recording>/tracks/<node>/<file>/manifest.json   what there is, and its checksums
    recordings/<recording>/tracks/<node>/<file>/<offset>        the pieces
    recordings/<recording>/meeting.mp4                          the composed file

A put replaces an object whole, on S3 and on a file system: a piece is written before the manifest names it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import from_url

from giaoban_recording.domain import Chunk, Track, TrackName, parse_track_name
from giaoban_recording.errors import TrackDamaged

RESULT = "meeting.mp4"
MANIFEST = "manifest.json"
READ_BYTES = 512 * 1024


class ObjectStorage:
    """Implements `ports.Storage`, and what the shipper writes."""

    def __init__(self, url: str) -> None:
        """`s3://bucket/prefix`, `gs://…`, `az://…` or `file:///…`; credentials from the environment."""
        self._store: Any = from_url(url)

    # The shipper's side

    async def manifest(self, node_id: str, name: TrackName) -> Track:
        """What storage has of a track; nothing yet is a track without pieces."""
        try:
            result = await obstore.get_async(self._store, f"{_folder(node_id, name)}/{MANIFEST}")
        except (NotFoundError, FileNotFoundError):
            return Track(node_id, name, (), complete=False, update_time=datetime.now(UTC))
        return _track(node_id, name, bytes(await result.bytes_async()))

    async def put_chunk(self, track: Track, data: bytes) -> Chunk:
        """Stores a piece at the track's end. Only a manifest makes it part of the track."""
        chunk = Chunk(track.size, len(data), hashlib.sha256(data).hexdigest())
        await obstore.put_async(self._store, f"{_folder(track.node_id, track.name)}/{chunk.offset:015}", data)
        return chunk

    async def put_manifest(self, track: Track) -> None:
        """Says what the track consists of."""
        document = {
            "complete": track.complete,
            "update_time": track.update_time.isoformat(),
            "chunks": [[each.offset, each.length, each.sha256] for each in track.chunks],
        }
        path = f"{_folder(track.node_id, track.name)}/{MANIFEST}"
        await obstore.put_async(self._store, path, json.dumps(document).encode())

    # The library's side

    async def tracks(self, recording_id: str) -> Sequence[Track]:
        """All tracks of a recording, by name."""
        prefix = f"recordings/{recording_id}/tracks/"
        found: list[Track] = []
        async for batch in obstore.list(self._store, prefix):
            for each in batch:
                parts = str(each["path"]).removeprefix(prefix).split("/")
                name = parse_track_name(parts[1]) if len(parts) == 3 else None
                if name is not None and parts[2] == MANIFEST:
                    found.append(await self.manifest(parts[0], name))
        return sorted(found, key=lambda each: (each.name.file, each.node_id))

    async def fetch_track(self, track: Track, file: Path) -> None:
        """Writes a track to a file, piece by piece, each checked. Raises `TrackDamaged`."""
        with file.open("wb") as out:
            for chunk in track.chunks:
                path = f"{_folder(track.node_id, track.name)}/{chunk.offset:015}"
                try:
                    result = await obstore.get_async(self._store, path)
                    data = bytes(await result.bytes_async())
                except (NotFoundError, FileNotFoundError):
                    data = b""
                # A piece may have been written again, longer, before its manifest was: its beginning counts.
                data = data[: chunk.length]
                if hashlib.sha256(data).hexdigest() != chunk.sha256:
                    raise TrackDamaged(
                        f"{track.name.file} at {chunk.offset}: storage does not hold what was shipped"
                    )
                out.write(data)

    async def put_result(self, recording_id: str, file: Path) -> None:
        """Stores the composed file, in parts when it is large."""
        await obstore.put_async(self._store, f"recordings/{recording_id}/{RESULT}", file)

    async def read_result(self, recording_id: str, offset: int, length: int) -> AsyncIterator[bytes]:
        """Bytes of the composed file."""
        path, end = f"recordings/{recording_id}/{RESULT}", offset + length
        while offset < end:
            part = min(READ_BYTES, end - offset)
            data = bytes(await obstore.get_range_async(self._store, path, start=offset, length=part))
            if not data:
                return
            yield data
            offset += len(data)


def sha256_of(file: Path) -> str:
    """The checksum of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


async def sha256_of_async(file: Path) -> str:
    """The same, beside the event loop."""
    return await asyncio.to_thread(sha256_of, file)


def _folder(node_id: str, name: TrackName) -> str:
    return f"recordings/{name.recording_id}/tracks/{node_id}/{name.file}"


def _track(node_id: str, name: TrackName, data: bytes) -> Track:
    document = json.loads(data)
    return Track(
        node_id,
        name,
        tuple(Chunk(*each) for each in document["chunks"]),
        complete=document["complete"],
        update_time=datetime.fromisoformat(document["update_time"]),
    )
