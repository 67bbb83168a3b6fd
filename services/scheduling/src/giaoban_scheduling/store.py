# SPDX-License-Identifier: Apache-2.0
"""Owns scheduling's tables: rows here, frozen domain objects outside. `store_entry` has the rest; nothing else
imports sqlmodel."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from giaoban_kit import outbox
from giaoban_kit.db import constraints, new_metadata
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_scheduling.domain import (
    Appointment,
    Meeting,
    MicrophonePolicy,
    Party,
    PartyKind,
    PartyRef,
    Role,
    Status,
)
from giaoban_scheduling.errors import SiteBooked
from giaoban_scheduling.ports import Clash, MeetingQuery

NO_OVERLAP = "ex_booking_site_id_during"

metadata = new_metadata()
outbox.add_tables(metadata)


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Gives scheduling its own MetaData, so that services in one test process never share tables."""

    metadata = metadata


def bytewise(**options: Any) -> Any:
    """An id column whose order is that of its bytes, as in Python."""
    return Field(sa_type=sa.Text(collation="C"), **options)


def moment(**options: Any) -> Any:
    """A time column."""
    return Field(sa_type=sa.DateTime(timezone=True), **options)


class MeetingRow(Base, table=True):
    __tablename__ = "meeting"
    __table_args__ = (
        sa.CheckConstraint("end_time > start_time", name="end_after_start"),
        sa.Index("ix_meeting_organisation_id_start_time", "organisation_id", "start_time", "id"),
        sa.Index("ix_meeting_running", "end_time", postgresql_where=sa.text("status = 'running'")),
    )
    id: str = bytewise(primary_key=True)
    organisation_id: str
    unit_id: str
    unit_name: str
    title: str
    description: str
    start_time: datetime = moment()
    end_time: datetime = moment()
    time_zone: str
    microphone_policy: str
    created_by: str
    created_at: datetime = moment()
    updated_at: datetime = moment()
    status: str
    actual_start: datetime | None = moment(default=None, nullable=True)
    actual_end: datetime | None = moment(default=None, nullable=True)
    version: int
    sequence: int
    cancel_reason: str


class AppointmentRow(Base, table=True):
    __tablename__ = "appointment"
    __table_args__ = (
        sa.UniqueConstraint("meeting_id", "party_kind", "party_id"),
        sa.Index("ix_appointment_party_kind_party_id", "party_kind", "party_id"),
        sa.Index(
            "uq_appointment_chair", "meeting_id", unique=True, postgresql_where=sa.text("role = 'chair'")
        ),
    )
    id: str = bytewise(primary_key=True)
    meeting_id: str = bytewise(foreign_key="meeting.id")
    position: int
    party_kind: str
    party_id: str
    name: str
    office: str
    unit_id: str
    unit_name: str
    role: str


class BookingRow(Base, table=True):
    __tablename__ = "booking"
    __table_args__ = (
        postgresql.ExcludeConstraint(
            (sa.text("site_range(site_id, site_id, '[]')"), "="),
            ("during", "&&"),
            name=NO_OVERLAP,
            using="gist",
        ),
    )
    meeting_id: str = bytewise(primary_key=True, foreign_key="meeting.id")
    site_id: str = bytewise(primary_key=True)
    during: Any = Field(sa_column=sa.Column(postgresql.TSTZRANGE, nullable=False))


class AdmissionRow(Base, table=True):
    __tablename__ = "admission"
    __table_args__ = (sa.UniqueConstraint("meeting_id", "party_kind", "party_id"),)
    id: str = bytewise(primary_key=True)
    meeting_id: str = bytewise(foreign_key="meeting.id")
    party_kind: str
    party_id: str
    name: str
    office: str
    unit_id: str
    unit_name: str
    role: str
    state: str
    requested_at: datetime = moment()
    participant_id: str = Field(unique=True)
    decision: str | None
    decided_by: str | None


class PresenceRow(Base, table=True):
    __tablename__ = "presence"
    meeting_id: str = bytewise(primary_key=True, foreign_key="meeting.id")
    id: str = bytewise(primary_key=True)
    participant_id: str
    party_kind: str | None
    party_id: str | None
    name: str | None
    office: str | None
    unit_id: str | None
    unit_name: str | None
    role: str | None
    joined_at: datetime | None = moment(default=None, nullable=True)
    left_at: datetime | None = moment(default=None, nullable=True)


class KeyRow(Base, table=True):
    __tablename__ = "idempotency_key"
    organisation_id: str = Field(primary_key=True)
    caller_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: bytes
    meeting_id: str
    created_at: datetime = moment(sa_column_kwargs={"server_default": sa.func.now()}, default=None)


def to_party(row: Any) -> Party:
    ref = PartyRef(PartyKind(row.party_kind), row.party_id)
    return Party(ref, row.name, row.office, row.unit_id, row.unit_name)


