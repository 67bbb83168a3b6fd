# SPDX-License-Identifier: Apache-2.0
"""From a real node's tracks to one file that plays: shipped while they grow, composed, whatever is killed."""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from giaoban_dev.infra.janus import JanusNode
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database
from giaoban_kit.ids import new_id
from giaoban_kit.testing.clock import FixedClock
from giaoban_loadtests.clips import Clip
from giaoban_recording.composer import Tools, read_header, unpack
from giaoban_recording.domain import MAX_ATTEMPTS, Recording, State, all_shipped
from giaoban_recording.errors import TrackDamaged
from giaoban_recording.shipper import IDLE_AFTER, Shipper
from giaoban_recording.storage import ObjectStorage
from giaoban_recording.store import SqlTransactions
from giaoban_recording.worker import LEASE, Worker

from .conftest import room_on, until
from .processes import shipper as shipper_process
from .processes import worker as worker_process

pytestmark = pytest.mark.timeout(120)

CAPTURED_SECONDS = 6.0


@pytest.fixture
async def begin(database_config: ServiceConfig) -> AsyncIterator[SqlTransactions]:
    """Transactions of a migrated database."""
    await migrate_database(database_config, "giaoban_recording")
    async with database(database_config) as db:
        yield SqlTransactions(db)


def recording(state: State = State.COMPOSING, **changes: Any) -> Recording:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": new_id(),
        "organisation_id": new_id(),
        "unit_id": new_id(),
        "meeting_id": new_id(),
        "meeting_title": "Giao ban",
        "state": state,
        "started_by": new_id(),
        "start_time": now,
        "stop_time": now,
    }
    return Recording(**(values | changes))


