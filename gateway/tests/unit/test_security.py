# SPDX-License-Identifier: Apache-2.0
"""Headers, body sizes, client addresses and the web client's files."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from giaoban_gateway.config import Config
from giaoban_gateway.security import MAX_BODY_BYTES, client_address
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from .conftest import Door

ID = "01J9ZQ4N0000000000000000RE"
JSON = {"Content-Type": "application/json"}


def policy(headers: Any) -> dict[str, set[str]]:
    """The content security policy by directive."""
    parts = [each.split() for each in headers["content-security-policy"].split(";")]
    return {name: set(values) for name, *values in parts}


@pytest.mark.parametrize("path", ["/healthz", "/v1/me", "/v1/nothing", "/asyncapi.yaml", "/openapi.json"])
async def test_every_answer_has_the_security_headers(door: Door, path: str) -> None:
    """Good answers and refusals alike tell the browser what it must not do."""
    headers = (await door.web.get(path)).headers
    found = policy(headers)
    assert found["default-src"] == {"'self'"}
    assert found["connect-src"] == {"'self'", "ws://localhost:8080"}
    assert "blob:" in found["media-src"]
    assert found["frame-ancestors"] == {"'none'"}
    assert "'unsafe-inline'" not in found["script-src"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=(self)" in headers["permissions-policy"]
    assert "microphone=(self)" in headers["permissions-policy"]
    assert "strict-transport-security" not in headers
    assert not [each for each in headers if each.startswith("access-control-")]


@pytest.mark.parametrize("settings", [{"public_url": "https://hop.example.vn"}])
async def test_over_https_the_browser_stays_there(door: Door) -> None:
    """HSTS is sent, and only secure WebSockets are allowed."""
    headers = (await door.web.get("/healthz")).headers
    assert "max-age=" in headers["strict-transport-security"]
    assert policy(headers)["connect-src"] == {"'self'", "wss://hop.example.vn"}


async def test_no_query_reaches_a_span(door: Door, spans: InMemorySpanExporter) -> None:
    """Content tickets and the names that people search for stay out of telemetry."""
    await door.web.get(f"/v1/recordings/{ID}/content?ticket=s3cr3t")
    await door.web.get("/v1/users?query=Nguyễn+s3cr3t", headers=door.bearer())
    found = [span for span in spans.get_finished_spans() if span.name.startswith("GET /v1/")]
    assert len(found) == 2
    assert "s3cr3t" not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_a_request_has_one_span_that_goes_on_with_the_clients_trace(
    door: Door, spans: InMemorySpanExporter
) -> None:
    """Method and path name it, the answer's status is in it, other headers are not; health checks have none."""
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    carried = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01", "baggage": "s3cr3t=1"}
    await door.web.get("/v1/nothing", headers=carried)
    await door.web.get("/healthz", headers=carried)
    (span,) = spans.get_finished_spans()
    assert span.name == "GET /v1/nothing"
    assert f"{span.context.trace_id:032x}" == trace_id
    assert dict(span.attributes or {}) == {"url.path": "/v1/nothing", "http.response.status_code": 404}
    assert span.status.is_unset


async def test_a_trace_that_is_not_sampled_has_no_spans(door: Door, spans: InMemorySpanExporter) -> None:
    """Who began it decided that."""
    await door.web.get(
        "/v1/nothing", headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    )
    assert not spans.get_finished_spans()


async def test_other_origins_are_never_allowed_to_read(door: Door) -> None:
    """There is no CORS: a preflight is answered like any unknown method, without a permission."""
    asking = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PATCH"}
    response = await door.web.options("/v1/me", headers=asking)
    assert response.status_code == 405
    assert not [each for each in response.headers if each.startswith("access-control-")]


async def test_a_body_that_says_it_is_too_large_is_not_read(door: Door) -> None:
    """Beyond 1 MiB the answer is 413 before the first byte."""
    headers = door.bearer() | JSON | {"Content-Length": str(MAX_BODY_BYTES + 1)}
    response = await door.web.patch("/v1/me", content=b"{}", headers=headers)
    assert response.status_code == 413
    assert response.json()["reason"] == "BODY_TOO_LARGE"


