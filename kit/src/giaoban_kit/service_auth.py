# SPDX-License-Identifier: Apache-2.0
"""Owns the identity of services towards each other: short-lived EdDSA tokens (RFC 8037) per call target."""

import json
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import jwt
from cachetools import TLRUCache
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import OKPAlgorithm

from giaoban_kit.config import ConfigError, ServiceConfig, read_secret
from giaoban_kit.errors import Unauthenticated

METADATA_KEY = "x-giaoban-service"
TOKEN_TYPE = "giaoban-service+jwt"  # noqa: S105  (the name of a type)
LIFETIME_SECONDS = 60
REUSE_SECONDS = 30
LEEWAY_SECONDS = 5  # clocks of machines differ a little
VERIFIED_KEPT = 1024
"""Tokens that are not verified again: a service uses one for half a minute, a person for some minutes."""


_caller: ContextVar[str] = ContextVar("giaoban_caller")


def _expiry(_: str, verified: tuple[str, float], __: float) -> float:
    return verified[1]


@dataclass(frozen=True)
class ServiceIdentity:
    """This process as a service: its name, its private key, and the public keys of all services by name."""

    name: str
    private_key: Ed25519PrivateKey
    public_keys: Mapping[str, Ed25519PublicKey]
    _tokens: dict[str, tuple[float, str]] = field(default_factory=dict, compare=False, repr=False)
    _verified: TLRUCache[str, tuple[str, float]] = field(
        default_factory=lambda: TLRUCache(VERIFIED_KEPT, _expiry, time.time), compare=False, repr=False
    )

    @classmethod
    def from_config(cls, config: ServiceConfig) -> "ServiceIdentity":
        """Reads the key files.

        Raises: ConfigError naming the key that is missing or wrong.
        """
        if config.service_key_file is None or config.service_jwks_file is None:
            raise ConfigError(
                "Set GIAOBAN_SERVICE_KEY_FILE and GIAOBAN_SERVICE_JWKS_FILE to this service's keys."
            )
        try:
            private = load_pem_private_key(read_secret(config.service_key_file).encode(), None)
        except ValueError:
            raise ConfigError("GIAOBAN_SERVICE_KEY_FILE: put a PEM private key there.") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError("GIAOBAN_SERVICE_KEY_FILE: the key must be Ed25519.")
        public = parse_service_keys(read_secret(config.service_jwks_file))
        if config.service_name not in public:
            raise ConfigError(f"GIAOBAN_SERVICE_JWKS_FILE: the key of {config.service_name} is missing.")
        return cls(config.service_name, private, public)

    def token_for(self, target: str) -> str:
        """A token that proves this service to `target`; reused for half its life."""
        now = time.time()
        cached = self._tokens.get(target)
        if cached is None or now - cached[0] > REUSE_SECONDS:
            claims = {"iss": self.name, "aud": target, "iat": int(now), "exp": int(now) + LIFETIME_SECONDS}
            token = jwt.encode(claims, self.private_key, algorithm="EdDSA", headers={"typ": TOKEN_TYPE})
            cached = self._tokens[target] = (now, token)
        return cached[1]

    def verify_caller(self, token: str) -> str:
        """The name of the service that made the token for this one.

        Raises: Unauthenticated CALLER_UNKNOWN.
        """
        verified = self._verified.get(token)
        if verified is None:
            claims = verify_by_issuer(self.public_keys, token, audience=self.name, typ=TOKEN_TYPE)
            if claims is None:
                raise CallerUnknown("The calling service could not prove who it is.")
            verified = self._verified[token] = str(claims["iss"]), float(str(claims["exp"]))
        return verified[0]


class CallerUnknown(Unauthenticated):
    """No service token, or one that does not hold."""

    reason = "CALLER_UNKNOWN"


def verify_by_issuer(
    keys: Mapping[str, Ed25519PublicKey], token: str, *, audience: str, typ: str
) -> dict[str, object] | None:
    """The claims of a token signed by the service it names as issuer; None if anything is wrong with it."""
    try:
        if jwt.get_unverified_header(token).get("typ") != typ:
            return None
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        key = keys.get(issuer) if isinstance(issuer, str) else None
        if key is None:
            return None
        claims: dict[str, object] = jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "iat", "exp"]},
        )
    except jwt.PyJWTError:
        return None
    return claims


def parse_service_keys(text: str) -> dict[str, Ed25519PublicKey]:
    """Public keys by service name from JSON `{"gateway": {"kty": "OKP", "crv": "Ed25519", "x": ...}, ...}`.

    Raises: ConfigError naming the service whose key is wrong.
    """
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise ConfigError("GIAOBAN_SERVICE_JWKS_FILE: put a JSON object there, service name to JWK.")
    keys: dict[str, Ed25519PublicKey] = {}
    for name, jwk in entries.items():
        try:
            key = OKPAlgorithm.from_jwk(jwk)
        except (jwt.PyJWTError, ValueError, KeyError):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"GIAOBAN_SERVICE_JWKS_FILE: the key of {name} must be a public Ed25519 JWK.")
        keys[name] = key
    return keys


def set_caller(name: str) -> None:
    """Binds the calling service to the current task."""
    _caller.set(name)


def current_caller() -> str:
    """The name of the service that called.

    Raises: CallerUnknown outside of a service's call.
    """
    try:
        return _caller.get()
    except LookupError:
        raise CallerUnknown("No service called.") from None
