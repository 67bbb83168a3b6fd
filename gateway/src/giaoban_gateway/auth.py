# SPDX-License-Identifier: Apache-2.0
"""Who is asking: FastAPI dependencies that authenticate, count, and act for the caller.

All are coroutines, because FastAPI sends every other function to a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from giaoban_kit.errors import Forbidden, Unauthenticated
from giaoban_kit.tokens import Principal, acting_as

from giaoban_gateway.security import client_address, origins
from giaoban_gateway.services import Services

CSRF_HEADER = "x-requested-with"
CSRF_VALUE = "giaoban"

_bearer = HTTPBearer(
    auto_error=False, scheme_name="bearerAuth", bearerFormat="JWT", description="Access token from sign-in"
)


class TokenMissing(Unauthenticated):
    """No access token was sent."""

    reason = "TOKEN_MISSING"


class OriginForbidden(Forbidden):
    """The request comes from a page that is not ours."""

    reason = "ORIGIN_FORBIDDEN"


@dataclass(frozen=True)
class Caller:
    """An authenticated user or terminal with the token that is forwarded."""

    principal: Principal
    token: str


async def services(request: Request) -> Services:
    """The services of this application."""
    found: Services = request.app.state.services
    return found


UsesServices = Annotated[Services, Depends(services)]


async def caller(
    uses: UsesServices, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> AsyncIterator[Caller]:
    """The caller of a route; calls to other parts are made for it."""
    if credentials is None:
        raise TokenMissing("Sign in first, and send the access token as a bearer token.")
    principal = await uses.verifier.verify(credentials.credentials)
    uses.user_limit.take(principal.subject)
    with acting_as(principal, credentials.credentials):
        yield Caller(principal, credentials.credentials)


IsCaller = Annotated[Caller, Depends(caller)]


async def guess_limited(request: Request, uses: UsesServices) -> str:
    """The client's address, counted against guessing."""
    address = client_address(request, uses.config)
    uses.auth_limit.take(address)
    return address


ClientAddress = Annotated[str, Depends(guess_limited)]


async def refresh_limited(request: Request, uses: UsesServices) -> None:
    """Counts a refresh by address: apart from sign-ins, so that neither uses up what the other needs."""
    uses.refresh_address_limit.take(client_address(request, uses.config))


async def same_origin(request: Request, uses: UsesServices) -> None:
    """Guards what the cookie alone authorises against other sites' pages."""
    origin = request.headers.get("origin")
    if origin not in origins(uses.config) or request.headers.get(CSRF_HEADER) != CSRF_VALUE:
        raise OriginForbidden("This is only for the web client of this installation.")
