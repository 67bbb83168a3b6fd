# SPDX-License-Identifier: Apache-2.0
"""Owns end users' access tokens (RFC 9068 shape, EdDSA only), the current principal, and signed grants."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import grpc
import jwt
from cachetools import TLRUCache
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from giaoban.identity.v1.identity_service_pb2 import GetJwksRequest
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from giaoban_kit.errors import GiaobanError, Unauthenticated, Unavailable
from giaoban_kit.ids import is_id, new_id
from giaoban_kit.service_auth import LEEWAY_SECONDS, VERIFIED_KEPT, ServiceIdentity, verify_by_issuer

ISSUER = "giaoban-identity"
AUDIENCE = "giaoban"
TOKEN_TYPE = "at+jwt"  # noqa: S105  (RFC 9068, section 2.1)
MAX_TOKEN_CHARACTERS = 4096
REFETCH_SECONDS = 10  # at most one look for newer keys in this time
MAX_AGE_SECONDS = 300  # a retired key is forgotten after this time
FIRST_FETCH_SECONDS = 1  # the same while there are no keys at all
PATIENCE_SECONDS = 2  # how long those whose keys are known wait for newer ones


class TokenInvalid(Unauthenticated):
    """The access token is missing, forged, or not for us."""

    reason = "TOKEN_INVALID"


class TokenExpired(Unauthenticated):
    """The access token was good once."""

    reason = "TOKEN_EXPIRED"


class GrantInvalid(Unauthenticated):
    """The signed grant does not hold."""

    reason = "GRANT_INVALID"


@dataclass(frozen=True)
class Principal:
    """The end user (or the terminal of a site) on whose behalf a call is made."""

    subject: str
    kind: Literal["user", "site"]
    organisation_id: str
    session_id: str
    name: str


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    kid: str
    expiry: float


_principal: ContextVar[tuple[Principal, str] | None] = ContextVar("giaoban_principal", default=None)


def principal_or_none() -> Principal | None:
    """The end user of this call, if there is one."""
    bound = _principal.get()
    return bound[0] if bound else None


def current_principal() -> Principal:
    """The end user of this call.

    Raises: Unauthenticated if there is none.
    """
    principal = principal_or_none()
    if principal is None:
        raise Unauthenticated("Sign in first.")
    return principal


def current_token() -> str | None:
    """The access token of this call, as it is forwarded to other services."""
    bound = _principal.get()
    return bound[1] if bound else None


def set_principal(principal: Principal, token: str) -> None:
    """Binds the end user to the current task."""
    _principal.set((principal, token))


@contextmanager
def acting_as(principal: Principal, token: str) -> Iterator[None]:
    """Calls made inside the block are made for this end user."""
    reset = _principal.set((principal, token))
    try:
        yield
    finally:
        _principal.reset(reset)


Jwks = Callable[[], Awaitable[str]]


def identity_jwks(channel: grpc.aio.Channel) -> Jwks:
    """A source of identity's public keys: a JWK Set (RFC 7517) as JSON."""
    stub = IdentityServiceStub(channel)

    async def fetch() -> str:
        return str((await stub.GetJwks(GetJwksRequest())).jwks_json)

    return fetch


