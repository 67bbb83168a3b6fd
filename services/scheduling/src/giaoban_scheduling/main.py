# SPDX-License-Identifier: Apache-2.0
"""Owns the wiring of scheduling: a straight line from configuration to a serving process."""

from contextlib import AsyncExitStack

from giaoban.scheduling.v1.scheduling_service_pb2_grpc import add_SchedulingServiceServicer_to_server
from giaoban_kit.clock import SystemClock
from giaoban_kit.db import database, migrate_database
from giaoban_kit.events import connect_nats, consuming, ensure_dead_letters, ensure_stream
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.outbox import relaying
from giaoban_kit.run import until_signalled
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.telemetry import Readiness, telemetry
from giaoban_kit.tokens import TokenVerifier, identity_jwks
from nats.js import JetStreamContext

from giaoban_scheduling.config import Config
from giaoban_scheduling.consumers import DURABLE, FILTERS, STREAM, AttendanceEvents
from giaoban_scheduling.directory import IdentityDirectory
from giaoban_scheduling.entry import Entry
from giaoban_scheduling.grants import SignedGrants
from giaoban_scheduling.overdue import ending_overdue
from giaoban_scheduling.rpc import SchedulingServicer
from giaoban_scheduling.service import Scheduling
from giaoban_scheduling.store_entry import SqlTransactions


async def serve(config: Config) -> None:
    """Serves until a signal comes."""
    async with AsyncExitStack() as stack:
        await start(config, stack)
        await until_signalled()


async def start(config: Config, stack: AsyncExitStack) -> int:
    """Starts everything on the stack, which stops it in reverse; the port that gRPC listens on."""
    caller, readiness, clock = ServiceIdentity.from_config(config), Readiness(), SystemClock()
    enter = stack.enter_async_context
    await enter(telemetry(config, readiness))
    db = await enter(database(config))
    js = (await enter(connect_nats(config, _ensure))).jetstream()
    await enter(relaying(db, js, "scheduling"))
    to_identity = await enter(channel(config.identity_target, caller))

    begin, directory = SqlTransactions(db), IdentityDirectory(to_identity)
    scheduling = Scheduling(begin, directory, clock, new_id)
    grants, limit = SignedGrants(caller), config.participant_limit
    entry = Entry(begin, directory, grants, clock, new_id, participant_limit=limit)

    await enter(ending_overdue(scheduling, grace=config.end_overdue_after, every=config.end_overdue_every))
    handler = AttendanceEvents(entry).handle
    await enter(consuming(js, stream=STREAM, durable=DURABLE, filter_subjects=FILTERS, handler=handler))
    servicer = SchedulingServicer(scheduling, entry, clock)
    return await enter(
        grpc_server(
            config,
            caller,
            TokenVerifier(identity_jwks(to_identity)),
            add=[(add_SchedulingServiceServicer_to_server, servicer)],
            readiness=readiness,
        )
    )


async def migrate(config: Config) -> None:
    """Brings the database and the stream of our events up to date."""
    await migrate_database(config, "giaoban_scheduling")
    async with connect_nats(config) as nats:
        await _ensure(nats.jetstream(), update=True)


async def _ensure(js: JetStreamContext, *, update: bool = False) -> None:
    await ensure_stream(js, "scheduling", update=update)
    await ensure_dead_letters(js, update=update)
