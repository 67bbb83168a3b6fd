# SPDX-License-Identifier: Apache-2.0
"""Owns recording's tables: rows here, frozen domain objects outside. Nothing else imports sqlmodel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from giaoban_kit import outbox
from giaoban_kit.db import Database, constraints, new_metadata, upsert
from giaoban_kit.outbox import Outbox
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_recording.domain import MAX_ATTEMPTS, Recording, State
from giaoban_recording.errors import RecordingRunning
from giaoban_recording.ports import Unit
from giaoban_recording.publish import OutboxNews

ONE_PER_MEETING = "uq_recording_meeting_id"

metadata = new_metadata()
outbox.add_tables(metadata)


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Gives recording its own MetaData, so that services in one test process never share tables."""

    metadata = metadata


def _moment(**options: Any) -> Any:
    return Field(sa_type=sa.DateTime(timezone=True), **options)


class RecordingRow(Base, table=True):
    __tablename__ = "recording"
    __table_args__ = (
        sa.Index(ONE_PER_MEETING, "meeting_id", unique=True, postgresql_where=sa.text("state = 'capturing'")),
        sa.Index("ix_recording_organisation_id_id", "organisation_id", "id"),
        sa.Index("ix_recording_state", "state"),
    )
    id: str = Field(sa_type=sa.Text(collation="C"), primary_key=True)
    organisation_id: str
    unit_id: str
    meeting_id: str
    meeting_title: str
    state: str
    started_by: str
    start_time: datetime = _moment()
    stop_time: datetime | None = _moment(default=None, nullable=True)
    duration_ms: int | None = None
    size_bytes: int = Field(sa_type=sa.BigInteger)
    media_type: str
    sha256: str
    progress_percent: int
    shipped_bytes: int = Field(sa_type=sa.BigInteger)
    failure: str
    attempts: int
    leased_until: datetime | None = _moment(default=None, nullable=True)


class ParticipantRow(Base, table=True):
    __tablename__ = "participant"
    meeting_id: str = Field(sa_type=sa.Text(collation="C"), primary_key=True)
    participant_id: str = Field(sa_type=sa.Text(collation="C"), primary_key=True)
    name: str


