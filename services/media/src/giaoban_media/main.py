# SPDX-License-Identifier: Apache-2.0
"""The composition root of media."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

from giaoban.identity.v1.identity_service_pb2 import GetMeRequest
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban.media.v1.media_service_pb2_grpc import add_MediaServiceServicer_to_server
from giaoban_kit.clock import SystemClock
from giaoban_kit.events import (
    connect_nats,
    consuming,
    ensure_dead_letters,
    ensure_stream,
    event_filter,
    publish,
)
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.kv import ensure_bucket, open_bucket
from giaoban_kit.run import until_signalled
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.tasks import beside
from giaoban_kit.telemetry import Readiness, telemetry
from giaoban_kit.tokens import TokenVerifier, identity_jwks
from nats.js import JetStreamContext

from giaoban_media.config import Config
from giaoban_media.consumers import MeetingEvents, NodeEvents, ScheduleEvents
from giaoban_media.janus.sfu import JanusSfu
from giaoban_media.journal import Journal
from giaoban_media.meetings import Meetings, Replicas
from giaoban_media.nodes import Nodes
from giaoban_media.publish import NatsNews
from giaoban_media.reservations import Reservations
from giaoban_media.rpc import MediaServicer
from giaoban_media.service import Media

LIVE, JOURNAL, NODES, REPLICAS = "media-live", "media-journal", "media-nodes", "media-replicas"
RESERVATIONS = "media-reservations"
HEARTBEAT = 4.0
REPLICA_TTL = timedelta(seconds=15)


async def serve(config: Config) -> None:
    """Runs a media replica until it is told to stop."""
    identity, readiness, clock = ServiceIdentity.from_config(config), Readiness(), SystemClock()
    replica = config.replica or new_id()
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(telemetry(config, readiness))
        nats = await start(connect_nats(config, _ensure))
        js = nats.jetstream()
        news = NatsNews(lambda event: publish(js, event), nats.publish)
        tickets = await open_bucket(js, JOURNAL)
        journal = Journal(tickets, replica)
        # The nodes tell of themselves before anybody listens: `nodes` keeps it until it runs.
        budgets = {each.id: each.budget_packets_per_second for each in config.nodes}
        nodes = Nodes(await open_bucket(js, NODES), clock, lambda: meetings.nodes_changed(), budgets)  # noqa: PLW0108 - made below
        sfu = JanusSfu([each.address() for each in config.nodes], nodes.report)
        live = await open_bucket(js, LIVE)
        reservations = Reservations(await open_bucket(js, RESERVATIONS), clock)
        meetings = Meetings(
            live=live,
            tickets=tickets,
            journal=journal,
            reservations=reservations,
            sfu=sfu,
            news=news,
            clock=clock,
        )
        meetings.bind(nodes)
        replicas = Replicas(await open_bucket(js, REPLICAS), replica, journal, meetings)
        media = Media(meetings, nodes, clock)
        await start(
            beside(
                news.run(),
                nodes.run(),
                reservations.follow(),
                meetings.follow_journal(),
                replicas.run(HEARTBEAT),
            )
        )
        await start(sfu.running())
        stack.push_async_callback(meetings.close)
        heard = NodeEvents(nodes, news, sfu.reachable)
        for kind in ("core", "plugins"):
            await nats.subscribe(f"janus.*.{kind}", queue="media", cb=heard.shared)
        await nats.subscribe("janus.*.media", cb=heard.media)
        await nats.subscribe("janus.*.status", cb=heard.status)
        over = [event_filter("scheduling", "meeting", verb) for verb in ("ended", "cancelled")]
        planned = [event_filter("scheduling", "meeting", verb) for verb in ("scheduled", "changed")]
        for durable, filters, handler in (
            ("media-meetings", over, MeetingEvents(media).handle),
            ("media-reservations", planned + over, ScheduleEvents(reservations).handle),
        ):
            await start(
                consuming(js, stream="SCHEDULING", durable=durable, filter_subjects=filters, handler=handler)
            )
        directory = await start(channel(config.identity_target, identity))
        stub = IdentityServiceStub(directory)

        async def may(permission: int) -> bool:
            me = await stub.GetMe(GetMeRequest())
            return any(permission in each.permissions for each in me.permissions)

        servicer = MediaServicer(media, identity, config.ice_servers, may)
        verifier = TokenVerifier(identity_jwks(directory))
        add = [(add_MediaServiceServicer_to_server, servicer)]
        await start(
            grpc_server(
                config, identity, verifier, add=add, readiness=readiness, grace=timedelta(seconds=0.2)
            )
        )
        await until_signalled()


async def migrate(config: Config) -> None:
    """Creates the stream and the buckets of media."""
    async with connect_nats(config) as nats:
        await _ensure(nats.jetstream(), update=True)


async def _ensure(js: JetStreamContext, *, update: bool = False) -> None:
    await ensure_stream(js, "media", update=update)
    await ensure_dead_letters(js, update=update)
    for name in (LIVE, JOURNAL, NODES, RESERVATIONS):
        await ensure_bucket(js, name, update=update)
    await ensure_bucket(js, REPLICAS, ttl=REPLICA_TTL, update=update)
