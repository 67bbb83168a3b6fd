# SPDX-License-Identifier: Apache-2.0
"""Owns the import of a directory: entries matched by code, added or updated, never deleted.

Sending the same entries again changes nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from giaoban_kit.clock import Clock

from giaoban_identity.domain import MAX_TREE_DEPTH, Locale, Organisation, Role, Site, SiteKind, Unit, User
from giaoban_identity.errors import DirectoryEntryInvalid
from giaoban_identity.ports import Passwords, Records, Transactions, Vault
from giaoban_identity.signin import DEVICE_KEY


@dataclass(frozen=True, slots=True)
class UnitEntry:
    """A unit; `parent_code` is empty for the root."""

    code: str
    parent_code: str
    name: str


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """A site; the device key is left as it is when absent."""

    code: str
    unit_code: str
    name: str
    kind: SiteKind
    device_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user; the password is left as it is when absent."""

    username: str
    unit_code: str
    display_name: str
    office: str
    email: str = field(repr=False)
    locale: Locale
    roles: tuple[tuple[str, Role], ...] = ()
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Directory:
    """What is imported in one go, into the organisation with this code."""

    code: str
    name: str
    time_zone: str
    units: Sequence[UnitEntry]
    sites: Sequence[SiteEntry]
    users: Sequence[UserEntry]


@dataclass(frozen=True, slots=True)
class Imported:
    """Ids by code (by user name for users) of everything that was sent."""

    organisation: Organisation
    unit_ids: Mapping[str, str]
    site_ids: Mapping[str, str]
    user_ids: Mapping[str, str]
    applied_at: datetime


def place_units(
    organisation_id: str, existing: Sequence[Unit], entries: Sequence[UnitEntry], new_id: Callable[[], str]
) -> list[Unit]:
    """The whole tree after the import, parents before children, with paths worked out anew.

    Errors: DIRECTORY_ENTRY_INVALID for an unknown parent, a second root, a circle or too deep a tree.
    """
    ids = {unit.code: unit.id for unit in existing}
    for entry in entries:
        ids.setdefault(entry.code, new_id())
    by_code = {unit.code: unit for unit in existing}
    position: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if entry.parent_code and entry.parent_code not in ids:
            raise DirectoryEntryInvalid(
                f"units[{index}].parent_code", f"no unit has the code {entry.parent_code!r}; send it as well"
            )
        place = position.get(entry.parent_code, 0)
        position[entry.parent_code] = place + 1
        by_code[entry.code] = Unit(
            id=ids[entry.code],
            organisation_id=organisation_id,
            parent_id=ids[entry.parent_code] if entry.parent_code else None,
            code=entry.code,
            name=entry.name,
            position=place,
            path="",
        )
    children: dict[str | None, list[Unit]] = {}
    for unit in by_code.values():
        children.setdefault(unit.parent_id, []).append(unit)
    if len(children.get(None, [])) > 1:
        codes = ", ".join(sorted(unit.code for unit in children[None]))
        raise DirectoryEntryInvalid("units", f"exactly one unit may be without parent, these are: {codes}")
    placed: list[Unit] = []
    level = [(unit, "/") for unit in children.get(None, [])]
    while level:
        placed_here = [replace(unit, path=f"{above}{unit.id}/") for unit, above in level]
        placed += placed_here
        if level and placed_here[0].depth > MAX_TREE_DEPTH:
            raise DirectoryEntryInvalid("units", f"the tree may have at most {MAX_TREE_DEPTH} levels")
        level = [(child, parent.path) for parent in placed_here for child in children.get(parent.id, [])]
    if len(placed) < len(by_code):
        lost = sorted(set(by_code) - {unit.code for unit in placed})[:5]
        raise DirectoryEntryInvalid("units", f"these units are their own ancestors: {', '.join(lost)}")
    return placed


