# SPDX-License-Identifier: Apache-2.0
"""The composition roots of recording: the service, the shipper beside a media node, the composing worker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from giaoban.recording.v1.recording_service_pb2_grpc import add_RecordingServiceServicer_to_server
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ConfigError
from giaoban_kit.db import database, migrate_database
from giaoban_kit.events import connect_nats, consuming, ensure_dead_letters, ensure_stream, event_filter
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.logging import get_logger
from giaoban_kit.outbox import relaying
from giaoban_kit.run import until_signalled
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.tasks import beside
from giaoban_kit.telemetry import Readiness, telemetry
from giaoban_kit.tokens import TokenVerifier, identity_jwks
from nats.js import JetStreamContext

from giaoban_recording.clients import GrpcMeetings, GrpcRooms
from giaoban_recording.composer import Tools
from giaoban_recording.config import Config
from giaoban_recording.consumers import Ends, Names
from giaoban_recording.grants import SignedGrants
from giaoban_recording.rpc import RecordingServicer
from giaoban_recording.service import Recorder
from giaoban_recording.shipper import Shipper
from giaoban_recording.storage import ObjectStorage
from giaoban_recording.store import SqlTransactions
from giaoban_recording.worker import Worker

RECONCILE_SECONDS = 2.0

log = get_logger(__name__)


async def serve(config: Config) -> None:
    """Runs the service until it is told to stop."""
    identity, readiness = ServiceIdentity.from_config(config), Readiness()
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(telemetry(config, readiness))
        db = await start(database(config))
        js = (await start(connect_nats(config, _ensure))).jetstream()
        await start(relaying(db, js, "recording"))
        directory = await start(channel(config.identity_target, identity))
        meetings = GrpcMeetings(await start(channel(config.scheduling_target, identity)), directory)
        rooms = GrpcRooms(await start(channel(config.media_target, identity)))
        begin, storage = SqlTransactions(db), ObjectStorage(config.object_store_url)
        recorder = Recorder(begin, meetings, rooms, storage, SystemClock(), new_id)
        joined, ended = (
            event_filter("media", "participant", "joined"),
            event_filter("scheduling", "meeting", "ended"),
        )
        names, ends = Names(begin).handle, Ends(recorder).handle
        await start(
            consuming(js, stream="MEDIA", durable="recording-names", filter_subjects=[joined], handler=names)
        )
        await start(
            consuming(
                js, stream="SCHEDULING", durable="recording-ends", filter_subjects=[ended], handler=ends
            )
        )
        await start(beside(_reconcile(recorder)))
        verifier = TokenVerifier(identity_jwks(directory))
        add = [(add_RecordingServiceServicer_to_server, RecordingServicer(recorder, SignedGrants(identity)))]
        await start(grpc_server(config, identity, verifier, add=add, readiness=readiness))
        await until_signalled()


async def ship(config: Config) -> None:
    """Runs the shipper beside a media node until it is told to stop."""
    if not config.node_id:
        raise ConfigError("GIAOBAN_NODE_ID: name the media node whose tracks are shipped.")
    readiness = Readiness()
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(telemetry(config, readiness))
        shipper = Shipper(config.node_recordings, config.node_id, ObjectStorage(config.object_store_url))
        await start(beside(shipper.run()))
        readiness.set(True)
        await until_signalled()
        await shipper.ship_all()


async def work(config: Config) -> None:
    """Runs a composing worker until it is told to stop."""
    readiness = Readiness()
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(telemetry(config, readiness))
        db = await start(database(config))
        tools = Tools(pp_rec=config.pp_rec_command, threads=config.threads)
        config.work_directory.mkdir(parents=True, exist_ok=True)
        worker = Worker(
            SqlTransactions(db),
            ObjectStorage(config.object_store_url),
            SystemClock(),
            tools,
            config.work_directory,
        )
        await start(beside(worker.run()))
        readiness.set(True)
        await until_signalled()


async def migrate(config: Config) -> None:
    """Brings the database and the stream of our events up to date."""
    await migrate_database(config, "giaoban_recording")
    async with connect_nats(config) as nats:
        await _ensure(nats.jetstream(), update=True)


async def _ensure(js: JetStreamContext, *, update: bool = False) -> None:
    await ensure_stream(js, "recording", update=update)
    await ensure_dead_letters(js, update=update)


async def _reconcile(recorder: Recorder) -> None:
    while True:
        try:
            await recorder.reconcile()
        except Exception as error:  # noqa: BLE001 - what is away comes back; the next round tries again
            log.warning("reconcile_failed", error=type(error).__name__)
        await asyncio.sleep(RECONCILE_SECONDS)
