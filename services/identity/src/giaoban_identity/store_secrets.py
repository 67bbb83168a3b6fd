# SPDX-License-Identifier: Apache-2.0
"""Owns identity's tables for credentials, sessions, guesses and signing keys."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import sqlalchemy as sa
from giaoban_kit.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_identity.domain import Guesses, RefreshToken, Session, SigningKey
from giaoban_identity.store import SqlDirectory, lock_name, put_rows
from giaoban_identity.store_tables import BYTEWISE, Base


def _moment(*, nullable: bool = False, index: bool = False) -> sa.Column[datetime]:
    return sa.Column(sa.DateTime(timezone=True), nullable=nullable, index=index)


class PasswordRow(Base, table=True):
    __tablename__ = "password"
    user_id: str = Field(
        sa_column=sa.Column(sa.Text(collation=BYTEWISE), sa.ForeignKey("user_account.id"), primary_key=True)
    )
    hash: str


class DeviceKeyRow(Base, table=True):
    __tablename__ = "device_key"
    site_id: str = Field(
        sa_column=sa.Column(sa.Text(collation=BYTEWISE), sa.ForeignKey("site.id"), primary_key=True)
    )
    digest: bytes


class SessionRow(Base, table=True):
    __tablename__ = "session"
    id: str = Field(primary_key=True)
    organisation_id: str
    user_id: str = Field(
        sa_column=sa.Column(
            sa.Text(collation=BYTEWISE), sa.ForeignKey("user_account.id"), nullable=False, index=True
        )
    )
    created_at: datetime = Field(sa_column=_moment())
    expires_at: datetime = Field(sa_column=_moment(index=True))
    ended_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class RefreshTokenRow(Base, table=True):
    __tablename__ = "refresh_token"
    digest: bytes = Field(primary_key=True)
    session_id: str = Field(foreign_key="session.id", index=True, ondelete="CASCADE")
    issued_at: datetime = Field(sa_column=_moment())
    expires_at: datetime = Field(sa_column=_moment())
    used_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class GuessesRow(Base, table=True):
    __tablename__ = "guesses"
    key: bytes = Field(primary_key=True)
    failures: int
    last_failure_at: datetime = Field(sa_column=_moment(index=True))
    locked_until: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class SigningKeyRow(Base, table=True):
    __tablename__ = "signing_key"
    id: str = Field(primary_key=True)
    public_key: bytes
    sealed_private_key: bytes
    created_at: datetime = Field(sa_column=_moment())
    retired_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class SqlCredentials:
    """The `Credentials` port on PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def password_hash(self, user_id: str) -> str | None:
        return (await self.password_hashes([user_id])).get(user_id)

    async def password_hashes(self, user_ids: Collection[str]) -> Mapping[str, str]:
        rows = await self._session.exec(
            select(col(PasswordRow.user_id), col(PasswordRow.hash)).where(
                col(PasswordRow.user_id).in_(user_ids)
            )
        )
        return {user_id: stored for user_id, stored in rows}  # noqa: C416  # rows are not pairs to mypy

    async def put_password_hashes(self, hashes: Mapping[str, str]) -> None:
        rows = [{"user_id": user_id, "hash": stored} for user_id, stored in hashes.items()]
        await put_rows(await self._session.connection(), PasswordRow, rows)

    async def device_key_digest(self, site_id: str) -> bytes | None:
        row = await self._session.get(DeviceKeyRow, site_id)
        return row.digest if row else None

    async def put_device_key_digests(self, digests: Mapping[str, bytes]) -> None:
        rows = [{"site_id": site_id, "digest": digest} for site_id, digest in digests.items()]
        await put_rows(await self._session.connection(), DeviceKeyRow, rows)


