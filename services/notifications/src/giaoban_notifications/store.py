# SPDX-License-Identifier: Apache-2.0
"""Owns the tables of notifications, and how a row becomes a domain object."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from giaoban_kit import outbox
from giaoban_kit.db import Database, new_metadata
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_notifications.domain import Delivery, DeliveryState, Kind, Notification

metadata = new_metadata()
outbox.add_tables(metadata)


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Gives notifications its own MetaData."""

    metadata = metadata


def _moment(*, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(sa.DateTime(timezone=True), nullable=nullable)


class NotificationRow(Base, table=True):
    __tablename__ = "notification"
    __table_args__ = (
        sa.UniqueConstraint("event_id", "user_id"),
        sa.Index("ix_notification_page", "user_id", "id"),
        sa.Index("ix_notification_unread", "user_id", postgresql_where=sa.text("read_at IS NULL")),
    )
    # Sorted by code point: ids are ULIDs, so their order is the order of time.
    id: str = Field(sa_column=sa.Column(sa.Text(collation="C"), primary_key=True))
    event_id: str
    organisation_id: str
    user_id: str
    kind: str
    title: str
    body: str
    meeting_id: str
    created_at: datetime = Field(sa_column=_moment())
    read_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class DeliveryRow(Base, table=True):
    __tablename__ = "delivery"
    __table_args__ = (
        sa.UniqueConstraint("event_id", "user_id", "channel"),
        sa.Index("ix_delivery_due", "next_attempt_at", postgresql_where=sa.text("state = 'pending'")),
    )
    id: str = Field(primary_key=True)
    event_id: str
    user_id: str
    channel: str
    address: str
    message: bytes
    state: str
    attempts: int
    next_attempt_at: datetime = Field(sa_column=_moment())
    last_error: str


MAIL = "mail"
# asyncpg sends at most 32767 parameters in one statement; the widest row has ten.
ROWS_PER_STATEMENT = 1000


def _notification(row: NotificationRow) -> Notification:
    return Notification(
        id=row.id,
        event_id=row.event_id,
        organisation_id=row.organisation_id,
        user_id=row.user_id,
        kind=Kind(row.kind),
        title=row.title,
        body=row.body,
        meeting_id=row.meeting_id,
        created_at=row.created_at,
        read_at=row.read_at,
    )


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        event_id=row.event_id,
        user_id=row.user_id,
        address=row.address,
        message=row.message,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        last_error=row.last_error,
    )


class SqlInbox:
    """The `Inbox` port on PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, *notifications: Notification) -> int:
        rows = [{**_columns(each), "kind": each.kind.value} for each in notifications]
        return await _insert_once(self._session, NotificationRow, rows, ["event_id", "user_id"])

    async def get(self, user_id: str, notification_id: str) -> Notification | None:
        row = (
            await self._session.exec(
                select(NotificationRow).where(
                    col(NotificationRow.user_id) == user_id, col(NotificationRow.id) == notification_id
                )
            )
        ).one_or_none()
        return _notification(row) if row else None

    async def page(
        self, user_id: str, *, unread_only: bool, before_id: str | None, limit: int
    ) -> Sequence[Notification]:
        query = select(NotificationRow).where(col(NotificationRow.user_id) == user_id)
        if unread_only:
            query = query.where(col(NotificationRow.read_at).is_(None))
        if before_id is not None:
            query = query.where(col(NotificationRow.id) < before_id)
        rows = await self._session.exec(query.order_by(col(NotificationRow.id).desc()).limit(limit))
        return [_notification(row) for row in rows]

    async def unread_count(self, user_id: str) -> int:
        query = (
            select(func.count())
            .select_from(NotificationRow)
            .where(col(NotificationRow.user_id) == user_id, col(NotificationRow.read_at).is_(None))
        )
        return (await self._session.exec(query)).one()

    async def mark_read(self, user_id: str, notification_id: str, at: datetime) -> None:
        await self._session.exec(
            sa.update(NotificationRow)
            .where(
                col(NotificationRow.user_id) == user_id,
                col(NotificationRow.id) == notification_id,
                col(NotificationRow.read_at).is_(None),
            )
            .values(read_at=at)
        )

    async def mark_all_read(self, user_id: str, at: datetime) -> None:
        await self._session.exec(
            sa.update(NotificationRow)
            .where(
                col(NotificationRow.user_id) == user_id,
                col(NotificationRow.read_at).is_(None),
                col(NotificationRow.created_at) <= at,
            )
            .values(read_at=at)
        )


class SqlDeliveries:
    """The `Deliveries` port on PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, *deliveries: Delivery) -> int:
        rows = [{**_columns(each), "channel": MAIL, "state": each.state.value} for each in deliveries]
        return await _insert_once(self._session, DeliveryRow, rows, ["event_id", "user_id", "channel"])

    async def claim(self, now: datetime, lease_until: datetime, limit: int) -> Sequence[Delivery]:
        rows = await self._session.exec(
            select(DeliveryRow)
            .where(
                col(DeliveryRow.state) == DeliveryState.PENDING.value, col(DeliveryRow.next_attempt_at) <= now
            )
            .order_by(col(DeliveryRow.next_attempt_at), col(DeliveryRow.id))
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = []
        for row in rows:
            row.attempts += 1
            row.next_attempt_at = lease_until
            taken.append(_delivery(row))
        await self._session.flush()
        return taken

    async def mark_sent(self, delivery_id: str) -> None:
        await self._set(delivery_id, state=DeliveryState.SENT.value, address="", message=b"", last_error="")

    async def mark_retry(self, delivery_id: str, at: datetime, error: str) -> None:
        await self._set(delivery_id, next_attempt_at=at, last_error=error)

    async def mark_dead(self, delivery_id: str, error: str) -> None:
        await self._set(delivery_id, state=DeliveryState.DEAD.value, last_error=error)

    async def of_event(self, event_id: str) -> Sequence[Delivery]:
        rows = await self._session.exec(select(DeliveryRow).where(col(DeliveryRow.event_id) == event_id))
        return sorted((_delivery(row) for row in rows), key=lambda delivery: delivery.user_id)

    async def _set(self, delivery_id: str, **values: object) -> None:
        await self._session.exec(
            sa.update(DeliveryRow).where(col(DeliveryRow.id) == delivery_id).values(**values)
        )


def _columns(record: Notification | Delivery) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in fields(record)}


async def _insert_once(
    session: AsyncSession, table: type[SQLModel], rows: Sequence[dict[str, Any]], unique: list[str]
) -> int:
    added = 0
    for at in range(0, len(rows), ROWS_PER_STATEMENT):
        statement = (
            insert(table)
            .values(rows[at : at + ROWS_PER_STATEMENT])
            .on_conflict_do_nothing(index_elements=unique)
        )
        added += len((await session.exec(statement.returning(sa.literal(1)))).all())
    return added


class SqlRecords:
    """The `Records` port: every table, in one session and so in one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self.inbox = SqlInbox(session)
        self.deliveries = SqlDeliveries(session)

    async def first_time(self, consumer: str, event_id: str) -> bool:
        return await outbox.first_time(self._session, consumer, event_id)


class SqlTransactions:
    """The `Transactions` port on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlRecords]:
        async with self._database.transaction() as session:
            yield SqlRecords(session)

    async def has_seen(self, consumer: str, event_id: str) -> bool:
        async with self._database.reading() as connection:
            return await outbox.has_seen(connection, consumer, event_id)
