# SPDX-License-Identifier: Apache-2.0
"""Who may ask what: tokens on every route, the refresh cookie, and limits."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as directory
from giaoban_gateway.config import Config
from giaoban_kit.errors import Unauthenticated
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import UserTokens

from .conftest import ORIGIN, Door, application

ID = "01J9ZQ4N0000000000000000ME"
OPEN = {
    "/v1/auth/sign-in",
    "/v1/auth/terminal",
    "/v1/auth/refresh",
    "/v1/auth/sign-out",
    "/.well-known/jwks.json",
    "/healthz",
    "/readyz",
    "/asyncapi.yaml",
}
"""Paths that need no access token; everything else does."""

OURS = {"Origin": ORIGIN, "X-Requested-With": "giaoban"}
COOKIE = {"Cookie": "giaoban_refresh=r-secret"}


def guarded() -> Iterator[tuple[str, str]]:
    """Every operation that the API describes and that is not open to all."""
    for path, operations in application(Config()).openapi()["paths"].items():
        for method in operations:
            if path not in OPEN:
                yield method.upper(), path


def token_of(tokens: UserTokens, case: str) -> str:
    """A token with one thing wrong."""
    own = {
        "expired": {"issued_at": int(time.time()) - 3600},
        "someone else's key": {},
        "organisation no id": {"organisation_id": "city"},
        "subject no id": {"subject": "admin"},
        "of no kind": {"kind": "service"},
    }
    if case == "someone else's key":
        return UserTokens(kid=tokens.kid).token()
    if case in own:
        return tokens.token(**own[case])  # type: ignore[arg-type]
    good = tokens.token()
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    made = {
        "unsigned": jwt.encode(claims, "", algorithm="none", headers={"kid": tokens.kid, "typ": "at+jwt"}),
        "symmetric": jwt.encode(
            claims, "k" * 32, algorithm="HS256", headers={"kid": tokens.kid, "typ": "at+jwt"}
        ),
        "another type": jwt.encode(claims, tokens.key, algorithm="EdDSA", headers={"kid": tokens.kid}),
        "for somebody else": jwt.encode(
            claims | {"aud": "media"},
            tokens.key,
            algorithm="EdDSA",
            headers={"kid": tokens.kid, "typ": "at+jwt"},
        ),
        "key unknown": jwt.encode(
            claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "other", "typ": "at+jwt"}
        ),
        "changed": f"{head}.{body[:-2]}{'AA' if body[-2:] != 'AA' else 'BB'}.{signature}",
        "no token": "x",
        "endless": good + "A" * 5000,
    }
    return made[case]


CASES = [
    "expired",
    "someone else's key",
    "organisation no id",
    "subject no id",
    "of no kind",
    "unsigned",
    "symmetric",
    "another type",
    "for somebody else",
    "key unknown",
    "changed",
    "no token",
    "endless",
]


def test_the_open_paths_are_those_that_are_there() -> None:
    """No path is excused from tokens that does not exist."""
    assert application(Config()).openapi()["paths"].keys() >= OPEN


@pytest.mark.parametrize(("method", "path"), list(guarded()))
async def test_no_route_works_without_a_good_token(door: Door, method: str, path: str) -> None:
    """Without a token, with an expired and with a forged one every route answers 401 and asks no service."""
    parts = {"meeting_id", "admission_id", "recording_id", "notification_id"}
    url = path
    for each in parts:
        url = url.replace(f"{{{each}}}", ID)
    headers: list[dict[str, str]] = [
        {},
        {"Authorization": "Basic eDp5"},
        *({"Authorization": f"Bearer {token_of(door.tokens, case)}"} for case in ("expired", "changed")),
    ]
    body: dict[str, Any] = {"json": {}} if method in ("POST", "PATCH") else {}
    for sent in headers:
        response = await door.web.request(method, url, headers=sent, **body)
        assert response.status_code == 401, response.text
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["reason"] in ("TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED")
    assert not door.asked


@pytest.mark.parametrize("case", CASES)
async def test_a_bad_token_is_refused_whatever_is_wrong_with_it(door: Door, case: str) -> None:
    """Expired, forged, unsigned, of another kind or for somebody else: 401, told apart only when expired."""
    headers = {"Authorization": f"Bearer {token_of(door.tokens, case)}"}
    response = await door.web.get("/v1/me", headers=headers)
    assert response.status_code == 401
    assert response.json()["reason"] == ("TOKEN_EXPIRED" if case == "expired" else "TOKEN_INVALID")
    assert not door.asked


async def test_a_good_token_is_forwarded(door: Door) -> None:
    """The counterpart of the refusals: with a good token the service is asked."""
    door.parts["identity"].script["GetMe"] = directory.GetMeResponse(user=identity_pb2.User(id=new_id()))
    response = await door.web.get("/v1/me", headers=door.bearer())
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert [rpc for rpc, _ in door.asked] == ["GetMe"]


def signed_in() -> identity_pb2.SessionTokens:
    tokens = identity_pb2.SessionTokens(access_token="access", refresh_token="r-next")
    tokens.access_token_expires_at.FromJsonString("2040-01-01T00:00:00Z")
    tokens.refresh_token_expires_at.FromJsonString("2040-01-02T00:00:00Z")
    return tokens


CREDENTIALS = {"organisation_code": "tphcm", "username": "an", "password": "Đường đi khó 7"}


async def test_the_refresh_token_travels_in_the_cookie_only(door: Door) -> None:
    """No script can read it, no other site sends it, no other path gets it."""
    door.parts["identity"].script["SignIn"] = directory.SignInResponse(tokens=signed_in())
    response = await door.web.post("/v1/auth/sign-in", json=CREDENTIALS)
    assert response.json() == {"access_token": "access", "expires_at": "2040-01-01T00:00:00Z"}
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("giaoban_refresh=r-next;")
    attributes = {each.strip().lower() for each in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/v1/auth"} <= attributes
    assert "secure" not in attributes
    assert door.asked[0][1].client_address == "203.0.113.9"


@pytest.mark.parametrize("settings", [{"public_url": "https://hop.example.vn"}])
async def test_the_cookie_is_secure_where_the_site_is(door: Door) -> None:
    """Over https the cookie never travels in the clear."""
    door.parts["identity"].script["SignIn"] = directory.SignInResponse(tokens=signed_in())
    response = await door.web.post("/v1/auth/sign-in", json=CREDENTIALS)
    assert "; secure" in response.headers["set-cookie"].lower()


@pytest.mark.parametrize("path", ["/v1/auth/refresh", "/v1/auth/sign-out"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN},
        {"X-Requested-With": "giaoban"},
        {"Origin": "https://evil.example", "X-Requested-With": "giaoban"},
        {"Origin": "null", "X-Requested-With": "giaoban"},
        {"Origin": ORIGIN + ".evil.example", "X-Requested-With": "giaoban"},
        {"Origin": ORIGIN, "X-Requested-With": "XMLHttpRequest"},
    ],
)
async def test_another_sites_page_cannot_use_the_cookie(
    door: Door, path: str, headers: dict[str, str]
) -> None:
    """What the cookie alone authorises needs our Origin and our header."""
    response = await door.web.post(path, headers=COOKIE | headers)
    assert response.status_code == 403
    assert response.json()["reason"] == "ORIGIN_FORBIDDEN"
    assert not door.asked


async def test_refreshing_rotates_the_cookie(door: Door) -> None:
    """The old refresh token is handed in, the new one comes back in the cookie."""
    answer = directory.RefreshSessionResponse(tokens=signed_in())
    door.parts["identity"].script["RefreshSession"] = answer
    response = await door.web.post("/v1/auth/refresh", headers=COOKIE | OURS)
    assert response.status_code == 200
    assert door.asked[0][1].refresh_token == "r-secret"
    assert response.headers["set-cookie"].startswith("giaoban_refresh=r-next;")


async def test_a_refused_refresh_takes_the_cookie_away(door: Door) -> None:
    """A browser does not keep trying with a token that will never work again."""
    refused = Unauthenticated("The session has ended.")
    refused.reason = "REFRESH_TOKEN_REUSED"
    door.parts["identity"].script["RefreshSession"] = refused
    response = await door.web.post("/v1/auth/refresh", headers=COOKIE | OURS)
    assert response.status_code == 401
    assert response.json()["reason"] == "REFRESH_TOKEN_REUSED"
    assert "max-age=0" in response.headers["set-cookie"].lower()


async def test_without_a_cookie_there_is_nothing_to_refresh(door: Door) -> None:
    """A browser that never signed in is told so, and signing out is fine all the same."""
    response = await door.web.post("/v1/auth/refresh", headers=OURS)
    assert response.json()["reason"] == "NOT_SIGNED_IN"
    assert (await door.web.post("/v1/auth/sign-out", headers=OURS)).status_code == 204
    assert not door.asked


async def test_signing_out_ends_the_session_and_the_cookie(door: Door) -> None:
    """Identity forgets the session, the browser the cookie."""
    door.parts["identity"].script["SignOut"] = directory.SignOutResponse()
    response = await door.web.post("/v1/auth/sign-out", headers=COOKIE | OURS)
    assert response.status_code == 204
    assert door.asked[0][1].refresh_token == "r-secret"
    assert "max-age=0" in response.headers["set-cookie"].lower()


@pytest.mark.parametrize("settings", [{"auth_requests_per_minute": 8}])
@pytest.mark.parametrize(
    ("path", "send"),
    [
        ("/v1/auth/sign-in", {"json": CREDENTIALS}),
        ("/v1/auth/terminal", {"json": {"site_id": ID, "device_key": "k"}}),
    ],
)
async def test_guessing_is_limited_per_address(door: Door, path: str, send: dict[str, Any]) -> None:
    """After the burst every further try from the address gets 429 and reaches nobody."""
    refused = Unauthenticated("Wrong.")
    refused.reason = "INVALID_CREDENTIALS"
    identity = door.parts["identity"]
    identity.script = dict.fromkeys(("SignIn", "SignInTerminal"), refused)
    answers = [await door.web.post(path, **send) for _ in range(4)]
    assert [each.status_code for each in answers] == [401, 401, 429, 429]
    assert answers[-1].json()["reason"] == "RATE_LIMITED"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert len(identity.asked) == 2


async def refresh(door: Door, token: str) -> int:
    """The status of a refresh with this token; the next one is the token and a dash."""
    tokens = signed_in()
    tokens.refresh_token = f"{token}-"
    door.parts["identity"].script["RefreshSession"] = directory.RefreshSessionResponse(tokens=tokens)
    cookie = {"Cookie": f"giaoban_refresh={token}"}
    door.web.cookies.clear()
    return (await door.web.post("/v1/auth/refresh", headers=OURS | cookie)).status_code


@pytest.mark.parametrize("settings", [{"auth_requests_per_minute": 8}])
async def test_an_office_behind_one_address_refreshes_whatever_signs_in_there(door: Door) -> None:
    """Five hundred sessions go on at one address while its sign-ins are used up, and use up none themselves."""
    assert [await refresh(door, f"session{each}") for each in range(500)] == [200] * 500
    door.parts["identity"].script["SignIn"] = directory.SignInResponse(tokens=signed_in())
    answers = [(await door.web.post("/v1/auth/sign-in", json=CREDENTIALS)).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert await refresh(door, "session") == 200


@pytest.mark.parametrize("settings", [{"refreshes_per_minute": 8}])
async def test_refreshes_are_limited_per_session(door: Door) -> None:
    """A page that refreshes in a loop is stopped, though every answer brings another token; others go on."""
    assert [await refresh(door, "loop"), await refresh(door, "loop-")] == [200, 200]
    assert [await refresh(door, "loop--"), await refresh(door, "loop")] == [429, 429]
    assert await refresh(door, "other") == 200


@pytest.mark.parametrize("settings", [{"refreshes_per_address_per_minute": 8}])
async def test_refreshes_are_limited_per_address(door: Door) -> None:
    """Made-up tokens reach identity only so often."""
    assert [await refresh(door, f"made-up{each}") for each in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("settings", [{"requests_per_minute": 8}])
async def test_requests_are_limited_per_person(door: Door) -> None:
    """One person's flood does not touch another's requests, whatever tokens they use."""
    door.parts["identity"].script["GetMe"] = directory.GetMeResponse(user=identity_pb2.User(id=new_id()))
    flood, other = new_id(), new_id()

    async def ask(subject: str) -> int:
        return (await door.web.get("/v1/me", headers=door.bearer(subject=subject))).status_code

    assert [await ask(flood) for _ in range(4)] == [200, 200, 429, 429]
    assert await ask(other) == 200


async def test_tokens_of_a_terminal_expire_too(door: Door) -> None:
    """A terminal's token is one like any other."""
    late = door.bearer(kind="site", issued_at=int(time.time()) - 600, lifetime=timedelta(minutes=5))
    assert (await door.web.get("/v1/me", headers=late)).json()["reason"] == "TOKEN_EXPIRED"