class SqlSessions:
    """The `Sessions` port on PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, session: Session) -> None:
        self._session.add(
            SessionRow(
                id=session.id,
                organisation_id=session.organisation_id,
                user_id=session.user_id,
                created_at=session.created_at,
                expires_at=session.expires_at,
                ended_at=session.ended_at,
            )
        )
        await self._session.flush()

    async def add_token(self, token: RefreshToken) -> None:
        self._session.add(
            RefreshTokenRow(
                digest=token.digest,
                session_id=token.session_id,
                issued_at=token.issued_at,
                expires_at=token.expires_at,
                used_at=token.used_at,
            )
        )
        await self._session.flush()

    async def lock_token(self, digest: bytes) -> tuple[RefreshToken, Session] | None:
        # The session's row is the lock of the whole chain; it is taken first, then the token is read,
        # so that of two concurrent refreshes the second sees what the first one did.
        locked = await self._session.exec(
            select(SessionRow)
            .join(RefreshTokenRow, col(RefreshTokenRow.session_id) == col(SessionRow.id))
            .where(col(RefreshTokenRow.digest) == digest)
            .with_for_update(of=SessionRow)
            .execution_options(populate_existing=True)
        )
        session = locked.one_or_none()
        if session is None:
            return None
        token = (
            await self._session.exec(
                select(RefreshTokenRow)
                .where(col(RefreshTokenRow.digest) == digest)
                .execution_options(populate_existing=True)
            )
        ).one()
        return (
            RefreshToken(token.digest, token.session_id, token.issued_at, token.expires_at, token.used_at),
            Session(
                id=session.id,
                organisation_id=session.organisation_id,
                user_id=session.user_id,
                created_at=session.created_at,
                expires_at=session.expires_at,
                ended_at=session.ended_at,
            ),
        )

    async def mark_used(self, digest: bytes, at: datetime) -> None:
        await self._session.exec(
            sa.update(RefreshTokenRow)
            .where(col(RefreshTokenRow.digest) == digest, col(RefreshTokenRow.used_at).is_(None))
            .values(used_at=at)
        )

    async def end(self, session_id: str, at: datetime) -> None:
        await self._session.exec(
            sa.update(SessionRow)
            .where(col(SessionRow.id) == session_id, col(SessionRow.ended_at).is_(None))
            .values(ended_at=at)
        )

    async def end_all_of(self, user_ids: Collection[str], at: datetime) -> None:
        await self._session.exec(
            sa.update(SessionRow)
            .where(col(SessionRow.user_id).in_(user_ids), col(SessionRow.ended_at).is_(None))
            .values(ended_at=at)
        )

    async def purge(self, before: datetime) -> None:
        await self._session.exec(
            sa.delete(SessionRow).where(
                sa.or_(col(SessionRow.expires_at) < before, col(SessionRow.ended_at) < before)
            )
        )


class SqlGuessBook:
    """The `GuessBook` port on PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: bytes) -> Guesses | None:
        row = (
            await self._session.exec(
                select(GuessesRow).where(col(GuessesRow.key) == key).execution_options(populate_existing=True)
            )
        ).one_or_none()
        return Guesses(row.key, row.failures, row.last_failure_at, row.locked_until) if row else None

    async def lock(self, key: bytes) -> Guesses | None:
        # An advisory lock also covers the row that does not exist yet.
        await lock_name(await self._session.connection(), f"guesses:{key.hex()}")
        return await self.get(key)

    async def put(self, guesses: Guesses) -> None:
        row = {
            "key": guesses.key,
            "failures": guesses.failures,
            "last_failure_at": guesses.last_failure_at,
            "locked_until": guesses.locked_until,
        }
        await put_rows(await self._session.connection(), GuessesRow, [row])

    async def forget(self, key: bytes) -> None:
        await self._session.exec(sa.delete(GuessesRow).where(col(GuessesRow.key) == key))

    async def purge(self, before: datetime) -> None:
        await self._session.exec(sa.delete(GuessesRow).where(col(GuessesRow.last_failure_at) < before))


class SqlSigningKeys:
    """The `SigningKeys` port on PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self, *, lock: bool = False) -> Sequence[SigningKey]:
        if lock:
            await lock_name(await self._session.connection(), "signing_key")
        rows = await self._session.exec(
            select(SigningKeyRow).order_by(col(SigningKeyRow.created_at).desc(), col(SigningKeyRow.id).desc())
        )
        return [
            SigningKey(row.id, row.public_key, row.sealed_private_key, row.created_at, row.retired_at)
            for row in rows
        ]

    async def put(self, key: SigningKey) -> None:
        row = {
            "id": key.id,
            "public_key": key.public_key,
            "sealed_private_key": key.sealed_private_key,
            "created_at": key.created_at,
            "retired_at": key.retired_at,
        }
        await put_rows(await self._session.connection(), SigningKeyRow, [row])

    async def delete(self, key_ids: Collection[str]) -> None:
        await self._session.exec(sa.delete(SigningKeyRow).where(col(SigningKeyRow.id).in_(key_ids)))


class SqlRecords:
    """The `Records` port: every table, in one session and so in one transaction."""

    def __init__(self, session: AsyncSession, connection: AsyncConnection) -> None:
        self.directory = SqlDirectory(connection)
        self.credentials = SqlCredentials(session)
        self.sessions = SqlSessions(session)
        self.guesses = SqlGuessBook(session)
        self.signing_keys = SqlSigningKeys(session)


class SqlTransactions:
    """The `Transactions` port on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlRecords]:
        async with self._database.transaction() as session:
            yield SqlRecords(session, await session.connection())

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlDirectory]:
        async with self._database.reading() as connection:
            yield SqlDirectory(connection)