class DirectoryImport:
    """The use case ImportDirectory."""

    def __init__(
        self,
        begin: Transactions,
        passwords: Passwords,
        vault: Vault,
        *,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._begin = begin
        self._passwords = passwords
        self._vault = vault
        self._clock = clock
        self._new_id = new_id

    async def apply(self, directory: Directory) -> Imported:
        """Creates or updates everything in one transaction. Errors: DIRECTORY_ENTRY_INVALID."""
        hashes = await self._new_hashes(directory)
        async with self._begin() as records:
            known = await records.directory.organisation_by_code(directory.code, lock=True)
            organisation = Organisation(
                known.id if known else self._new_id(), directory.code, directory.name, directory.time_zone
            )
            await records.directory.put_organisation(organisation)
            unit_ids = await self._put_units(records, organisation, directory.units)
            site_ids = await self._put_sites(records, organisation, directory.sites, unit_ids)
            user_ids = await self._put_users(records, organisation, directory.users, unit_ids)
            changed = {user_ids[name]: stored for name, stored in hashes.items()}
            await records.credentials.put_password_hashes(changed)
            now = self._clock.now()
            # Whoever knew the old password may still hold a session.
            await records.sessions.end_all_of(list(changed), now)
            return Imported(
                organisation,
                {entry.code: unit_ids[entry.code] for entry in directory.units},
                site_ids,
                user_ids,
                now,
            )

    async def _new_hashes(self, directory: Directory) -> dict[str, str]:
        """Hashes of passwords that differ from what is stored, by user name; made outside the transaction."""
        wanted = {entry.username: entry.password for entry in directory.users if entry.password is not None}
        async with self._begin() as records:
            known = await records.directory.organisation_by_code(directory.code)
            users = await records.directory.users_by_username(known.id, list(wanted)) if known else {}
            stored = await records.credentials.password_hashes([user.id for user in users.values()])
        old = {name: stored.get(user.id) for name, user in users.items()}
        fresh: dict[str, str] = {}
        queue = list(wanted.items())

        async def work() -> None:
            while queue:
                name, password = queue.pop()
                before = old.get(name)
                if before is None or not await self._passwords.verify(before, password):
                    fresh[name] = await self._passwords.hash(password)

        # Two at a time: an import must leave room for people who sign in.
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(work())
        return fresh

    async def _put_units(
        self, records: Records, organisation: Organisation, entries: Sequence[UnitEntry]
    ) -> dict[str, str]:
        existing = await records.directory.units(organisation.id)
        placed = place_units(organisation.id, existing, entries, self._new_id)
        before = {unit.id: unit for unit in existing}
        await records.directory.put_units([unit for unit in placed if before.get(unit.id) != unit])
        return {unit.code: unit.id for unit in placed}

    async def _put_sites(
        self,
        records: Records,
        organisation: Organisation,
        entries: Sequence[SiteEntry],
        unit_ids: Mapping[str, str],
    ) -> dict[str, str]:
        known = await records.directory.sites_by_code(organisation.id, [entry.code for entry in entries])
        sites = [
            Site(
                id=known[entry.code].id if entry.code in known else self._new_id(),
                organisation_id=organisation.id,
                unit_id=_unit_id(unit_ids, entry.unit_code, f"sites[{index}].unit_code"),
                code=entry.code,
                name=entry.name,
                kind=entry.kind,
                active=known[entry.code].active if entry.code in known else True,
            )
            for index, entry in enumerate(entries)
        ]
        await records.directory.put_sites(sites)
        ids = {site.code: site.id for site in sites}
        await records.credentials.put_device_key_digests(
            {
                ids[entry.code]: self._vault.digest(DEVICE_KEY, entry.device_key.encode())
                for entry in entries
                if entry.device_key is not None
            }
        )
        return ids

    async def _put_users(
        self,
        records: Records,
        organisation: Organisation,
        entries: Sequence[UserEntry],
        unit_ids: Mapping[str, str],
    ) -> dict[str, str]:
        names = [entry.username for entry in entries]
        known = await records.directory.users_by_username(organisation.id, names)
        users = [
            User(
                id=known[entry.username].id if entry.username in known else self._new_id(),
                organisation_id=organisation.id,
                unit_id=_unit_id(unit_ids, entry.unit_code, f"users[{index}].unit_code"),
                username=entry.username,
                display_name=entry.display_name,
                office=entry.office,
                email=entry.email,
                locale=entry.locale,
                active=known[entry.username].active if entry.username in known else True,
            )
            for index, entry in enumerate(entries)
        ]
        await records.directory.put_users(users)
        ids = {user.username: user.id for user in users}
        roles = {
            (ids[entry.username], _unit_id(unit_ids, code, f"users[{index}].roles[{place}].unit_code"), role)
            for index, entry in enumerate(entries)
            for place, (code, role) in enumerate(entry.roles)
        }
        await records.directory.add_roles(organisation.id, roles)
        return ids


def _unit_id(unit_ids: Mapping[str, str], code: str, where: str) -> str:
    if code not in unit_ids:
        raise DirectoryEntryInvalid(where, f"no unit has the code {code!r}; send it as well")
    return unit_ids[code]
