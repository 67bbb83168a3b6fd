# SPDX-License-Identifier: Apache-2.0
"""Owns the cryptography of identity: Argon2id in threads (RFC 9106) and the vault behind the key file."""

import asyncio
import hmac
import os
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import argon2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from giaoban_kit.tokens import Principal, sign_access_token

from giaoban_identity.domain import Site, User
from giaoban_identity.errors import KeyFileMismatch, SignInBusy
from giaoban_identity.ports import OpenKey

KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D, section 5.2.1.1


class ArgonPasswords:
    """Argon2id with a bounded number of threads and a bounded queue before them.

    Each hash takes `memory_kib` of memory, so the bound is also what keeps a flood of sign-ins from
    exhausting the process.
    """

    def __init__(
        self, *, time_cost: int, memory_kib: int, parallelism: int, concurrency: int, queue: int
    ) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism
        )
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="argon2")
        self._turn = asyncio.Semaphore(concurrency)
        self._room = concurrency + queue
        self._inside = 0
        # Verified when there is no account, so that the time taken tells nothing.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=True)

    async def hash(self, password: str) -> str:
        """The PHC string to store. Errors: SIGN_IN_BUSY."""
        async with self._place():
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._hasher.hash, password
            )

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password matches; takes as long when nothing is stored. Errors: SIGN_IN_BUSY."""
        async with self._place():
            matches = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._matches, stored or self._nobody, password
            )
        return matches and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Whether the stored hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._inside >= self._room:
            raise SignInBusy
        self._inside += 1
        try:
            async with self._turn:
                yield
        finally:
            self._inside -= 1


class KeyFileVault:
    """Keys derived from one 32-byte master key, one for each purpose (HKDF, RFC 5869)."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise KeyFileMismatch(f"the key file must hold {KEY_BYTES} bytes, it holds {len(master_key)}")
        self._master = master_key

    def _key(self, purpose: str) -> bytes:
        return HKDFExpand(SHA256(), KEY_BYTES, f"giaoban-identity {purpose}".encode()).derive(self._master)

    def seal(self, plain: bytes, context: str) -> bytes:
        """AES-256-GCM; the nonce comes first, the context is authenticated."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._key("seal")).encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """The plain bytes. Errors: KEY_FILE_MISMATCH."""
        try:
            return AESGCM(self._key("seal")).decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode()
            )
        except InvalidTag as error:
            raise KeyFileMismatch("the stored signing keys were sealed with another key file") from error

    def digest(self, purpose: str, value: bytes) -> bytes:
        """HMAC-SHA-256 under the key of this purpose."""
        return hmac.digest(self._key(purpose), value, "sha256")


class JwtAccessTokens:
    """Access tokens as the kit verifies them."""

    def new_key_pair(self) -> tuple[bytes, bytes]:
        """A fresh Ed25519 public and private key, 32 raw bytes each."""
        key = Ed25519PrivateKey.generate()
        return key.public_key().public_bytes_raw(), key.private_bytes_raw()

    def for_user(
        self, user: User, session_id: str, key: OpenKey, issued_at: datetime, lifetime: timedelta
    ) -> str:
        """A token for a person."""
        principal = Principal(user.id, "user", user.organisation_id, session_id, user.display_name)
        return _sign(principal, key, issued_at, lifetime)

    def for_terminal(
        self, site: Site, session_id: str, key: OpenKey, issued_at: datetime, lifetime: timedelta
    ) -> str:
        """A token for a site's terminal."""
        principal = Principal(site.id, "site", site.organisation_id, session_id, site.name)
        return _sign(principal, key, issued_at, lifetime)


def _sign(principal: Principal, key: OpenKey, issued_at: datetime, lifetime: timedelta) -> str:
    return sign_access_token(
        Ed25519PrivateKey.from_private_bytes(key.private_key),
        key.id,
        principal,
        issued_at=int(issued_at.timestamp()),
        lifetime=lifetime,
    )
