# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG002, N802  (gRPC chooses the names of methods and hands every one a context)
"""Owns scheduling's gRPC surface: message in, one use case, message out."""

from datetime import UTC, datetime, timedelta
from typing import Any

from giaoban.scheduling.v1 import scheduling_pb2 as nouns
from giaoban.scheduling.v1 import scheduling_service_pb2 as calls
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import SchedulingServiceServicer
from giaoban_kit.clock import Clock
from giaoban_kit.db import decode_page_token, encode_page_token, page_size
from giaoban_kit.errors import FieldViolation, Invalid
from giaoban_kit.ids import is_id
from giaoban_kit.tokens import current_principal
from giaoban_kit.validate import Violations

from giaoban_scheduling import convert, domain
from giaoban_scheduling.entry import Entry
from giaoban_scheduling.errors import AdmissionNotFound, MeetingInvalid, MeetingNotFound
from giaoban_scheduling.ports import Caller, PageMark
from giaoban_scheduling.service import Scheduling

Context = Any  # grpc.aio.ServicerContext; generic in the stubs, not at run time
DEFAULT_WINDOW = timedelta(days=31)


class SchedulingServicer(SchedulingServiceServicer):
    """Who may call what is decided before, by the kit's interceptors and `callers.toml`."""

    def __init__(self, scheduling: Scheduling, entry: Entry, clock: Clock) -> None:
        self._scheduling = scheduling
        self._entry = entry
        self._clock = clock

    async def CreateMeeting(
        self, request: calls.CreateMeetingRequest, context: Context
    ) -> calls.CreateMeetingResponse:
        draft, key = convert.draft_from_proto(request)
        made = await self._scheduling.create(_caller(), draft, key)
        return calls.CreateMeetingResponse(meeting=convert.meeting_to_proto(*made))

    async def GetMeeting(
        self, request: calls.GetMeetingRequest, context: Context
    ) -> calls.GetMeetingResponse:
        found = await self._scheduling.read(_caller(), _meeting_id(request.meeting_id))
        return calls.GetMeetingResponse(meeting=convert.meeting_to_proto(*found))

    async def ListMeetings(
        self, request: calls.ListMeetingsRequest, context: Context
    ) -> calls.ListMeetingsResponse:
        since, until = _window(request, self._clock.now())
        limit = page_size(request.page_size)
        found, more = await self._scheduling.list(
            _caller(), since, until, _page_mark(request.page_token), limit
        )
        return calls.ListMeetingsResponse(
            meetings=[convert.meeting_to_proto(*each, appointments=False) for each in found],
            next_page_token=encode_page_token(start=more.start.isoformat(), id=more.id) if more else "",
        )

    async def UpdateMeeting(
        self, request: calls.UpdateMeetingRequest, context: Context
    ) -> calls.UpdateMeetingResponse:
        edit = convert.edit_from_proto(request)
        changed = await self._scheduling.update(
            _caller(), _meeting_id(request.meeting_id), request.etag, edit
        )
        return calls.UpdateMeetingResponse(meeting=convert.meeting_to_proto(*changed))

    async def CancelMeeting(
        self, request: calls.CancelMeetingRequest, context: Context
    ) -> calls.CancelMeetingResponse:
        check = Violations()
        reason = check.text("reason", request.reason, max=domain.MAX_REASON, multiline=True)
        check.raise_if_any(MeetingInvalid)
        cancelled = await self._scheduling.cancel(
            _caller(), _meeting_id(request.meeting_id), request.etag, reason
        )
        return calls.CancelMeetingResponse(meeting=convert.meeting_to_proto(*cancelled))

    async def EndMeeting(
        self, request: calls.EndMeetingRequest, context: Context
    ) -> calls.EndMeetingResponse:
        ended = await self._scheduling.end(_caller(), _meeting_id(request.meeting_id))
        return calls.EndMeetingResponse(meeting=convert.meeting_to_proto(*ended))

    async def RequestAdmission(
        self, request: calls.RequestAdmissionRequest, context: Context
    ) -> calls.RequestAdmissionResponse:
        caller, meeting_id = _caller(), _meeting_id(request.meeting_id)
        if request.validate_only:
            await self._entry.check(caller, meeting_id)
            return calls.RequestAdmissionResponse()
        answer = await self._entry.request(caller, meeting_id)
        my_role = answer.admission.role if answer.grant else None
        return calls.RequestAdmissionResponse(
            admission=convert.admission_to_proto(answer.admission),
            grant=answer.grant,
            meeting=convert.meeting_to_proto(answer.meeting, my_role, appointments=False),
        )

    async def ListAdmissions(
        self, request: calls.ListAdmissionsRequest, context: Context
    ) -> calls.ListAdmissionsResponse:
        check = Violations()
        known = request.state in {nouns.ADMISSION_STATE_UNSPECIFIED, *convert.STATES}
        check.require(
            known, "state", "UNKNOWN_VALUE", "Choose waiting, admitted or refused, or none for all."
        )
        check.raise_if_any()
        state = convert.STATES.get(request.state)
        found = await self._entry.waiting(_caller(), _meeting_id(request.meeting_id), state)
        return calls.ListAdmissionsResponse(admissions=[convert.admission_to_proto(each) for each in found])

    async def DecideAdmission(
        self, request: calls.DecideAdmissionRequest, context: Context
    ) -> calls.DecideAdmissionResponse:
        meeting_id = _meeting_id(request.meeting_id)
        if not is_id(request.admission_id):
            raise AdmissionNotFound
        decided = await self._entry.decide(_caller(), meeting_id, request.admission_id, admit=request.admit)
        return calls.DecideAdmissionResponse(admission=convert.admission_to_proto(decided))

    async def GetAttendance(
        self, request: calls.GetAttendanceRequest, context: Context
    ) -> calls.GetAttendanceResponse:
        lines = await self._entry.attendance(_caller(), _meeting_id(request.meeting_id))
        return calls.GetAttendanceResponse(records=[convert.attendance_to_proto(line) for line in lines])

    async def GetMyAppointment(
        self, request: calls.GetMyAppointmentRequest, context: Context
    ) -> calls.GetMyAppointmentResponse:
        meeting, role = await self._scheduling.get(_caller(), _meeting_id(request.meeting_id))
        message = convert.meeting_to_proto(meeting, role, appointments=False)
        return calls.GetMyAppointmentResponse(
            role=message.my_role,
            organisation_id=message.organisation_id,
            unit_id=message.unit_id,
            meeting_title=message.title,
            status=message.status,
        )


