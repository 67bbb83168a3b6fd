# SPDX-License-Identifier: Apache-2.0
"""Owns admissions, stays and idempotency keys in PostgreSQL, and the transaction that holds all together."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from giaoban_kit.db import Database
from giaoban_kit.outbox import Outbox, first_time
from sqlalchemy.dialects import postgresql
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_scheduling.domain import Admission, AdmissionState, PartyRef, Presence, Role
from giaoban_scheduling.ports import Caller
from giaoban_scheduling.publish import OutboxNews
from giaoban_scheduling.store import (
    AdmissionRow,
    KeyRow,
    PresenceRow,
    SqlMeetings,
    metadata,
    party_values,
    to_party,
)

CONSUMER = "scheduling-attendance"


# What is asked whenever somebody comes in is built once: building costs more than asking.
_ADMISSION, _PRESENCE = metadata.tables["admission"], metadata.tables["presence"]
_PARTY = ("party_kind", "party_id", "name", "office", "unit_id", "unit_name")
_OF_MEETING = _ADMISSION.c.meeting_id == sa.bindparam("meeting_id")
_ADMISSION_OF = sa.select(_ADMISSION).where(
    _OF_MEETING,
    _ADMISSION.c.party_kind == sa.bindparam("party_kind"),
    _ADMISSION.c.party_id == sa.bindparam("party_id"),
)
_COUNTS = sa.select(_ADMISSION.c.state, sa.func.count()).where(_OF_MEETING).group_by(_ADMISSION.c.state)


def _put(table: sa.Table) -> sa.Insert:
    """Adds a row or replaces it."""
    insert = postgresql.insert(table)
    changed = {each.name: insert.excluded[each.name] for each in table.columns if not each.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed)


_PUT_ADMISSION, _PUT_PRESENCE = _put(_ADMISSION), _put(_PRESENCE)


async def _execute(session: AsyncSession, statement: Any, values: Mapping[str, Any]) -> Any:
    return await (await session.connection()).execute(statement, values)


class SqlAdmissions:
    """The `Admissions` port in PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, meeting_id: str, admission_id: str) -> Admission | None:
        return await self._one(
            col(AdmissionRow.meeting_id) == meeting_id, col(AdmissionRow.id) == admission_id
        )

    async def of(self, meeting_id: str, ref: PartyRef) -> Admission | None:
        key = {"meeting_id": meeting_id, "party_kind": ref.kind.value, "party_id": ref.id}
        row = (await _execute(self._session, _ADMISSION_OF, key)).one_or_none()
        return _admission(row) if row else None

    async def put(self, admission: Admission) -> None:
        values = {
            "id": admission.id,
            "meeting_id": admission.meeting_id,
            "role": admission.role.value,
            "state": admission.state.value,
            "requested_at": admission.requested_at,
            "participant_id": admission.participant_id,
            "decision": admission.decision.value if admission.decision else None,
            "decided_by": admission.decided_by,
            **party_values(admission.party),
        }
        await _execute(self._session, _PUT_ADMISSION, values)

    async def counts(self, meeting_id: str) -> Mapping[AdmissionState, int]:
        found = await _execute(self._session, _COUNTS, {"meeting_id": meeting_id})
        return {AdmissionState(state): count for state, count in found}

    async def all(self, meeting_id: str, state: AdmissionState | None) -> Sequence[Admission]:
        query = select(AdmissionRow).where(col(AdmissionRow.meeting_id) == meeting_id)
        if state is not None:
            query = query.where(col(AdmissionRow.state) == state.value)
        query = query.order_by(col(AdmissionRow.requested_at), col(AdmissionRow.id))
        return [_admission(row) for row in await self._session.exec(query)]

    async def _one(self, *where: sa.ColumnElement[bool]) -> Admission | None:
        row = (await self._session.exec(select(AdmissionRow).where(*where))).one_or_none()
        return _admission(row) if row else None


