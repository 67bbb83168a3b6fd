# SPDX-License-Identifier: Apache-2.0
"""Headers, body sizes and origins: what holds for every request."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from functools import cache

from giaoban_kit.logging import get_logger
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from giaoban_gateway.config import Config
from giaoban_gateway.metrics import REQUEST_SECONDS
from giaoban_gateway.problems import internal, problem

MAX_BODY_BYTES = 1024 * 1024
MAX_DIGITS = 15
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = get_logger(__name__)


def origins(config: Config) -> frozenset[str]:
    """The origins whose pages may act for a signed-in person."""
    return frozenset({config.public_url, *config.allowed_origins})


def client_address(connection: HTTPConnection, config: Config) -> str:
    """The client's address: the last in X-Forwarded-For that no trusted proxy of ours added."""
    address = connection.client.host if connection.client else "unknown"
    forwarded = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
    while forwarded and _trusted(address, config.trusted_proxies):
        try:
            address = str(ipaddress.ip_address(forwarded.pop().strip()))
        except ValueError:
            break
    return address


def _trusted(address: str, proxies: tuple[str, ...]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # the peer of a unix socket
        return False
    return any(found in network for network in _networks(proxies))


@cache
def _networks(proxies: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in proxies)


def headers(config: Config) -> Mapping[str, str]:
    """Security headers of every response (OWASP ASVS 5.0, V3)."""
    secure = config.public_url.startswith("https://")
    sockets = " ".join(sorted(each.replace("http", "ws", 1) for each in origins(config)))
    policy = (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        f"media-src 'self' blob:; font-src 'self'; connect-src 'self' {sockets}; "
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
    """ASGI middleware: size and type of the body before, headers after, and a word for what nobody expected."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        """Wraps an application."""
        self._app = app
        self._of_all = _raw(headers(config))
        self._of_api = _raw({**headers(config), "Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started, came = False, time.monotonic()

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                seconds = time.monotonic() - came
                REQUEST_SECONDS.labels(*_kind(scope), message["status"]).observe(seconds)
                sent = message.setdefault("headers", [])
                there = {name for name, _ in sent}
                ours = self._of_api if scope["path"].startswith(("/v1/", "/.well-known/")) else self._of_all
                message["headers"] = [*sent, *(each for each in ours if each[0] not in there)]
            await send(message)

        try:
            refused, receive = await _check_body(Headers(scope=scope), receive)
            await (refused or self._app)(scope, receive, guarded)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("request_failed")
            if started:
                raise  # too late to say so; the server cuts the connection
            await internal()(scope, receive, guarded)


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI sends them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _kind(scope: Scope) -> tuple[str, str]:
    """Method and route of a request, of which there are few, whatever clients send."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    return method, getattr(scope.get("route"), "path", "web")


async def _check_body(headers: Headers, receive: Receive) -> tuple[Response | None, Receive]:
    """The refusal of a body, or None; and where the body is read from now."""
    length, chunked = headers.get("content-length", "0"), "transfer-encoding" in headers
    if not length.isdecimal() or len(length) > MAX_DIGITS or int(length) > MAX_BODY_BYTES:
        return _too_large(), receive
    if not chunked and length == "0":
        return None, receive
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return problem(415, "MEDIA_TYPE_WRONG", "Send the body as application/json."), receive
    if not chunked:
        return None, receive
    # A body that does not say how long it is gets read first, so that too much of it is refused in words.
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return _too_large(), receive
    return None, _replayed(bytes(body), receive)


def _too_large() -> Response:
    refused = problem(413, "BODY_TOO_LARGE", f"Send at most {MAX_BODY_BYTES} bytes.")
    refused.headers["Connection"] = "close"
    return refused


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
