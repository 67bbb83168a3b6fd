# SPDX-License-Identifier: Apache-2.0
"""Owns the in-memory records for unit tests; they pass the same contract suite as the SQL ones."""

import asyncio
import copy
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from giaoban_identity.domain import (
    Account,
    Guesses,
    Organisation,
    PageMark,
    Party,
    PartyKind,
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
    site_search_text,
    sort_key,
    user_search_text,
)


@dataclass
class State:
    """What the tables hold, as dictionaries by primary key."""

    organisations: dict[str, Organisation] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    roles: set[tuple[str, str, Role]] = field(default_factory=set)
    passwords: dict[str, str] = field(default_factory=dict)
    device_keys: dict[str, bytes] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    tokens: dict[bytes, RefreshToken] = field(default_factory=dict)
    guesses: dict[bytes, Guesses] = field(default_factory=dict)
    signing_keys: dict[str, SigningKey] = field(default_factory=dict)


class MemoryDirectory:
    """The `Directory` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def organisation(self, organisation_id: str) -> Organisation | None:
        return self._state.organisations.get(organisation_id)

    async def organisation_by_code(self, code: str, *, lock: bool = False) -> Organisation | None:
        del lock  # a transaction in memory has everything to itself
        return next((o for o in self._state.organisations.values() if o.code == code), None)

    async def unit(self, organisation_id: str, unit_id: str) -> Unit | None:
        unit = self._state.units.get(unit_id)
        return unit if unit and unit.organisation_id == organisation_id else None

    async def units(self, organisation_id: str) -> Sequence[Unit]:
        mine = [u for u in self._state.units.values() if u.organisation_id == organisation_id]
        return sorted(mine, key=lambda unit: (unit.depth, unit.position, unit.code))

    async def user(self, organisation_id: str, user_id: str) -> User | None:
        user = self._state.users.get(user_id)
        return user if user and user.organisation_id == organisation_id else None

    async def user_by_username(self, organisation_code: str, username: str) -> User | None:
        organisation = await self.organisation_by_code(organisation_code)
        if organisation is None:
            return None
        return (await self.users_by_username(organisation.id, [username])).get(username)

    async def account(self, organisation_id: str, user_id: str) -> Account | None:
        user = await self.user(organisation_id, user_id)
        if user is None:
            return None
        organisation = self._state.organisations[organisation_id]
        return Account(organisation, user, tuple(await self.roles_of(organisation_id, user_id)))

    async def site(self, organisation_id: str, site_id: str) -> Site | None:
        site = self._state.sites.get(site_id)
        return site if site and site.organisation_id == organisation_id else None

    async def any_site(self, site_id: str) -> Site | None:
        return self._state.sites.get(site_id)

    async def sites_by_code(self, organisation_id: str, codes: Collection[str]) -> Mapping[str, Site]:
        mine = (s for s in self._state.sites.values() if s.organisation_id == organisation_id)
        return {site.code: site for site in mine if site.code in codes}

    async def users_by_username(self, organisation_id: str, usernames: Collection[str]) -> Mapping[str, User]:
        mine = (u for u in self._state.users.values() if u.organisation_id == organisation_id)
        return {user.username: user for user in mine if user.username in usernames}

    def _below(self, unit_id: str, under: Unit | None) -> bool:
        return under is None or self._state.units[unit_id].path.startswith(under.path)

    async def find_sites(
        self,
        organisation_id: str,
        search: Search,
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[Site]:
        found = sorted(
            (not search.is_begun_by(sort_key(site.name)), sort_key(site.name), site.id)
            for site in self._state.sites.values()
            if site.organisation_id == organisation_id
            and site.active
            and self._below(site.unit_id, under)
            and (search.is_begun_by(sort_key(site.name)) or search.has_words_in(site_search_text(site)))
        )
        return [self._state.sites[each[2]] for each in found if each > _mark(search, after)][:limit]

    async def find_users(
        self,
        organisation_id: str,
        search: Search,
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[User]:
        found = sorted(
            (not search.is_begun_by(sort_key(user.display_name)), sort_key(user.display_name), user.id)
            for user in self._state.users.values()
            if user.organisation_id == organisation_id
            and user.active
            and self._below(user.unit_id, under)
            and (
                search.is_begun_by(sort_key(user.display_name)) or search.has_words_in(user_search_text(user))
            )
        )
        return [self._state.users[each[2]] for each in found if each > _mark(search, after)][:limit]

    async def roles_of(self, organisation_id: str, user_id: str) -> Sequence[RoleAssignment]:
        held = [
            RoleAssignment(user_id, unit_id, self._state.units[unit_id].path, role)
            for holder, unit_id, role in self._state.roles
            if holder == user_id and self._state.units[unit_id].organisation_id == organisation_id
        ]
        return sorted(held, key=lambda assignment: (assignment.unit_path, assignment.role.value))

    async def reached_units(
        self, organisation_id: str, user_id: str, roles: Collection[Role]
    ) -> tuple[str, Collection[str]] | None:
        user = await self.user(organisation_id, user_id)
        if user is None or not user.active:
            return None
        held = await self.roles_of(organisation_id, user_id)
        paths = tuple(each.unit_path for each in held if each.role in roles)
        units = await self.units(organisation_id)
        return user.unit_id, {unit.id for unit in units if unit.path.startswith(paths)}

    async def parties(self, organisation_id: str, refs: Sequence[PartyRef]) -> Sequence[Party]:
        named = [await self._party(organisation_id, ref) for ref in dict.fromkeys(refs)]
        return [party for party in named if party is not None]

    async def _party(self, organisation_id: str, ref: PartyRef) -> Party | None:
        if ref.kind is PartyKind.UNIT:
            unit = await self.unit(organisation_id, ref.id)
            return Party(ref, unit.name, "", unit.id, unit.name) if unit else None
        if ref.kind is PartyKind.SITE:
            site = await self.site(organisation_id, ref.id)
            if site is None or not site.active:
                return None
            return Party(ref, site.name, "", site.unit_id, self._state.units[site.unit_id].name)
        user = await self.user(organisation_id, ref.id)
        if user is None or not user.active:
            return None
        unit_name = self._state.units[user.unit_id].name
        return Party(ref, user.display_name, user.office, user.unit_id, unit_name)

    async def users_by_id(self, organisation_id: str, user_ids: Collection[str]) -> Sequence[User]:
        found = [await self.user(organisation_id, user_id) for user_id in sorted(set(user_ids))]
        return [user for user in found if user is not None and user.active]

    async def holders(
        self, organisation_id: str, unit_ids: Collection[str], roles: Collection[Role]
    ) -> Sequence[User]:
        ids = {user for user, unit, role in self._state.roles if unit in unit_ids and role in roles}
        return await self.users_by_id(organisation_id, ids)

    async def units_of_sites(self, organisation_id: str, site_ids: Collection[str]) -> Collection[str]:
        found = [await self.site(organisation_id, site_id) for site_id in site_ids]
        return {site.unit_id for site in found if site is not None and site.active}

    async def put_organisation(self, organisation: Organisation) -> None:
        self._state.organisations[organisation.id] = organisation

    async def put_units(self, units: Sequence[Unit]) -> None:
        self._state.units.update({unit.id: unit for unit in units})

    async def put_sites(self, sites: Sequence[Site]) -> None:
        self._state.sites.update({site.id: site for site in sites})

    async def put_users(self, users: Sequence[User]) -> None:
        self._state.users.update({user.id: user for user in users})

    async def add_roles(self, organisation_id: str, roles: Collection[tuple[str, str, Role]]) -> None:
        del organisation_id  # follows from the unit
        self._state.roles.update(roles)


def _mark(search: Search, after: PageMark | None) -> tuple[bool, str, str]:
    if after is None:
        return False, "", ""
    return not search.is_begun_by(after.sort_key), after.sort_key, after.id


class MemoryCredentials:
    """The `Credentials` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def password_hash(self, user_id: str) -> str | None:
        return self._state.passwords.get(user_id)

    async def password_hashes(self, user_ids: Collection[str]) -> Mapping[str, str]:
        return {i: self._state.passwords[i] for i in user_ids if i in self._state.passwords}

    async def put_password_hashes(self, hashes: Mapping[str, str]) -> None:
        self._state.passwords.update(hashes)

    async def device_key_digest(self, site_id: str) -> bytes | None:
        return self._state.device_keys.get(site_id)

    async def put_device_key_digests(self, digests: Mapping[str, bytes]) -> None:
        self._state.device_keys.update(digests)


