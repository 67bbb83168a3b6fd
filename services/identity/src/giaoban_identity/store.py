# SPDX-License-Identifier: Apache-2.0
"""Owns identity's tables for the directory, and how a row becomes a domain object.

The tables of credentials, sessions, guesses and keys are in `store_secrets`; both share one MetaData.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from giaoban_kit.db import new_metadata
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_identity.domain import (
    Locale,
    Organisation,
    PageMark,
    Party,
    PartyKind,
    PartyRef,
    Role,
    RoleAssignment,
    Site,
    SiteKind,
    Unit,
    User,
    site_search_text,
    sort_key,
    user_search_text,
)

# Keys that are compared or paged by are sorted by code point, in the database as in Python.
BYTEWISE = "C"
# asyncpg sends at most 32767 parameters in one statement; the widest row has a dozen.
ROWS_PER_STATEMENT = 2000


metadata = new_metadata()


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Gives identity its own MetaData, so that services in one test process never share tables."""

    metadata = metadata


def bytewise(**options: Any) -> Any:
    """A text column that sorts by code point."""
    return Field(sa_column=sa.Column(sa.Text(collation=BYTEWISE), nullable=False, **options))


class OrganisationRow(Base, table=True):
    __tablename__ = "organisation"
    id: str = Field(primary_key=True)
    code: str = Field(unique=True)
    name: str
    time_zone: str


class UnitRow(Base, table=True):
    __tablename__ = "unit"
    __table_args__ = (sa.UniqueConstraint("organisation_id", "code"),)
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    parent_id: str | None = Field(default=None, foreign_key="unit.id")
    code: str
    name: str
    position: int
    path: str = bytewise(index=True)