def party_values(party: Party) -> dict[str, str]:
    return {
        "party_kind": party.ref.kind.value,
        "party_id": party.ref.id,
        "name": party.name,
        "office": party.office,
        "unit_id": party.unit_id,
        "unit_name": party.unit_name,
    }


def _meeting_values(meeting: Meeting) -> dict[str, Any]:
    return {
        "id": meeting.id,
        "organisation_id": meeting.organisation_id,
        "unit_id": meeting.unit_id,
        "unit_name": meeting.unit_name,
        "title": meeting.title,
        "description": meeting.description,
        "start_time": meeting.start,
        "end_time": meeting.end,
        "time_zone": meeting.time_zone,
        "microphone_policy": meeting.microphone_policy.value,
        "created_by": meeting.created_by,
        "created_at": meeting.created_at,
        "updated_at": meeting.updated_at,
        "status": meeting.status.value,
        "actual_start": meeting.actual_start,
        "actual_end": meeting.actual_end,
        "version": meeting.version,
        "sequence": meeting.sequence,
        "cancel_reason": meeting.cancel_reason,
    }


def _appointment(row: Any) -> Appointment:
    return Appointment(row.id, to_party(row), Role(row.role))


def _meeting(row: Any, appointments: Sequence[Appointment]) -> Meeting:
    return Meeting(
        id=row.id,
        organisation_id=row.organisation_id,
        unit_id=row.unit_id,
        unit_name=row.unit_name,
        title=row.title,
        description=row.description,
        start=row.start_time,
        duration=row.end_time - row.start_time,
        time_zone=row.time_zone,
        microphone_policy=MicrophonePolicy(row.microphone_policy),
        appointments=tuple(appointments),
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        status=Status(row.status),
        actual_start=row.actual_start,
        actual_end=row.actual_end,
        version=row.version,
        sequence=row.sequence,
        cancel_reason=row.cancel_reason,
    )


# What is asked whenever somebody comes in is built once: building costs more than asking.
_MEETING, _APPOINTMENT = metadata.tables["meeting"], metadata.tables["appointment"]
_FIND = sa.select(_MEETING).where(
    _MEETING.c.id == sa.bindparam("meeting_id"), _MEETING.c.organisation_id == sa.bindparam("organisation_id")
)
_FIND_AND_LOCK = _FIND.with_for_update()
_APPOINTMENTS_OF = (
    sa.select(_APPOINTMENT)
    .where(
        _APPOINTMENT.c.meeting_id == sa.bindparam("meeting_id"),
        _APPOINTMENT.c.party_id == sa.any_(sa.bindparam("party_ids", type_=postgresql.ARRAY(sa.Text))),
    )
    .order_by(_APPOINTMENT.c.position)
)


