# SPDX-License-Identifier: Apache-2.0
"""Owns the wiring of notifications: a straight line from configuration to a serving process."""

from contextlib import AsyncExitStack

from giaoban.notifications.v1.notifications_service_pb2_grpc import add_NotificationsServiceServicer_to_server
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import read_secret
from giaoban_kit.db import database, migrate_database
from giaoban_kit.events import connect_nats, consuming, ensure_dead_letters, event_filter, stream_name
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.outbox import pruning
from giaoban_kit.run import until_signalled
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.telemetry import Readiness, telemetry
from giaoban_kit.tokens import TokenVerifier, identity_jwks

from giaoban_notifications.config import Config
from giaoban_notifications.consumers import MAX_DELIVERIES, MEETINGS, RECORDINGS, Consumers
from giaoban_notifications.domain import RetryPolicy
from giaoban_notifications.letters import JinjaLetters
from giaoban_notifications.mail import SmtpMailer, SmtpServer
from giaoban_notifications.metrics import count_mail
from giaoban_notifications.people import IdentityPeople
from giaoban_notifications.rpc import NotificationsServicer
from giaoban_notifications.service import Announcements, Postman, UserInbox
from giaoban_notifications.store import SqlTransactions
from giaoban_notifications.worker import sending


async def serve(config: Config) -> None:
    """Serves until a signal comes."""
    async with AsyncExitStack() as stack:
        await start(config, stack)
        await until_signalled()


async def start(config: Config, stack: AsyncExitStack) -> int:
    """Starts every part on the stack; returns the port of the gRPC server."""
    identity, readiness, clock = ServiceIdentity.from_config(config), Readiness(), SystemClock()
    begins = stack.enter_async_context
    await begins(telemetry(config, readiness))
    db = await begins(database(config))
    await begins(pruning(db))
    begin = SqlTransactions(db)
    js = (await begins(connect_nats(config, ensure_dead_letters))).jetstream()
    directory = await begins(channel(config.identity_target, identity))
    letters = JinjaLetters(
        public_url=config.public_url, sender_name=config.mail_from_name, sender_address=config.mail_from
    )
    announcements = Announcements(begin, IdentityPeople(directory), letters, clock=clock, new_id=new_id)
    server = SmtpServer(
        host=config.smtp_host,
        port=config.smtp_port,
        security=config.smtp_tls,
        username=config.smtp_user,
        password=read_secret(config.smtp_password_file) if config.smtp_password_file else None,
        timeout=config.smtp_timeout,
    )
    retries = RetryPolicy(config.mail_first_delay, config.mail_max_delay, config.mail_max_attempts)
    postman = Postman(begin, SmtpMailer(server, config.mail_from), retries, clock=clock, count=count_mail)
    await begins(sending(postman, config.mail_poll))
    consumers = Consumers(announcements)
    for durable, handler, filters in (
        (
            MEETINGS,
            consumers.meeting,
            [event_filter("scheduling", "meeting", verb) for verb in ("scheduled", "changed", "cancelled")],
        ),
        (
            RECORDINGS,
            consumers.recording,
            [event_filter("recording", "recording", verb) for verb in ("completed", "failed")],
        ),
    ):
        await begins(
            consuming(
                js,
                stream=stream_name(filters[0].split(".")[1]),
                durable=durable,
                filter_subjects=filters,
                handler=handler,
                max_deliveries=MAX_DELIVERIES,
            )
        )
    servicer = NotificationsServicer(UserInbox(begin, clock=clock))
    return await begins(
        grpc_server(
            config,
            identity,
            TokenVerifier(identity_jwks(directory)),
            add=[(add_NotificationsServiceServicer_to_server, servicer)],
            readiness=readiness,
        )
    )


async def migrate(config: Config) -> None:
    """Brings database and dead letters up to date; the streams belong to those who publish."""
    await migrate_database(config, "giaoban_notifications")
    async with connect_nats(config) as nats:
        await ensure_dead_letters(nats.jetstream(), update=True)
