# SPDX-License-Identifier: Apache-2.0
"""The composition root of the gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceStub
from giaoban.notifications.v1.notifications_service_pb2_grpc import NotificationsServiceStub
from giaoban.recording.v1.recording_service_pb2_grpc import RecordingServiceStub
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import SchedulingServiceStub
from giaoban_kit.config import ConfigError
from giaoban_kit.events import connect_nats
from giaoban_kit.grpc_client import channel
from giaoban_kit.kv import Bucket, ensure_bucket, open_bucket
from giaoban_kit.run import until_signalled
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.telemetry import Readiness, telemetry
from giaoban_kit.tokens import TokenVerifier, identity_jwks
from nats.js import JetStreamContext

from giaoban_gateway.app import create_app
from giaoban_gateway.capacity import Capacity
from giaoban_gateway.config import Config
from giaoban_gateway.limits import Limiter
from giaoban_gateway.live.endpoint import MAX_FRAME_BYTES
from giaoban_gateway.live.hub import Hub
from giaoban_gateway.live.sockets import LiveSocket
from giaoban_gateway.services import Services
from giaoban_gateway.tickets import CONTENT_LIFETIME, Tickets

TICKETS, LIVE = "gateway-tickets", "media-live"
GRACE_SECONDS = 3
KEYS_RETRY_SECONDS = 1
BACKLOG = 2048


@dataclass(frozen=True)
class Running:
    """A gateway that answers on `port`."""

    app: FastAPI
    services: Services
    port: int


async def serve(config: Config) -> None:
    """Runs a gateway until it is told to stop."""
    readiness = Readiness()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(telemetry(config, readiness))
        running = await start(config, stack)
        waiting = asyncio.create_task(_ready(running.services.verifier, readiness))
        await until_signalled()
        waiting.cancel()
        readiness.set(False)
        running.app.state.stopping = True


async def _ready(verifier: TokenVerifier, readiness: Readiness) -> None:
    """Says ready once there are keys to verify tokens with; that identity goes away later changes nothing."""
    while not await verifier.has_keys():  # noqa: ASYNC110  (each look is a call)
        await asyncio.sleep(KEYS_RETRY_SECONDS)
    readiness.set(True)


async def start(config: Config, stack: AsyncExitStack) -> Running:
    """A gateway that runs until the stack unwinds; its clients are sent elsewhere first."""
    enter, identity = stack.enter_async_context, ServiceIdentity.from_config(config)
    nats = await enter(connect_nats(config, _ensure))
    js = nats.jetstream()
    directory = await enter(channel(config.identity_target, identity))
    media = MediaServiceStub(await enter(channel(config.media_target, identity)))
    services = Services(
        config=config,
        identity=IdentityServiceStub(directory),
        scheduling=SchedulingServiceStub(await enter(channel(config.scheduling_target, identity))),
        media=media,
        recording=RecordingServiceStub(await enter(channel(config.recording_target, identity))),
        notifications=NotificationsServiceStub(await enter(channel(config.notifications_target, identity))),
        verifier=TokenVerifier(identity_jwks(directory)),
        tickets=Tickets(await open_bucket(js, TICKETS), nats),
        capacity=Capacity(media),
        hub=Hub(Bucket(js, LIVE), nats),
        auth_limit=Limiter(config.auth_requests_per_minute),
        refresh_limit=Limiter(config.refreshes_per_minute),
        refresh_address_limit=Limiter(config.refreshes_per_address_per_minute),
        user_limit=Limiter(config.requests_per_minute),
    )
    app = create_app(config)
    app.state.services = services
    port = await enter(_http(app, config))
    stack.push_async_callback(services.hub.stop)
    return Running(app, services, port)


async def migrate(config: Config) -> None:
    """Creates the bucket of tickets."""
    async with connect_nats(config) as nats:
        await _ensure(nats.jetstream(), update=True)


async def _ensure(js: JetStreamContext, *, update: bool = False) -> None:
    await ensure_bucket(js, TICKETS, ttl=CONTENT_LIFETIME, update=update)


@asynccontextmanager
async def _http(app: FastAPI, config: Config) -> AsyncIterator[int]:
    settings = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",  # at INFO it has a line or two for every WebSocket, whatever `access_log` says
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws=LiveSocket,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # a window per client would cost more than small messages save
        ws_ping_interval=10,
        ws_ping_timeout=15,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=config.tls_cert_file,
        ssl_keyfile=config.tls_key_file,
    )
    server, listening = uvicorn.Server(settings), _listen(config)
    task = asyncio.create_task(_run(server, listening))
    try:
        while not server.started:
            if task.done():
                await task
                raise ConfigError("GIAOBAN_HTTP_LISTEN: the server ended as it began; the log says why.")
            await asyncio.sleep(0.02)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def _listen(config: Config) -> socket.socket:
    host, _, port = config.http_listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Its protocol said, or asyncio would not send small messages at once (TCP_NODELAY).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.http_reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, int(port)))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"GIAOBAN_HTTP_LISTEN: cannot listen on {config.http_listen}: {error.strerror}. Is the port in use?"
        ) from error
    return listening


async def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    # `serve` would install handlers of its own for signals, which `until_signalled` has.
    await server._serve([listening])  # noqa: SLF001 - the only part of uvicorn's server without signal handling
