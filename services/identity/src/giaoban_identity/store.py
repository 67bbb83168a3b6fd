# SPDX-License-Identifier: Apache-2.0
"""Owns the questions to identity's tables of the directory, and how a row becomes a domain object."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from giaoban_kit.db import upsert
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from giaoban_identity.domain import (
    Account,
    Locale,
    Organisation,
    PageMark,
    Party,
    PartyKind,
    PartyRef,
    Role,
    RoleAssignment,
    Search,
    Site,
    SiteKind,
    Unit,
    User,
    site_search_text,
    sort_key,
    user_search_text,
)
from giaoban_identity.store_tables import (
    OrganisationRow,
    RoleRow,
    SiteRow,
    UnitRow,
    UserRow,
    metadata,
    words_of,
)


def _organisation(row: Any) -> Organisation:
    return Organisation(row.id, row.code, row.name, row.time_zone)


def _unit(row: Any) -> Unit:
    return Unit(row.id, row.organisation_id, row.parent_id, row.code, row.name, row.position, row.path)


def _user(row: Any) -> User:
    return User(
        id=row.id,
        organisation_id=row.organisation_id,
        unit_id=row.unit_id,
        username=row.username,
        display_name=row.display_name,
        office=row.office,
        email=row.email,
        locale=Locale(row.locale),
        active=row.active,
    )


def _site(row: Any) -> Site:
    return Site(
        id=row.id,
        organisation_id=row.organisation_id,
        unit_id=row.unit_id,
        code=row.code,
        name=row.name,
        kind=SiteKind(row.kind),
        active=row.active,
    )


def _columns(record: Any) -> dict[str, Any]:
    # Not `asdict`, which looks into every value for further records: a sixth of an import's time.
    return {name: getattr(record, name) for name in record.__slots__}


async def put_rows(
    connection: AsyncConnection, table: type[SQLModel], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Adds rows or replaces them by primary key."""
    if rows:
        # One prepared statement that is sent all rows: one text for all of them costs more to build than to carry out.
        await connection.execute(upsert(metadata.tables[str(table.__tablename__)]), rows)


async def lock_name(connection: AsyncConnection, name: str) -> None:
    """Waits for, and takes, the advisory lock of a name until the transaction ends."""
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))


