# SPDX-License-Identifier: Apache-2.0
"""Owns the way from a committed transaction to JetStream (outbox) and once-only effects of events (inbox)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import nats.errors
import nats.js.errors
import sqlalchemy as sa
from nats.js import JetStreamContext
from nats.js.errors import TooManyStalledMsgsError
from prometheus_client import Counter, Gauge
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_kit.db import Database
from giaoban_kit.errors import GiaobanError
from giaoban_kit.events import PUBLISH_SECONDS, Event, ensure_stream, headers_of, stream_name
from giaoban_kit.logging import get_logger
from giaoban_kit.tasks import beside

log = get_logger(__name__)
NOTIFY_CHANNEL = "giaoban_outbox"
RELAY_LOCK = 0x6F7574626F78  # "outbox"; advisory: one relay per database works at a time, so order holds
BATCH = 200
POLL_SECONDS = 5.0  # the safety net under NOTIFY
RETRY_SECONDS = 1.0
PRUNE_SECONDS = 600.0
KEEP_PUBLISHED = "1 day"
KEEP_INBOX = "30 days"  # longer than an event can come again: 14 days in its stream, 14 as a dead letter

PUBLISHED = Counter("giaoban_outbox_published_total", "Events published from the outbox")
OLDEST = Gauge("giaoban_outbox_oldest_seconds", "Age of the oldest event that was not published yet")

_metadata = sa.MetaData()
outbox_table = sa.Table(
    "outbox",
    _metadata,
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("ce_type", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("headers", postgresql.JSONB, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("published_at", sa.DateTime(timezone=True)),
    sa.Index("ix_outbox_unpublished", "position", postgresql_where=sa.text("published_at IS NULL")),
)
inbox_table = sa.Table(
    "inbox",
    _metadata,
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Index("ix_inbox_received_at", "received_at"),
)

# Built once: every event of every consumer asks.
_FIRST_TIME = postgresql.insert(inbox_table).on_conflict_do_nothing().returning(inbox_table.c.event_id)
_HAS_SEEN = sa.select(
    sa.exists().where(
        inbox_table.c.consumer == sa.bindparam("consumer"),
        inbox_table.c.event_id == sa.bindparam("event_id"),
    )
)


def add_tables(metadata: sa.MetaData) -> None:
    """Adds outbox and inbox to a service's tables, so that `schema_drift` knows them."""
    outbox_table.to_metadata(metadata)
    inbox_table.to_metadata(metadata)


def create_tables_v1(op: Any) -> None:
    """Creates both tables in a service's first migration (`op` is alembic's). Never changed: later ones get v2."""
    op.execute(
        "CREATE TABLE outbox (position bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_outbox PRIMARY KEY,"
        " id text NOT NULL, subject text NOT NULL, ce_type text NOT NULL, body bytea NOT NULL,"
        " headers jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), published_at timestamptz)"
    )
    op.execute("CREATE INDEX ix_outbox_unpublished ON outbox (position) WHERE published_at IS NULL")
    op.execute(
        "CREATE TABLE inbox (consumer text NOT NULL, event_id text NOT NULL,"
        " received_at timestamptz NOT NULL DEFAULT now(), CONSTRAINT pk_inbox PRIMARY KEY (consumer, event_id))"
    )
    op.execute("CREATE INDEX ix_inbox_received_at ON inbox (received_at)")


