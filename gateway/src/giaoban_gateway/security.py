# SPDX-License-Identifier: Apache-2.0
"""Headers, body sizes and origins: what holds for every request."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from giaoban_gateway.config import Config
from giaoban_gateway.problems import problem

MAX_BODY_BYTES = 1024 * 1024


def origins(config: Config) -> frozenset[str]:
    """The origins whose pages may act for a signed-in person."""
    return frozenset({config.public_url, *config.allowed_origins})


def client_address(connection: HTTPConnection, config: Config) -> str:
    """The client's address; X-Forwarded-For counts only from a trusted proxy."""
    direct = connection.client.host if connection.client else "unknown"
    if direct in config.trusted_proxies:
        forwarded = connection.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        try:
            return str(ipaddress.ip_address(forwarded))
        except ValueError:
            return direct
    return direct


def headers(config: Config) -> Mapping[str, str]:
    """Security headers of every response (OWASP ASVS 5.0, V3)."""
    secure = config.public_url.startswith("https://")
    sockets = " ".join(sorted(each.replace("http", "ws", 1) for each in origins(config)))
    policy = (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        f"media-src 'self' blob:; font-src 'self' data:; connect-src 'self' {sockets}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    )
    common = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return common | ({"Strict-Transport-Security": "max-age=31536000"} if secure else {})


class Guard:
    """ASGI middleware: body limit before, headers after."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        """Wraps an application."""
        self._app = app
        self._headers = headers(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    out.setdefault(name, value)
                if scope["path"].startswith(("/v1/", "/.well-known/")):
                    out.setdefault("Cache-Control", "no-store")
            await send(message)

        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            await problem(413, "BODY_TOO_LARGE", f"Send at most {MAX_BODY_BYTES} bytes.")(
                scope, receive, guarded
            )
            return
        await self._app(scope, _Bounded(receive), guarded)


class _Bounded:
    """Counts a body that does not say how long it is."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            return {"type": "http.disconnect"}
        return message
