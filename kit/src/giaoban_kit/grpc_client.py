# SPDX-License-Identifier: Apache-2.0
"""Owns calls to other services: deadline, identity, the end user's token, trace, errors, retries."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import grpc
from opentelemetry.trace import SpanKind

from giaoban_kit import callers, service_auth, tokens
from giaoban_kit.errors import Unavailable
from giaoban_kit.grpc_server import MAX_MESSAGE_BYTES
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.status import from_status
from giaoban_kit.telemetry import span, trace_headers

DEFAULT_TIMEOUT = timedelta(seconds=5)
RETRY_SECONDS = (0.05, 0.2, 0.6)  # waits before each repetition, with jitter
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.use_local_subchannel_pool", 1),
)


def _metadata(method: str, given: Any, identity: ServiceIdentity) -> grpc.aio.Metadata:
    """What the caller set and ours: who calls, for whom, in which trace."""
    metadata = grpc.aio.Metadata(*(given or ()))
    package = method.removeprefix("/").split(".", 2)
    if package[0] == "giaoban":
        metadata.add(service_auth.METADATA_KEY, identity.token_for(package[1]))
        token = tokens.current_token()
        if token is not None and metadata.get("authorization") is None:
            metadata.add("authorization", f"Bearer {token}")
    for key, value in trace_headers().items():
        metadata.add(key, value)
    return metadata


def _unary(call: Any, method: str, identity: ServiceIdentity, most: float) -> Callable[..., Awaitable[Any]]:
    """A unary call with all of the above. No interceptor: grpc.aio makes a task and two objects more for one."""
    rule = callers.rules().get(method)
    repetitions = RETRY_SECONDS if rule is not None and rule.idempotent else ()

    async def ask(request: Any, *, timeout: float | None = None, metadata: Any = None) -> Any:  # noqa: ASYNC109
        waits, loop = iter(repetitions), asyncio.get_running_loop()
        end = loop.time() + (timeout or most)
        with span(method[1:], SpanKind.CLIENT, **{"rpc.method": method[1:]}):
            while True:
                try:
                    sent = _metadata(method, metadata, identity)
                    return await call(request, timeout=max(end - loop.time(), 0.0), metadata=sent)
                except grpc.aio.AioRpcError as failed:
                    error = from_status(failed.code(), failed.details(), failed.trailing_metadata())
                wait = next(waits, None)
                if not isinstance(error, Unavailable) or wait is None or loop.time() + wait >= end:
                    raise error
                await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311  (jitter, no secret)

    return ask


class _Stream:
    """A stream as grpc.aio has it, but its errors are ours."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._writing = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for response in self._call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_status(error.code(), error.details(), error.trailing_metadata()) from None

    async def write(self, request: Any) -> None:
        """Sends a message; of several tasks that do, one waits for the other (grpc.aio takes one at a time)."""
        async with self._writing:
            await self._call.write(request)

    async def read(self) -> Any:
        """The next message; grpc.aio.EOF at the end."""
        try:
            return await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise from_status(error.code(), error.details(), error.trailing_metadata()) from None


def _streaming(call: Any, method: str, identity: ServiceIdentity) -> Callable[..., _Stream]:
    """A call with a stream of answers, and perhaps of requests. No interceptor: every message would pass it."""

    def ask(requests: Any = None, *, metadata: Any = None, **how: Any) -> _Stream:
        with span(method[1:], SpanKind.CLIENT, **{"rpc.method": method[1:]}):
            return _Stream(call(requests, metadata=_metadata(method, metadata, identity), **how))

    return ask


class _Channel:
    """What a stub asks of a channel."""

    def __init__(self, opened: grpc.aio.Channel, identity: ServiceIdentity, timeout: timedelta) -> None:
        self._opened = opened
        self._identity = identity
        self._timeout = timeout.total_seconds()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Awaitable[Any]]:
        call = self._opened.unary_unary(method, *args, **kwargs)
        return _unary(call, method, self._identity, self._timeout)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., _Stream]:
        return _streaming(self._opened.unary_stream(method, *args, **kwargs), method, self._identity)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., _Stream]:
        return _streaming(self._opened.stream_stream(method, *args, **kwargs), method, self._identity)


@asynccontextmanager
async def channel(
    target: str,
    identity: ServiceIdentity,
    timeout: timedelta = DEFAULT_TIMEOUT,  # noqa: ASYNC109  (of each call, not of this one)
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel whose calls raise GiaobanError. `timeout` bounds unary calls that name none; streams have none.

    Streams are read with `async for` and written with `call.write` or a request iterator.
    """
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as opened:
        yield cast("grpc.aio.Channel", _Channel(opened, identity, timeout))