class Outbox:
    """Where a use case leaves its events: they are published if, and only if, its transaction commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, event: Event) -> None:
        """Adds the event to the transaction, with the current trace."""
        headers = headers_of(event)
        connection = await self._session.connection()
        await connection.execute(
            outbox_table.insert().values(
                id=event.id,
                subject=event.subject,
                ce_type=headers["ce-type"],
                body=event.message.SerializeToString(),
                headers=headers,
            )
        )
        await connection.execute(sa.select(sa.func.pg_notify(NOTIFY_CHANNEL, "")))  # sent at commit, once


async def first_time(session: AsyncSession, consumer: str, event_id: str) -> bool:
    """Whether this consumer sees the event for the first time; remembered if the transaction commits."""
    connection = await session.connection()
    result = await connection.execute(_FIRST_TIME, {"consumer": consumer, "event_id": event_id})
    return result.first() is not None


async def has_seen(connection: AsyncConnection, consumer: str, event_id: str) -> bool:
    """Whether `first_time` was told of this event in a transaction that committed: before what is dear is done."""
    found = await connection.execute(_HAS_SEEN, {"consumer": consumer, "event_id": event_id})
    return bool(found.scalar_one())


@asynccontextmanager
async def relaying(
    db: Database, js: JetStreamContext, service: str, poll_seconds: float = POLL_SECONDS
) -> AsyncIterator[None]:
    """Publishes the outbox to the stream of `service` in the background while the block runs, and prunes.

    Works through failures of both sides. When NATS has lost its store, the stream is made again and what was published
    within a day is published once more, in its order: consumers know what they have done.
    """
    wake = asyncio.Event()
    async with beside(_relay(_Relay(db, js, service), wake, poll_seconds), _listen(db, wake), _prune(db)):
        yield


@asynccontextmanager
async def pruning(db: Database) -> AsyncIterator[None]:
    """Forgets events that were published or heard long ago while the block runs; for who only hears events."""
    async with beside(_prune(db)):
        yield


@dataclass(frozen=True)
class _Relay:
    db: Database
    js: JetStreamContext
    service: str

    async def recover(self) -> None:
        """Publishes everything again that is kept, when the stream is empty: then its server has lost it."""
        try:
            empty = (await self.js.stream_info(stream_name(self.service))).state.last_seq == 0
        except nats.js.errors.NotFoundError:
            await ensure_stream(self.js, self.service)
            empty = True
        if not empty:
            return
        async with self.db.transaction() as session:
            connection = await session.connection()
            again = outbox_table.update().where(outbox_table.c.published_at.is_not(None))
            lost = (await connection.execute(again.values(published_at=None))).rowcount
        if lost:
            log.warning("stream_was_lost", service=self.service, events=lost)

    async def publish_batch(self) -> int:
        """Publishes up to BATCH rows in order; returns how many. Rows stay until the stream has them."""
        async with self.db.transaction() as session:
            connection = await session.connection()
            mine = await connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(RELAY_LOCK)))
            if not mine:
                return 0
            pending = (
                sa.select(outbox_table)
                .where(outbox_table.c.published_at.is_(None))
                .order_by(outbox_table.c.position)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = (await connection.execute(pending)).all()
            if not rows:
                OLDEST.set(0)
                return 0
            OLDEST.set((datetime.now(UTC) - rows[0].created_at).total_seconds())
            done = await self._publish(rows)
            if done:
                await self._mark(connection, done)
            PUBLISHED.inc(len(done))
        if len(done) < len(rows):
            raise nats.errors.TimeoutError
        return len(done)

    async def _publish(self, rows: Sequence[Any]) -> list[int]:
        """Positions of the leading rows that the stream has; what follows a failure is published again."""
        acks: list[asyncio.Future[Any]] = []
        with suppress(nats.errors.Error, TooManyStalledMsgsError):
            acks.extend(
                [
                    await self.js.publish_async(
                        row.subject, row.body, headers=dict(row.headers), wait_stall=PUBLISH_SECONDS
                    )
                    for row in rows
                ]
            )
        if acks:
            await asyncio.wait(acks, timeout=PUBLISH_SECONDS)
        done: list[int] = []
        for row, ack in zip(rows, acks, strict=False):
            if not ack.done() or ack.cancelled() or ack.exception() is not None:
                break
            done.append(row.position)
        for ack in acks:
            if ack.done() and not ack.cancelled():
                ack.exception()  # looked at
            ack.cancel()
        return done

    async def _mark(self, connection: Any, positions: list[int]) -> None:
        chosen = outbox_table.c.position.in_(positions)
        await connection.execute(outbox_table.update().where(chosen).values(published_at=sa.func.now()))


async def _relay(relay: _Relay, wake: asyncio.Event, poll_seconds: float) -> None:
    stats, sure = relay.js._nc.stats, -1  # noqa: SLF001  (nats-py has no public way from a context to its client)
    while True:
        wake.clear()
        try:
            if sure != stats["reconnects"]:
                # First, or newer events would come before those that are lost.
                came = stats["reconnects"]
                await relay.recover()
                sure = came
            while await relay.publish_batch() == BATCH:
                pass
        except (GiaobanError, SQLAlchemyError, nats.errors.Error, OSError) as error:
            log.warning("outbox_waits", error=type(error).__name__)
            sure = -1
            await asyncio.sleep(RETRY_SECONDS)
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(poll_seconds):
                await wake.wait()


async def _listen(db: Database, wake: asyncio.Event) -> None:
    while True:
        try:
            connection = await asyncpg.connect(db.dsn(), timeout=PUBLISH_SECONDS)
            try:
                lost = asyncio.Event()
                connection.add_termination_listener(lambda *_: lost.set())  # noqa: B023  (this round's event)
                await connection.add_listener(NOTIFY_CHANNEL, lambda *_: wake.set())
                wake.set()
                await lost.wait()
            finally:
                await connection.close(timeout=1)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("outbox_listen_lost", error=type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS)


async def _prune(db: Database) -> None:
    while True:
        try:
            async with db.transaction() as session:
                connection = await session.connection()
                await connection.execute(
                    sa.text(f"DELETE FROM outbox WHERE published_at < now() - interval '{KEEP_PUBLISHED}'")  # noqa: S608  (constants)
                )
                await connection.execute(
                    sa.text(f"DELETE FROM inbox WHERE received_at < now() - interval '{KEEP_INBOX}'")  # noqa: S608  (constants)
                )
        except (GiaobanError, SQLAlchemyError, OSError) as error:
            log.warning("outbox_prune_failed", error=type(error).__name__)
        await asyncio.sleep(PRUNE_SECONDS)