def _caller() -> Caller:
    return convert.caller_of(current_principal())


def _meeting_id(value: str) -> str:
    """A meeting's id; what is no id names no meeting."""
    if not is_id(value):
        raise MeetingNotFound
    return value


def _window(request: calls.ListMeetingsRequest, now: datetime) -> tuple[datetime, datetime]:
    """The asked time, by default the 31 days from now on. Raises: Invalid."""
    check = Violations()
    since = (
        convert.check_moment(check, "from_time", request.from_time) if request.HasField("from_time") else now
    )
    until = convert.check_moment(check, "to_time", request.to_time) if request.HasField("to_time") else None
    check.raise_if_any()
    if until is None:
        until = min(since, datetime.max.replace(tzinfo=since.tzinfo) - DEFAULT_WINDOW) + DEFAULT_WINDOW
    check.require(since < until, "to_time", "BEFORE_FROM", "Choose an end after the beginning.")
    check.require(
        until - since <= domain.MAX_LIST_WINDOW,
        "to_time",
        "WINDOW_TOO_LONG",
        f"Ask for at most {domain.MAX_LIST_WINDOW.days} days at once.",
    )
    check.raise_if_any()
    return since, until


def _page_mark(token: str) -> PageMark | None:
    cursor = decode_page_token(token, "start", "id")
    if cursor is None:
        return None
    try:
        start = datetime.fromisoformat(cursor["start"]).astimezone(UTC)
    except (ValueError, OverflowError):
        start = None
    if start is None or not is_id(cursor["id"]):
        remedy = "Give next_page_token of the page before."
        violation = FieldViolation("page_token", "PAGE_TOKEN_INVALID", remedy)
        raise Invalid("The page token is not valid.", violations=[violation])
    return PageMark(start, cursor["id"])
