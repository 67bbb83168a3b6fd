# SPDX-License-Identifier: Apache-2.0
"""Owns the verbs and the composition of the sample service."""

from contextlib import AsyncExitStack
from typing import Any

from giaoban.notifications.v1.notifications_service_pb2 import (
    MarkAllNotificationsReadRequest,
    MarkAllNotificationsReadResponse,
)
from giaoban.notifications.v1.notifications_service_pb2_grpc import (
    NotificationsServiceServicer,
    add_NotificationsServiceServicer_to_server,
)
from giaoban.scheduling.v1.events_pb2 import MeetingEnded
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import Database, database, migrate_database
from giaoban_kit.events import (
    Event,
    connect_nats,
    consuming,
    ensure_dead_letters,
    ensure_stream,
    event_filter,
    new_event,
    subject,
)
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.outbox import Outbox, first_time, relaying
from giaoban_kit.run import main_cli, until_signalled
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.telemetry import Readiness, telemetry
from giaoban_kit.tokens import TokenVerifier, current_principal, identity_jwks

from .store import SqlNotes


class Config(ServiceConfig):
    """The sample service."""

    service_name: str = "notifications"


class Servicer(NotificationsServiceServicer):
    def __init__(self, db: Database) -> None:
        self._db = db

    async def MarkAllNotificationsRead(
        self, request: MarkAllNotificationsReadRequest, context: Any
    ) -> MarkAllNotificationsReadResponse:
        async with self._db.transaction() as session:
            await SqlNotes(session).add(current_principal().subject, "read")
        return MarkAllNotificationsReadResponse()


class Consumers:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def meeting_ended(self, event: Event) -> None:
        assert isinstance(event.message, MeetingEnded)
        meeting_id = event.message.meeting.id
        async with self._db.transaction() as session:
            if await first_time(session, "notifications-sample", event.id):
                await SqlNotes(session).add(meeting_id, "ended")
                told = new_event(subject("notifications", "note", "written", meeting_id), event.message)
                await Outbox(session).add(told)


async def serve(config: Config) -> None:
    identity, readiness = ServiceIdentity.from_config(config), Readiness()
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(telemetry(config, readiness))
        db = await start(database(config))
        js = (await start(connect_nats(config))).jetstream()
        await start(relaying(db, js, "notifications"))
        verifier = TokenVerifier(identity_jwks(await start(channel(config.identity_target, identity))))
        filters = [event_filter("scheduling", "meeting", "ended")]
        handler = Consumers(db).meeting_ended
        await start(
            consuming(
                js,
                stream="SCHEDULING",
                durable="notifications-sample",
                filter_subjects=filters,
                handler=handler,
            )
        )
        servicer = Servicer(db)  # type: ignore[abstract]  # the other RPCs are UNIMPLEMENTED
        add = [(add_NotificationsServiceServicer_to_server, servicer)]
        await start(grpc_server(config, identity, verifier, add=add, readiness=readiness))
        await until_signalled()


async def migrate(config: Config) -> None:
    await migrate_database(config, "giaoban_sample")
    async with connect_nats(config) as nats:
        await ensure_stream(nats.jetstream(), "notifications")
        await ensure_dead_letters(nats.jetstream())


if __name__ == "__main__":
    main_cli(Config, serve=serve, migrate=migrate)
