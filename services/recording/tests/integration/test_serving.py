# SPDX-License-Identifier: Apache-2.0
"""The serving process on real PostgreSQL and NATS: it hears what others tell, and tells what it did."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from giaoban.identity.v1.identity_pb2 import Party
from giaoban.media.v1.events_pb2 import ParticipantJoined
from giaoban.recording.v1.events_pb2 import RecordingStopped
from giaoban.scheduling.v1.events_pb2 import MeetingEnded
from giaoban.scheduling.v1.scheduling_pb2 import Meeting
from giaoban_dev.infra.process import Process
from giaoban_kit.db import database
from giaoban_kit.events import ensure_stream, new_event, publish, subject
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import ServiceKeys
from giaoban_recording import main
from giaoban_recording.config import Config
from giaoban_recording.domain import Recording, State
from giaoban_recording.ports import Unit
from giaoban_recording.store import SqlTransactions
from nats.js import JetStreamContext

from .processes import serving

MEETING, WHO = new_id(), new_id()


@pytest.fixture
def config(database_url: str, nats_url: str, objects: Path) -> Config:
    """Recording among servers of its own; nobody else is there."""
    return Config(database_url=database_url, nats_url=nats_url, object_store_url=objects.as_uri())


@pytest.fixture
async def process(
    config: Config, js: JetStreamContext, service_keys: ServiceKeys, tmp_path: Path
) -> AsyncIterator[Process]:
    """The process, migrated and started."""
    await main.migrate(config)
    for owner in ("media", "scheduling"):
        await ensure_stream(js, owner)
    environment = {key: os.environ[key] for key in ("PATH",)} | service_keys.environment("recording")
    process = serving("serve", config, environment, tmp_path)
    await process.start()
    yield process
    await process.stop()


async def found(begin: SqlTransactions, true: Callable[[Unit], object]) -> None:
    """Waits until the database says so."""
    async with asyncio.timeout(20):
        while True:
            async with begin() as unit:
                if await true(unit):  # type: ignore[misc]
                    return
            await asyncio.sleep(0.1)


async def test_names_are_heard_and_the_end_stops_a_recording(
    process: Process, config: Config, js: JetStreamContext
) -> None:
    """Also what is told while the process is dead; the stop is told once to everybody else."""
    made = Recording(
        id=new_id(),
        organisation_id=new_id(),
        unit_id=new_id(),
        meeting_id=MEETING,
        meeting_title="Giao ban",
        state=State.CAPTURING,
        started_by=new_id(),
        start_time=datetime.now(UTC),
    )
    told = await js.subscribe("giaoban.recording.v1.recording.stopped.*", ordered_consumer=True)
    async with database(config) as db:
        begin = SqlTransactions(db)
        async with begin() as unit:
            await unit.recordings.add(made)
        joined = ParticipantJoined(meeting_id=MEETING, participant_id=WHO, party=Party(name="Quận Bình Tân"))
        await publish(js, new_event(subject("media", "participant", "joined", MEETING), joined))

        async def named(unit: Unit) -> bool:
            return await unit.recordings.names(MEETING) == {WHO: "Quận Bình Tân"}

        await found(begin, named)
        await process.kill()
        ended = MeetingEnded(meeting=Meeting(id=MEETING))
        await publish(js, new_event(subject("scheduling", "meeting", "ended", MEETING), ended))
        await process.start()

        async def stopped(unit: Unit) -> bool:
            now = await unit.recordings.get(made.id)
            return now is not None and now.state is State.SHIPPING

        await found(begin, stopped)
    message = await told.next_msg(timeout=10)
    fact = RecordingStopped.FromString(message.data)
    assert fact.recording.id == made.id
    assert fact.recording.HasField("stop_time")
    await told.unsubscribe()
