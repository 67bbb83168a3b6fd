# SPDX-License-Identifier: Apache-2.0
"""Owns the layout of object storage; the only importer of obstore.

    recordings/<recording>/tracks/<node>/<file>/manifest.json   what there is, and its checksums
    recordings/<recording>/tracks/<node>/<file>/<offset>        the pieces
    recordings/<recording>/<sha256>.mp4                         the composed file
    shippers/<node>.json                                        when a node's shipper last had everything here

A put replaces an object whole, on S3 and on a file system: a piece is written before the manifest names it. A
piece may be replaced by a longer one that begins with the same bytes, so every manifest ever written stays true.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from giaoban_kit.errors import Internal, Unavailable
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import from_url

from giaoban_recording.domain import Chunk, Look, Track, TrackName, parse_track_name
from giaoban_recording.errors import TrackDamaged

MANIFEST = "manifest.json"
READ_BYTES = 512 * 1024
CONCURRENCY = 16


class ObjectStorage:
    """Implements `ports.Storage`, and what the shipper writes. Everything raises `Unavailable`."""

    def __init__(self, url: str) -> None:
        """`s3://bucket/prefix`, `gs://…`, `az://…` or `file:///…`; credentials from the environment."""
        parts = urlsplit(url)
        if parts.scheme == "file":
            Path(unquote(parts.path)).mkdir(parents=True, exist_ok=True)
        self._store: Any = from_url(url)

    # The shipper's side

    async def manifest(self, node_id: str, name: TrackName) -> Track:
        """What storage has of a track; nothing yet is a track without pieces."""
        data = await self._get(f"{_folder(node_id, name)}/{MANIFEST}")
        if data is None:
            return Track(node_id, name, (), complete=False, update_time=datetime.now(UTC))
        return _track(node_id, name, data)

    async def put_chunk(self, track: Track, offset: int, data: bytes) -> Chunk:
        """Stores a piece. Only a manifest makes it part of the track."""
        chunk = Chunk(offset, len(data), hashlib.sha256(data).hexdigest())
        await self._put(_piece(track, offset), data)
        return chunk

    async def put_manifest(self, track: Track) -> None:
        """Says what the track consists of."""
        document = {
            "complete": track.complete,
            "update_time": track.update_time.isoformat(),
            "chunks": [[each.offset, each.length, each.sha256] for each in track.chunks],
        }
        await self._put(f"{_folder(track.node_id, track.name)}/{MANIFEST}", json.dumps(document).encode())

    async def sweep(self, track: Track) -> None:
        """Deletes the pieces that the manifest no longer names."""
        folder = _folder(track.node_id, track.name)
        named = {_piece(track, each.offset) for each in track.chunks} | {f"{folder}/{MANIFEST}"}
        with _answering():
            async for batch in obstore.list(self._store, f"{folder}/"):
                stale = [str(each["path"]) for each in batch if str(each["path"]) not in named]
                if stale:
                    await obstore.delete_async(self._store, stale)

    async def put_look(self, look: Look) -> None:
        """Says that all of a node's folder was in storage at that moment."""
        document = json.dumps({"time": look.time.isoformat()}).encode()
        await self._put(f"shippers/{look.node_id}.json", document)

    # The library's side

    async def looks(self) -> Sequence[Look]:
        """The last look of every shipper that ever was."""
        with _answering():
            found = await obstore.list_with_delimiter_async(self._store, "shippers")
        looks = []
        for each in found["objects"]:
            path = str(each["path"])
            data = await self._get(path)
            if data is not None and path.endswith(".json"):
                node_id = path.removeprefix("shippers/").removesuffix(".json")
                looks.append(Look(node_id, datetime.fromisoformat(json.loads(data)["time"])))
        return looks

    async def tracks(self, recording_id: str) -> Sequence[Track]:
        """All tracks of a recording, by name."""
        limit = asyncio.Semaphore(CONCURRENCY)

        async def read(node_id: str, name: TrackName) -> Track:
            async with limit:
                return await self.manifest(node_id, name)

        wanted = []
        for node in await self._folders(f"recordings/{recording_id}/tracks"):
            for folder in await self._folders(node):
                name = parse_track_name(folder.rpartition("/")[2])
                if name is not None:
                    wanted.append(read(node.rpartition("/")[2], name))
        found = await asyncio.gather(*wanted)
        # A track whose first piece is on its way has no manifest yet.
        return sorted(found, key=lambda each: (each.name.file, each.node_id))

    async def fetch_track(self, track: Track, file: Path) -> None:
        """Writes a track to a file, piece by piece, each checked. Raises `TrackDamaged`."""
        with file.open("wb") as out:
            end = 0
            for chunk in track.chunks:
                data = await self._get(_piece(track, chunk.offset)) or b""
                # A piece may have been written again, longer, before its manifest was: its beginning counts.
                data = data[: chunk.length]
                if chunk.offset != end or hashlib.sha256(data).hexdigest() != chunk.sha256:
                    raise TrackDamaged(
                        f"{track.name.file} at {chunk.offset}: storage does not hold what was shipped"
                    )
                await asyncio.to_thread(out.write, data)
                end += chunk.length

    async def put_result(self, recording_id: str, sha256: str, file: Path) -> None:
        """Stores the composed file under its checksum, in parts when it is large."""
        with _answering():
            await obstore.put_async(self._store, _result(recording_id, sha256), file)

    async def read_result(
        self, recording_id: str, sha256: str, offset: int, length: int
    ) -> AsyncIterator[bytes]:
        """Bytes of the composed file."""
        path, end = _result(recording_id, sha256), offset + length
        while offset < end:
            part = min(READ_BYTES, end - offset)
            with _answering():
                try:
                    data = bytes(await obstore.get_range_async(self._store, path, start=offset, length=part))
                except (NotFoundError, FileNotFoundError) as error:
                    raise Internal(f"{path} is not in the object store") from error
            if not data:
                return
            yield data
            offset += len(data)

    # Inside

    async def _get(self, path: str) -> bytes | None:
        with _answering():
            try:
                result = await obstore.get_async(self._store, path)
                return bytes(await result.bytes_async())
            except (NotFoundError, FileNotFoundError):
                return None

    async def _put(self, path: str, data: bytes) -> None:
        with _answering():
            await obstore.put_async(self._store, path, data)

    async def _folders(self, prefix: str) -> list[str]:
        with _answering():
            found = await obstore.list_with_delimiter_async(self._store, prefix)
        return [str(each).rstrip("/") for each in found["common_prefixes"]]


@contextmanager
def _answering() -> Iterator[None]:
    """Whatever else goes wrong in a store may be right again later: disk full, no network, no permission."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise Unavailable(f"The object store does not do what it should: {type(error).__name__}.") from error


def sha256_of(file: Path) -> str:
    """The checksum of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _folder(node_id: str, name: TrackName) -> str:
    return f"recordings/{name.recording_id}/tracks/{node_id}/{name.file}"


def _piece(track: Track, offset: int) -> str:
    return f"{_folder(track.node_id, track.name)}/{offset:015}"


def _result(recording_id: str, sha256: str) -> str:
    return f"recordings/{recording_id}/{sha256}.mp4"


def _track(node_id: str, name: TrackName, data: bytes) -> Track:
    document = json.loads(data)
    return Track(
        node_id,
        name,
        tuple(Chunk(*each) for each in document["chunks"]),
        complete=document["complete"],
        update_time=datetime.fromisoformat(document["update_time"]),
    )
