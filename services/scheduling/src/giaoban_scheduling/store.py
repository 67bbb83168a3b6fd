# SPDX-License-Identifier: Apache-2.0
"""Owns scheduling's tables: rows here, frozen domain objects outside. `store_entry` has the rest; nothing else
imports sqlmodel."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from giaoban_kit import outbox
from giaoban_kit.db import constraints, new_metadata
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col

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


def _appointment_told(each: str, kind: str, party: str, name: str, office: str, *rest: str) -> Appointment:
    """An appointment from the columns `_TOLD`."""
    unit_id, unit_name, role = rest
    ref = PartyRef(PartyKind(kind), party)
    return Appointment(each, Party(ref, name, office, unit_id, unit_name), Role(role))


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


def meeting_told(row: Any) -> Meeting:
    """A meeting from its own columns and the column `appointments`."""
    return _meeting(row, [_appointment_told(*each) for each in row.appointments or ()])


# What is asked whenever somebody comes in is built once: building costs more than asking.
_MEETING, _APPOINTMENT = metadata.tables["meeting"], metadata.tables["appointment"]
_FIND = sa.select(_MEETING).where(
    _MEETING.c.id == sa.bindparam("meeting_id"), _MEETING.c.organisation_id == sa.bindparam("organisation_id")
)
_FIND_AND_LOCK = _FIND.with_for_update()
LOCK = _FIND.with_only_columns(_MEETING.c.id).with_for_update()
_TOLD = ("id", "party_kind", "party_id", "name", "office", "unit_id", "unit_name", "role")
_APPOINTMENT_TOLD = sa.func.json_build_array(*(_APPOINTMENT.c[name] for name in _TOLD))
_ALL_TOLD = sa.select(
    sa.func.json_agg(postgresql.aggregate_order_by(_APPOINTMENT_TOLD, _APPOINTMENT.c.position), type_=sa.JSON)
).where(_APPOINTMENT.c.meeting_id == _MEETING.c.id)
_FIND_WHOLE = _FIND.add_columns(  # one answer for the meeting and its hundreds of appointments
    _ALL_TOLD.scalar_subquery().label("appointments")
)
_APPOINTMENTS = (
    sa.select(_APPOINTMENT)
    .where(_APPOINTMENT.c.meeting_id == sa.any_(sa.bindparam("meeting_ids", type_=postgresql.ARRAY(sa.Text))))
    .order_by(_APPOINTMENT.c.position)
)
_OF_PARTY = sa.or_(  # appointments of the asking party and of its unit, which may be none
    sa.and_(
        _APPOINTMENT.c.party_kind == sa.bindparam("party_kind"),
        _APPOINTMENT.c.party_id == sa.bindparam("party_id"),
    ),
    sa.and_(
        _APPOINTMENT.c.party_kind == PartyKind.UNIT.value,
        _APPOINTMENT.c.party_id == sa.bindparam("unit_id", type_=sa.Text),
    ),
)
FIND_FOR_PARTY = _FIND.add_columns(_ALL_TOLD.where(_OF_PARTY).scalar_subquery().label("appointments"))
_VISIBLE = sa.select(_MEETING).where(
    _MEETING.c.organisation_id == sa.bindparam("organisation_id"),
    _MEETING.c.start_time < sa.bindparam("until"),
    sa.or_(
        _MEETING.c.end_time > sa.bindparam("since"),
        sa.and_(
            _MEETING.c.status == Status.RUNNING.value,
            sa.bindparam("now", type_=sa.DateTime(timezone=True))
            >= sa.bindparam("since", type_=sa.DateTime(timezone=True)),
        ),
    ),
    sa.or_(
        sa.exists().where(_APPOINTMENT.c.meeting_id == _MEETING.c.id, _OF_PARTY),
        _MEETING.c.unit_id == sa.any_(sa.bindparam("overseen", type_=postgresql.ARRAY(sa.Text))),
    ),
)
_MARK = sa.tuple_(
    sa.bindparam("after_start", type_=sa.DateTime(timezone=True)), sa.bindparam("after_id", type_=sa.Text)
)


def _page(visible: sa.Select[Any]) -> Any:
    """A page of meetings, each with the appointments of the asking party; a row for each of those, or one."""
    page = visible.order_by(_MEETING.c.start_time, _MEETING.c.id).limit(sa.bindparam("most")).subquery("page")
    theirs = [_APPOINTMENT.c[name].label(f"appointment_{name}") for name in _TOLD]
    both = page.outerjoin(_APPOINTMENT, sa.and_(_APPOINTMENT.c.meeting_id == page.c.id, _OF_PARTY))
    ordered = (page.c.start_time, page.c.id, _APPOINTMENT.c.position)
    return sa.select(page, *theirs).select_from(both).order_by(*ordered)


_FIRST_PAGE = _page(_VISIBLE)
_NEXT_PAGE = _page(_VISIBLE.where(sa.tuple_(_MEETING.c.start_time, _MEETING.c.id) > _MARK))


class SqlMeetings:
    """The `Meetings` port in PostgreSQL."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(
        self,
        organisation_id: str,
        meeting_id: str,
        *,
        lock: bool = False,
        bare: bool = False,
    ) -> Meeting | None:
        key = {"meeting_id": meeting_id, "organisation_id": organisation_id}
        if not bare and not lock:
            row = (await self._execute(_FIND_WHOLE, key)).one_or_none()
            return meeting_told(row) if row else None
        row = (await self._execute(_FIND_AND_LOCK if lock else _FIND, key)).one_or_none()
        if row is None:
            return None
        return _meeting(row, () if bare else (await self._appointments([row.id])).get(row.id, []))

    async def add(self, meeting: Meeting) -> None:
        await self._execute(sa.insert(MeetingRow), _meeting_values(meeting))
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
            sa.select(col(BookingRow.site_id), _MEETING)
            .join(_MEETING, _MEETING.c.id == col(BookingRow.meeting_id))
            .where(
                col(BookingRow.site_id).in_(meeting.site_ids()),
                col(BookingRow.meeting_id) != meeting.id,
                col(BookingRow.during).op("&&")(postgresql.Range(meeting.start, meeting.end)),
            )
            .order_by(_MEETING.c.start_time, _MEETING.c.id, col(BookingRow.site_id))
            .limit(1)
        )
        found = (await self._execute(query)).one_or_none()
        if found is None:
            return None
        return Clash(found.site_id, _meeting(found, (await self._appointments([found.id])).get(found.id, [])))

    async def page(self, query: MeetingQuery) -> Sequence[Meeting]:
        values: dict[str, Any] = {
            "organisation_id": query.organisation_id,
            "party_kind": query.party.kind.value,
            "party_id": query.party.id,
            "unit_id": query.unit_id,
            "overseen": sorted(query.overseen),  # one value, however many units
            "since": query.since,
            "until": query.until,
            "now": query.now,
            "most": query.limit,
        }
        if query.after is not None:
            values |= {"after_start": query.after.start, "after_id": query.after.id}
        meetings: dict[str, Any] = {}
        appointments: dict[str, list[Appointment]] = {}
        for row in await self._execute(_FIRST_PAGE if query.after is None else _NEXT_PAGE, values):
            meetings.setdefault(row.id, row)
            theirs = appointments.setdefault(row.id, [])
            if row.appointment_id is not None:
                theirs.append(_appointment_told(*row[-len(_TOLD) :]))
        return [_meeting(row, appointments[meeting_id]) for meeting_id, row in meetings.items()]

    async def lock_overdue(self, ended_before: datetime, limit: int) -> Sequence[Meeting]:
        statement = (
            sa.select(_MEETING)
            .where(_MEETING.c.status == Status.RUNNING.value, _MEETING.c.end_time <= ended_before)
            .order_by(_MEETING.c.end_time)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = (await self._execute(statement)).all()
        appointments = await self._appointments([row.id for row in rows])
        return [_meeting(row, appointments.get(row.id, [])) for row in rows]

    async def _appointments(self, meeting_ids: Sequence[str]) -> Mapping[str, list[Appointment]]:
        found: dict[str, list[Appointment]] = {}
        for row in await self._execute(_APPOINTMENTS, {"meeting_ids": meeting_ids}):
            found.setdefault(row.meeting_id, []).append(_appointment(row))
        return found

    async def _execute(self, statement: Any, values: Any = None) -> Any:
        return await self._connection.execute(statement, values)