class SqlMeetings:
    """The `Meetings` port in PostgreSQL."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(
        self,
        organisation_id: str,
        meeting_id: str,
        *,
        lock: bool = False,
        appointed: Collection[PartyRef] | None = None,
    ) -> Meeting | None:
        key = {"meeting_id": meeting_id, "organisation_id": organisation_id}
        row = (await self._execute(_FIND_AND_LOCK if lock else _FIND, key)).one_or_none()
        if row is None:
            return None
        if appointed is None:
            return _meeting(row, (await self._appointments([row.id])).get(row.id, []))
        return _meeting(row, await self._appointments_of(row.id, appointed) if appointed else ())

    async def add(self, meeting: Meeting) -> None:
        self._session.add(MeetingRow(**_meeting_values(meeting)))
        await self._session.flush()
        await self.appoint(meeting)
        await self.book(meeting)

    async def save(self, meeting: Meeting) -> None:
        values = _meeting_values(meeting)
        await self._execute(sa.update(MeetingRow).where(col(MeetingRow.id) == meeting.id).values(**values))

    async def appoint(self, meeting: Meeting) -> None:
        await self._execute(sa.delete(AppointmentRow).where(col(AppointmentRow.meeting_id) == meeting.id))
        values = [
            {
                "id": each.id,
                "meeting_id": meeting.id,
                "position": position,
                "role": each.role.value,
                **party_values(each.party),
            }
            for position, each in enumerate(meeting.appointments)
        ]
        await self._execute(sa.insert(AppointmentRow), values)

    async def book(self, meeting: Meeting) -> None:
        await self.release(meeting.id)
        sites = meeting.site_ids()
        if not sites:
            return
        # Two that insert overlapping bookings at once would wait for each other: first come, first served
        # per site, always in the same order.
        names = sa.select(sa.func.unnest(sa.cast(sites, postgresql.ARRAY(sa.Text))).label("site")).subquery()
        ordered = sa.select(names.c.site).order_by(names.c.site).offset(0).subquery()
        await self._execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(ordered.c.site, 0)))
        )
        during = postgresql.Range(meeting.start, meeting.end)
        values = [{"meeting_id": meeting.id, "site_id": site, "during": during} for site in sites]
        async with constraints({NO_OVERLAP: SiteBooked()}):
            await self._execute(sa.insert(BookingRow), values)

    async def release(self, meeting_id: str) -> None:
        await self._execute(sa.delete(BookingRow).where(col(BookingRow.meeting_id) == meeting_id))

    async def clash(self, meeting: Meeting) -> Clash | None:
        query = (
            select(BookingRow.site_id, MeetingRow)
            .join(MeetingRow, col(MeetingRow.id) == col(BookingRow.meeting_id))
            .where(
                col(BookingRow.site_id).in_(meeting.site_ids()),
                col(BookingRow.meeting_id) != meeting.id,
                col(BookingRow.during).op("&&")(postgresql.Range(meeting.start, meeting.end)),
            )
            .order_by(col(MeetingRow.start_time), col(MeetingRow.id), col(BookingRow.site_id))
            .limit(1)
        )
        found = (await self._session.exec(query)).one_or_none()
        if found is None:
            return None
        site_id, row = found
        return Clash(site_id, _meeting(row, (await self._appointments([row.id])).get(row.id, [])))

    async def page(self, query: MeetingQuery) -> Sequence[Meeting]:
        mine = _of_party(query)
        appointed = sa.exists().where(col(AppointmentRow.meeting_id) == col(MeetingRow.id), mine)
        overseen = sa.cast(sorted(query.overseen), postgresql.ARRAY(sa.Text))  # one value, however many units
        still_on = sa.and_(
            col(MeetingRow.status) == Status.RUNNING.value, sa.literal(query.now) >= query.since
        )
        statement = (
            select(MeetingRow)
            .where(
                col(MeetingRow.organisation_id) == query.organisation_id,
                col(MeetingRow.start_time) < query.until,
                sa.or_(col(MeetingRow.end_time) > query.since, still_on),
                sa.or_(appointed, col(MeetingRow.unit_id) == sa.any_(overseen)),
            )
            .order_by(col(MeetingRow.start_time), col(MeetingRow.id))
            .limit(query.limit)
        )
        if query.after is not None:
            mark = sa.tuple_(sa.literal(query.after.start), sa.literal(query.after.id))
            statement = statement.where(sa.tuple_(col(MeetingRow.start_time), col(MeetingRow.id)) > mark)
        rows = (await self._session.exec(statement)).all()
        appointments = await self._appointments([row.id for row in rows], mine)
        return [_meeting(row, appointments.get(row.id, [])) for row in rows]

    async def lock_overdue(self, ended_before: datetime, limit: int) -> Sequence[Meeting]:
        running = col(MeetingRow.status) == Status.RUNNING.value
        statement = (
            select(MeetingRow)
            .where(running, col(MeetingRow.end_time) <= ended_before)
            .order_by(col(MeetingRow.end_time))
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = (await self._session.exec(statement)).all()
        appointments = await self._appointments([row.id for row in rows])
        return [_meeting(row, appointments.get(row.id, [])) for row in rows]

    async def _appointments(
        self, meeting_ids: Sequence[str], only: sa.ColumnElement[bool] | None = None
    ) -> Mapping[str, list[Appointment]]:
        """Read as plain columns: a large meeting has hundreds, and each of its people asks."""
        table = metadata.tables["appointment"]
        query = sa.select(table).where(table.c.meeting_id.in_(meeting_ids)).order_by(table.c.position)
        found: dict[str, list[Appointment]] = {}
        for row in await self._execute(query if only is None else query.where(only)):
            found.setdefault(row.meeting_id, []).append(_appointment(row))
        return found

    async def _appointments_of(self, meeting_id: str, refs: Collection[PartyRef]) -> list[Appointment]:
        values = {"meeting_id": meeting_id, "party_ids": [each.id for each in refs]}
        found = [_appointment(row) for row in await self._execute(_APPOINTMENTS_OF, values)]
        return [each for each in found if each.party.ref in refs]

    async def _execute(self, statement: Any, values: Any = None) -> Any:
        return await (await self._session.connection()).execute(statement, values)


def _of_party(query: MeetingQuery) -> sa.ColumnElement[bool]:
    """Appointments of the asking party and of its unit."""
    row = AppointmentRow
    own = sa.and_(col(row.party_kind) == query.party.kind.value, col(row.party_id) == query.party.id)
    if query.unit_id is None:
        return own
    unit = sa.and_(col(row.party_kind) == PartyKind.UNIT.value, col(row.party_id) == query.unit_id)
    return sa.or_(own, unit)
