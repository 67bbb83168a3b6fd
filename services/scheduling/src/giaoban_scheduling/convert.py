# SPDX-License-Identifier: Apache-2.0
"""Owns the translation between scheduling's domain and its protobuf messages, and the checks of fields."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from giaoban.identity.v1 import identity_pb2 as identity
from giaoban.scheduling.v1 import scheduling_pb2 as nouns
from giaoban.scheduling.v1 import scheduling_service_pb2 as calls
from giaoban_kit.tokens import Principal
from giaoban_kit.validate import Violations
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from giaoban_scheduling import domain
from giaoban_scheduling.errors import MeetingInvalid
from giaoban_scheduling.ports import Caller

E = TypeVar("E")

PARTY_KINDS: Mapping[int, domain.PartyKind] = {
    identity.PARTY_KIND_USER: domain.PartyKind.USER,
    identity.PARTY_KIND_SITE: domain.PartyKind.SITE,
    identity.PARTY_KIND_UNIT: domain.PartyKind.UNIT,
}
ROLES: Mapping[int, domain.Role] = {
    nouns.APPOINTMENT_ROLE_CHAIR: domain.Role.CHAIR,
    nouns.APPOINTMENT_ROLE_SECRETARY: domain.Role.SECRETARY,
    nouns.APPOINTMENT_ROLE_OPERATOR: domain.Role.OPERATOR,
    nouns.APPOINTMENT_ROLE_DELEGATE: domain.Role.DELEGATE,
    nouns.APPOINTMENT_ROLE_OBSERVER: domain.Role.OBSERVER,
    nouns.APPOINTMENT_ROLE_PRESS: domain.Role.PRESS,
}
STATUSES: Mapping[int, domain.Status] = {
    nouns.MEETING_STATUS_SCHEDULED: domain.Status.SCHEDULED,
    nouns.MEETING_STATUS_RUNNING: domain.Status.RUNNING,
    nouns.MEETING_STATUS_ENDED: domain.Status.ENDED,
    nouns.MEETING_STATUS_CANCELLED: domain.Status.CANCELLED,
}
POLICIES: Mapping[int, domain.MicrophonePolicy] = {
    nouns.MICROPHONE_POLICY_FLOOR: domain.MicrophonePolicy.FLOOR,
    nouns.MICROPHONE_POLICY_OPEN: domain.MicrophonePolicy.OPEN,
}
STATES: Mapping[int, domain.AdmissionState] = {
    nouns.ADMISSION_STATE_WAITING: domain.AdmissionState.WAITING,
    nouns.ADMISSION_STATE_ADMITTED: domain.AdmissionState.ADMITTED,
    nouns.ADMISSION_STATE_REFUSED: domain.AdmissionState.REFUSED,
}


def _number_of(table: Mapping[int, E], value: E) -> int:
    return next(number for number, known in table.items() if known == value)


def caller_of(principal: Principal) -> Caller:
    """The end user or terminal of a call."""
    return Caller(
        domain.PartyRef(domain.PartyKind(principal.kind), principal.subject), principal.organisation_id
    )


def timestamp(moment: datetime) -> Timestamp:
    """As protobuf has it."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def moment(message: Timestamp) -> datetime:
    """The time in UTC. Raises: ValueError or OverflowError if there is no such time."""
    return message.ToDatetime(tzinfo=UTC)


def ref_to_proto(ref: domain.PartyRef) -> identity.PartyRef:
    """A reference as identity knows it."""
    return identity.PartyRef(kind=_number_of(PARTY_KINDS, ref.kind), id=ref.id)  # type: ignore[arg-type]


def party_to_proto(party: domain.Party) -> identity.Party:
    """A party with its names."""
    return identity.Party(
        ref=ref_to_proto(party.ref),
        name=party.name,
        office=party.office,
        unit_id=party.unit_id,
        unit_name=party.unit_name,
    )


def party_from_proto(message: identity.Party) -> domain.Party:
    """A party as another service tells it. Raises: KeyError if its kind is unknown."""
    return domain.Party(
        domain.PartyRef(PARTY_KINDS[message.ref.kind], message.ref.id),
        message.name,
        message.office,
        message.unit_id,
        message.unit_name,
    )