async def test_a_body_that_does_not_say_how_large_it_is_is_counted(door: Door) -> None:
    """A chunked body is stopped at the same measure."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 65_536
            yield b" " * 65_536

    response = await door.web.patch("/v1/me", content=chunks(), headers=door.bearer() | JSON)
    assert response.status_code == 413
    assert sent < 2 * MAX_BODY_BYTES


async def test_a_chunked_body_within_the_limit_is_read(door: Door) -> None:
    """The counterpart: small chunks arrive whole."""

    async def chunks() -> AsyncIterator[bytes]:
        for part in (b'{"loc', b'ale":', b'"fr"}'):
            yield part

    response = await door.web.patch("/v1/me", content=chunks(), headers=door.bearer() | JSON)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "locale"


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 30, "1, 1"])
async def test_a_length_that_is_no_number_is_refused(door: Door, length: str) -> None:
    """A Content-Length that no server can mean ends there."""
    headers = door.bearer() | JSON | {"Content-Length": length}
    response = await door.web.patch("/v1/me", content=b"{}", headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_only_json_is_taken(door: Door, media_type: str) -> None:
    """Types that a foreign page can send without asking first are refused."""
    headers = door.bearer() | ({"Content-Type": media_type} if media_type else {})
    response = await door.web.patch("/v1/me", content=b'{"locale":"vi"}', headers=headers)
    assert response.status_code == 415


def connection(client: str, *forwarded: str) -> HTTPConnection:
    """A connection as the server sees it."""
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return HTTPConnection({"type": "http", "client": (client, 4711), "headers": headers})


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.42.7.9", ["6.6.6.6, 203.0.113.9, 10.42.0.3"], "203.0.113.9"),
        ("10.43.7.9", ["203.0.113.9"], "10.43.7.9"),
        ("fd00::5", ["203.0.113.9"], "203.0.113.9"),
    ],
)
def test_the_clients_address_cannot_be_made_up(client: str, forwarded: list[str], address: str) -> None:
    """X-Forwarded-For counts only as far as our own proxies wrote it."""
    config = Config(trusted_proxies=("10.0.0.1", "10.0.0.2", "10.42.0.0/16", "fd00::/64"))
    assert client_address(connection(client, *forwarded), config) == address


@pytest.mark.parametrize("proxy", ["", "ingress", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_a_proxy_that_is_no_network_is_refused_at_the_start(proxy: str) -> None:
    """A typing error must not turn into a proxy that nobody trusts, or everybody."""
    with pytest.raises(ValidationError, match="trusted_proxies"):
        Config(trusted_proxies=(proxy,))


@pytest.fixture
def settings(web_directory: Path) -> dict[str, Any]:
    return {"web_directory": web_directory}


@pytest.mark.parametrize("path", ["/", "/meetings/01J9", "/vi/lich-hop", "/v2"])
async def test_paths_of_the_web_client_get_the_page(door: Door, path: str) -> None:
    """The client routes by itself: every path outside the API is the page, never kept without asking."""
    response = await door.web.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["cache-control"] == "no-cache"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


async def test_hashed_files_are_kept_for_ever(door: Door) -> None:
    """A file with its hash in the name never changes; one without is asked for again."""
    response = await door.web.get("/assets/app-1a2b3c.js")
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"].startswith("text/javascript")
    assert (await door.web.get("/favicon.svg")).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1", "/.well-known/nothing", "/assets/old-9z.js"])
async def test_what_is_missing_is_not_the_page(door: Door, path: str) -> None:
    """Unknown paths of the API and of assets are 404, or clients would read HTML as data."""
    response = await door.web.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "immutable" not in response.headers.get("cache-control", "")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/../../secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/assets/..%5c..%5csecret.txt",
        "/%00",
    ],
)
async def test_no_path_leads_out_of_the_web_client(door: Door, path: str) -> None:
    """Whatever the path says, only built files are served."""
    scope = door.web.build_request("GET", "/")
    scope.url = scope.url.copy_with(raw_path=path.encode())
    response = await door.web.send(scope)
    assert response.status_code in (200, 404)
    assert "secret" not in response.text
    assert "root:" not in response.text
    if response.status_code == 200:
        assert "<title>Giaoban</title>" in response.text


async def test_files_are_only_read(door: Door) -> None:
    """Nothing can be sent to the web client's paths."""
    assert (await door.web.put("/index.html", json={})).status_code == 405
