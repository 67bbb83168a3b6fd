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
    caller, readiness, clock = ServiceIdentity.from_config(config), Readiness(), SystemClock()
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(telemetry(config, readiness))
        db = await start(database(config))
        js = (await start(connect_nats(config))).jetstream()
        await start(relaying(db, js))
        to_identity = await start(channel(config.identity_target, caller))

        begin, directory = SqlTransactions(db), IdentityDirectory(to_identity)
        scheduling = Scheduling(begin, directory, clock, new_id)
        entry = Entry(
            begin,
            directory,
            SignedGrants(caller),
            clock,
            new_id,
            participant_limit=config.participant_limit,
        )

        await start(
            ending_overdue(scheduling, grace=config.end_overdue_after, every=config.end_overdue_every)
        )
        await start(
            consuming(
                js,
                stream=STREAM,
                durable=DURABLE,
                filter_subjects=FILTERS,
                handler=AttendanceEvents(entry).handle,
            )
        )
        await start(
            grpc_server(
                config,
                caller,
                TokenVerifier(identity_jwks(to_identity)),
                add=[(add_SchedulingServiceServicer_to_server, SchedulingServicer(scheduling, entry, clock))],
                readiness=readiness,
            )
        )
        await until_signalled()


async def migrate(config: Config) -> None:
    """Brings the database and the stream of our events up to date."""
    await migrate_database(config, "giaoban_scheduling")
    async with connect_nats(config) as nats:
        js = nats.jetstream()
        await ensure_stream(js, "scheduling")
        await ensure_dead_letters(js)
