# SPDX-License-Identifier: Apache-2.0
"""Owns what happens around every served RPC: telemetry, logging, errors, auth, deadline, in this order."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from giaoban_kit import callers, service_auth, tokens
from giaoban_kit.errors import DeadlineExceeded, ErrorKind, Forbidden, GiaobanError, Internal, Unauthenticated
from giaoban_kit.logging import get_logger
from giaoban_kit.status import CODES, DETAILS_KEY, to_status
from giaoban_kit.telemetry import span_from_headers

log = get_logger(__name__)
MAX_UNARY_SECONDS = 60.0  # the longest a unary call may take, whatever its deadline
_QUIET_SERVICE = "/grpc.health.v1.Health/"
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}

HANDLED = Counter("giaoban_rpc_handled_total", "RPCs served", ["method", "code"])
SECONDS = Histogram("giaoban_rpc_seconds", "Time to serve a unary RPC", ["method"])

Context = Any  # grpc.aio.ServicerContext; generic in the stubs, not at run time
Call = Callable[
    [str, bool, Context], AbstractAsyncContextManager[None]
]  # method, response streaming, context


class CallerForbidden(Forbidden):
    """The caller graph does not have this edge."""

    reason = "CALLER_FORBIDDEN"


class Around(grpc.aio.ServerInterceptor):
    """Runs an async context manager around every call, unary or streaming."""

    def __init__(self, around: Call) -> None:
        self._around = around

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Wraps the method's handler, if there is one."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method, around = str(handler_call_details.method), self._around
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        async def unary(request: Any, context: Context) -> Any:
            async with around(method, False, context):
                return await inner(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async with around(method, True, context):
                if inspect.isasyncgenfunction(inner):
                    async for response in inner(request, context):
                        yield response
                else:
                    await inner(request, context)  # writes to the context itself

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        return make(
            stream if handler.response_streaming else unary,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _number(code: Any) -> int:
    """The status number: grpc.aio gives the enum, or the bare number, or None."""
    return int(code.value[0]) if isinstance(code, grpc.StatusCode) else int(code or 0)


def _metadata(context: Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {str(key): value for key, value in pairs if isinstance(value, str)}


@asynccontextmanager
async def _telemetry(method: str, _streaming: bool, context: Context) -> AsyncIterator[None]:
    if method.startswith(_QUIET_SERVICE):
        yield
        return
    with span_from_headers(method[1:], _metadata(context), SpanKind.SERVER, **{"rpc.method": method[1:]}):
        yield


@asynccontextmanager
async def _logging(method: str, streaming: bool, context: Context) -> AsyncIterator[None]:
    started = time.monotonic()
    structlog.contextvars.bind_contextvars(rpc=method)
    code = "OK"
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        code = "CANCELLED"  # the caller went away, or the server stops
        raise
    except BaseException:
        code = _NAMES.get(_number(context.code()), "UNKNOWN")
        raise
    finally:
        seconds = time.monotonic() - started
        HANDLED.labels(method, code).inc()
        if not streaming:
            SECONDS.labels(method).observe(seconds)
        if not method.startswith(_QUIET_SERVICE):
            log.info("rpc_handled", code=code, milliseconds=round(seconds * 1000, 1))


def _errors(service: str) -> Call:
    """The only place that sets a status."""

    @asynccontextmanager
    async def around(method: str, _streaming: bool, context: Context) -> AsyncIterator[None]:
        try:
            yield
        except GiaobanError as error:
            if error.kind is ErrorKind.INTERNAL:
                log.exception("rpc_failed")
            else:
                log.info("rpc_refused", reason=error.reason)
            await _abort(context, error, service)
        except grpc.aio.AbortError:
            raise  # the health service aborts by itself
        except Exception:
            log.exception("rpc_failed")
            await _abort(context, Internal(f"{method} failed."), service)

    return around


async def _abort(context: Context, error: GiaobanError, service: str) -> None:
    status = to_status(error, service)
    await context.abort(CODES[error.kind], status.message, ((DETAILS_KEY, status.SerializeToString()),))


def _auth(
    identity: service_auth.ServiceIdentity, verifier: tokens.TokenVerifier, rules: dict[str, callers.Rule]
) -> Call:
    @asynccontextmanager
    async def around(method: str, _streaming: bool, context: Context) -> AsyncIterator[None]:
        rule = rules.get(method)
        if rule is None:
            raise CallerForbidden(f"Nobody may call {method}: it is not in callers.toml.")
        metadata = _metadata(context)
        if rule.callers is not None:
            caller = identity.verify_caller(metadata.get(service_auth.METADATA_KEY, ""))
            service_auth.set_caller(caller)
            structlog.contextvars.bind_contextvars(caller=caller)
            if caller not in rule.callers:
                raise CallerForbidden(f"{caller} may not call {method}.")
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if rule.user != "none" and scheme.lower() == "bearer" and token:
            principal = await verifier.verify(token)
            tokens.set_principal(principal, token)
            structlog.contextvars.bind_contextvars(subject=principal.subject)
        elif rule.user == "required":
            raise Unauthenticated("Sign in first.")
        yield

    return around


@asynccontextmanager
async def _deadline(_method: str, streaming: bool, context: Context) -> AsyncIterator[None]:
    if streaming:
        yield
        return
    remaining = context.time_remaining()
    limit = MAX_UNARY_SECONDS if remaining is None else min(remaining, MAX_UNARY_SECONDS)
    timeout = asyncio.timeout(limit)
    try:
        async with timeout:
            yield
    except TimeoutError:
        if timeout.expired():
            raise DeadlineExceeded("The request took longer than allowed.") from None
        raise


def server_interceptors(
    identity: service_auth.ServiceIdentity,
    verifier: tokens.TokenVerifier,
    rules: dict[str, callers.Rule] | None = None,
) -> tuple[Around, ...]:
    """The interceptors of every server, outermost first."""
    return tuple(
        Around(around)
        for around in (
            _telemetry,
            _logging,
            _errors(identity.name),
            _auth(identity, verifier, callers.rules() if rules is None else rules),
            _deadline,
        )
    )
