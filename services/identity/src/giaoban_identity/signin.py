# SPDX-License-Identifier: Apache-2.0
"""Owns the use cases of credentials: sign-in, refresh, sign-out, signing keys.

A failed sign-in must leave its trace although the call fails, and hashing takes long, so these use cases
open their own short transactions: one to count the attempt, none while hashing, one for the outcome.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from giaoban_kit.clock import Clock

from giaoban_identity.domain import (
    LockoutPolicy,
    RefreshToken,
    Session,
    SigningKey,
    Site,
    User,
    locked_for,
)
from giaoban_identity.errors import (
    InvalidCredentials,
    RefreshTokenInvalid,
    RefreshTokenReused,
    SignInBusy,
    SignInLocked,
)
from giaoban_identity.ports import AccessTokens, OpenKey, Passwords, Records, Transactions, Vault

TOKEN_BYTES = 32  # 256 bits: beyond guessing
# Purposes of keyed digests.
DEVICE_KEY = "device-key"
GUESSES = "guesses"
REFRESH_SUCCESSOR = "refresh-successor"
# Sessions that are over are kept this long, so that a late reuse is still recognised as one.
KEEP_ENDED_SESSIONS = timedelta(days=7)
# Verifiers look for an unknown key at most every ten seconds, so a new key is shown before it signs.
KEY_PUBLICATION_LEAD = timedelta(seconds=20)
# Verifiers accept a token this long after it expired; its key must outlive that.
KEY_RETIREMENT_LEEWAY = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class SignInPolicy:
    """How long things last and how guessing is slowed down."""

    access_token_lifetime: timedelta
    refresh_token_lifetime: timedelta
    session_lifetime: timedelta
    refresh_reuse_grace: timedelta
    signing_key_min_age: timedelta
    account_lockout: LockoutPolicy
    address_lockout: LockoutPolicy


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """What a successful sign-in hands out; never printed."""

    access_token: str
    access_token_expires_at: datetime
    refresh_token: str = ""
    refresh_token_expires_at: datetime | None = None


class SignIns:
    """One method per use case."""

    def __init__(
        self,
        begin: Transactions,
        passwords: Passwords,
        vault: Vault,
        access_tokens: AccessTokens,
        policy: SignInPolicy,
        *,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._begin = begin
        self._passwords = passwords
        self._vault = vault
        self._access_tokens = access_tokens
        self._policy = policy
        self._clock = clock
        self._new_id = new_id

    async def sign_in(
        self, organisation_code: str, username: str, password: str, client_address: str
    ) -> Tokens:
        """Signs a user in.

        Errors: INVALID_CREDENTIALS, SIGN_IN_LOCKED, SIGN_IN_BUSY.
        """
        account = self._guess_key(f"user {organisation_code} {username}")
        address = self._guess_key(f"address {client_address}")
        await self._count_attempt(account, address)
        async with self._begin() as records:
            user = await records.directory.user_by_username(organisation_code, username)
            usable = user is not None and user.active
            stored = await records.credentials.password_hash(user.id) if user and usable else None
        try:
            matches = await self._passwords.verify(stored, password)
        except SignInBusy:
            await self._uncount_attempt(account)  # nothing was guessed
            raise
        if not matches or user is None or stored is None:
            await self._count_address_failure(address)
            raise InvalidCredentials
        rehashed = await self._passwords.hash(password) if self._passwords.needs_rehash(stored) else None
        async with self._begin() as records:
            await records.guesses.forget(account)
            if rehashed is not None:
                await records.credentials.put_password_hashes({user.id: rehashed})
            return await self._open_session(records, user)

    async def sign_in_terminal(self, site_id: str, device_key: str, client_address: str) -> Tokens:
        """Signs a terminal in; it gets no refresh token because it can sign in again by itself.

        Errors: INVALID_CREDENTIALS, SIGN_IN_LOCKED.
        """
        account = self._guess_key(f"site {site_id}")
        address = self._guess_key(f"address {client_address}")
        await self._count_attempt(account, address)
        given = self._vault.digest(DEVICE_KEY, device_key.encode())
        async with self._begin() as records:
            site = await records.directory.any_site(site_id)
            stored = await records.credentials.device_key_digest(site_id)
            matches = hmac.compare_digest(given, stored or bytes(len(given)))
            if matches and site is not None and site.active:
                await records.guesses.forget(account)
                return await self._tokens_of_terminal(records, site)
        await self._count_address_failure(address)
        raise InvalidCredentials

    async def refresh(self, refresh_token: str) -> Tokens:
        """Hands out the next tokens of a session.

        The successor of a token is derived from it (HMAC under the key file), so a token that comes again
        within the grace gets the very same successor: two tabs, or a lost answer, never fork the chain.
        Later it means that two parties hold the chain, and the session ends.

        Errors: REFRESH_TOKEN_INVALID, REFRESH_TOKEN_REUSED.
        """
        now = self._clock.now()
        digest = _stored_form(refresh_token)
        async with self._begin() as records:
            found = await records.sessions.lock_token(digest)
            if found is None:
                raise RefreshTokenInvalid
            token, session = found
            user = await records.directory.user(session.organisation_id, session.user_id)
            over = session.ended_at is not None or session.expires_at <= now
            reused = token.used_at is not None and now - token.used_at > self._policy.refresh_reuse_grace
            if not over and not reused and token.expires_at > now and user is not None and user.active:
                return await self._next_tokens(records, session, token, refresh_token, user)
            if reused and not over:
                await records.sessions.end(session.id, now)
        if reused:
            raise RefreshTokenReused
        raise RefreshTokenInvalid

    async def sign_out(self, refresh_token: str) -> None:
        """Ends the session of a token; unknown tokens are accepted silently."""
        async with self._begin() as records:
            found = await records.sessions.lock_token(_stored_form(refresh_token))
            if found is not None:
                await records.sessions.end(found[1].id, self._clock.now())

    async def jwks(self) -> str:
        """The public keys that verify access tokens, as a JWK Set (RFC 7517, RFC 8037)."""
        now = self._clock.now()
        async with self._begin() as records:
            keys = [key for key in await records.signing_keys.all() if _is_shown(key, now)]
        return json.dumps({"keys": [_jwk(key) for key in keys]})

    async def rotate_signing_key(self) -> str:
        """Makes a new key the signing one and returns its id; the others retire with their last token.

        Does nothing when the newest key is younger than the policy's minimum age.
        """
        now = self._clock.now()
        async with self._begin() as records:
            keys = await records.signing_keys.all(lock=True)
            if keys and now - keys[0].created_at < self._policy.signing_key_min_age:
                return keys[0].id
            return (await self._add_key(records, keys, now)).id

    async def ensure_signing_key(self) -> None:
        """Makes the first key; called before serving. Errors: KEY_FILE_MISMATCH."""
        async with self._begin() as records:
            keys = await records.signing_keys.all(lock=True)
            if not keys:
                await self._add_key(records, keys, self._clock.now())
            else:
                self._vault.open(keys[0].sealed_private_key, keys[0].id)

    async def forget_the_past(self) -> None:
        """Deletes what no longer decides anything: old sessions, failures and retired keys."""
        now = self._clock.now()
        async with self._begin() as records:
            await records.sessions.purge(now - KEEP_ENDED_SESSIONS)
            forget_after = max(
                self._policy.account_lockout.forget_after, self._policy.address_lockout.forget_after
            )
            await records.guesses.purge(now - forget_after)
            gone = [key.id for key in await records.signing_keys.all() if not _is_shown(key, now)]
            await records.signing_keys.delete(gone)

    def _guess_key(self, what: str) -> bytes:
        # A keyed digest: fixed length, and the table does not tell whose name was tried.
        return self._vault.digest(GUESSES, what.encode())

    async def _count_attempt(self, account: bytes, address: bytes) -> None:
        """Counts the attempt as failed before it is checked, so that parallel guesses cannot slip by.

        A success forgets the account's count. An address is only asked here: a whole office may stand
        behind it, and its people must not count against each other while they sign in.
        """
        now = self._clock.now()
        async with self._begin() as records:
            from_address = locked_for(await records.guesses.get(address), now)
            before = await records.guesses.lock(account)
            wait = max((w for w in (from_address, locked_for(before, now)) if w is not None), default=None)
            if wait is not None:
                raise SignInLocked(wait)
            await records.guesses.put(self._policy.account_lockout.after_failure(before, account, now))

    async def _uncount_attempt(self, account: bytes) -> None:
        async with self._begin() as records:
            counted = await records.guesses.lock(account)
            if counted is not None:
                await records.guesses.put(self._policy.account_lockout.without_last(counted))

    async def _count_address_failure(self, address: bytes) -> None:
        async with self._begin() as records:
            before = await records.guesses.lock(address)
            after = self._policy.address_lockout.after_failure(before, address, self._clock.now())
            await records.guesses.put(after)

    async def _open_session(self, records: Records, user: User) -> Tokens:
        now = self._clock.now()
        session = Session(
            id=self._new_id(),
            organisation_id=user.organisation_id,
            user_id=user.id,
            created_at=now,
            expires_at=now + self._policy.session_lifetime,
        )
        await records.sessions.add(session)
        return await self._tokens_of_user(
            records, session, user, secrets.token_bytes(TOKEN_BYTES), known=False
        )

    async def _next_tokens(
        self, records: Records, session: Session, token: RefreshToken, refresh_token: str, user: User
    ) -> Tokens:
        successor = self._vault.digest(REFRESH_SUCCESSOR, refresh_token.encode())
        again = token.used_at is not None
        await records.sessions.mark_used(token.digest, self._clock.now())
        return await self._tokens_of_user(records, session, user, successor, known=again)

    async def _tokens_of_user(
        self, records: Records, session: Session, user: User, raw: bytes, *, known: bool
    ) -> Tokens:
        now = self._clock.now()
        refresh_token = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        expires_at = min(now + self._policy.refresh_token_lifetime, session.expires_at)
        if not known:
            await records.sessions.add_token(
                RefreshToken(_stored_form(refresh_token), session.id, issued_at=now, expires_at=expires_at)
            )
        lifetime = self._policy.access_token_lifetime
        key = await self._signing_key(records, now)
        access_token = self._access_tokens.for_user(user, session.id, key, now, lifetime)
        return Tokens(access_token, now + lifetime, refresh_token, expires_at)

    async def _tokens_of_terminal(self, records: Records, site: Site) -> Tokens:
        now = self._clock.now()
        lifetime = self._policy.access_token_lifetime
        key = await self._signing_key(records, now)
        return Tokens(
            self._access_tokens.for_terminal(site, self._new_id(), key, now, lifetime), now + lifetime
        )

    async def _signing_key(self, records: Records, now: datetime) -> OpenKey:
        """The newest key that every verifier can know by now."""
        keys = [key for key in await records.signing_keys.all() if _is_shown(key, now)]
        published = [key for key in keys if now - key.created_at >= KEY_PUBLICATION_LEAD]
        # The very first key has nobody before it.
        key = published[0] if published else keys[-1]
        return OpenKey(key.id, self._vault.open(key.sealed_private_key, key.id))

    async def _add_key(self, records: Records, keys: Sequence[SigningKey], now: datetime) -> SigningKey:
        key_id = self._new_id()
        public_key, private_key = self._access_tokens.new_key_pair()
        key = SigningKey(key_id, public_key, self._vault.seal(private_key, key_id), created_at=now)
        await records.signing_keys.put(key)
        last_signature = now + KEY_PUBLICATION_LEAD
        retired_at = last_signature + self._policy.access_token_lifetime + KEY_RETIREMENT_LEEWAY
        for old in keys:
            if old.retired_at is None:
                await records.signing_keys.put(replace(old, retired_at=retired_at))
        return key


def _stored_form(refresh_token: str) -> bytes:
    return hashlib.sha256(refresh_token.encode()).digest()


def _is_shown(key: SigningKey, now: datetime) -> bool:
    return key.retired_at is None or key.retired_at > now


def _jwk(key: SigningKey) -> dict[str, str]:
    x = base64.urlsafe_b64encode(key.public_key).decode().rstrip("=")
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.id, "x": x}