# Statements are built once, from tables: building one, and making objects of rows that become others at once,
# costs more than asking.
_ORGANISATION, _UNIT, _USER, _SITE, _ROLE = (
    metadata.tables[name] for name in ("organisation", "unit", "user_account", "site", "role_assignment")
)
_OF_ORGANISATION: sa.BindParameter[str] = sa.bindparam("organisation_id")
_IDS = sa.bindparam("ids", type_=postgresql.ARRAY(sa.Text))
_ORGANISATION_BY_ID = sa.select(_ORGANISATION).where(_ORGANISATION.c.id == _OF_ORGANISATION)
_ORGANISATION_BY_CODE = sa.select(_ORGANISATION).where(_ORGANISATION.c.code == sa.bindparam("code"))
_UNITS = sa.select(_UNIT).where(_UNIT.c.organisation_id == _OF_ORGANISATION)
_UNITS_BY_ID = _UNITS.where(_UNIT.c.id == sa.any_(_IDS))
_USERS = sa.select(_USER).where(_USER.c.organisation_id == _OF_ORGANISATION)
_USERS_BY_ID = _USERS.where(_USER.c.id == sa.any_(_IDS))
_USERS_BY_NAME = _USERS.where(_USER.c.username == sa.any_(_IDS))
_USER_BY_SIGN_IN = (
    sa.select(_USER)
    .join(_ORGANISATION, _ORGANISATION.c.id == _USER.c.organisation_id)
    .where(_ORGANISATION.c.code == sa.bindparam("code"), _USER.c.username == sa.bindparam("username"))
)
_SITE_BY_ID = sa.select(_SITE).where(_SITE.c.id == sa.bindparam("site_id"))
_SITES = sa.select(_SITE).where(_SITE.c.organisation_id == _OF_ORGANISATION)
_SITES_BY_CODE = _SITES.where(_SITE.c.code == sa.any_(_IDS))
_ROLES_OF = (
    sa.select(_ROLE.c.unit_id, _UNIT.c.path, _ROLE.c.role)
    .join(_UNIT, _UNIT.c.id == _ROLE.c.unit_id)
    .where(_ROLE.c.organisation_id == _OF_ORGANISATION, _ROLE.c.user_id == sa.bindparam("user_id"))
    .order_by(_UNIT.c.path, _ROLE.c.role)
)
_ACCOUNT = (
    sa.select(
        _USER,
        _ORGANISATION.c.code.label("organisation_code"),
        _ORGANISATION.c.name.label("organisation_name"),
        _ORGANISATION.c.time_zone,
        _ROLE.c.role,
        _UNIT.c.id.label("role_unit_id"),
        _UNIT.c.path.label("role_unit_path"),
    )
    .join(_ORGANISATION, _ORGANISATION.c.id == _USER.c.organisation_id)
    .outerjoin(
        _ROLE, sa.and_(_ROLE.c.user_id == _USER.c.id, _ROLE.c.organisation_id == _USER.c.organisation_id)
    )
    .outerjoin(_UNIT, _UNIT.c.id == _ROLE.c.unit_id)
    .where(_USER.c.organisation_id == _OF_ORGANISATION, _USER.c.id == sa.bindparam("user_id"))
    .order_by(_UNIT.c.path, _ROLE.c.role)
)
_HELD = _UNIT.alias("held")
_REACHED = (  # the user's own unit, and in an array those in or below which it holds one of the roles
    sa.select(
        _USER.c.unit_id,
        sa.func.array(
            sa.select(_UNIT.c.id)
            .where(
                _UNIT.c.organisation_id == _USER.c.organisation_id,
                sa.exists()
                .where(
                    _ROLE.c.organisation_id == _USER.c.organisation_id,
                    _ROLE.c.user_id == _USER.c.id,
                    _ROLE.c.role == sa.any_(sa.bindparam("roles", type_=postgresql.ARRAY(sa.Text))),
                    _HELD.c.id == _ROLE.c.unit_id,
                    sa.func.starts_with(_UNIT.c.path, _HELD.c.path),
                )
                .correlate(_UNIT, _USER),
            )
            .correlate(_USER)
            .scalar_subquery(),
            type_=postgresql.ARRAY(sa.Text),
        ).label("reached"),
    ).where(
        _USER.c.organisation_id == _OF_ORGANISATION, _USER.c.id == sa.bindparam("user_id"), _USER.c.active
    )
)
_USER_PARTIES = (
    _USERS_BY_ID.add_columns(_UNIT.c.name.label("unit_name"))
    .join(_UNIT, _UNIT.c.id == _USER.c.unit_id)
    .where(_USER.c.active)
)
_SITE_PARTIES = (
    _SITES.add_columns(_UNIT.c.name.label("unit_name"))
    .join(_UNIT, _UNIT.c.id == _SITE.c.unit_id)
    .where(_SITE.c.id == sa.any_(_IDS), _SITE.c.active)
)
_ACTIVE_USERS = _USERS_BY_ID.where(_USER.c.active).order_by(_USER.c.id)
_HOLDERS = (
    sa.select(_USER)
    .where(
        _USER.c.id.in_(
            sa.select(_ROLE.c.user_id).where(
                _ROLE.c.organisation_id == _OF_ORGANISATION,
                _ROLE.c.unit_id == sa.any_(_IDS),
                _ROLE.c.role == sa.any_(sa.bindparam("roles", type_=postgresql.ARRAY(sa.Text))),
            )
        ),
        _USER.c.active,
    )
    .order_by(_USER.c.id)
)
_UNITS_OF_SITES = _SITES.with_only_columns(_SITE.c.unit_id).where(_SITE.c.id == sa.any_(_IDS), _SITE.c.active)


