# SPDX-License-Identifier: Apache-2.0
"""What storage and shipper promise about bytes, on a local folder: nothing lost, nothing twice, all checked."""

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from giaoban_kit.errors import Internal, Unavailable
from giaoban_kit.ids import new_id
from giaoban_recording.domain import Chunk, Look, Track, TrackName
from giaoban_recording.errors import TrackDamaged
from giaoban_recording.shipper import ABANDONED_AFTER, IDLE_AFTER, MAX_SMALL_PIECES, PIECE_BYTES, Shipper
from giaoban_recording.storage import ObjectStorage, sha256_of
from prometheus_client import REGISTRY

RECORDING = new_id()
NAME = TrackName(RECORDING, new_id(), 1, "audio", 0, is_open=False)
NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


class Crash(Exception):
    """The process ends here."""


class CrashingStorage(ObjectStorage):
    """Real storage in a process that is killed before or after a given write."""

    def __init__(self, url: str, survive: int, *, after: bool) -> None:
        super().__init__(url)
        self._left, self._after = survive, after

    async def _put(self, path: str, data: bytes) -> None:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Crash
        await super()._put(path, data)
        if self._left < 0:
            raise Crash


class Node:
    """A node's folder, with one file that grows."""

    def __init__(self, folder: Path, name: TrackName = NAME) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.open, self.closed = folder / f"{name.file}.tmp", folder / name.file
        self.written = b""
        self._random = random.Random(7)

    def write(self, size: int) -> None:
        data = self._random.randbytes(size)
        self.written += data
        with self.open.open("ab") as out:
            out.write(data)

    def close(self) -> None:
        self.open.rename(self.closed)

    def age(self, when: datetime) -> None:
        os.utime(self.open, (when.timestamp(), when.timestamp()))


@pytest.fixture
def ground(tmp_path: Path) -> Node:
    """A node that records."""
    return Node(tmp_path / "node")


@pytest.fixture
def shipper(ground: Node, storage: ObjectStorage) -> Shipper:
    """Its shipper."""
    return Shipper(ground.folder, "a", storage, lambda: NOW)


async def shipped(storage: ObjectStorage, target: Path) -> tuple[Track, bytes]:
    """The only track, and its bytes."""
    (track,) = await storage.tracks(RECORDING)
    await storage.fetch_track(track, target)
    return track, target.read_bytes()


async def test_a_growing_file_is_appended(
    ground: Node, shipper: Shipper, storage: ObjectStorage, tmp_path: Path
) -> None:
    """Every round adds what is new; a round without news writes nothing; the file goes when it is closed."""
    for size in (10, 4096, 1):
        ground.write(size)
        assert await shipper.ship_all()
        track, data = await shipped(storage, tmp_path / "copy")
        assert (data, track.complete, track.node_id) == (ground.written, False, "a")
    assert await shipper.ship_all()
    assert [each.length for each in (await storage.tracks(RECORDING))[0].chunks] == [10, 4096, 1]
    ground.close()
    assert await shipper.ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert (data, track.complete) == (ground.written, True)
    assert list(ground.folder.iterdir()) == []
    assert list(await storage.looks()) == [Look("a", NOW)]


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("survive", range(9))
async def test_killed_at_any_write_it_goes_on(
    ground: Node, storage: ObjectStorage, objects: Path, tmp_path: Path, survive: int, after: bool
) -> None:
    """Whatever was written last, the next shipper ends with the same bytes, and nothing left over."""
    crashing = CrashingStorage(objects.as_uri(), survive, after=after)
    first = Shipper(ground.folder, "a", crashing, lambda: NOW)
    for size in (100, 200):
        ground.write(size)
        await died(first)
    # Longer than what the dead one may have put there without naming it.
    ground.write(300)
    await died(first)
    ground.close()
    await died(first)
    second = Shipper(ground.folder, "a", storage, lambda: NOW)
    while list(ground.folder.iterdir()):
        assert await second.ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert (data, track.complete) == (ground.written, True)
    folder = objects / "recordings" / RECORDING / "tracks" / "a" / NAME.file
    assert len(list(folder.iterdir())) == len(track.chunks) + 1


