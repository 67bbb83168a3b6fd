# SPDX-License-Identifier: Apache-2.0
"""Owns the span of a request or WebSocket, in which the traces of all parts begin.

OpenTelemetry's own ASGI middleware gathers a dozen attributes, times and sizes for every request, also for the nineteen of
twenty whose traces nobody records: a seventh of what a request costs here.
"""

from __future__ import annotations

from giaoban_kit.telemetry import span_from_headers
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTEXT = frozenset({b"traceparent", b"tracestate"})  # W3C Trace Context; no other header comes in
QUIET = frozenset({"/healthz", "/readyz"})
FAILED = 500  # HTTP semantic conventions: what the client did wrong is no error of ours


class Traced:
    """ASGI middleware: one span named by method and path; never the query, which holds tickets and names searched for."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        came = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in CONTEXT
        }
        method, path = scope.get("method", "WS"), scope["path"]
        with span_from_headers(f"{method} {path}", came, SpanKind.SERVER, **{"url.path": path}) as span:

            async def answered(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= FAILED:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, answered)