def role_to_proto(role: domain.Role | None) -> nouns.AppointmentRole.ValueType:
    """A role; UNSPECIFIED without one."""
    return nouns.AppointmentRole.ValueType(_number_of(ROLES, role) if role else 0)


def appointment_to_proto(appointment: domain.Appointment) -> nouns.Appointment:
    """A role of a party in a meeting."""
    return nouns.Appointment(
        id=appointment.id, party=party_to_proto(appointment.party), role=role_to_proto(appointment.role)
    )


def meeting_to_proto(
    meeting: domain.Meeting, my_role: domain.Role | None = None, *, appointments: bool = True
) -> nouns.Meeting:
    """A meeting as its audience sees it; the press does not see who is invited."""
    duration = Duration()
    duration.FromTimedelta(meeting.duration)
    message = nouns.Meeting(
        id=meeting.id,
        organisation_id=meeting.organisation_id,
        unit_id=meeting.unit_id,
        unit_name=meeting.unit_name,
        title=meeting.title,
        description=meeting.description,
        start_time=timestamp(meeting.start),
        duration=duration,
        time_zone=meeting.time_zone,
        status=nouns.MeetingStatus.ValueType(_number_of(STATUSES, meeting.status)),
        microphone_policy=nouns.MicrophonePolicy.ValueType(_number_of(POLICIES, meeting.microphone_policy)),
        created_by=meeting.created_by,
        create_time=timestamp(meeting.created_at),
        update_time=timestamp(meeting.updated_at),
        etag=meeting.etag,
        my_role=role_to_proto(my_role),
        cancel_reason=meeting.cancel_reason,
        sequence=meeting.sequence,
    )
    if appointments and my_role is not domain.Role.PRESS:
        message.appointments.extend(appointment_to_proto(each) for each in meeting.appointments)
    if meeting.actual_start is not None:
        message.actual_start_time.CopyFrom(timestamp(meeting.actual_start))
    if meeting.actual_end is not None:
        message.actual_end_time.CopyFrom(timestamp(meeting.actual_end))
    return message


def admission_to_proto(admission: domain.Admission) -> nouns.Admission:
    """An admission."""
    return nouns.Admission(
        id=admission.id,
        meeting_id=admission.meeting_id,
        party=party_to_proto(admission.party),
        role=role_to_proto(admission.role),
        state=nouns.AdmissionState.ValueType(_number_of(STATES, admission.state)),
        request_time=timestamp(admission.requested_at),
        participant_id=admission.participant_id,
    )


def attendance_to_proto(line: domain.Attendance) -> nouns.AttendanceRecord:
    """One line of the attendance."""
    message = nouns.AttendanceRecord(
        party=party_to_proto(line.party), role=role_to_proto(line.role), absent=line.joined_at is None
    )
    if line.joined_at is not None:
        message.join_time.CopyFrom(timestamp(line.joined_at))
    if line.left_at is not None:
        message.leave_time.CopyFrom(timestamp(line.left_at))
    return message


# Checks of fields. A value that does not hold is noted and replaced by a harmless one, so that all mistakes
# are found at once; `raise_if_any` follows before anything is used.

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_moment(check: Violations, field: str, message: Timestamp) -> datetime:
    """A time; whole seconds, as offices call their meetings."""
    try:
        return moment(message).replace(microsecond=0)
    except (ValueError, OverflowError):
        check.require(
            False, field, "NOT_A_TIME", "Give a time as RFC 3339, for example 2026-03-02T08:00:00Z."
        )
        return _EPOCH


def check_duration(check: Violations, field: str, message: Duration) -> timedelta:
    """A length of time within a meeting's limits; whole seconds."""
    try:
        length = timedelta(seconds=int(message.ToTimedelta().total_seconds()))
    except (ValueError, OverflowError):
        length = timedelta()
    check.require(
        domain.MIN_DURATION <= length <= domain.MAX_DURATION,
        field,
        "OUT_OF_RANGE",
        "Choose a duration from 5 minutes to 24 hours.",
    )
    return length