def _admission(row: Any) -> Admission:
    return Admission(
        row.id,
        row.meeting_id,
        to_party(row),
        Role(row.role),
        AdmissionState(row.state),
        row.requested_at,
        row.participant_id,
        AdmissionState(row.decision) if row.decision else None,
        row.decided_by,
    )


class SqlPresences:
    """The `Presences` port in PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, meeting_id: str, presence_id: str) -> Presence | None:
        row = await self._session.get(PresenceRow, (meeting_id, presence_id))
        return _presence(row) if row else None

    async def put(self, presence: Presence) -> None:
        values = {
            "id": presence.id,
            "meeting_id": presence.meeting_id,
            "participant_id": presence.participant_id,
            "role": presence.role.value if presence.role else None,
            "joined_at": presence.joined_at,
            "left_at": presence.left_at,
            **(party_values(presence.party) if presence.party else dict.fromkeys(_PARTY)),
        }
        await _execute(self._session, _PUT_PRESENCE, values)

    async def all(self, meeting_id: str) -> Sequence[Presence]:
        query = select(PresenceRow).where(col(PresenceRow.meeting_id) == meeting_id)
        rows = await self._session.exec(query.order_by(col(PresenceRow.joined_at), col(PresenceRow.id)))
        return [_presence(row) for row in rows]

    async def somebody_there(self, meeting_id: str) -> bool:
        query = select(PresenceRow.id).where(_open(meeting_id)).limit(1)
        return (await self._session.exec(query)).first() is not None

    async def close_all(self, meeting_id: str, at: datetime) -> None:
        close = sa.update(PresenceRow).where(_open(meeting_id))
        connection = await self._session.connection()
        await connection.execute(close.values(left_at=sa.func.greatest(at, col(PresenceRow.joined_at))))


def _open(meeting_id: str) -> sa.ColumnElement[bool]:
    row = PresenceRow
    return sa.and_(
        col(row.meeting_id) == meeting_id, col(row.joined_at).is_not(None), col(row.left_at).is_(None)
    )


def _presence(row: PresenceRow) -> Presence:
    return Presence(
        row.id,
        row.meeting_id,
        row.participant_id,
        to_party(row) if row.party_kind else None,
        Role(row.role) if row.role else None,
        row.joined_at,
        row.left_at,
    )


class SqlKeys:
    """The `Keys` port in PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, caller: Caller, key: str) -> tuple[bytes, str] | None:
        row = await self._session.get(KeyRow, (caller.organisation_id, caller.ref.id, key))
        return (row.digest, row.meeting_id) if row else None

    async def claim(self, caller: Caller, key: str, digest: bytes, meeting_id: str) -> bool:
        insert = postgresql.insert(KeyRow).values(
            organisation_id=caller.organisation_id,
            caller_id=caller.ref.id,
            key=key,
            digest=digest,
            meeting_id=meeting_id,
        )
        connection = await self._session.connection()
        done = await connection.execute(insert.on_conflict_do_nothing().returning(col(KeyRow.key)))
        return done.first() is not None

    async def forget(self, claimed_before: datetime) -> int:
        connection = await self._session.connection()
        gone = sa.delete(KeyRow).where(col(KeyRow.created_at) < claimed_before)
        return len((await connection.execute(gone.returning(col(KeyRow.key)))).all())


@dataclass(frozen=True, slots=True)
class SqlRecords:
    """The `Records` port: one session."""

    meetings: SqlMeetings
    admissions: SqlAdmissions
    presences: SqlPresences
    keys: SqlKeys
    news: OutboxNews
    session: AsyncSession

    async def first_time(self, event_id: str) -> bool:
        return await first_time(self.session, CONSUMER, event_id)


class SqlTransactions:
    """The `Transactions` port in PostgreSQL."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlRecords]:
        async with self._db.transaction() as session:
            yield SqlRecords(
                SqlMeetings(await session.connection()),
                SqlAdmissions(session),
                SqlPresences(session),
                SqlKeys(session),
                OutboxNews(Outbox(session)),
                session,
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlMeetings]:
        async with self._db.reading() as connection:
            yield SqlMeetings(connection)
