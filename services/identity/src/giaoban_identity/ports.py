# SPDX-License-Identifier: Apache-2.0
"""Owns what identity needs from the outside, in its own words: records, passwords, sealed keys, tokens.

Two implementations of the records exist and pass one contract suite: `store` (PostgreSQL) and
`testing` (in memory).
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from giaoban_identity.domain import (
    Account,
    Guesses,
    Organisation,
    PageMark,
    Party,
    PartyRef,
    RefreshToken,
    Role,
    RoleAssignment,
    Search,
    Session,
    SigningKey,
    Site,
    Unit,
    User,
)


class Directory(Protocol):
    """Organisations, units, users, sites and roles. Every question names the organisation it is about."""

    async def organisation(self, organisation_id: str) -> Organisation | None:
        """The organisation with this id."""
        ...

    async def organisation_by_code(self, code: str, *, lock: bool = False) -> Organisation | None:
        """The organisation with this code; `lock` keeps other writers out until the transaction ends."""
        ...

    async def unit(self, organisation_id: str, unit_id: str) -> Unit | None:
        """A unit of the organisation."""
        ...

    async def units(self, organisation_id: str) -> Sequence[Unit]:
        """Every unit, parents before children, siblings by position."""
        ...

    async def user(self, organisation_id: str, user_id: str) -> User | None:
        """A user of the organisation, active or not."""
        ...

    async def user_by_username(self, organisation_code: str, username: str) -> User | None:
        """A user by what people type at sign-in, active or not."""
        ...

    async def account(self, organisation_id: str, user_id: str) -> Account | None:
        """A user of the organisation, active or not, with what `organisation` and `roles_of` say."""
        ...

    async def site(self, organisation_id: str, site_id: str) -> Site | None:
        """A site of the organisation, active or not."""
        ...

    async def any_site(self, site_id: str) -> Site | None:
        """A site of whatever organisation: only for a terminal that signs in."""
        ...

    async def sites_by_code(self, organisation_id: str, codes: Collection[str]) -> Mapping[str, Site]:
        """Sites by their codes."""
        ...

    async def users_by_username(self, organisation_id: str, usernames: Collection[str]) -> Mapping[str, User]:
        """Users by their user names."""
        ...

    async def find_sites(
        self,
        organisation_id: str,
        search: Search,
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[Site]:
        """Active sites in or below `under`: those whose names begin with what was typed, then those with its words.

        Both by sort key, then id.
        """
        ...

    async def find_users(
        self,
        organisation_id: str,
        search: Search,
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[User]:
        """Active users, as `find_sites`."""
        ...

    async def roles_of(self, organisation_id: str, user_id: str) -> Sequence[RoleAssignment]:
        """The roles a user holds."""
        ...

    async def reached_units(
        self, organisation_id: str, user_id: str, roles: Collection[Role]
    ) -> tuple[str, Collection[str]] | None:
        """An active user's own unit, and the units in which it holds one of the roles with all below them."""
        ...

    async def parties(self, organisation_id: str, refs: Sequence[PartyRef]) -> Sequence[Party]:
        """Names for references, in their order; unknown, foreign and inactive ones are left out."""
        ...

    async def users_by_id(self, organisation_id: str, user_ids: Collection[str]) -> Sequence[User]:
        """Active users with these ids, by id."""
        ...

    async def holders(
        self, organisation_id: str, unit_ids: Collection[str], roles: Collection[Role]
    ) -> Sequence[User]:
        """Active users who hold one of the roles in one of these very units, by id."""
        ...

    async def units_of_sites(self, organisation_id: str, site_ids: Collection[str]) -> Collection[str]:
        """The units that these active sites belong to."""
        ...

    async def put_organisation(self, organisation: Organisation) -> None:
        """Adds or replaces by id."""
        ...

    async def put_units(self, units: Sequence[Unit]) -> None:
        """Adds or replaces by id."""
        ...

    async def put_sites(self, sites: Sequence[Site]) -> None:
        """Adds or replaces by id."""
        ...

    async def put_users(self, users: Sequence[User]) -> None:
        """Adds or replaces by id."""
        ...

    async def add_roles(self, organisation_id: str, roles: Collection[tuple[str, str, Role]]) -> None:
        """Adds (user id, unit id, role) triples; those that exist stay as they are."""
        ...


