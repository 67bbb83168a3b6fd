# SPDX-License-Identifier: Apache-2.0
"""What holds for every request: who may ask, what is refused, and how it is said."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from giaoban_gateway.app import create_app
from giaoban_gateway.capacity import PLENTY, PLENTY_SECONDS
from giaoban_gateway.config import Config
from giaoban_kit.errors import Conflict, Exhausted, Internal, Unauthenticated, Unavailable
from giaoban_kit.testing.keys import UserTokens

ULID = "01J00000000000000000000000"
PUBLIC = {
    "/healthz",
    "/readyz",
    "/asyncapi.yaml",
    "/.well-known/jwks.json",
    "/v1/auth/sign-in",
    "/v1/auth/terminal",
    "/v1/auth/refresh",
    "/v1/auth/sign-out",
}
ROUTES = [
    (method.upper(), path.replace("{", "").replace("}", "").replace("meeting_id", ULID))
    for path, methods in create_app(Config()).openapi()["paths"].items()
    if path not in PUBLIC
    for method in methods
]
HEADERS = (
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
)
CREATE: dict[str, Any] = {
    "unit_id": ULID,
    "title": "Giao ban tuần",
    "start_time": "2026-12-01T08:00:00+07:00",
    "duration_seconds": 3600,
    "time_zone": "Asia/Ho_Chi_Minh",
    "appointments": [{"party": {"kind": "user", "id": ULID}, "role": "chair"}],
}


def problem(answer: httpx.Response, status: int, reason: str | None = None) -> Any:
    """The body of a problem that is complete."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "reason"} <= body.keys()
    assert body["status"] == status
    assert body["type"] == "/problems/" + body["reason"].lower().replace("_", "-")
    assert all(name in answer.headers for name in HEADERS)
    if reason is not None:
        assert body["reason"] == reason, body
    return body


def _path(path: str) -> str:
    for name in ("recording_id", "admission_id", "notification_id"):
        path = path.replace(name, ULID)
    return path


@pytest.mark.parametrize("what", ["none", "expired", "forged", "other kind", "basic", "rubbish"])
async def test_every_route_wants_a_token_of_its_own_kind(shared: Any, what: str) -> None:
    """Without a good access token every route but the public ones answers 401, before it looks at anything."""
    headers = {
        "none": {},
        "expired": shared.bearer(issued_at=int(time.time()) - 3600),
        "forged": {"Authorization": f"Bearer {UserTokens().token()}"},
        "other kind": shared.bearer(kind="service"),
        "basic": {"Authorization": "Basic Zm9vOmJhcg=="},
        "rubbish": {"Authorization": "Bearer " + "." * 5000},
    }[what]
    assert len(ROUTES) > 25
    for method, path in ROUTES:
        answer = await shared.web.request(method, _path(path), headers=headers)
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/me/", 404),
        ("GET", "/v1/../v1/nothing", 404),
        ("GET", "/v1/meetings/%00", 401),
        ("DELETE", "/v1/me", 405),
        ("HEAD", "/v1/me", 405),
        ("OPTIONS", "/v1/me", 405),
        ("GET", "/v1/auth/sign-in", 405),
        ("PUT", "/healthz", 405),
        ("POST", "/", 405),
        ("POST", "/somewhere", 405),
        ("GET", "/assets/gone.js", 404),
        ("GET", "/assets/%00.js", 404),
    ],
)
async def test_what_is_not_there_is_a_problem(shared: Any, method: str, path: str, status: int) -> None:
    """Unknown paths of the API and wrong methods are problems too, and methods say which are right."""
    answer = await shared.web.request(method, path)
    if method == "HEAD":
        assert (answer.status_code, answer.content) == (status, b"")
    else:
        problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]


async def test_the_page_answers_for_every_path_that_is_not_the_apis(shared: Any) -> None:
    """The web client routes by itself; its hashed files are for ever, its page is not."""
    for path in ("/", "/meetings/1", "/v1x", "/%ff%fe", "/a%00b"):
        answer = await shared.web.get(path)
        assert (answer.status_code, answer.text) == (200, "<title>Giaoban</title>"), path
        assert answer.headers["cache-control"] == "no-cache"
        assert all(name in answer.headers for name in HEADERS)
    asset = await shared.web.get("/assets/app-1a2b.js")
    assert "immutable" in asset.headers["cache-control"]


