# SPDX-License-Identifier: Apache-2.0
"""Owns what happens around every served RPC: telemetry, logging, errors, auth, deadline, in this order.

One interceptor does all of it and keeps what it made of each method: every call pays for what is here.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
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


class CallerForbidden(Forbidden):
    """The caller graph does not have this edge."""

    reason = "CALLER_FORBIDDEN"


class Around(grpc.aio.ServerInterceptor):
    """Serves every call, unary or streaming, in its span, with its log line, errors, auth and deadline."""

    def __init__(
        self,
        identity: service_auth.ServiceIdentity,
        verifier: tokens.TokenVerifier,
        rules: Mapping[str, callers.Rule],
    ) -> None:
        """rules: who may call what; a method without one is refused."""
        self._identity = identity
        self._verifier = verifier
        self._rules = rules
        self._handlers: dict[str, Any] = {}  # only of methods that the server has

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Wraps the method's handler, if there is one."""
        method = str(handler_call_details.method)
        wrapped = self._handlers.get(method)
        if wrapped is None and (handler := await continuation(handler_call_details)) is not None:
            wrapped = self._handlers[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        async def unary(request: Any, context: Context) -> Any:
            async with self._served(method, context, MAX_UNARY_SECONDS):
                return await inner(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._served(method, context, None):
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

    @asynccontextmanager
    async def _served(self, method: str, context: Context, most: float | None) -> AsyncIterator[None]:
        """The only place that sets a status. `most`: seconds that the call may take; None for streams."""
        metadata = _metadata(context)
        with _telemetry(method, metadata), _logging(method, context, streaming=most is None):
            try:
                await self._authenticate(method, metadata)
                async with _deadline(context, most):
                    yield
            except GiaobanError as error:
                if error.kind is ErrorKind.INTERNAL:
                    log.exception("rpc_failed")
                else:
                    log.info("rpc_refused", reason=error.reason)
                await self._abort(context, error)
            except grpc.aio.AbortError:
                raise  # the health service aborts by itself
            except Exception:
                log.exception("rpc_failed")
                await self._abort(context, Internal(f"{method} failed."))

    async def _abort(self, context: Context, error: GiaobanError) -> None:
        status = to_status(error, self._identity.name)
        await context.abort(CODES[error.kind], status.message, ((DETAILS_KEY, status.SerializeToString()),))

    async def _authenticate(self, method: str, metadata: Mapping[str, str]) -> None:
        rule = self._rules.get(method)
        if rule is None:
            raise CallerForbidden(f"Nobody may call {method}: it is not in callers.toml.")
        if rule.callers is not None:
            caller = self._identity.verify_caller(metadata.get(service_auth.METADATA_KEY, ""))
            service_auth.set_caller(caller)
            structlog.contextvars.bind_contextvars(caller=caller)
            if caller not in rule.callers:
                raise CallerForbidden(f"{caller} may not call {method}.")
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if rule.user != "none" and scheme.lower() == "bearer" and token:
            principal = await self._verifier.verify(token)
            tokens.set_principal(principal, token)
            structlog.contextvars.bind_contextvars(subject=principal.subject)
        elif rule.user == "required":
            raise Unauthenticated("Sign in first.")


def _number(code: Any) -> int:
    """The status number: grpc.aio gives the enum, or the bare number, or None."""
    return int(code.value[0]) if isinstance(code, grpc.StatusCode) else int(code or 0)


def _metadata(context: Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {str(key): value for key, value in pairs if isinstance(value, str)}


@contextmanager
def _telemetry(method: str, metadata: Mapping[str, str]) -> Iterator[None]:
    if method.startswith(_QUIET_SERVICE):
        yield
        return
    with span_from_headers(method[1:], metadata, SpanKind.SERVER, **{"rpc.method": method[1:]}):
        yield


@contextmanager
def _logging(method: str, context: Context, *, streaming: bool) -> Iterator[None]:
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


@asynccontextmanager
async def _deadline(context: Context, most: float | None) -> AsyncIterator[None]:
    if most is None:
        yield
        return
    remaining = context.time_remaining()
    timeout = asyncio.timeout(most if remaining is None else min(remaining, most))
    try:
        async with timeout:
            yield
    except TimeoutError:
        if timeout.expired():
            raise DeadlineExceeded("The request took longer than allowed.") from None
        raise