class SqlDirectory:
    """The `Directory` port on PostgreSQL."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def _all(self, statement: Any, **values: Any) -> Sequence[Any]:
        return (await self._connection.execute(statement, values)).all()

    async def _one(self, statement: Any, **values: Any) -> Any:
        return (await self._connection.execute(statement, values)).one_or_none()

    async def organisation(self, organisation_id: str) -> Organisation | None:
        row = await self._one(_ORGANISATION_BY_ID, organisation_id=organisation_id)
        return _organisation(row) if row else None

    async def organisation_by_code(self, code: str, *, lock: bool = False) -> Organisation | None:
        if lock:
            # A row lock cannot keep two imports from creating the same organisation; this can.
            await lock_name(self._connection, f"organisation:{code}")
        row = await self._one(_ORGANISATION_BY_CODE, code=code)
        return _organisation(row) if row else None

    async def unit(self, organisation_id: str, unit_id: str) -> Unit | None:
        row = await self._one(_UNITS_BY_ID, organisation_id=organisation_id, ids=[unit_id])
        return _unit(row) if row else None

    async def units(self, organisation_id: str) -> Sequence[Unit]:
        rows = await self._all(_UNITS, organisation_id=organisation_id)
        return sorted((_unit(row) for row in rows), key=lambda unit: (unit.depth, unit.position, unit.code))

    async def user(self, organisation_id: str, user_id: str) -> User | None:
        row = await self._one(_USERS_BY_ID, organisation_id=organisation_id, ids=[user_id])
        return _user(row) if row else None

    async def user_by_username(self, organisation_code: str, username: str) -> User | None:
        row = await self._one(_USER_BY_SIGN_IN, code=organisation_code, username=username)
        return _user(row) if row else None

    async def account(self, organisation_id: str, user_id: str) -> Account | None:
        rows = await self._all(_ACCOUNT, organisation_id=organisation_id, user_id=user_id)
        if not rows:
            return None
        first = rows[0]
        organisation = Organisation(
            organisation_id, first.organisation_code, first.organisation_name, first.time_zone
        )
        held = [
            RoleAssignment(user_id, row.role_unit_id, row.role_unit_path, Role(row.role))
            for row in rows
            if row.role is not None
        ]
        return Account(organisation, _user(first), tuple(held))

    async def site(self, organisation_id: str, site_id: str) -> Site | None:
        site = await self.any_site(site_id)
        return site if site and site.organisation_id == organisation_id else None

    async def any_site(self, site_id: str) -> Site | None:
        row = await self._one(_SITE_BY_ID, site_id=site_id)
        return _site(row) if row else None

    async def sites_by_code(self, organisation_id: str, codes: Collection[str]) -> Mapping[str, Site]:
        rows = await self._all(_SITES_BY_CODE, organisation_id=organisation_id, ids=list(codes))
        return {row.code: _site(row) for row in rows}

    async def users_by_username(self, organisation_id: str, usernames: Collection[str]) -> Mapping[str, User]:
        rows = await self._all(_USERS_BY_NAME, organisation_id=organisation_id, ids=list(usernames))
        return {row.username: _user(row) for row in rows}

    async def find_sites(
        self,
        organisation_id: str,
        search: Search,
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[Site]:
        return [_site(row) for row in await self._find(_SITE, organisation_id, search, under, after, limit)]

    async def find_users(
        self,
        organisation_id: str,
        search: Search,
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[User]:
        return [_user(row) for row in await self._find(_USER, organisation_id, search, under, after, limit)]

    async def _find(
        self,
        table: sa.Table,
        organisation_id: str,
        search: Search,
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[Any]:
        values = {"organisation_id": organisation_id, "beginning": search.beginning, "end": search.end}
        if under is not None:
            values["path"] = under.path
        found = list[Any]()
        if after is None or search.is_begun_by(after.sort_key):
            statement = _page(table, begun=True, under=under is not None, after=after is not None)
            found += await self._all(statement, **values, **_mark(after), most=limit)
            after = None
        if len(found) < limit and search.words:
            statement = _page(table, begun=False, under=under is not None, after=after is not None)
            found += await self._all(
                statement, **values, **_mark(after), words=_lexemes(search.words), most=limit - len(found)
            )
        return found

    async def roles_of(self, organisation_id: str, user_id: str) -> Sequence[RoleAssignment]:
        rows = await self._all(_ROLES_OF, organisation_id=organisation_id, user_id=user_id)
        return [RoleAssignment(user_id, unit_id, path, Role(role)) for unit_id, path, role in rows]

    async def reached_units(
        self, organisation_id: str, user_id: str, roles: Collection[Role]
    ) -> tuple[str, Collection[str]] | None:
        values = [role.value for role in roles]
        row = await self._one(_REACHED, organisation_id=organisation_id, user_id=user_id, roles=values)
        return (row.unit_id, set(row.reached)) if row else None

    async def parties(self, organisation_id: str, refs: Sequence[PartyRef]) -> Sequence[Party]:
        found: dict[PartyRef, Party] = {}
        ids = {kind: list({ref.id for ref in refs if ref.kind is kind}) for kind in PartyKind}
        if of_users := ids[PartyKind.USER]:
            for row in await self._all(_USER_PARTIES, organisation_id=organisation_id, ids=of_users):
                ref = PartyRef(PartyKind.USER, row.id)
                found[ref] = Party(ref, row.display_name, row.office, row.unit_id, row.unit_name)
        if of_sites := ids[PartyKind.SITE]:
            for row in await self._all(_SITE_PARTIES, organisation_id=organisation_id, ids=of_sites):
                ref = PartyRef(PartyKind.SITE, row.id)
                found[ref] = Party(ref, row.name, "", row.unit_id, row.unit_name)
        if of_units := ids[PartyKind.UNIT]:
            for row in await self._all(_UNITS_BY_ID, organisation_id=organisation_id, ids=of_units):
                ref = PartyRef(PartyKind.UNIT, row.id)
                found[ref] = Party(ref, row.name, "", row.id, row.name)
        return [found[ref] for ref in dict.fromkeys(refs) if ref in found]

    async def users_by_id(self, organisation_id: str, user_ids: Collection[str]) -> Sequence[User]:
        rows = await self._all(_ACTIVE_USERS, organisation_id=organisation_id, ids=list(user_ids))
        return [_user(row) for row in rows]

    async def holders(
        self, organisation_id: str, unit_ids: Collection[str], roles: Collection[Role]
    ) -> Sequence[User]:
        values = [role.value for role in roles]
        rows = await self._all(_HOLDERS, organisation_id=organisation_id, ids=list(unit_ids), roles=values)
        return [_user(row) for row in rows]

    async def units_of_sites(self, organisation_id: str, site_ids: Collection[str]) -> Collection[str]:
        rows = await self._all(_UNITS_OF_SITES, organisation_id=organisation_id, ids=list(site_ids))
        return {unit_id for (unit_id,) in rows}

    async def put_organisation(self, organisation: Organisation) -> None:
        await put_rows(self._connection, OrganisationRow, [_columns(organisation)])

    async def put_units(self, units: Sequence[Unit]) -> None:
        await put_rows(self._connection, UnitRow, [_columns(unit) for unit in units])

    async def put_sites(self, sites: Sequence[Site]) -> None:
        rows = [
            {
                **_columns(site),
                "kind": site.kind.value,
                "sort_key": sort_key(site.name),
                "search_text": site_search_text(site),
            }
            for site in sites
        ]
        await put_rows(self._connection, SiteRow, rows)

    async def put_users(self, users: Sequence[User]) -> None:
        rows = [
            {
                **_columns(user),
                "locale": user.locale.value,
                "sort_key": sort_key(user.display_name),
                "search_text": user_search_text(user),
            }
            for user in users
        ]
        await put_rows(self._connection, UserRow, rows)

    async def add_roles(self, organisation_id: str, roles: Collection[tuple[str, str, Role]]) -> None:
        rows = [
            {"user_id": user_id, "unit_id": unit_id, "role": role.value, "organisation_id": organisation_id}
            for user_id, unit_id, role in sorted(roles, key=lambda triple: (*triple[:2], triple[2].value))
        ]
        await put_rows(self._connection, RoleRow, rows)


def _mark(after: PageMark | None) -> dict[str, str]:
    return {"after_key": after.sort_key, "after_id": after.id} if after is not None else {}


def _lexemes(words: Sequence[str]) -> str:
    """The tsquery of what has a word that begins with each of these: letters and digits, so nothing to escape."""
    return " & ".join(f"'{word}':*" for word in words)


@lru_cache(maxsize=16)
def _page(table: sa.Table, *, begun: bool, under: bool, after: bool) -> Any:
    """Active entries by sort key and id: those whose names begin with what was typed, or the others with its words."""
    mine = sa.select(table).where(table.c.organisation_id == _OF_ORGANISATION, table.c.active)
    begins = sa.and_(table.c.sort_key >= sa.bindparam("beginning"), table.c.sort_key < sa.bindparam("end"))
    if begun:
        entries: sa.FromClause = table
        statement = mine.where(begins)
    else:
        words = sa.cast(sa.bindparam("words", type_=sa.Text), postgresql.TSQUERY)
        having = mine.where(words_of(table.c.search_text).op("@@")(words), sa.not_(begins))
        # Else PostgreSQL walks along the index of pages until a page is full: past all entries, when few have the
        # words or these stand together.
        entries = having.cte("having").prefix_with("MATERIALIZED")
        statement = sa.select(entries)
    if under:
        statement = statement.join(_UNIT, _UNIT.c.id == entries.c.unit_id).where(
            sa.func.starts_with(_UNIT.c.path, sa.bindparam("path"))
        )
    if after:
        mark = sa.tuple_(sa.bindparam("after_key"), sa.bindparam("after_id"))
        statement = statement.where(sa.tuple_(entries.c.sort_key, entries.c.id) > mark)
    return statement.order_by(entries.c.sort_key, entries.c.id).limit(sa.bindparam("most"))
