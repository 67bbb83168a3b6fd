# SPDX-License-Identifier: Apache-2.0
"""Owns admissions, stays and idempotency keys in PostgreSQL, and the transaction that holds all together."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from giaoban_kit.db import Database, upsert
from giaoban_kit.outbox import Outbox
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_scheduling.domain import Admission, AdmissionState, Party, PartyRef, Presence, Role, Status
from giaoban_scheduling.ports import Caller, Standing
from giaoban_scheduling.publish import OutboxNews
from giaoban_scheduling.store import (
    FIND_FOR_PARTY,
    LOCK,
    KeyRow,
    PresenceRow,
    SqlMeetings,
    meeting_told,
    metadata,
    party_values,
    to_party,
)

# What is asked whenever somebody comes in is built once: building costs more than asking.
_MEETING, _ADMISSION, _PRESENCE = (metadata.tables[name] for name in ("meeting", "admission", "presence"))
_PARTY = ("party_kind", "party_id", "name", "office", "unit_id", "unit_name")
_OF_MEETING = _ADMISSION.c.meeting_id == sa.bindparam("meeting_id")
_OF_PARTY = sa.and_(
    _OF_MEETING,
    _ADMISSION.c.party_kind == sa.bindparam("party_kind"),
    _ADMISSION.c.party_id == sa.bindparam("party_id"),
)
_ADMISSION_OF = sa.select(_ADMISSION).where(_OF_PARTY)
_ADMISSION_BY_ID = sa.select(_ADMISSION).where(_OF_MEETING, _ADMISSION.c.id == sa.bindparam("admission_id"))
_ADMISSIONS = sa.select(_ADMISSION).where(_OF_MEETING).order_by(_ADMISSION.c.requested_at, _ADMISSION.c.id)
_COUNTS = sa.select(_ADMISSION.c.state, sa.func.count()).where(_OF_MEETING).group_by(_ADMISSION.c.state)
_BY_STATE = (
    sa.select(_ADMISSION.c.state, sa.func.count().label("parties"))
    .where(_OF_MEETING)
    .group_by(_ADMISSION.c.state)
    .subquery()
)
_ADMISSION_COLUMNS = [each.name for each in _ADMISSION.columns]
_STANDING = (  # one answer for all that admission is decided by
    FIND_FOR_PARTY.select_from(_MEETING.outerjoin(_ADMISSION, _OF_PARTY))
    .add_columns(
        sa.select(sa.func.json_object_agg(_BY_STATE.c.state, _BY_STATE.c.parties, type_=sa.JSON))
        .scalar_subquery()
        .label("counts")
    )
    .add_columns(*(each.label(f"admission_{each.name}") for each in _ADMISSION.columns))
)
_PUT_ADMISSION, _PUT_PRESENCE = upsert(_ADMISSION), upsert(_PRESENCE)
_ADD_TO_RUNNING = (
    postgresql.insert(_PRESENCE)
    .from_select(
        [each.name for each in _PRESENCE.columns],
        sa.select(*(sa.bindparam(each.name, type_=each.type) for each in _PRESENCE.columns))
        .select_from(_MEETING)
        .where(
            _MEETING.c.id == sa.bindparam("meeting_id", type_=_MEETING.c.id.type),
            _MEETING.c.organisation_id == sa.bindparam("organisation_id"),
            _MEETING.c.status == Status.RUNNING.value,
            _MEETING.c.actual_start <= sa.bindparam("joined_at", type_=_MEETING.c.actual_start.type),
        )
        # Whoever ends the meeting waits for us and then sees the stay; or we wait, and the meeting runs no more.
        .with_for_update(read=True),
    )
    .on_conflict_do_nothing()
    .returning(_PRESENCE.c.id)
)
_PRESENCE_BY_ID = sa.select(_PRESENCE).where(
    _PRESENCE.c.meeting_id == sa.bindparam("meeting_id"), _PRESENCE.c.id == sa.bindparam("presence_id")
)


class SqlAdmissions:
    """The `Admissions` port in PostgreSQL."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, meeting_id: str, admission_id: str) -> Admission | None:
        return await self._one(_ADMISSION_BY_ID, {"meeting_id": meeting_id, "admission_id": admission_id})

    async def of(self, meeting_id: str, ref: PartyRef) -> Admission | None:
        key = {"meeting_id": meeting_id, "party_kind": ref.kind.value, "party_id": ref.id}
        return await self._one(_ADMISSION_OF, key)

    async def standing(
        self, organisation_id: str, meeting_id: str, party: Party, *, lock: bool = False
    ) -> Standing | None:
        key = {"meeting_id": meeting_id, "organisation_id": organisation_id}
        # Locked first: a statement that waits for a lock sees the other tables as they were before it waited.
        if lock and (await self._connection.execute(LOCK, key)).one_or_none() is None:
            return None
        whose = {"party_kind": party.ref.kind.value, "party_id": party.ref.id, "unit_id": party.unit_id}
        row = (await self._connection.execute(_STANDING, key | whose)).one_or_none()
        if row is None:
            return None
        admission = SimpleNamespace(
            **dict(zip(_ADMISSION_COLUMNS, row[-len(_ADMISSION_COLUMNS) :], strict=True))
        )
        return Standing(
            meeting_told(row),
            _admission(admission) if admission.id is not None else None,
            {AdmissionState(state): count for state, count in (row.counts or {}).items()},
        )

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
        await self._connection.execute(_PUT_ADMISSION, values)

    async def counts(self, meeting_id: str) -> Mapping[AdmissionState, int]:
        found = await self._connection.execute(_COUNTS, {"meeting_id": meeting_id})
        return {AdmissionState(state): count for state, count in found}

    async def all(self, meeting_id: str, state: AdmissionState | None) -> Sequence[Admission]:
        query = _ADMISSIONS if state is None else _ADMISSIONS.where(_ADMISSION.c.state == state.value)
        return [_admission(row) for row in await self._connection.execute(query, {"meeting_id": meeting_id})]

    async def _one(self, statement: sa.Select[Any], key: Mapping[str, Any]) -> Admission | None:
        row = (await self._connection.execute(statement, key)).one_or_none()
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

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, meeting_id: str, presence_id: str) -> Presence | None:
        key = {"meeting_id": meeting_id, "presence_id": presence_id}
        row = (await self._connection.execute(_PRESENCE_BY_ID, key)).one_or_none()
        return _presence(row) if row else None

    async def put(self, presence: Presence) -> None:
        await self._connection.execute(_PUT_PRESENCE, _presence_values(presence))

    async def all(self, meeting_id: str) -> Sequence[Presence]:
        query = sa.select(_PRESENCE).where(_PRESENCE.c.meeting_id == meeting_id)
        rows = await self._connection.execute(query.order_by(_PRESENCE.c.joined_at, _PRESENCE.c.id))
        return [_presence(row) for row in rows]

    async def somebody_there(self, meeting_id: str) -> bool:
        query = sa.select(_PRESENCE.c.id).where(_open(meeting_id)).limit(1)
        return (await self._connection.execute(query)).first() is not None

    async def close_all(self, meeting_id: str, at: datetime) -> None:
        close = sa.update(PresenceRow).where(_open(meeting_id))
        await self._connection.execute(close.values(left_at=sa.func.greatest(at, col(PresenceRow.joined_at))))


