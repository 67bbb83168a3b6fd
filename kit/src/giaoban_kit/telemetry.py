# SPDX-License-Identifier: Apache-2.0
"""Owns traces (W3C Trace Context) and the small HTTP port with /metrics, /healthz and /readyz.

Traces stay in the process unless `otlp_endpoint` is set. Span attributes carry ids, never values of people.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from prometheus_client import make_wsgi_app

from giaoban_kit.config import ServiceConfig
from giaoban_kit.logging import get_logger

log = get_logger(__name__)
EXPORT_TIMEOUT_MILLISECONDS = 3000
_tracer = trace.get_tracer("giaoban_kit")


class Readiness:
    """Whether the process takes work; read by /readyz, set by the gRPC server's start and stop."""

    def __init__(self) -> None:
        self._ready = threading.Event()

    def set(self, ready: bool) -> None:
        """Says so."""
        if ready:
            self._ready.set()
        else:
            self._ready.clear()

    def __bool__(self) -> bool:
        return self._ready.is_set()


def trace_headers() -> dict[str, str]:
    """`traceparent` (and `tracestate`) of the current span; empty outside of any."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def _unsampled(current: trace.Span) -> bool:
    """Whether the span belongs to a trace that nobody records; what is below it is not recorded either."""
    found = current.get_span_context()
    return found.is_valid and not found.trace_flags.sampled


@contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int | bool
) -> Iterator[trace.Span]:
    """A span around the block; an exception marks it failed with its type only, never its text.

    In a trace that is not sampled this is the span there is: another would be made only to be dropped.
    """
    outer = trace.get_current_span()
    if _unsampled(outer):
        yield outer
        return
    with _started(name, None, kind, attributes) as current:
        yield current


@contextmanager
def span_from_headers(
    name: str,
    headers: Mapping[str, str],
    kind: SpanKind = SpanKind.CONSUMER,
    **attributes: str | int | bool,
) -> Iterator[trace.Span]:
    """A span that continues the trace of the sender's headers (lower-case keys); the sender's if not sampled."""
    sent = propagate.extract(headers)
    outer = trace.get_current_span(sent)
    if not _unsampled(outer):
        with _started(name, sent, kind, attributes) as current:
            yield current
        return
    token = context.attach(sent)
    try:
        yield outer
    finally:
        context.detach(token)


@contextmanager
def _started(
    name: str, within: context.Context | None, kind: SpanKind, attributes: Mapping[str, str | int | bool]
) -> Iterator[trace.Span]:
    with _tracer.start_as_current_span(
        name,
        context=within,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Scrapes are not worth a line."""


@contextmanager
def _http(listen: str, readiness: Readiness) -> Iterator[int]:
    metrics = make_wsgi_app()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start_response)
        ok = {"/healthz": True, "/readyz": bool(readiness)}.get(path)
        status = "404 Not Found" if ok is None else "200 OK" if ok else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain")])
        return [status.encode()]

    host, _, port = listen.rpartition(":")
    server = make_server(host.strip("[]"), int(port), app, server_class=_Server, handler_class=_Silent)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def telemetry(config: ServiceConfig, readiness: Readiness) -> AsyncIterator[int]:
    """Starts tracing and the HTTP port; yields the port; flushes spans at the end."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):  # one per process; tests bring their own
        provider = TracerProvider(
            resource=Resource.create({"service.name": f"giaoban-{config.service_name}"}),
            sampler=ParentBased(TraceIdRatioBased(config.trace_sample_ratio)),
        )
        trace.set_tracer_provider(provider)
        if config.otlp_endpoint:
            # Imported only when used: it costs a tenth of a second of start-up.
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            insecure = config.otlp_endpoint.startswith("http://")
            exporter = OTLPSpanExporter(endpoint=config.otlp_endpoint, insecure=insecure)
            provider.add_span_processor(BatchSpanProcessor(exporter))
    with _http(config.metrics_listen, readiness) as port:
        log.info("metrics_listening", port=port)
        try:
            yield port
        finally:
            await asyncio.to_thread(provider.force_flush, EXPORT_TIMEOUT_MILLISECONDS)