class MemorySessions:
    """The `Sessions` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, session: Session) -> None:
        self._state.sessions[session.id] = session

    async def add_token(self, token: RefreshToken) -> None:
        self._state.tokens[token.digest] = token

    async def lock_token(self, digest: bytes) -> tuple[RefreshToken, Session] | None:
        token = self._state.tokens.get(digest)
        return (token, self._state.sessions[token.session_id]) if token else None

    async def mark_used(self, digest: bytes, at: datetime) -> None:
        token = self._state.tokens[digest]
        if token.used_at is None:
            self._state.tokens[digest] = replace(token, used_at=at)

    async def end(self, session_id: str, at: datetime) -> None:
        session = self._state.sessions[session_id]
        if session.ended_at is None:
            self._state.sessions[session_id] = replace(session, ended_at=at)

    async def end_all_of(self, user_ids: Collection[str], at: datetime) -> None:
        for session in list(self._state.sessions.values()):
            if session.user_id in user_ids:
                await self.end(session.id, at)

    async def purge(self, before: datetime) -> None:
        kept = {
            session.id: session
            for session in self._state.sessions.values()
            if session.expires_at >= before and (session.ended_at is None or session.ended_at >= before)
        }
        self._state.sessions = kept
        self._state.tokens = {d: t for d, t in self._state.tokens.items() if t.session_id in kept}


class MemoryGuessBook:
    """The `GuessBook` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(self, key: bytes) -> Guesses | None:
        return self._state.guesses.get(key)

    async def lock(self, key: bytes) -> Guesses | None:
        return self._state.guesses.get(key)

    async def put(self, guesses: Guesses) -> None:
        self._state.guesses[guesses.key] = guesses

    async def forget(self, key: bytes) -> None:
        self._state.guesses.pop(key, None)

    async def purge(self, before: datetime) -> None:
        self._state.guesses = {
            k: guesses for k, guesses in self._state.guesses.items() if guesses.last_failure_at >= before
        }