class TokenVerifier:
    """Verifies access tokens against identity's keys, which it caches."""

    def __init__(self, jwks: Jwks) -> None:
        self._jwks = jwks
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._verified: TLRUCache[str, _Verified] = TLRUCache(
            VERIFIED_KEPT, lambda _, verified, __: verified.expiry, time.time
        )
        self._fetched = self._tried = float("-inf")
        self._away = False
        self._lock = asyncio.Lock()

    async def has_keys(self) -> bool:
        """Whether tokens can be verified at all; identity is asked only until it has answered once."""
        if not self._keys:
            with suppress(GiaobanError):
                await self._key("")
        return bool(self._keys)

    async def verify(self, token: str) -> Principal:
        """The principal of a valid token.

        Raises: TokenInvalid, TokenExpired, Unavailable (the token's key is not known and identity does not
        answer).
        """
        known = self._verified.get(token)
        if known is None or await self._key(known.kid) is None:  # a key may be withdrawn
            known = self._verified[token] = await self._verify(token)
        return known.principal

    async def _verify(self, token: str) -> _Verified:
        invalid = TokenInvalid("The access token is not valid. Sign in again.")
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise invalid
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise invalid from None
        kid = header.get("kid")
        if header.get("typ") != TOKEN_TYPE or header.get("alg") != "EdDSA" or not isinstance(kid, str):
            raise invalid
        key = await self._key(kid)
        if key is None:
            raise invalid
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "sub", "iat", "exp", "jti"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired("The access token has expired. Refresh it.") from None
        except jwt.PyJWTError:
            raise invalid from None
        subject, kind, org, sid = (claims.get(name) for name in ("sub", "kind", "org", "sid"))
        if kind not in {"user", "site"}:
            raise invalid
        if not isinstance(subject, str) or not isinstance(org, str) or not isinstance(sid, str):
            raise invalid
        if not is_id(subject) or not is_id(org):
            raise invalid
        principal = Principal(subject, kind, org, sid, str(claims.get("name", "")))
        return _Verified(principal, kid, float(claims["exp"]))

    async def _key(self, kid: str) -> Ed25519PublicKey | None:
        async with self._lock:  # one fetch serves everybody who waits
            now = time.monotonic()
            due = kid not in self._keys or now - self._fetched > MAX_AGE_SECONDS
            if due and now - self._tried > (REFETCH_SECONDS if self._keys else FIRST_FETCH_SECONDS):
                await self._fetch()
            if self._away and kid not in self._keys:  # it may be a new one: nobody can tell now
                raise Unavailable("Sign-ins cannot be checked at this moment. Try again.")
            return self._keys.get(kid)

    async def _fetch(self) -> None:
        """Takes identity's keys; without an answer those that are known serve a little longer."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if self._keys else None):
                text = await self._jwks()
            keys = jwt.PyJWKSet.from_json(text).keys
        except Exception:  # noqa: BLE001  (whatever it was, the next look may bring them)
            self._away = True
        else:
            self._away, self._fetched = False, time.monotonic()
            self._keys = {
                jwk.key_id: jwk.key for jwk in keys if jwk.key_id and isinstance(jwk.key, Ed25519PublicKey)
            }
        self._tried = time.monotonic()


def sign_access_token(
    key: Ed25519PrivateKey, kid: str, principal: Principal, *, issued_at: int, lifetime: timedelta
) -> str:
    """An access token; `issued_at` in seconds since the epoch. For identity (and tests) only."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": principal.subject,
        "kind": principal.kind,
        "org": principal.organisation_id,
        "sid": principal.session_id,
        "name": principal.name,
        "iat": issued_at,
        "exp": issued_at + int(lifetime.total_seconds()),
        "jti": new_id(),
    }
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid, "typ": TOKEN_TYPE})


def sign_grant(
    identity: ServiceIdentity, *, audience: str, kind: str, claims: Mapping[str, Any], lifetime: timedelta
) -> str:
    """A statement of this service that `audience` can check without asking; `kind` keeps grants apart."""
    now = int(time.time())
    own = {"iss": identity.name, "aud": audience, "iat": now, "exp": now + int(lifetime.total_seconds())}
    payload = {**claims, **own, "jti": new_id()}
    return jwt.encode(
        payload, identity.private_key, algorithm="EdDSA", headers={"typ": f"giaoban-{kind}+jwt"}
    )


def verify_grant(identity: ServiceIdentity, token: str, *, issuer: str, kind: str) -> dict[str, Any]:
    """The claims of a grant that `issuer` made for this service.

    Raises: GrantInvalid.
    """
    found: dict[str, Any] | None = None
    if len(token) <= MAX_TOKEN_CHARACTERS:
        found = verify_by_issuer(
            identity.public_keys, token, audience=identity.name, typ=f"giaoban-{kind}+jwt"
        )
    if found is None or found["iss"] != issuer:
        raise GrantInvalid("The grant is not valid. Ask for a new one.")
    return found
