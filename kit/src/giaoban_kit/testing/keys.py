# SPDX-License-Identifier: Apache-2.0
"""Owns keys of services and tokens of users, for tests and the local stack."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import OKPAlgorithm

from giaoban_kit.ids import new_id
from giaoban_kit.service_auth import ServiceIdentity, parse_service_keys
from giaoban_kit.tokens import Principal, sign_access_token

SERVICES = ("gateway", "identity", "scheduling", "media", "recording", "notifications", "dev")


def public_jwk(key: Ed25519PublicKey) -> dict[str, Any]:
    """The public key as a JWK (RFC 8037)."""
    return dict(OKPAlgorithm.to_jwk(key, as_dict=True))


@dataclass(frozen=True)
class ServiceKeys:
    """Key files of services in a folder: `<name>.pem` for each, `services.jwks.json` for all."""

    directory: Path
    private: dict[str, Ed25519PrivateKey]

    @property
    def jwks_file(self) -> Path:
        """The public keys of all services."""
        return self.directory / "services.jwks.json"

    def key_file(self, name: str) -> Path:
        """The private key of one service."""
        return self.directory / f"{name}.pem"

    def identity(self, name: str) -> ServiceIdentity:
        """The service as it would be in its own process."""
        return ServiceIdentity(name, self.private[name], parse_service_keys(self.jwks_file.read_text()))

    def environment(self, name: str) -> dict[str, str]:
        """The environment variables that name these files."""
        return {
            "GIAOBAN_SERVICE_KEY_FILE": str(self.key_file(name)),
            "GIAOBAN_SERVICE_JWKS_FILE": str(self.jwks_file),
        }


def make_service_keys(directory: Path, names: Iterable[str] = SERVICES) -> ServiceKeys:
    """New keys, written to the folder; private ones readable by the owner only."""
    private = {name: Ed25519PrivateKey.generate() for name in names}
    keys = ServiceKeys(directory, private)
    directory.mkdir(parents=True, exist_ok=True)
    for name, key in private.items():
        path = keys.key_file(name)
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    keys.jwks_file.write_text(
        json.dumps({name: public_jwk(key.public_key()) for name, key in private.items()})
    )
    return keys


@dataclass
class UserTokens:
    """Issues access tokens as identity would; `jwks` is a source for TokenVerifier."""

    kid: str = "test-1"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    fetches: int = 0

    async def jwks(self) -> str:
        """The public key as a JWK Set."""
        self.fetches += 1
        jwk = {**public_jwk(self.key.public_key()), "kid": self.kid, "alg": "EdDSA", "use": "sig"}
        return json.dumps({"keys": [jwk]})

    def token(
        self,
        *,
        subject: str | None = None,
        organisation_id: str | None = None,
        session_id: str | None = None,
        kind: Literal["user", "site"] = "user",
        name: str = "Nguyễn Văn An",
        lifetime: timedelta = timedelta(minutes=5),
        issued_at: int | None = None,
    ) -> str:
        """An access token; ids that are not given are new ones."""
        principal = Principal(
            subject or new_id(), kind, organisation_id or new_id(), session_id or new_id(), name
        )
        now = int(time.time()) if issued_at is None else issued_at
        return sign_access_token(self.key, self.kid, principal, issued_at=now, lifetime=lifetime)
