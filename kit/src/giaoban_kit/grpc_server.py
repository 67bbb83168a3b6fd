# SPDX-License-Identifier: Apache-2.0
"""Owns how a gRPC server starts and stops: interceptors, health, grace."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from giaoban_kit import callers
from giaoban_kit.callers import Rule
from giaoban_kit.config import ConfigError, ServiceConfig
from giaoban_kit.interceptors import Around
from giaoban_kit.logging import get_logger
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.telemetry import Readiness
from giaoban_kit.tokens import TokenVerifier

log = get_logger(__name__)
GRACE = timedelta(seconds=10)  # for calls that run when the server stops
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # two servers on one port would share its calls unnoticed
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

Add = tuple[Callable[[Any, Any], None], Any]


@asynccontextmanager
async def grpc_server(
    config: ServiceConfig,
    identity: ServiceIdentity,
    verifier: TokenVerifier,
    *,
    add: Sequence[Add],
    readiness: Readiness | None = None,
    rules: dict[str, Rule] | None = None,
    grace: timedelta = GRACE,
) -> AsyncIterator[int]:
    """Serves until the block ends; yields the port (0 for a unix socket).

    add: pairs of `add_XServicer_to_server` and the servicer. rules: another caller graph, for tests.
    Stopping: not ready, health NOT_SERVING, no new calls, `grace` for running ones, then cancel.
    Raises: ConfigError if the address is taken.
    """
    around = Around(identity, verifier, callers.rules() if rules is None else rules)
    server = grpc.aio.server(interceptors=[around], options=OPTIONS)
    for add_to, servicer in add:
        add_to(servicer, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    try:
        port = server.add_insecure_port(config.grpc_listen)
    except RuntimeError:
        raise ConfigError(
            f"GIAOBAN_GRPC_LISTEN: cannot listen on {config.grpc_listen}. Is the port in use?"
        ) from None
    await server.start()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    if readiness is not None:
        readiness.set(True)
    log.info("grpc_listening", port=port)
    try:
        yield port
    finally:
        if readiness is not None:
            readiness.set(False)
        await healthy.enter_graceful_shutdown()
        await server.stop(grace.total_seconds())
        log.info("grpc_stopped")
