# SPDX-License-Identifier: Apache-2.0
"""Meetings, and the way into them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1 import scheduling_service_pb2 as pb
from giaoban_kit.errors import Precondition
from giaoban_kit.tasks import ended

from giaoban_gateway.auth import IsCaller, UsesServices
from giaoban_gateway.schemas.common import Moment, Page, PageSize, PageToken, PathId, or_none, timestamp
from giaoban_gateway.schemas.meetings import (
    Admission,
    AttendanceRecord,
    ConnectTicket,
    Meeting,
    MeetingCancel,
    MeetingCreate,
    MeetingUpdate,
)
from giaoban_gateway.tickets import CONNECT_LIFETIME, refusals

CONNECT = "connect"

router = APIRouter(prefix="/v1/meetings", tags=["meetings"])

IfMatch = Annotated[str | None, Header(max_length=128, description="etag of the version that is changed")]
IdempotencyKey = Annotated[str, Header(max_length=128)]


class IfMatchRequired(Precondition):
    """An edit must say which version it changes."""

    reason = "IF_MATCH_REQUIRED"


@router.post("", status_code=201)
async def create_meeting(
    body: MeetingCreate,
    uses: UsesServices,
    _: IsCaller,
    response: Response,
    idempotency_key: IdempotencyKey = "",
) -> Meeting:
    """Calls a meeting."""
    answer = await uses.scheduling.CreateMeeting(body.to_proto(idempotency_key))
    response.headers["Location"] = f"/v1/meetings/{answer.meeting.id}"
    return _with_etag(answer.meeting, response)


@router.get("")
async def list_meetings(
    uses: UsesServices,
    _: IsCaller,
    from_time: Annotated[Moment, Query(alias="from")],
    to_time: Annotated[Moment, Query(alias="to")],
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> Page[Meeting]:
    """Meetings that overlap a span of time, by start; without appointments."""
    answer = await uses.scheduling.ListMeetings(
        pb.ListMeetingsRequest(
            from_time=timestamp(from_time),
            to_time=timestamp(to_time),
            page_size=page_size,
            page_token=page_token,
        )
    )
    return Page(
        items=[Meeting.of(each) for each in answer.meetings], next_page_token=or_none(answer.next_page_token)
    )


@router.get("/{meeting_id}")
async def get_meeting(meeting_id: PathId, uses: UsesServices, _: IsCaller, response: Response) -> Meeting:
    """One meeting with its appointments; for who waits to be let in without them and without description."""
    answer = await uses.scheduling.GetMeeting(pb.GetMeetingRequest(meeting_id=meeting_id))
    return _with_etag(answer.meeting, response)


@router.patch("/{meeting_id}")
async def update_meeting(
    meeting_id: PathId,
    body: MeetingUpdate,
    uses: UsesServices,
    _: IsCaller,
    response: Response,
    if_match: IfMatch = None,
) -> Meeting:
    """Changes a meeting."""
    answer = await uses.scheduling.UpdateMeeting(body.to_proto(meeting_id, _etag(if_match)))
    return _with_etag(answer.meeting, response)


@router.post("/{meeting_id}:cancel")
async def cancel_meeting(
    meeting_id: PathId,
    body: MeetingCancel,
    uses: UsesServices,
    _: IsCaller,
    response: Response,
    if_match: IfMatch = None,
) -> Meeting:
    """Cancels a meeting that has not begun."""
    answer = await uses.scheduling.CancelMeeting(
        pb.CancelMeetingRequest(meeting_id=meeting_id, etag=_etag(if_match), reason=body.reason)
    )
    return _with_etag(answer.meeting, response)


@router.post("/{meeting_id}:end")
async def end_meeting(meeting_id: PathId, uses: UsesServices, _: IsCaller, response: Response) -> Meeting:
    """Ends a running meeting for everyone."""
    answer = await uses.scheduling.EndMeeting(pb.EndMeetingRequest(meeting_id=meeting_id))
    return _with_etag(answer.meeting, response)


@router.get("/{meeting_id}/attendance")
async def get_attendance(meeting_id: PathId, uses: UsesServices, _: IsCaller) -> Page[AttendanceRecord]:
    """Who was there, from when to when; the absent too."""
    answer = await uses.scheduling.GetAttendance(pb.GetAttendanceRequest(meeting_id=meeting_id))
    return Page(items=[AttendanceRecord.of(each) for each in answer.records])


@router.get("/{meeting_id}/admissions")
async def list_admissions(meeting_id: PathId, uses: UsesServices, _: IsCaller) -> Page[Admission]:
    """Who waits to be let in."""
    answer = await uses.scheduling.ListAdmissions(
        pb.ListAdmissionsRequest(meeting_id=meeting_id, state=scheduling_pb2.ADMISSION_STATE_WAITING)
    )
    return Page(items=[Admission.of(each) for each in answer.admissions])


@router.post("/{meeting_id}/admissions/{admission_id}:admit")
async def admit(meeting_id: PathId, admission_id: PathId, uses: UsesServices, _: IsCaller) -> Admission:
    """Lets somebody in."""
    return await _decide(uses, meeting_id, admission_id, admit=True)


@router.post("/{meeting_id}/admissions/{admission_id}:refuse")
async def refuse(meeting_id: PathId, admission_id: PathId, uses: UsesServices, _: IsCaller) -> Admission:
    """Turns somebody away."""
    return await _decide(uses, meeting_id, admission_id, admit=False)


@router.post("/{meeting_id}/connect-tickets", status_code=201)
async def create_connect_ticket(meeting_id: PathId, uses: UsesServices, caller: IsCaller) -> ConnectTicket:
    """A ticket that opens the meeting's WebSocket once, within 30 seconds; refused if the join would be."""
    with refusals(CONNECT):
        # Side by side where somebody is in the meeting here: media follows it then in any case, and need not begin to
        # for somebody who may not be let in.
        asking = (
            asyncio.create_task(uses.capacity.check(meeting_id)) if uses.hub.follows(meeting_id) else None
        )
        try:
            await uses.scheduling.RequestAdmission(
                pb.RequestAdmissionRequest(meeting_id=meeting_id, validate_only=True)
            )
            await (asking or uses.capacity.check(meeting_id))
        finally:
            if asking is not None:
                await ended(asking)
        ticket, expires_at = await uses.tickets.issue(
            CONNECT, meeting_id, caller.principal, caller.token, CONNECT_LIFETIME
        )
    return ConnectTicket(ticket=ticket, expires_at=expires_at)


async def _decide(uses: UsesServices, meeting_id: str, admission_id: str, *, admit: bool) -> Admission:
    answer = await uses.scheduling.DecideAdmission(
        pb.DecideAdmissionRequest(meeting_id=meeting_id, admission_id=admission_id, admit=admit)
    )
    return Admission.of(answer.admission)


def _etag(if_match: str | None) -> str:
    if not if_match or if_match.strip() == "*":  # any version is what an edit must not mean
        raise IfMatchRequired("Send If-Match with the etag of the version that you change.")
    return if_match.removeprefix("W/").strip('"')


def _with_etag(meeting: scheduling_pb2.Meeting, response: Response) -> Meeting:
    response.headers["ETag"] = f'"{meeting.etag}"'
    return Meeting.of(meeting)