def check_zone(check: Violations, field: str, value: str) -> str:
    """A name of the IANA time zone database."""
    check.require(
        value in domain.time_zones(),
        field,
        "UNKNOWN_TIME_ZONE",
        "Give an IANA zone such as Asia/Ho_Chi_Minh.",
    )
    return value


def check_policy(check: Violations, field: str, value: int) -> domain.MicrophonePolicy:
    """A microphone policy; formal meetings are quiet, so absent means by floor."""
    if value == nouns.MICROPHONE_POLICY_UNSPECIFIED:
        return domain.MicrophonePolicy.FLOOR
    check.require(value in POLICIES, field, "UNKNOWN_VALUE", "Choose floor or open.")
    return POLICIES.get(value, domain.MicrophonePolicy.FLOOR)


def check_wishes(
    check: Violations, field: str, items: Sequence[calls.AppointmentInput]
) -> tuple[domain.Wish, ...]:
    """Appointments that are whole, each by itself."""
    if not 1 <= len(items) <= domain.MAX_APPOINTMENTS:
        check.require(
            False, field, "OUT_OF_RANGE", f"Appoint 1 to {domain.MAX_APPOINTMENTS} parties, one as chair."
        )
        return ()
    wishes = []
    for index, item in enumerate(items):
        at = f"{field}[{index}]"
        kind, role = PARTY_KINDS.get(item.party.kind), ROLES.get(item.role)
        check.require(kind is not None, f"{at}.party.kind", "UNKNOWN_VALUE", "Choose user, site or unit.")
        check.require(
            role is not None,
            f"{at}.role",
            "UNKNOWN_VALUE",
            "Choose chair, secretary, operator, delegate, observer or press.",
        )
        party_id = check.id(f"{at}.party.id", item.party.id)
        if kind is not None and role is not None:
            wishes.append(domain.Wish(domain.PartyRef(kind, party_id), role))
    return tuple(wishes)


def draft_from_proto(request: calls.CreateMeetingRequest) -> tuple[domain.Draft, str]:
    """What is asked for, and the idempotency key. Raises: MeetingInvalid."""
    check = Violations()
    check.require(request.HasField("start_time"), "start_time", "REQUIRED", "Choose when it starts.")
    draft = domain.Draft(
        unit_id=check.id("unit_id", request.unit_id),
        title=check.text("title", request.title, min=1, max=domain.MAX_TITLE),
        description=check.text(
            "description", request.description, max=domain.MAX_DESCRIPTION, multiline=True
        ),
        start=check_moment(check, "start_time", request.start_time),
        duration=check_duration(check, "duration", request.duration),
        time_zone=check_zone(check, "time_zone", request.time_zone),
        microphone_policy=check_policy(check, "microphone_policy", request.microphone_policy),
        appointments=check_wishes(check, "appointments", request.appointments),
    )
    key = check.text("idempotency_key", request.idempotency_key, max=domain.MAX_IDEMPOTENCY_KEY)
    check.raise_if_any(MeetingInvalid)
    return draft, key


def edit_from_proto(request: calls.UpdateMeetingRequest) -> domain.Edit:
    """The changes that are asked for. Raises: MeetingInvalid."""
    check = Violations()
    check.require(bool(request.etag), "etag", "REQUIRED", "Send the etag of the meeting as you read it.")
    edit = domain.Edit(
        title=check.text("title", request.title, min=1, max=domain.MAX_TITLE)
        if request.HasField("title")
        else None,
        description=check.text("description", request.description, max=domain.MAX_DESCRIPTION, multiline=True)
        if request.HasField("description")
        else None,
        start=check_moment(check, "start_time", request.start_time)
        if request.HasField("start_time")
        else None,
        duration=check_duration(check, "duration", request.duration)
        if request.HasField("duration")
        else None,
        time_zone=check_zone(check, "time_zone", request.time_zone)
        if request.HasField("time_zone")
        else None,
        microphone_policy=check_policy(check, "microphone_policy", request.microphone_policy)
        if request.HasField("microphone_policy")
        else None,
        appointments=check_wishes(check, "appointments", request.appointments.items)
        if request.HasField("appointments")
        else None,
    )
    check.raise_if_any(MeetingInvalid)
    return edit