class SqlRecordings:
    """Implements `ports.Recordings` in one session."""

    def __init__(self, session: AsyncSession) -> None:
        """The session belongs to the transaction."""
        self._session = session

    async def get(self, recording_id: str) -> Recording | None:
        """By id, locked until the transaction ends."""
        query = select(RecordingRow).where(col(RecordingRow.id) == recording_id).with_for_update()
        row = (await self._session.exec(query)).one_or_none()
        return _domain(row) if row else None

    async def running(self, meeting_id: str) -> Recording | None:
        """The recording of a meeting that is being captured."""
        query = select(RecordingRow).where(
            col(RecordingRow.meeting_id) == meeting_id, col(RecordingRow.state) == State.CAPTURING
        )
        row = (await self._session.exec(query)).one_or_none()
        return _domain(row) if row else None

    async def unfinished(self) -> Sequence[Recording]:
        """Captured, shipped or waiting to be composed, eldest first."""
        states = [State.CAPTURING, State.SHIPPING, State.COMPOSING]
        query = select(RecordingRow).where(col(RecordingRow.state).in_(states)).order_by(col(RecordingRow.id))
        return [_domain(each) for each in (await self._session.exec(query)).all()]

    async def newest(
        self, organisation_id: str, meeting_id: str | None, before: str | None, limit: int
    ) -> Sequence[Recording]:
        """Newest first, below `before`."""
        query = select(RecordingRow).where(col(RecordingRow.organisation_id) == organisation_id)
        if meeting_id is not None:
            query = query.where(col(RecordingRow.meeting_id) == meeting_id)
        if before is not None:
            query = query.where(col(RecordingRow.id) < before)
        query = query.order_by(col(RecordingRow.id).desc()).limit(limit)
        return [_domain(each) for each in (await self._session.exec(query)).all()]

    async def add(self, recording: Recording) -> None:
        """A new one."""
        self._session.add(RecordingRow(**_columns(recording)))
        async with constraints({ONE_PER_MEETING: RecordingRunning("The meeting is being recorded already.")}):
            await self._session.flush()

    async def save(self, recording: Recording) -> None:
        """Changes one; its lease ends."""
        values = _columns(recording) | {"leased_until": None}
        await self._session.exec(
            sa.update(RecordingRow).where(col(RecordingRow.id) == recording.id).values(**values)
        )

    async def lease(self, now: datetime, until: datetime) -> Recording | None:
        """The eldest one to compose that no living worker has."""
        query = (
            select(RecordingRow)
            .where(
                col(RecordingRow.state) == State.COMPOSING,
                sa.or_(col(RecordingRow.leased_until).is_(None), col(RecordingRow.leased_until) < now),
                col(RecordingRow.attempts) < MAX_ATTEMPTS,
            )
            .order_by(col(RecordingRow.id))
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = (await self._session.exec(query)).one_or_none()
        if row is None:
            return None
        row.leased_until, row.attempts = until, row.attempts + 1
        await self._session.flush()
        return _domain(row)

    async def renew(self, recording_id: str, held: datetime, until: datetime, progress: int) -> bool:
        """Keeps a lease and tells progress."""
        return await self._change_held(recording_id, held, leased_until=until, progress_percent=progress)

    async def hand_back(self, recording: Recording, held: datetime, again: datetime | None = None) -> bool:
        """Saves what the holder of a lease made of it."""
        return await self._change_held(recording.id, held, **_columns(recording) | {"leased_until": again})

    async def given_up(self, now: datetime) -> Sequence[Recording]:
        """Those whose last permitted attempt ended without a word."""
        query = select(RecordingRow).where(
            col(RecordingRow.state) == State.COMPOSING,
            sa.or_(col(RecordingRow.leased_until).is_(None), col(RecordingRow.leased_until) < now),
            col(RecordingRow.attempts) >= MAX_ATTEMPTS,
        )
        return [_domain(each) for each in (await self._session.exec(query.with_for_update())).all()]

    async def _change_held(self, recording_id: str, held: datetime, **values: Any) -> bool:
        result = await self._session.exec(
            sa.update(RecordingRow)
            .where(
                col(RecordingRow.id) == recording_id,
                col(RecordingRow.state) == State.COMPOSING,
                col(RecordingRow.leased_until) == held,
            )
            .values(**values)
            .returning(col(RecordingRow.id))
        )
        return result.first() is not None

    async def name_participant(self, meeting_id: str, participant_id: str, name: str) -> None:
        """Remembers how a participant is called."""
        values = {"meeting_id": meeting_id, "participant_id": participant_id, "name": name}
        await self._session.exec(upsert(metadata.tables["participant"]), params=values)

    async def names(self, meeting_id: str) -> Mapping[str, str]:
        """Names by participant id."""
        query = select(ParticipantRow).where(col(ParticipantRow.meeting_id) == meeting_id)
        return {each.participant_id: each.name for each in (await self._session.exec(query)).all()}


class SqlTransactions:
    """Implements `ports.Begin`."""

    def __init__(self, database: Database) -> None:
        """One for the process."""
        self._database = database

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Unit]:
        """A new transaction."""
        async with self._database.transaction() as session:
            yield Unit(SqlRecordings(session), OutboxNews(Outbox(session)))


def _columns(it: Recording) -> dict[str, Any]:
    return {
        "id": it.id,
        "organisation_id": it.organisation_id,
        "unit_id": it.unit_id,
        "meeting_id": it.meeting_id,
        "meeting_title": it.meeting_title,
        "state": it.state.value,
        "started_by": it.started_by,
        "start_time": it.start_time,
        "stop_time": it.stop_time,
        "duration_ms": None if it.duration is None else round(it.duration.total_seconds() * 1000),
        "size_bytes": it.size_bytes,
        "media_type": it.media_type,
        "sha256": it.sha256,
        "progress_percent": it.progress_percent,
        "shipped_bytes": it.shipped_bytes,
        "failure": it.failure,
        "attempts": it.attempts,
    }


def _domain(row: RecordingRow) -> Recording:
    return Recording(
        id=row.id,
        organisation_id=row.organisation_id,
        unit_id=row.unit_id,
        meeting_id=row.meeting_id,
        meeting_title=row.meeting_title,
        state=State(row.state),
        started_by=row.started_by,
        start_time=row.start_time,
        stop_time=row.stop_time,
        duration=None if row.duration_ms is None else timedelta(milliseconds=row.duration_ms),
        size_bytes=row.size_bytes,
        media_type=row.media_type,
        sha256=row.sha256,
        progress_percent=row.progress_percent,
        shipped_bytes=row.shipped_bytes,
        failure=row.failure,
        attempts=row.attempts,
    )