def _open(meeting_id: str) -> sa.ColumnElement[bool]:
    row = PresenceRow
    return sa.and_(
        col(row.meeting_id) == meeting_id, col(row.joined_at).is_not(None), col(row.left_at).is_(None)
    )


def _presence_values(presence: Presence) -> dict[str, Any]:
    return {
        "id": presence.id,
        "meeting_id": presence.meeting_id,
        "participant_id": presence.participant_id,
        "role": presence.role.value if presence.role else None,
        "joined_at": presence.joined_at,
        "left_at": presence.left_at,
        **(party_values(presence.party) if presence.party else dict.fromkeys(_PARTY)),
    }


def _presence(row: Any) -> Presence:
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


@dataclass(frozen=True, slots=True)
class SqlReading:
    """The `Reading` port: one connection."""

    meetings: SqlMeetings
    admissions: SqlAdmissions


class SqlTransactions:
    """The `Transactions` port in PostgreSQL."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlRecords]:
        async with self._db.transaction() as session:
            connection = await session.connection()
            yield SqlRecords(
                SqlMeetings(connection),
                SqlAdmissions(connection),
                SqlPresences(connection),
                SqlKeys(session),
                OutboxNews(Outbox(session)),
                session,
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlReading]:
        async with self._db.reading() as connection:
            yield SqlReading(SqlMeetings(connection), SqlAdmissions(connection))

    async def add_to_running(self, organisation_id: str, stay: Presence) -> bool:
        values = _presence_values(stay) | {"organisation_id": organisation_id}
        async with self._db.reading() as connection:  # one statement: it needs no BEGIN and COMMIT either
            return (await connection.execute(_ADD_TO_RUNNING, values)).first() is not None