class MemorySigningKeys:
    """The `SigningKeys` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def all(self, *, lock: bool = False) -> Sequence[SigningKey]:
        del lock  # a transaction in memory has everything to itself
        keys = self._state.signing_keys.values()
        return sorted(keys, key=lambda key: (key.created_at, key.id), reverse=True)

    async def put(self, key: SigningKey) -> None:
        self._state.signing_keys[key.id] = key

    async def delete(self, key_ids: Collection[str]) -> None:
        for key_id in key_ids:
            self._state.signing_keys.pop(key_id, None)


class MemoryRecords:
    """The `Records` port in memory."""

    def __init__(self, state: State) -> None:
        self.directory = MemoryDirectory(state)
        self.credentials = MemoryCredentials(state)
        self.sessions = MemorySessions(state)
        self.guesses = MemoryGuessBook(state)
        self.signing_keys = MemorySigningKeys(state)


class MemoryTransactions:
    """The `Transactions` port in memory: one at a time, undone when the block raises."""

    def __init__(self) -> None:
        self.state = State()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[MemoryRecords]:
        async with self._turn:
            draft = State(**{name: copy.copy(value) for name, value in vars(self.state).items()})
            yield MemoryRecords(draft)
            self.state = draft

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[MemoryDirectory]:
        async with self() as records:
            yield records.directory