class UserRow(Base, table=True):
    __tablename__ = "user_account"
    __table_args__ = (
        sa.UniqueConstraint("organisation_id", "username"),
        sa.Index("user_account_page", "organisation_id", "sort_key", "id"),
    )
    id: str = bytewise(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    unit_id: str = Field(foreign_key="unit.id", index=True)
    username: str
    display_name: str
    office: str
    email: str
    locale: str
    active: bool
    sort_key: str = bytewise()
    search_text: str


class SiteRow(Base, table=True):
    __tablename__ = "site"
    __table_args__ = (
        sa.UniqueConstraint("organisation_id", "code"),
        sa.Index("site_page", "organisation_id", "sort_key", "id"),
    )
    id: str = bytewise(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    unit_id: str = Field(foreign_key="unit.id", index=True)
    code: str
    name: str
    kind: str
    active: bool
    sort_key: str = bytewise()
    search_text: str


class RoleRow(Base, table=True):
    __tablename__ = "role_assignment"
    user_id: str = Field(
        sa_column=sa.Column(
            sa.Text(collation=BYTEWISE), sa.ForeignKey("user_account.id"), primary_key=True, nullable=False
        )
    )
    unit_id: str = Field(foreign_key="unit.id", primary_key=True, index=True)
    role: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")


def _organisation(row: OrganisationRow) -> Organisation:
    return Organisation(row.id, row.code, row.name, row.time_zone)


def _unit(row: UnitRow) -> Unit:
    return Unit(row.id, row.organisation_id, row.parent_id, row.code, row.name, row.position, row.path)


def _user(row: UserRow) -> User:
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


def _site(row: SiteRow) -> Site:
    return Site(
        id=row.id,
        organisation_id=row.organisation_id,
        unit_id=row.unit_id,
        code=row.code,
        name=row.name,
        kind=SiteKind(row.kind),
        active=row.active,
    )


async def upsert(session: AsyncSession, table: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows or replaces them by primary key.

    Postgres refuses a statement that names one row twice, so callers pass each key once.
    """
    target: sa.Table = table.__table__  # type: ignore[attr-defined]  # SQLModel does not declare it
    keys = [column.name for column in target.primary_key.columns]
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        statement = insert(target).values([dict(row) for row in rows[start : start + ROWS_PER_STATEMENT]])
        updated = {c.name: statement.excluded[c.name] for c in target.columns if c.name not in keys}
        await session.exec(statement.on_conflict_do_update(index_elements=keys, set_=updated))


async def lock_name(session: AsyncSession, name: str) -> None:
    """Waits for, and takes, the advisory lock of a name until the transaction ends."""
    connection = await session.connection()
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))


def _contains(column: Any, words: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    return [column.contains(word, autoescape=True) for word in words]


class SqlDirectory:
    """The `Directory` port on PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def organisation(self, organisation_id: str) -> Organisation | None:
        row = await self._session.get(OrganisationRow, organisation_id)
        return _organisation(row) if row else None

    async def organisation_by_code(self, code: str, *, lock: bool = False) -> Organisation | None:
        if lock:
            # A row lock cannot keep two imports from creating the same organisation; this can.
            await lock_name(self._session, f"organisation:{code}")
        row = (
            await self._session.exec(select(OrganisationRow).where(col(OrganisationRow.code) == code))
        ).one_or_none()
        return _organisation(row) if row else None

    async def unit(self, organisation_id: str, unit_id: str) -> Unit | None:
        row = (
            await self._session.exec(
                select(UnitRow).where(
                    col(UnitRow.organisation_id) == organisation_id, col(UnitRow.id) == unit_id
                )
            )
        ).one_or_none()
        return _unit(row) if row else None

    async def units(self, organisation_id: str) -> Sequence[Unit]:
        rows = await self._session.exec(
            select(UnitRow).where(col(UnitRow.organisation_id) == organisation_id)
        )
        return sorted((_unit(row) for row in rows), key=lambda unit: (unit.depth, unit.position, unit.code))

    async def user(self, organisation_id: str, user_id: str) -> User | None:
        row = (
            await self._session.exec(
                select(UserRow).where(
                    col(UserRow.organisation_id) == organisation_id, col(UserRow.id) == user_id
                )
            )
        ).one_or_none()
        return _user(row) if row else None

    async def user_by_username(self, organisation_code: str, username: str) -> User | None:
        row = (
            await self._session.exec(
                select(UserRow)
                .join(OrganisationRow, col(OrganisationRow.id) == col(UserRow.organisation_id))
                .where(col(OrganisationRow.code) == organisation_code, col(UserRow.username) == username)
            )
        ).one_or_none()
        return _user(row) if row else None

    async def site(self, organisation_id: str, site_id: str) -> Site | None:
        site = await self.any_site(site_id)
        return site if site and site.organisation_id == organisation_id else None

    async def any_site(self, site_id: str) -> Site | None:
        row = await self._session.get(SiteRow, site_id)
        return _site(row) if row else None

    async def sites_by_code(self, organisation_id: str, codes: Collection[str]) -> Mapping[str, Site]:
        rows = await self._session.exec(
            select(SiteRow).where(
                col(SiteRow.organisation_id) == organisation_id, col(SiteRow.code).in_(codes)
            )
        )
        return {row.code: _site(row) for row in rows}

    async def users_by_username(self, organisation_id: str, usernames: Collection[str]) -> Mapping[str, User]:
        rows = await self._session.exec(
            select(UserRow).where(
                col(UserRow.organisation_id) == organisation_id, col(UserRow.username).in_(usernames)
            )
        )
        return {row.username: _user(row) for row in rows}

    async def find_sites(
        self,
        organisation_id: str,
        words: Sequence[str],
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[Site]:
        query = _page(select(SiteRow), SiteRow, organisation_id, words, under, after, limit)
        return [_site(row) for row in (await self._session.exec(query))]

    async def find_users(
        self,
        organisation_id: str,
        words: Sequence[str],
        under: Unit | None,
        after: PageMark | None,
        limit: int,
    ) -> Sequence[User]:
        query = _page(select(UserRow), UserRow, organisation_id, words, under, after, limit)
        return [_user(row) for row in (await self._session.exec(query))]

    async def roles_of(self, organisation_id: str, user_id: str) -> Sequence[RoleAssignment]:
        rows = await self._session.exec(
            select(col(RoleRow.unit_id), col(UnitRow.path), col(RoleRow.role))
            .join(UnitRow, col(UnitRow.id) == col(RoleRow.unit_id))
            .where(col(RoleRow.organisation_id) == organisation_id, col(RoleRow.user_id) == user_id)
            .order_by(col(UnitRow.path), col(RoleRow.role))
        )
        return [RoleAssignment(user_id, unit_id, path, Role(role)) for unit_id, path, role in rows]

    async def parties(self, organisation_id: str, refs: Sequence[PartyRef]) -> Sequence[Party]:
        found: dict[PartyRef, Party] = {}
        ids = {kind: {ref.id for ref in refs if ref.kind is kind} for kind in PartyKind}
        if ids[PartyKind.USER]:
            users = await self._session.exec(
                select(UserRow, col(UnitRow.name))
                .join(UnitRow, col(UnitRow.id) == col(UserRow.unit_id))
                .where(
                    col(UserRow.organisation_id) == organisation_id,
                    col(UserRow.id).in_(ids[PartyKind.USER]),
                    col(UserRow.active),
                )
            )
            for user, unit_name in users:
                ref = PartyRef(PartyKind.USER, user.id)
                found[ref] = Party(ref, user.display_name, user.office, user.unit_id, unit_name)
        if ids[PartyKind.SITE]:
            sites = await self._session.exec(
                select(SiteRow, col(UnitRow.name))
                .join(UnitRow, col(UnitRow.id) == col(SiteRow.unit_id))
                .where(
                    col(SiteRow.organisation_id) == organisation_id,
                    col(SiteRow.id).in_(ids[PartyKind.SITE]),
                    col(SiteRow.active),
                )
            )
            for site, unit_name in sites:
                ref = PartyRef(PartyKind.SITE, site.id)
                found[ref] = Party(ref, site.name, "", site.unit_id, unit_name)
        if ids[PartyKind.UNIT]:
            units = await self._session.exec(
                select(UnitRow).where(
                    col(UnitRow.organisation_id) == organisation_id,
                    col(UnitRow.id).in_(ids[PartyKind.UNIT]),
                )
            )
            for unit in units:
                ref = PartyRef(PartyKind.UNIT, unit.id)
                found[ref] = Party(ref, unit.name, "", unit.id, unit.name)
        return [found[ref] for ref in dict.fromkeys(refs) if ref in found]

    async def users_by_id(self, organisation_id: str, user_ids: Collection[str]) -> Sequence[User]:
        rows = await self._session.exec(
            select(UserRow)
            .where(
                col(UserRow.organisation_id) == organisation_id,
                col(UserRow.id).in_(user_ids),
                col(UserRow.active),
            )
            .order_by(col(UserRow.id))
        )
        return [_user(row) for row in rows]

    async def holders(
        self, organisation_id: str, unit_ids: Collection[str], roles: Collection[Role]
    ) -> Sequence[User]:
        holding = select(col(RoleRow.user_id)).where(
            col(RoleRow.organisation_id) == organisation_id,
            col(RoleRow.unit_id).in_(unit_ids),
            col(RoleRow.role).in_([role.value for role in roles]),
        )
        rows = await self._session.exec(
            select(UserRow).where(col(UserRow.id).in_(holding), col(UserRow.active)).order_by(col(UserRow.id))
        )
        return [_user(row) for row in rows]

    async def units_of_sites(self, organisation_id: str, site_ids: Collection[str]) -> Collection[str]:
        rows = await self._session.exec(
            select(col(SiteRow.unit_id)).where(
                col(SiteRow.organisation_id) == organisation_id,
                col(SiteRow.id).in_(site_ids),
                col(SiteRow.active),
            )
        )
        return set(rows)

    async def put_organisation(self, organisation: Organisation) -> None:
        await upsert(self._session, OrganisationRow, [asdict(organisation)])

    async def put_units(self, units: Sequence[Unit]) -> None:
        await upsert(self._session, UnitRow, [asdict(unit) for unit in units])

    async def put_sites(self, sites: Sequence[Site]) -> None:
        rows = [
            SiteRow(
                id=site.id,
                organisation_id=site.organisation_id,
                unit_id=site.unit_id,
                code=site.code,
                name=site.name,
                kind=site.kind.value,
                active=site.active,
                sort_key=sort_key(site.name),
                search_text=site_search_text(site),
            ).model_dump()
            for site in sites
        ]
        await upsert(self._session, SiteRow, rows)

    async def put_users(self, users: Sequence[User]) -> None:
        rows = [
            UserRow(
                id=user.id,
                organisation_id=user.organisation_id,
                unit_id=user.unit_id,
                username=user.username,
                display_name=user.display_name,
                office=user.office,
                email=user.email,
                locale=user.locale.value,
                active=user.active,
                sort_key=sort_key(user.display_name),
                search_text=user_search_text(user),
            ).model_dump()
            for user in users
        ]
        await upsert(self._session, UserRow, rows)

    async def add_roles(self, organisation_id: str, roles: Collection[tuple[str, str, Role]]) -> None:
        rows = [
            {"user_id": user_id, "unit_id": unit_id, "role": role.value, "organisation_id": organisation_id}
            for user_id, unit_id, role in sorted(roles, key=lambda triple: (*triple[:2], triple[2].value))
        ]
        await upsert(self._session, RoleRow, rows)


def _page(  # one list, six filters; a dictionary would only hide them
    query: Any,
    table: type[SiteRow] | type[UserRow],
    organisation_id: str,
    words: Sequence[str],
    under: Unit | None,
    after: PageMark | None,
    limit: int,
) -> Any:
    query = query.where(
        col(table.organisation_id) == organisation_id,
        col(table.active),
        *_contains(col(table.search_text), words),
    )
    if under is not None:
        query = query.join(UnitRow, col(UnitRow.id) == col(table.unit_id)).where(
            col(UnitRow.path).startswith(under.path, autoescape=True)
        )
    if after is not None:
        query = query.where(
            sa.tuple_(col(table.sort_key), col(table.id)) > sa.tuple_(after.sort_key, after.id)
        )
    return query.order_by(col(table.sort_key), col(table.id)).limit(limit)