async def died(shipper: Shipper) -> None:
    """A round of a shipper that may be dead; a dead one does nothing more."""
    alive = False
    with suppress(Crash):
        alive = await shipper.ship_all()
    if not alive:
        shipper._folder = Path("/nonexistent")


async def test_small_pieces_are_joined(
    ground: Node, shipper: Shipper, storage: ObjectStorage, objects: Path, tmp_path: Path
) -> None:
    """A long meeting does not leave a piece for every two seconds; manifests from before stay true."""
    old = None
    for number in range(3 * MAX_SMALL_PIECES):
        ground.write(50)
        assert await shipper.ship_all()
        if number == 70:
            (old,) = await storage.tracks(RECORDING)
    (track,) = await storage.tracks(RECORDING)
    assert len(track.chunks) <= MAX_SMALL_PIECES
    assert old is not None
    await storage.fetch_track(old, tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == ground.written[: old.size]
    ground.close()
    assert await shipper.ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert data == ground.written
    folder = objects / "recordings" / RECORDING / "tracks" / "a" / NAME.file
    assert len(list(folder.iterdir())) == len(track.chunks) + 1


async def test_a_large_file_is_cut(
    ground: Node, shipper: Shipper, storage: ObjectStorage, tmp_path: Path
) -> None:
    """A file that grew while the shipper was away is read piece by piece."""
    ground.write(2 * PIECE_BYTES + 17)
    ground.close()
    assert await shipper.ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert [each.length for each in track.chunks] == [PIECE_BYTES, PIECE_BYTES, 17]
    assert data == ground.written


async def test_an_idle_file_is_complete_until_it_grows(
    ground: Node, storage: ObjectStorage, tmp_path: Path
) -> None:
    """A dead node's open file counts as complete after a while and stays; one that grows again is open again."""
    ground.write(100)
    ground.age(NOW)
    for after, complete in ((IDLE_AFTER, False), (IDLE_AFTER + timedelta(seconds=1), True)):
        shipper = Shipper(ground.folder, "a", storage, _at(NOW + after))
        assert await shipper.ship_all()
        assert [each.complete for each in await storage.tracks(RECORDING)] == [complete]
    ground.write(100)
    ground.age(NOW + timedelta(minutes=5))
    shipper = Shipper(ground.folder, "a", storage, _at(NOW + timedelta(minutes=5)))
    assert await shipper.ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert (data, track.complete) == (ground.written, False)
    shipper = Shipper(ground.folder, "a", storage, _at(NOW + ABANDONED_AFTER + timedelta(minutes=6)))
    assert await shipper.ship_all()
    assert not ground.open.exists()
    assert [each.complete for each in await storage.tracks(RECORDING)] == [True]


def _at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


async def test_storage_that_is_away_only_delays(
    ground: Node, shipper: Shipper, storage: ObjectStorage, objects: Path, tmp_path: Path
) -> None:
    """No look is told, nothing local is removed, the failure is counted; afterwards everything is there."""
    ground.write(100)
    assert await shipper.ship_all()
    ground.write(100)
    ground.close()
    shutil.move(objects, tmp_path / "away")
    objects.write_text("not a folder")
    before = REGISTRY.get_sample_value("giaoban_recording_ship_failures_total") or 0
    assert not await shipper.ship_all()
    assert (REGISTRY.get_sample_value("giaoban_recording_ship_failures_total") or 0) > before
    assert ground.closed.read_bytes() == ground.written
    with pytest.raises(Unavailable):
        await storage.put_look(Look("a", NOW))
    objects.unlink()
    shutil.move(tmp_path / "away", objects)
    assert await shipper.ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert (data, track.complete, list(ground.folder.iterdir())) == (ground.written, True, [])


async def test_a_file_that_is_not_what_was_shipped_is_shipped_again(
    ground: Node, shipper: Shipper, storage: ObjectStorage, tmp_path: Path
) -> None:
    """Nothing is removed on the strength of checksums that do not match."""
    ground.write(1000)
    assert await shipper.ship_all()
    ground.written = b"x" + ground.written[1:]
    ground.open.write_bytes(ground.written)
    ground.close()
    assert await shipper.ship_all()
    assert ground.closed.exists()
    assert await shipper.ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert (data, track.complete, ground.closed.exists()) == (ground.written, True, False)


async def test_storage_wins_over_a_disk_that_lost_power(
    ground: Node, shipper: Shipper, storage: ObjectStorage, tmp_path: Path
) -> None:
    """A file that came back shorter than it was shipped does not shorten the track."""
    ground.write(1000)
    assert await shipper.ship_all()
    ground.open.write_bytes(ground.written[:600])
    ground.close()
    assert await Shipper(ground.folder, "a", storage).ship_all()
    track, data = await shipped(storage, tmp_path / "copy")
    assert (data, track.complete) == (ground.written, True)


async def test_rounds_do_not_overlap(
    ground: Node, shipper: Shipper, storage: ObjectStorage, tmp_path: Path
) -> None:
    """The last round before the end does not run into the regular one: every byte is there once."""
    sizes = []
    for _ in range(20):
        ground.write(500)
        first = asyncio.create_task(shipper.ship_all())
        await asyncio.sleep(0.002)
        ground.write(500)
        assert all(await asyncio.gather(first, shipper.ship_all()))
        track, data = await shipped(storage, tmp_path / "copy")
        assert data == ground.written
        sizes.append(track.size)
    assert sizes == [1000 * (number + 1) for number in range(20)]


async def test_other_files_are_left_alone(ground: Node, shipper: Shipper, storage: ObjectStorage) -> None:
    """What media did not name is neither shipped nor removed."""
    strange = ground.folder / "videoroom-1-user-2-3-audio-0.mjr"
    strange.write_bytes(b"MJR00002")
    assert await shipper.ship_all()
    assert strange.exists()
    assert await storage.tracks(RECORDING) == []


@pytest.mark.parametrize("harm", ["a bit", "an end", "a piece", "the order"])
async def test_damage_is_seen(
    ground: Node, shipper: Shipper, storage: ObjectStorage, objects: Path, tmp_path: Path, harm: str
) -> None:
    """A flipped bit, a cut end, a missing piece or a gap in the manifest never become a recording."""
    for _ in range(2):
        ground.write(1000)
        assert await shipper.ship_all()
    (track,) = await storage.tracks(RECORDING)
    piece = objects / "recordings" / RECORDING / "tracks" / "a" / NAME.file / f"{1000:015}"
    data = bytearray(piece.read_bytes())
    if harm == "a bit":
        data[500] ^= 4
        piece.write_bytes(data)
    elif harm == "an end":
        piece.write_bytes(data[:-1])
    elif harm == "a piece":
        piece.unlink()
    else:
        track = replace(track, chunks=track.chunks[1:])
    with pytest.raises(TrackDamaged, match=NAME.file):
        await storage.fetch_track(track, tmp_path / "copy")


async def test_a_result_is_read_in_ranges(storage: ObjectStorage, tmp_path: Path) -> None:
    """Every range comes as it was stored; a file that is gone is our fault, not the caller's."""
    file = tmp_path / "meeting.mp4"
    content = random.Random(1).randbytes(1_500_000)
    file.write_bytes(content)
    checksum = sha256_of(file)
    await storage.put_result(RECORDING, checksum, file)
    for offset, length in ((0, 1_500_000), (0, 1), (600_000, 512 * 1024 + 1), (1_499_999, 1), (5, 0)):
        read = b"".join([each async for each in storage.read_result(RECORDING, checksum, offset, length)])
        assert read == content[offset : offset + length]
    with pytest.raises(Internal):
        _ = [each async for each in storage.read_result(RECORDING, "ab" * 32, 0, 1)]


async def test_tracks_of_several_nodes_belong_together(storage: ObjectStorage) -> None:
    """A room that moved has tracks of both nodes; other recordings' are not among them."""
    for node in ("b", "a"):
        track = Track(node, NAME, (), complete=False, update_time=NOW)
        chunk = await storage.put_chunk(track, 0, node.encode())
        await storage.put_manifest(replace(track, chunks=(chunk,)))
    other = Track("a", replace(NAME, recording_id=new_id()), (Chunk(0, 1, ""),), False, NOW)
    await storage.put_manifest(other)
    found = await storage.tracks(RECORDING)
    assert [each.node_id for each in found] == ["a", "b"]
    assert await storage.tracks(new_id()) == []
