# SPDX-License-Identifier: Apache-2.0
"""Signing in and out. The refresh token lives in a cookie that no script can read."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Depends, Response
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as pb
from giaoban_kit.errors import Unauthenticated
from pydantic import BaseModel, Field, SecretStr

from giaoban_gateway.auth import ClientAddress, UsesServices, refresh_limited, same_origin
from giaoban_gateway.config import Config
from giaoban_gateway.problems import from_error
from giaoban_gateway.schemas.common import Id, Shape

COOKIE = "giaoban_refresh"
COOKIE_PATH = "/v1/auth"

router = APIRouter(tags=["auth"])

Refresh = Annotated[str | None, Cookie(alias=COOKIE, max_length=128)]


class NotSignedIn(Unauthenticated):
    """There is no session to go on with."""

    reason = "NOT_SIGNED_IN"


class SignIn(Shape):
    """A person's credentials."""

    organisation_code: Annotated[str, Field(min_length=1, max_length=64)]
    username: Annotated[str, Field(min_length=1, max_length=64)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=256)]


class SignInTerminal(Shape):
    """A terminal's credentials."""

    site_id: Id
    device_key: Annotated[SecretStr, Field(min_length=1, max_length=256)]


class AccessToken(BaseModel):
    """Sent as `Authorization: Bearer`."""

    access_token: str
    expires_at: datetime


@router.post("/v1/auth/sign-in")
async def sign_in(
    body: SignIn, uses: UsesServices, address: ClientAddress, response: Response
) -> AccessToken:
    """Signs a person in; sets the refresh cookie."""
    answer = await uses.identity.SignIn(
        pb.SignInRequest(
            organisation_code=body.organisation_code,
            username=body.username,
            password=body.password.get_secret_value(),
            client_address=address,
        )
    )
    return _signed_in(answer.tokens, uses.config, response)


@router.post("/v1/auth/terminal")
async def sign_in_terminal(body: SignInTerminal, uses: UsesServices, address: ClientAddress) -> AccessToken:
    """Signs a terminal in with its site's device key."""
    answer = await uses.identity.SignInTerminal(
        pb.SignInTerminalRequest(
            site_id=body.site_id, device_key=body.device_key.get_secret_value(), client_address=address
        )
    )
    return _access(answer.tokens)


@router.post(
    "/v1/auth/refresh",
    dependencies=[Depends(same_origin), Depends(refresh_limited)],
    response_model=AccessToken,
)
async def refresh(
    uses: UsesServices, response: Response, giaoban_refresh: Refresh = None
) -> AccessToken | Response:
    """A new access token for the cookie's session; the cookie is renewed."""
    if not giaoban_refresh:
        raise NotSignedIn("Sign in first.")
    session = _digest(giaoban_refresh)
    uses.refresh_limit.take(session)
    try:
        answer = await uses.identity.RefreshSession(pb.RefreshSessionRequest(refresh_token=giaoban_refresh))
    except Unauthenticated as error:
        refused = from_error(error)  # raised, it would leave the cookie where it is
        _forget(refused, uses.config)
        return refused
    # Each refresh brings another token; it is the same session.
    uses.refresh_limit.share(session, _digest(answer.tokens.refresh_token))
    return _signed_in(answer.tokens, uses.config, response)


@router.post("/v1/auth/sign-out", status_code=204, dependencies=[Depends(same_origin)])
async def sign_out(uses: UsesServices, response: Response, giaoban_refresh: Refresh = None) -> None:
    """Ends the cookie's session; being signed out already is fine."""
    if giaoban_refresh:
        await uses.identity.SignOut(pb.SignOutRequest(refresh_token=giaoban_refresh))
    _forget(response, uses.config)


@router.get("/.well-known/jwks.json")
async def jwks(uses: UsesServices) -> dict[str, Any]:
    """The public keys that verify access tokens (RFC 7517)."""
    answer = await uses.identity.GetJwks(pb.GetJwksRequest())
    found: dict[str, Any] = json.loads(answer.jwks_json)
    return found


def _access(tokens: identity_pb2.SessionTokens) -> AccessToken:
    return AccessToken(
        access_token=tokens.access_token,
        expires_at=tokens.access_token_expires_at.ToDatetime(tzinfo=UTC),
    )


def _signed_in(tokens: identity_pb2.SessionTokens, config: Config, response: Response) -> AccessToken:
    response.set_cookie(
        COOKIE,
        tokens.refresh_token,
        path=COOKIE_PATH,
        httponly=True,
        samesite="strict",
        secure=_secure(config),
        expires=tokens.refresh_token_expires_at.ToDatetime(tzinfo=UTC),
    )
    return _access(tokens)


def _digest(refresh_token: str) -> str:
    return hashlib.sha256(refresh_token.encode()).hexdigest()


def _forget(response: Response, config: Config) -> None:
    response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict", secure=_secure(config))


def _secure(config: Config) -> bool:
    return config.public_url.startswith("https://")
