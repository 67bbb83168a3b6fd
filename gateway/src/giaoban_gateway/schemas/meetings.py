# SPDX-License-Identifier: Apache-2.0
"""Meetings, appointments, admissions and attendance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1 import scheduling_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from pydantic import BaseModel, Field

from giaoban_gateway.schemas.common import (
    Id,
    Moment,
    Party,
    PartyRef,
    Shape,
    moment,
    or_none,
    timestamp,
    word,
)

Role = Literal["chair", "secretary", "operator", "delegate", "observer", "press"]
Policy = Literal["floor", "open"]
RoleWord = Literal[Role, "unknown"]
PolicyWord = Literal[Policy, "unknown"]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Description = Annotated[str, Field(max_length=5_000)]
Seconds = Annotated[int, Field(ge=300, le=86_400)]
Zone = Annotated[str, Field(min_length=1, max_length=64, description="IANA time zone")]


class AppointmentInput(Shape):
    """A role for a party."""

    party: PartyRef
    role: Role

    def to_proto(self) -> pb.AppointmentInput:
        """As the wire has it."""
        return pb.AppointmentInput(
            party=self.party.to_proto(),
            role=scheduling_pb2.AppointmentRole.Value(f"APPOINTMENT_ROLE_{self.role.upper()}"),
        )


Appointments = Annotated[list[AppointmentInput], Field(min_length=1, max_length=500)]


class MeetingCreate(Shape):
    """A meeting to be called."""

    unit_id: Id
    title: Title
    description: Description = ""
    start_time: Moment
    duration_seconds: Seconds
    time_zone: Zone
    microphone_policy: Policy = "floor"
    appointments: Appointments

    def to_proto(self, idempotency_key: str) -> pb.CreateMeetingRequest:
        """As the wire has it."""
        return pb.CreateMeetingRequest(
            unit_id=self.unit_id,
            title=self.title,
            description=self.description,
            start_time=timestamp(self.start_time),
            duration=Duration(seconds=self.duration_seconds),
            time_zone=self.time_zone,
            microphone_policy=scheduling_pb2.MicrophonePolicy.Value(
                f"MICROPHONE_POLICY_{self.microphone_policy.upper()}"
            ),
            appointments=[each.to_proto() for each in self.appointments],
            idempotency_key=idempotency_key,
        )


class MeetingUpdate(Shape):
    """What changes; absent fields stay as they are."""

    title: Title | None = None
    description: Description | None = None
    start_time: Moment | None = None
    duration_seconds: Seconds | None = None
    time_zone: Zone | None = None
    microphone_policy: Policy | None = None
    appointments: Appointments | None = None

    def to_proto(self, meeting_id: str, etag: str) -> pb.UpdateMeetingRequest:
        """As the wire has it."""
        request = pb.UpdateMeetingRequest(
            meeting_id=meeting_id,
            etag=etag,
            title=self.title,
            description=self.description,
            time_zone=self.time_zone,
            start_time=timestamp(self.start_time) if self.start_time else None,
            duration=Duration(seconds=self.duration_seconds) if self.duration_seconds else None,
        )
        if self.microphone_policy is not None:
            request.microphone_policy = scheduling_pb2.MicrophonePolicy.Value(
                f"MICROPHONE_POLICY_{self.microphone_policy.upper()}"
            )
        if self.appointments is not None:
            request.appointments.items.extend(each.to_proto() for each in self.appointments)
        return request


class MeetingCancel(Shape):
    """Why it will not take place."""

    reason: Annotated[str, Field(max_length=500)] = ""


class Appointment(BaseModel):
    """The role of a party in a meeting."""

    id: str
    party: Party
    role: RoleWord


class Meeting(BaseModel):
    """The scheduled thing; lists leave `appointments` empty."""

    id: str
    unit_id: str
    unit_name: str
    title: str
    description: str
    start_time: datetime
    duration_seconds: int
    time_zone: str
    status: Literal["scheduled", "running", "ended", "cancelled", "unknown"]
    microphone_policy: PolicyWord
    appointments: list[Appointment]
    created_by: str
    create_time: datetime | None
    update_time: datetime | None
    actual_start_time: datetime | None
    actual_end_time: datetime | None
    etag: str
    my_role: RoleWord | None
    cancel_reason: str | None
    sequence: int

    @classmethod
    def of(cls, it: scheduling_pb2.Meeting) -> Meeting:
        """From the wire."""
        return cls(
            id=it.id,
            unit_id=it.unit_id,
            unit_name=it.unit_name,
            title=it.title,
            description=it.description,
            start_time=it.start_time.ToDatetime(tzinfo=UTC),
            duration_seconds=it.duration.seconds,
            time_zone=it.time_zone,
            status=word(scheduling_pb2.MeetingStatus, it.status),
            microphone_policy=word(scheduling_pb2.MicrophonePolicy, it.microphone_policy),
            appointments=[
                Appointment(id=each.id, party=Party.of(each.party), role=_role(each.role))
                for each in it.appointments
            ],
            created_by=it.created_by,
            create_time=moment(it, "create_time"),
            update_time=moment(it, "update_time"),
            actual_start_time=moment(it, "actual_start_time"),
            actual_end_time=moment(it, "actual_end_time"),
            etag=it.etag,
            my_role=_role(it.my_role) if it.my_role else None,
            cancel_reason=or_none(it.cancel_reason),
            sequence=it.sequence,
        )


class Admission(BaseModel):
    """A decision about entering."""

    id: str
    party: Party
    role: RoleWord | None
    state: Literal["waiting", "admitted", "refused", "unknown"]
    request_time: datetime | None
    participant_id: str | None

    @classmethod
    def of(cls, it: scheduling_pb2.Admission) -> Admission:
        """From the wire."""
        return cls(
            id=it.id,
            party=Party.of(it.party),
            role=_role(it.role) if it.role else None,
            state=word(scheduling_pb2.AdmissionState, it.state),
            request_time=moment(it, "request_time"),
            participant_id=or_none(it.participant_id),
        )


class AttendanceRecord(BaseModel):
    """Who was there from when to when; `absent` for the invited who never came."""

    party: Party
    role: RoleWord | None
    join_time: datetime | None
    leave_time: datetime | None
    absent: bool

    @classmethod
    def of(cls, it: scheduling_pb2.AttendanceRecord) -> AttendanceRecord:
        """From the wire."""
        return cls(
            party=Party.of(it.party),
            role=_role(it.role) if it.role else None,
            join_time=moment(it, "join_time"),
            leave_time=moment(it, "leave_time"),
            absent=it.absent,
        )


class ConnectTicket(BaseModel):
    """Opens the meeting's WebSocket once."""

    ticket: str
    expires_at: datetime


def _role(value: int) -> RoleWord:
    found: RoleWord = word(scheduling_pb2.AppointmentRole, value)
    return found