async def output(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out


async def content(storage: ObjectStorage, done: Recording, target: Path) -> dict[str, Any]:
    """The composed file in `target`, and what ffprobe says of it; its checksum is the recording's."""
    with target.open("wb") as out:
        async for data in storage.read_result(done.id, done.sha256, 0, done.size_bytes):
            out.write(data)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == done.sha256
    shown = await output(
        *("ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", str(target))
    )
    found = json.loads(shown)
    kinds = {each["codec_type"]: each for each in found["streams"]}
    return {"seconds": float(found["format"]["duration"]), **kinds}


async def test_what_was_said_and_shown_plays(
    node: JanusNode,
    clips: list[Clip],
    storage: ObjectStorage,
    begin: SqlTransactions,
    tools: Tools,
    work: Path,
    tmp_path: Path,
) -> None:
    """Two sites and a shared screen are shipped while they grow and become one H.264/AAC file of the right length."""
    made = recording()
    shipper = Shipper(node.recordings, "a", storage)
    async with room_on(node) as room:
        handles = [await room.publish(clips[0], made.id), await room.publish(clips[1], made.id)]
        await asyncio.sleep(CAPTURED_SECONDS / 2)
        assert await shipper.ship_all()
        growing = await storage.tracks(made.id)
        assert len(growing) == 4
        assert not any(each.complete for each in growing)
        handles.append(await room.publish(clips[2], made.id, source="screen"))
        await asyncio.sleep(CAPTURED_SECONDS / 2)
        for handle in handles:
            await room.stop_recording(handle)
        await until(lambda: not list(node.recordings.glob("*.tmp")))
    closed = {each.name: each.read_bytes() for each in node.recordings.iterdir()}
    assert await shipper.ship_all()
    assert list(node.recordings.iterdir()) == []
    tracks = await storage.tracks(made.id)
    assert {each.name.file for each in tracks} == set(closed)
    assert all(each.complete for each in tracks)
    for track in tracks:
        await storage.fetch_track(track, tmp_path / "track.mjr")
        assert (tmp_path / "track.mjr").read_bytes() == closed[track.name.file]
    assert [read_header(each).is_screen for each in closed.values()].count(True) == 1

    async with begin() as unit:
        await unit.recordings.add(made)
        for track in tracks:
            await unit.recordings.name_participant(
                made.meeting_id, track.name.participant_id, "Điểm cầu: [1]'%"
            )
    worker = Worker(begin, storage, SystemClock(), tools, work)
    assert await worker.work_once()
    async with begin() as unit:
        done = await unit.recordings.get(made.id)
    assert done is not None
    assert (done.state, done.progress_percent, done.failure) == (State.READY, 100, "")
    assert list(work.iterdir()) == []
    shown = await content(storage, done, tmp_path / "meeting.mp4")
    assert abs(shown["seconds"] - CAPTURED_SECONDS) < 1.5
    assert done.duration is not None
    assert abs(shown["seconds"] - done.duration.total_seconds()) < 0.2
    assert (shown["video"]["codec_name"], shown["video"]["pix_fmt"]) == ("h264", "yuv420p")
    assert (shown["video"]["width"], shown["video"]["height"]) == (1280, 720)
    assert (shown["audio"]["codec_name"], shown["audio"]["sample_rate"]) == ("aac", "48000")
    assert not await worker.work_once()


async def test_a_meeting_on_two_nodes_becomes_one_file(
    node: JanusNode,
    janus_nodes: dict[str, JanusNode],
    clips: list[Clip],
    storage: ObjectStorage,
    begin: SqlTransactions,
    tools: Tools,
    work: Path,
    tmp_path: Path,
) -> None:
    """A sender on each node, the second two seconds later: both are in the file, each at its own time."""
    made, further, later = recording(), janus_nodes["b"], 2.0
    for file in further.recordings.iterdir():
        file.unlink()
    async with room_on(node) as room, room_on(further) as other:
        first = await room.publish(clips[0], made.id)
        await asyncio.sleep(later)
        second = await other.publish(clips[1], made.id)
        await asyncio.sleep(CAPTURED_SECONDS - later)
        await room.stop_recording(first)
        await other.stop_recording(second)
        await until(lambda: not [*node.recordings.glob("*.tmp"), *further.recordings.glob("*.tmp")])
    for name, each in (("a", node), ("b", further)):
        assert await Shipper(each.recordings, name, storage).ship_all()
    tracks = await storage.tracks(made.id)
    assert len({track.name.participant_id for track in tracks}) == 2
    assert len(tracks) == 4
    async with begin() as unit:
        await unit.recordings.add(made)
    assert await Worker(begin, storage, SystemClock(), tools, work).work_once()
    async with begin() as unit:
        done = await unit.recordings.get(made.id)
    assert done is not None
    assert (done.state, done.failure) == (State.READY, "")
    file = tmp_path / "meeting.mp4"
    shown = await content(storage, done, file)
    assert abs(shown["seconds"] - CAPTURED_SECONDS) < 1.5

    # One picture fills the screen, two stand side by side: what is left of the middle line changes when the second comes.
    async def column(at: float) -> bytes:
        cut = ("-frames:v", "1", "-vf", "crop=160:720:960:0", "-f", "rawvideo", "-")
        return await output("ffmpeg", "-v", "error", "-ss", str(at), "-i", str(file), *cut)

    def differing(one: bytes, two: bytes) -> float:
        return sum(abs(x - y) > 40 for x, y in zip(one, two, strict=True)) / len(one)

    alone = await column(later / 2)
    assert differing(alone, await column(later + 2)) > 0.1 > 2 * differing(alone, await column(later - 0.5))


async def test_a_killed_node_loses_less_than_a_second(
    node: JanusNode, clips: list[Clip], storage: ObjectStorage, tools: Tools, work: Path
) -> None:
    """Janus is killed while it records: the shipper has all but the last second, counts it as all, and it plays."""
    made = recording(State.SHIPPING)
    shipper = Shipper(node.recordings, "a", storage)
    try:
        async with room_on(node) as room:
            await room.publish(clips[0], made.id)
            began = time.monotonic()
            await asyncio.sleep(CAPTURED_SECONDS)
            await node.kill()
            lived = time.monotonic() - began
        open_files = sorted(node.recordings.glob("*.mjr.tmp"))
        assert len(open_files) == 2
        assert await shipper.ship_all()
        assert not any(each.complete for each in await storage.tracks(made.id))
        now = datetime.now(UTC)
        after = Shipper(node.recordings, "a", storage, lambda: now + IDLE_AFTER)
        assert await after.ship_all()
    finally:
        await node.start()
    tracks, looks = await storage.tracks(made.id), await storage.looks()
    stopped = replace(made, stop_time=now)
    assert all_shipped(stopped, tracks, looks, now + IDLE_AFTER)
    assert sorted(node.recordings.glob("*.mjr.tmp")) == open_files
    for track in tracks:
        source = work / f"{track.name.kind}.mjr"
        await storage.fetch_track(track, source)
        media = await unpack(tools, track, source)
        assert media is not None
        assert media[2].total_seconds() > lived - 1.0, track.name.kind


async def test_a_killed_shipper_goes_on_where_it_was(
    node: JanusNode, clips: list[Clip], storage: ObjectStorage, objects: Path, tmp_path: Path
) -> None:
    """The shipper is killed again and again while tracks grow; in the end storage has every byte, once."""
    made = recording()
    async with room_on(node) as room:
        handles = [await room.publish(each, made.id) for each in clips]
        for number in range(5):
            process = shipper_process(f"ship-{number}", node.recordings, objects, tmp_path)
            await process.start()
            await until(lambda: bool(list(objects.glob("recordings/*/tracks/*/*/manifest.json"))))
            await asyncio.sleep(random.uniform(0.2, 2.4))
            await process.kill()
        for handle in handles:
            await room.stop_recording(handle)
        await until(lambda: not list(node.recordings.glob("*.tmp")))
    closed = {each.name: each.read_bytes() for each in node.recordings.iterdir()}
    assert len(closed) == 2 * len(clips)
    process = shipper_process("ship-last", node.recordings, objects, tmp_path)
    await process.start()
    await until(lambda: not list(node.recordings.iterdir()))
    await process.stop()
    tracks = await storage.tracks(made.id)
    assert all(each.complete for each in tracks)
    for track in tracks:
        await storage.fetch_track(track, tmp_path / "track.mjr")
        assert (tmp_path / "track.mjr").read_bytes() == closed.pop(track.name.file)
        folder = objects / "recordings" / made.id / "tracks" / "a" / track.name.file
        assert len(list(folder.iterdir())) == len(track.chunks) + 1
    assert closed == {}


async def test_another_worker_finishes_what_a_killed_one_began(
    node: JanusNode,
    clips: list[Clip],
    storage: ObjectStorage,
    objects: Path,
    begin: SqlTransactions,
    database_url: str,
    tools: Tools,
    work: Path,
    tmp_path: Path,
) -> None:
    """A worker is killed while FFmpeg runs: FFmpeg ends with it, another takes the job when the lease ends, and tidies up."""
    made = recording()
    async with room_on(node) as room:
        handles = [await room.publish(each, made.id) for each in clips]
        await asyncio.sleep(CAPTURED_SECONDS)
        for handle in handles:
            await room.stop_recording(handle)
        await until(lambda: not list(node.recordings.glob("*.tmp")))
    assert await Shipper(node.recordings, "a", storage).ship_all()
    async with begin() as unit:
        await unit.recordings.add(made)
    first = worker_process("first", database_url, objects, work, tmp_path)
    await first.start()
    await until(lambda: bool(list(work.glob("*/meeting.mp4"))), 30)
    await first.kill()
    (left,) = work.iterdir()
    await until(lambda: not running_with(str(left)))
    async with begin() as unit:
        held = await unit.recordings.get(made.id)
    assert held is not None
    assert (held.state, held.attempts) == (State.COMPOSING, 1)
    assert not await Worker(begin, storage, SystemClock(), tools, work).work_once()
    # The time until the lease ends is not waited for, but told.
    second = asyncio.create_task(Worker(begin, storage, Later(), tools, work).run())
    try:
        async with asyncio.timeout(75):
            while (done := held).state is not State.READY:
                await asyncio.sleep(0.5)
                async with begin() as unit:
                    found = await unit.recordings.get(made.id)
                assert found is not None
                held = found
    finally:
        second.cancel()
        await asyncio.wait({second})
    assert (done.attempts, done.failure) == (2, "")
    assert list(work.iterdir()) == []
    shown = await content(storage, done, tmp_path / "meeting.mp4")
    assert abs(shown["seconds"] - CAPTURED_SECONDS) < 1.5
    assert {"video", "audio"} <= set(shown)


async def test_one_bad_track_spoils_no_recording(
    node: JanusNode,
    clips: list[Clip],
    storage: ObjectStorage,
    objects: Path,
    begin: SqlTransactions,
    tools: Tools,
    work: Path,
    tmp_path: Path,
) -> None:
    """Storage returns other bytes than were written: that track is left out and named, the others are composed."""
    made = recording()
    async with room_on(node) as room:
        handles = [await room.publish(each, made.id) for each in clips[:2]]
        await asyncio.sleep(2.5)
        for handle in handles:
            await room.stop_recording(handle)
        await until(lambda: not list(node.recordings.glob("*.tmp")))
    assert await Shipper(node.recordings, "a", storage).ship_all()
    async with begin() as unit:
        await unit.recordings.add(made)
    bad = next(each for each in await storage.tracks(made.id) if each.name.kind == "video")
    piece = objects / "recordings" / made.id / "tracks" / "a" / bad.name.file / f"{0:015}"
    data = bytearray(piece.read_bytes())
    data[len(data) // 2] ^= 1
    piece.write_bytes(data)
    with pytest.raises(TrackDamaged):
        await storage.fetch_track(bad, tmp_path / "track.mjr")
    assert await Worker(begin, storage, SystemClock(), tools, work).work_once()
    async with begin() as unit:
        done = await unit.recordings.get(made.id)
    assert done is not None
    assert done.state is State.READY
    assert bad.name.file in done.failure
    assert "video" in await content(storage, done, tmp_path / "meeting.mp4")


async def test_what_cannot_be_composed_is_tried_again_and_then_given_up(
    storage: ObjectStorage, objects: Path, begin: SqlTransactions, tools: Tools, work: Path
) -> None:
    """Nothing but hostile bytes: five attempts with pauses between them, then failed, with the reason, told once."""
    made = recording()
    shipped = objects.parent / "node"
    shipped.mkdir()
    header = b'{"t":"v","c":"vp8","s":1,"u":1795402267686707}'
    bomb = b"MJR00002" + len(header).to_bytes(2, "big") + header + b"MEET" + b"\xff" * 4000
    (shipped / f"{made.id}~{new_id()}~1-video-1.mjr").write_bytes(bomb)
    (shipped / f"{made.id}~{new_id()}~1-video-1.mjr").write_bytes(b"#EXTM3U\n/etc/passwd\n")
    assert await Shipper(shipped, "a", storage).ship_all()
    async with begin() as unit:
        await unit.recordings.add(made)
    clock = FixedClock(datetime.now(UTC))
    worker = Worker(begin, storage, clock, tools, work)
    for _ in range(MAX_ATTEMPTS):
        assert await worker.work_once()
        assert not await worker.work_once()
        clock.advance(timedelta(minutes=5))
    assert not await worker.work_once()
    async with begin() as unit:
        failed = await unit.recordings.get(made.id)
    assert failed is not None
    assert (failed.state, failed.attempts) == (State.FAILED, MAX_ATTEMPTS)
    assert failed.failure.startswith("No track holds any media.")


class Later:
    """A clock by which the lease of a worker that is dead has just ended."""

    def now(self) -> datetime:
        return datetime.now(UTC) + LEASE


def running_with(argument: str) -> list[str]:
    """Processes whose command line names something."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if argument in command:
            found.append(command)
    return found
