# SPDX-License-Identifier: Apache-2.0
"""From a real node's tracks to one file that plays: shipped while they grow, composed, whatever is killed."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from giaoban_dev.infra.janus import JanusNode
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database
from giaoban_kit.ids import new_id
from giaoban_loadtests.clips import Clip
from giaoban_recording.composer import Tools, read_header
from giaoban_recording.domain import Recording, State
from giaoban_recording.shipper import Shipper
from giaoban_recording.storage import ObjectStorage
from giaoban_recording.store import SqlTransactions
from giaoban_recording.worker import Worker

from .conftest import room_on, until

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


async def probe(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def content(storage: ObjectStorage, done: Recording, target: Path) -> dict[str, Any]:
    """The composed file in `target`, and what ffprobe says of it; its checksum is the recording's."""
    with target.open("wb") as out:
        async for data in storage.read_result(done.id, done.sha256, 0, done.size_bytes):
            out.write(data)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == done.sha256
    shown = await probe(
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