class Credentials(Protocol):
    """Password hashes (Argon2id, PHC strings) and digests of device keys."""

    async def password_hash(self, user_id: str) -> str | None:
        """The stored hash, if a password was ever set."""
        ...

    async def password_hashes(self, user_ids: Collection[str]) -> Mapping[str, str]:
        """The stored hashes of these users."""
        ...

    async def put_password_hashes(self, hashes: Mapping[str, str]) -> None:
        """Sets hashes by user id."""
        ...

    async def device_key_digest(self, site_id: str) -> bytes | None:
        """The stored digest, if a device key was ever set."""
        ...

    async def put_device_key_digests(self, digests: Mapping[str, bytes]) -> None:
        """Sets digests by site id."""
        ...


class Sessions(Protocol):
    """Sessions and the chain of refresh tokens of each."""

    async def add(self, session: Session) -> None:
        """Adds a session."""
        ...

    async def add_token(self, token: RefreshToken) -> None:
        """Adds a link to a session's chain."""
        ...

    async def lock_token(self, digest: bytes) -> tuple[RefreshToken, Session] | None:
        """The token and its session, which nobody else may change until the transaction ends."""
        ...

    async def mark_used(self, digest: bytes, at: datetime) -> None:
        """Records the first use of a token."""
        ...

    async def end(self, session_id: str, at: datetime) -> None:
        """Ends a session; one that has ended keeps its time."""
        ...

    async def end_all_of(self, user_ids: Collection[str], at: datetime) -> None:
        """Ends every session of these users."""
        ...

    async def purge(self, before: datetime) -> None:
        """Deletes sessions that expired or ended before, with their tokens."""
        ...


class GuessBook(Protocol):
    """Failed sign-ins by key."""

    async def get(self, key: bytes) -> Guesses | None:
        """The record of a key."""
        ...

    async def lock(self, key: bytes) -> Guesses | None:
        """As `get`; nobody else may change it, or add it, until the transaction ends."""
        ...

    async def put(self, guesses: Guesses) -> None:
        """Adds or replaces a record."""
        ...

    async def forget(self, key: bytes) -> None:
        """Deletes the record of a key, if any."""
        ...

    async def purge(self, before: datetime) -> None:
        """Deletes records whose last failure lies before."""
        ...


class SigningKeys(Protocol):
    """The keys that sign access tokens."""

    async def all(self, *, lock: bool = False) -> Sequence[SigningKey]:
        """Every key, newest first; `lock` keeps other writers out until the transaction ends."""
        ...

    async def put(self, key: SigningKey) -> None:
        """Adds or replaces by id."""
        ...

    async def delete(self, key_ids: Collection[str]) -> None:
        """Deletes keys."""
        ...


class Records(Protocol):
    """Everything identity keeps, within one transaction."""

    @property
    def directory(self) -> Directory: ...
    @property
    def credentials(self) -> Credentials: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def guesses(self) -> GuessBook: ...
    @property
    def signing_keys(self) -> SigningKeys: ...


class Transactions(Protocol):
    """Opens a transaction: committed when the block ends, rolled back when it raises."""

    def __call__(self) -> AbstractAsyncContextManager[Records]: ...

    def reading(self) -> AbstractAsyncContextManager[Directory]:
        """The directory for questions alone, without a transaction: each sees what is committed when it is asked."""
        ...


class Passwords(Protocol):
    """Hashes and verifies passwords away from the event loop, a bounded number at a time."""

    async def hash(self, password: str) -> str:
        """The PHC string to store. Errors: SIGN_IN_BUSY."""
        ...

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password matches; takes as long when nothing is stored. Errors: SIGN_IN_BUSY."""
        ...

    def needs_rehash(self, stored: str) -> bool:
        """Whether the stored hash was made with other parameters than today's."""
        ...


class Vault(Protocol):
    """Secrets derived from the key file."""

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypts; `context` must be the same to open it."""
        ...

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypts. Errors: KEY_FILE_MISMATCH."""
        ...

    def digest(self, purpose: str, value: bytes) -> bytes:
        """A keyed digest (HMAC-SHA-256) that cannot be computed without the key file."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class OpenKey:
    """A signing key, unsealed; never printed."""

    id: str
    private_key: bytes


class AccessTokens(Protocol):
    """Makes access tokens (EdDSA JWT) and the keys that sign them; keys are 32 raw bytes (RFC 8032)."""

    def new_key_pair(self) -> tuple[bytes, bytes]:
        """A fresh public and private key."""
        ...

    def for_user(
        self, user: User, session_id: str, key: OpenKey, issued_at: datetime, lifetime: timedelta
    ) -> str:
        """A token for a person."""
        ...

    def for_terminal(
        self, site: Site, session_id: str, key: OpenKey, issued_at: datetime, lifetime: timedelta
    ) -> str:
        """A token for a site's terminal."""
        ...