async def test_nobody_leaves_the_folder_of_the_web_client(shared: Any) -> None:
    """Dots, encoded or not, stay inside."""
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/assets/..%2f..%2fsecret.txt"):
        reader, writer = await asyncio.open_connection("127.0.0.1", shared.gateway.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b"\r\n\r\nsecret" not in await reader.read()
        writer.close()


async def test_unexpected_failures_say_nothing_but_have_headers(house: Any) -> None:
    """A service's inner error does not tell what happened inside."""
    house.identity.script["GetMe"] = Internal("password column missing")
    body = problem(await house.web.get("/v1/me", headers=house.bearer()), 500, "INTERNAL")
    assert "column" not in str(body)


@pytest.mark.parametrize("chunked", [True, False])
async def test_too_much_is_refused_in_words(shared: Any, chunked: bool) -> None:
    """More than 1 MiB is 413, whether it is announced or not; 1 MiB is only judged by what it says."""

    async def parts(size: int) -> Any:
        for _ in range(size // 65_536):
            yield b" " * 65_536

    for size, status in ((1024 * 1024, 422), (1024 * 1024 + 65_536, 413)):
        content = parts(size) if chunked else b" " * size
        headers = {"Content-Type": "application/json"}
        problem(await shared.web.post("/v1/auth/sign-in", content=content, headers=headers), status)


@pytest.mark.parametrize("length", ["-1", "1e3", "+5", "9" * 400])
async def test_a_length_that_is_none_is_refused(shared: Any, length: str) -> None:
    """What claims an impossible length is not read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.gateway.port)
    writer.write(f"POST /v1/auth/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] in (b"400", b"413")
    writer.close()


@pytest.mark.parametrize(
    "media_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
async def test_only_json_is_taken(shared: Any, media_type: str | None) -> None:
    """A form on a foreign page cannot speak for anybody: bodies of other kinds are 415."""
    headers = {"Content-Type": media_type} if media_type else {}
    answer = await shared.web.post("/v1/auth/sign-in", content=b"{}", headers=headers)
    problem(answer, 415, "MEDIA_TYPE_WRONG")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"\x00",
        b"nul",
        b"[]",
        b'"x"',
        b"NaN",
        b"{}",
        b"[" * 100_000,
        b'{"title": 1' + b"0" * 5000 + b"}",
        b'{"title": 1e400}',
        b'{"\\ud800": 1}',
        b'{"title": "\\ud800"}',
        b'{"' + b"x" * 10_000 + b'": 1}',
        b'{"appointments": [' + b",".join([b"{}"] * 3000) + b"]}",
    ],
    ids=range(16),
)
async def test_a_body_that_is_none_names_what_is_wrong(shared: Any, content: bytes) -> None:
    """Whatever is sent instead of a meeting, the answer says which field is wrong, and stays short."""
    headers = shared.bearer() | {"Content-Type": "application/json"}
    answer = await shared.web.post("/v1/meetings", content=content, headers=headers)
    body = problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)
    assert all(each.keys() == {"field", "reason", "remedy"} for each in body["errors"])
    assert 1 <= len(body["errors"]) <= 100
    assert all(len(each["field"]) <= 200 for each in body["errors"])


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("unit_id", "x", "unit_id"),
        ("unit_id", None, "unit_id"),
        ("title", "", "title"),
        ("title", "x" * 201, "title"),
        ("title", "a\x00b", "title"),
        ("title", "\ud800", "title"),
        ("start_time", "2026-12-01T08:00:00", "start_time"),
        ("start_time", "9999-12-31T23:59:59-12:00", "start_time"),
        ("start_time", "0001-01-01T00:00:00+12:00", "start_time"),
        ("start_time", 1e300, "start_time"),
        ("start_time", 10**30, "start_time"),
        ("duration_seconds", 299, "duration_seconds"),
        ("duration_seconds", 10**30, "duration_seconds"),
        ("duration_seconds", 1.5, "duration_seconds"),
        ("time_zone", "x" * 65, "time_zone"),
        ("microphone_policy", "loud", "microphone_policy"),
        ("appointments", [], "appointments"),
        (
            "appointments",
            [{"party": {"kind": "ghost", "id": ULID}, "role": "chair"}],
            "appointments.0.party.kind",
        ),
        ("appointments", [{"party": {"kind": "user", "id": ULID}, "role": "king"}], "appointments.0.role"),
        ("appointments", CREATE["appointments"] * 501, "appointments"),
        ("organisation_id", ULID, "organisation_id"),
    ],
)
async def test_a_wrong_field_is_named(shared: Any, field: str, value: Any, named: str) -> None:
    """Every field has its limits, and unknown ones are refused."""
    import json

    content = json.dumps(CREATE | {field: value})
    headers = shared.bearer() | {"Content-Type": "application/json"}
    answer = await shared.web.post("/v1/meetings", content=content, headers=headers)
    assert named in [each["field"] for each in problem(answer, 422, "REQUEST_INVALID")["errors"]]
    assert not shared.scheduling.asked


@pytest.mark.parametrize(
    "query",
    [
        "",
        "from=2026-01-01T00:00:00Z",
        "from=x&to=y",
        "from=2026-01-01T00:00:00&to=2026-01-02T00:00:00",
        "from=0001-01-01T00:00:00%2B14:00&to=9999-12-31T23:59:59-14:00",
        "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&page_size=0",
        "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&page_size=1e9",
        "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&page_token=" + "x" * 2000,
        "from=%00&to=%ff",
    ],
)
async def test_a_wrong_query_is_named(shared: Any, query: str) -> None:
    """Parameters are checked like bodies."""
    answer = await shared.web.get(f"/v1/meetings?{query}", headers=shared.bearer())
    assert problem(answer, 422)["errors"]


async def test_the_idempotency_key_and_the_place_of_the_new_meeting(house: Any) -> None:
    """The key reaches scheduling; the answer says where the meeting is and which version."""
    headers = house.bearer() | {"Idempotency-Key": "once-1"}
    answer = await house.web.post("/v1/meetings", json=CREATE, headers=headers)
    assert answer.status_code == 201
    assert house.scheduling.asked[0].idempotency_key == "once-1"
    assert answer.headers["location"] == f"/v1/meetings/{answer.json()['id']}"
    assert answer.headers["etag"] == '"v1"'
    assert answer.headers["cache-control"] == "no-store"


async def test_an_edit_names_its_version(house: Any) -> None:
    """Without If-Match 428, with an old one 412; the quotes are the protocol's, not the version's."""
    path, change = f"/v1/meetings/{ULID}", {"title": "Mới"}
    for headers in ({}, {"If-Match": ""}, {"If-Match": "*"}):
        answer = await house.web.patch(path, json=change, headers=house.bearer() | headers)
        problem(answer, 428, "IF_MATCH_REQUIRED")
    headers = house.bearer() | {"If-Match": '"v1"'}
    assert (await house.web.patch(path, json=change, headers=headers)).status_code == 200
    assert house.scheduling.asked[-1].etag == "v1"
    changed = Conflict("Đã đổi.")
    changed.reason = "MEETING_CHANGED"
    house.scheduling.script["UpdateMeeting"] = changed
    problem(await house.web.patch(path, json=change, headers=headers), 412, "MEETING_CHANGED")


ENTRY = {"organisation_code": "tphcm", "username": "an", "password": "x"}
OURS = {"Origin": "http://localhost:8080", "X-Requested-With": "giaoban"}


async def test_the_refresh_token_is_for_no_script(house: Any) -> None:
    """It lives in a cookie for /v1/auth alone, never in a body."""
    answer = await house.web.post("/v1/auth/sign-in", json=ENTRY)
    cookie = answer.headers["set-cookie"]
    assert answer.json().keys() == {"access_token", "expires_at"}
    for attribute in ("giaoban_refresh=next-", "HttpOnly", "SameSite=strict", "Path=/v1/auth", "expires="):
        assert attribute in cookie
    assert "Secure" not in cookie  # plain HTTP on localhost


async def test_a_refresh_renews_the_cookie_and_a_refused_one_takes_it_away(house: Any) -> None:
    """When the session is over the browser forgets it."""
    cookies = {"Cookie": "giaoban_refresh=abc"}
    answer = await house.web.post("/v1/auth/refresh", headers=OURS | cookies)
    assert answer.status_code == 200
    assert "giaoban_refresh=next-" in answer.headers["set-cookie"]
    house.web.cookies.clear()
    refused = Unauthenticated("Hết phiên.")
    refused.reason = "REFRESH_TOKEN_REUSED"
    house.identity.script["RefreshSession"] = refused
    answer = await house.web.post("/v1/auth/refresh", headers=OURS | cookies)
    problem(answer, 401, "REFRESH_TOKEN_REUSED")
    assert 'giaoban_refresh=""' in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert "Path=/v1/auth" in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/v1/auth/refresh", "/v1/auth/sign-out"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example", "X-Requested-With": "giaoban"},
        {"X-Requested-With": "giaoban"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "null", "X-Requested-With": "giaoban"},
    ],
)
async def test_what_the_cookie_allows_is_for_our_own_page(
    shared: Any, path: str, headers: dict[str, str]
) -> None:
    """Another site's page can neither refresh nor sign out."""
    cookie = {"Cookie": "giaoban_refresh=abc"}
    problem(await shared.web.post(path, headers=headers | cookie), 403, "ORIGIN_FORBIDDEN")
    assert not shared.identity.asked


async def test_signing_out_is_fine_twice(house: Any) -> None:
    """The cookie goes, and without one there is nothing to do."""
    answer = await house.web.post("/v1/auth/sign-out", headers=OURS | {"Cookie": "giaoban_refresh=abc"})
    assert answer.status_code == 204
    assert answer.content == b""
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await house.web.post("/v1/auth/sign-out", headers=OURS)).status_code == 204
    assert len(house.identity.asked) == 1


class TestLimits:
    """Few requests are allowed here."""

    @pytest.fixture
    def gateway_settings(self) -> dict[str, Any]:
        return {"auth_requests_per_minute": 8, "requests_per_minute": 8, "trusted_proxies": ("127.0.0.1",)}

    async def test_guessing_is_slowed_down_by_address(self, house: Any) -> None:
        """Beyond the burst 429 says when to come again; another client behind the proxy is not concerned."""
        mine, other = {"X-Forwarded-For": "6.6.6.6, 10.1.1.1"}, {"X-Forwarded-For": "10.1.1.1, 10.1.1.2"}
        answers = [await house.web.post("/v1/auth/sign-in", json=ENTRY, headers=mine) for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        problem(answers[-1], 429, "RATE_LIMITED")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 8
        assert (await house.web.post("/v1/auth/sign-in", json=ENTRY, headers=other)).status_code == 200
        assert [each.client_address for each in house.identity.asked] == ["10.1.1.1", "10.1.1.1", "10.1.1.2"]

    async def test_a_person_is_limited_whatever_the_token(self, house: Any) -> None:
        """Fresh tokens bring no fresh allowance."""
        answers = [await house.web.get("/v1/me", headers=house.bearer(subject=ULID)) for _ in range(3)]
        problem(answers[-1], 429, "RATE_LIMITED")


async def test_nobody_chooses_his_own_address(house: Any) -> None:
    """Without a trusted proxy X-Forwarded-For is not looked at."""
    await house.web.post("/v1/auth/sign-in", json=ENTRY, headers={"X-Forwarded-For": "10.1.1.1"})
    assert house.identity.asked[0].client_address == "127.0.0.1"


async def test_health_and_readiness(house: Any) -> None:
    """Ready is who has had identity's keys and is not about to stop; that every part is away changes nothing."""
    assert (await house.web.get("/healthz")).json() == {"status": "ok"}
    assert (await house.web.get("/readyz")).json() == {"status": "ok"}
    house.gateway.app.state.stopping = True
    problem(await house.web.get("/readyz"), 503, "STOPPING")
    house.gateway.app.state.stopping = False
    await house.stop_services()
    assert (await house.web.get("/readyz")).json() == {"status": "ok"}
    assert (await house.web.get("/healthz")).status_code == 200


async def test_a_gateway_that_never_had_keys_is_not_ready(house: Any) -> None:
    """It could let nobody in; it does not take the place of one that can."""
    await house.stop_services()
    problem(await house.web.get("/readyz", timeout=10), 503, "NOT_READY")


async def test_tokens_are_verified_while_identity_is_away(house: Any, monkeypatch: Any) -> None:
    """Known keys go on; a token of a key nobody here has seen is neither good nor forged: 503, come again."""
    path, token = f"/v1/meetings/{ULID}/attendance", house.bearer()
    assert (await house.web.get("/v1/me", headers=token)).status_code == 200
    await house.stop_identity()
    monkeypatch.setattr("giaoban_kit.tokens.REFETCH_SECONDS", -1)
    problem(await house.web.get(path, headers=token), 500)  # scheduling was asked; the script has no answer
    new = {"Authorization": f"Bearer {UserTokens(kid='new-1').token()}"}
    body = problem(await house.web.get(path, headers=new, timeout=10), 503, "UNAVAILABLE")
    assert "Try again" in body["detail"]


async def test_a_part_that_is_away_is_said_quickly(house: Any) -> None:
    """503 with a time to come again, and no addresses."""
    token = house.bearer()
    assert (await house.web.get("/v1/me", headers=token)).status_code == 200
    await house.stop_services()
    began = time.monotonic()
    answer = await house.web.get("/v1/me", headers=token)
    assert time.monotonic() - began < 4
    body = problem(answer, 503, "UNAVAILABLE")
    assert int(answer.headers["retry-after"]) >= 1
    assert "127.0.0.1" not in str(body)


async def test_a_part_that_hangs_is_not_waited_for_without_end(house: Any) -> None:
    """After the deadline of a call the answer is 504."""
    house.identity.script["hang"] = 30
    began = time.monotonic()
    body = problem(await house.web.get("/v1/me", headers=house.bearer(), timeout=10), 504)
    assert time.monotonic() - began < 7
    assert body["reason"] == "DEADLINE_EXCEEDED"


async def test_no_ticket_without_room_at_a_media_node(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full nodes: 503 with media's own Retry-After, at once; what else ails media is left to the join."""
    monkeypatch.setattr("giaoban_gateway.capacity.CAPACITY_SECONDS", 5)  # a busy machine is no reason
    path, token = f"/v1/meetings/{ULID}/connect-tickets", house.bearer()
    full = Exhausted("The media servers are full.", retry_after=timedelta(seconds=10))
    full.reason = "MEDIA_CAPACITY"
    for media in house.medias:  # whichever is asked
        media.full = full
    answer = await house.web.post(path, headers=token)
    assert problem(answer, 503)["reason"] == "MEDIA_CAPACITY"
    assert answer.headers["retry-after"] == "10"
    for media in house.medias:
        media.full = Unavailable("Media is not there.")
    assert (await house.web.post(path, headers=token)).status_code == 201


async def test_media_is_not_asked_again_where_there_is_plenty_of_room(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer serves those who come within a second; near the end of the room everybody asks."""
    monkeypatch.setattr("giaoban_gateway.capacity.CAPACITY_SECONDS", 5)
    path, token = f"/v1/meetings/{ULID}/connect-tickets", house.bearer()

    async def asked(room_for: int, tickets: int) -> int:
        for media in house.medias:
            media.room_for, media.asked = room_for, 0
        for _ in range(tickets):
            assert (await house.web.post(path, headers=token)).status_code == 201
        return sum(media.asked for media in house.medias)

    assert await asked(PLENTY - 1, 3) == 3
    began = time.monotonic()
    times = await asked(PLENTY, 6)
    assert 1 <= times <= 1 + (time.monotonic() - began) / PLENTY_SECONDS


async def test_without_nats_tickets_are_refused_at_once(house: Any, nats_process: Any) -> None:
    """What needs NATS says so quickly; the rest goes on, and everything does when it is back."""
    path, token = f"/v1/meetings/{ULID}/connect-tickets", house.bearer()
    assert (await house.web.post(path, headers=token)).status_code == 201
    nats_process.kill()
    await asyncio.sleep(0.3)
    began = time.monotonic()
    answer = await house.web.post(path, headers=token)
    problem(answer, 503)
    assert "retry-after" in answer.headers
    assert time.monotonic() - began < 1
    assert (await house.web.get("/v1/me", headers=token)).status_code == 200
    nats_process.start()
    async with asyncio.timeout(10):
        while (await house.web.post(path, headers=token)).status_code != 201:
            await asyncio.sleep(0.1)
