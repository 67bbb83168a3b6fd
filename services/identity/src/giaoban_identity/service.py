# SPDX-License-Identifier: Apache-2.0
"""Owns the use cases of the directory: who is who, and who may do what. One method per use case."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from giaoban_identity.domain import (
    ROLES_BEHIND_SITE,
    ROLES_BEHIND_UNIT,
    Locale,
    Organisation,
    PageMark,
    Party,
    PartyKind,
    PartyRef,
    Permission,
    Recipient,
    Site,
    Unit,
    User,
    is_permitted,
    permissions_by_unit,
    roles_with,
    search,
    sort_key,
)
from giaoban_identity.errors import UnitNotFound, UserNotFound
from giaoban_identity.ports import Directory, Transactions


@dataclass(frozen=True, slots=True)
class Me:
    """The caller: a user or a site, its organisation, and what it may do where."""

    organisation: Organisation
    user: User | None
    site: Site | None
    permissions: Mapping[str, frozenset[Permission]]


class Identity:
    """Questions about the directory. Every one is asked within one organisation."""

    def __init__(self, begin: Transactions) -> None:
        self._begin = begin

    async def me(self, organisation_id: str, subject_id: str, *, is_site: bool) -> Me:
        """The caller. Errors: USER_NOT_FOUND."""
        async with self._begin.reading() as directory:
            if not is_site:
                account = await directory.account(organisation_id, subject_id)
                if account is None or not account.user.active:
                    raise UserNotFound
                return Me(account.organisation, account.user, None, permissions_by_unit(account.roles))
            organisation = await directory.organisation(organisation_id)
            site = await directory.site(organisation_id, subject_id)
            if organisation is None or site is None or not site.active:
                raise UserNotFound
            return Me(organisation, None, site, {})

    async def set_locale(self, organisation_id: str, user_id: str, locale: Locale) -> User:
        """Changes the caller's language. Errors: USER_NOT_FOUND."""
        async with self._begin() as records:
            user = replace(await _active_user(records.directory, organisation_id, user_id), locale=locale)
            await records.directory.put_users([user])
            return user

    async def units(self, organisation_id: str) -> Sequence[Unit]:
        """Every unit, parents before children."""
        async with self._begin.reading() as directory:
            return await directory.units(organisation_id)

    async def sites(
        self, organisation_id: str, query: str, unit_id: str | None, after: PageMark | None, limit: int
    ) -> tuple[Sequence[Site], PageMark | None]:
        """A page of sites and where the next one starts, if there is one. Errors: UNIT_NOT_FOUND."""
        async with self._begin.reading() as directory:
            under = await _unit(directory, organisation_id, unit_id) if unit_id is not None else None
            found = await directory.find_sites(organisation_id, search(query), under, after, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        return found[:limit], PageMark(sort_key(last.name), last.id) if last else None

    async def users(
        self, organisation_id: str, query: str, unit_id: str | None, after: PageMark | None, limit: int
    ) -> tuple[Sequence[User], PageMark | None]:
        """A page of users, as `sites`. Errors: UNIT_NOT_FOUND."""
        async with self._begin.reading() as directory:
            under = await _unit(directory, organisation_id, unit_id) if unit_id is not None else None
            found = await directory.find_users(organisation_id, search(query), under, after, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        return found[:limit], PageMark(sort_key(last.display_name), last.id) if last else None

    async def parties(self, organisation_id: str, refs: Sequence[PartyRef]) -> Sequence[Party]:
        """Names for references; unknown, foreign and inactive ones are left out."""
        async with self._begin.reading() as directory:
            return await directory.parties(organisation_id, refs)

    async def is_permitted(
        self, organisation_id: str, user_id: str | None, unit_id: str, permission: Permission
    ) -> bool:
        """Whether the user holds the permission in the unit; a terminal (None) holds none.

        Errors: UNIT_NOT_FOUND.
        """
        async with self._begin.reading() as directory:
            unit = await _unit(directory, organisation_id, unit_id)
            if user_id is None:
                return False
            user = await directory.user(organisation_id, user_id)
            if user is None or not user.active:
                return False
            return is_permitted(await directory.roles_of(organisation_id, user_id), unit, permission)

    async def permitted_units(
        self, organisation_id: str, user_id: str, permissions: Collection[Permission]
    ) -> tuple[str, Collection[str]]:
        """The user's own unit, and every unit in which it holds one of the permissions, inherited ones too.

        Errors: USER_NOT_FOUND.
        """
        async with self._begin.reading() as directory:
            found = await directory.reached_units(organisation_id, user_id, roles_with(permissions))
        if found is None:
            raise UserNotFound
        return found

    async def recipients(self, organisation_id: str, refs: Sequence[PartyRef]) -> Sequence[Recipient]:
        """The people behind invited parties, each once, by id.

        A unit stands for its conveners and operators, a site for its unit's operators and members: those
        who hold the role in that very unit, for a role inherited from the top would tell the same leaders
        about every ward.
        """
        async with self._begin.reading() as directory:
            organisation = await directory.organisation(organisation_id)
            if organisation is None:
                return []
            ids = {kind: {ref.id for ref in refs if ref.kind is kind} for kind in PartyKind}
            units_of_sites = await directory.units_of_sites(organisation_id, ids[PartyKind.SITE])
            found = [
                *await directory.users_by_id(organisation_id, ids[PartyKind.USER]),
                *await directory.holders(organisation_id, ids[PartyKind.UNIT], ROLES_BEHIND_UNIT),
                *await directory.holders(organisation_id, units_of_sites, ROLES_BEHIND_SITE),
            ]
        people = {user.id: user for user in found}
        return [
            Recipient(
                user.id,
                user.organisation_id,
                user.display_name,
                user.email,
                user.locale,
                organisation.time_zone,
            )
            for _, user in sorted(people.items())
        ]


async def _active_user(directory: Directory, organisation_id: str, user_id: str) -> User:
    user = await directory.user(organisation_id, user_id)
    if user is None or not user.active:
        raise UserNotFound
    return user


async def _unit(directory: Directory, organisation_id: str, unit_id: str) -> Unit:
    unit = await directory.unit(organisation_id, unit_id)
    if unit is None:
        raise UnitNotFound
    return unit
