# SPDX-License-Identifier: Apache-2.0
"""Recordings: control, library, and the composed file with ranges (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security.utils import get_authorization_scheme_param
from giaoban.recording.v1 import recording_pb2
from giaoban.recording.v1 import recording_service_pb2 as pb
from giaoban_kit.errors import Precondition
from giaoban_kit.tokens import acting_as

from giaoban_gateway.auth import IsCaller, TokenMissing, UsesServices
from giaoban_gateway.problems import problem
from giaoban_gateway.schemas.common import Page, PageSize, PageToken, PathId, or_none
from giaoban_gateway.schemas.recordings import ContentTicket, Recording
from giaoban_gateway.tickets import CONTENT_LIFETIME, refusals

CONTENT = "content"

router = APIRouter(prefix="/v1", tags=["recordings"])

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class RecordingNotReady(Precondition):
    """There is no composed file yet."""

    reason = "RECORDING_NOT_READY"


@router.post("/meetings/{meeting_id}/recordings", status_code=201)
async def start_recording(meeting_id: PathId, uses: UsesServices, _: IsCaller) -> Recording:
    """Starts recording a running meeting; one that runs is returned as it is."""
    answer = await uses.recording.StartRecording(pb.StartRecordingRequest(meeting_id=meeting_id))
    return Recording.of(answer.recording)


@router.get("/meetings/{meeting_id}/recordings")
async def list_meeting_recordings(
    meeting_id: PathId, uses: UsesServices, _: IsCaller, page_size: PageSize = 50, page_token: PageToken = ""
) -> Page[Recording]:
    """Recordings of a meeting."""
    return await _list(
        uses, pb.ListRecordingsRequest(meeting_id=meeting_id, page_size=page_size, page_token=page_token)
    )


@router.get("/recordings")
async def list_recordings(
    uses: UsesServices, _: IsCaller, page_size: PageSize = 50, page_token: PageToken = ""
) -> Page[Recording]:
    """Recordings of the caller's meetings, newest first."""
    return await _list(uses, pb.ListRecordingsRequest(page_size=page_size, page_token=page_token))


@router.get("/recordings/{recording_id}")
async def get_recording(recording_id: PathId, uses: UsesServices, _: IsCaller) -> Recording:
    """One recording."""
    return Recording.of(await _get(uses, recording_id))


@router.post("/recordings/{recording_id}:stop")
async def stop_recording(recording_id: PathId, uses: UsesServices, _: IsCaller) -> Recording:
    """Stops capturing."""
    answer = await uses.recording.StopRecording(pb.StopRecordingRequest(recording_id=recording_id))
    return Recording.of(answer.recording)


@router.post("/recordings/{recording_id}:retry")
async def retry_recording(recording_id: PathId, uses: UsesServices, _: IsCaller) -> Recording:
    """Composes again after a failure."""
    answer = await uses.recording.RetryRecording(pb.RetryRecordingRequest(recording_id=recording_id))
    return Recording.of(answer.recording)


@router.post("/recordings/{recording_id}/content-tickets", status_code=201)
async def create_content_ticket(recording_id: PathId, uses: UsesServices, caller: IsCaller) -> ContentTicket:
    """An address of the file that works without a header for as long as watching it takes: at most 12 hours."""
    with refusals(CONTENT):
        granted = await uses.recording.CreateContentGrant(
            pb.CreateContentGrantRequest(recording_id=recording_id)
        )
        ticket, expires_at = await uses.tickets.issue(
            CONTENT, recording_id, caller.principal, granted.grant, CONTENT_LIFETIME
        )
    return ContentTicket(url=f"/v1/recordings/{recording_id}/content?ticket={ticket}", expires_at=expires_at)


@router.get(
    "/recordings/{recording_id}/content",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The whole file", "content": {"video/mp4": {}}},
        206: {"description": "The range asked for", "content": {"video/mp4": {}}},
    },
    openapi_extra={"security": [{"bearerAuth": []}, {}]},  # {}: the ticket in the query
)
async def get_content(
    recording_id: PathId,
    request: Request,
    uses: UsesServices,
    ticket: Annotated[str, Query(max_length=128)] = "",
    range_header: Annotated[str, Header(alias="Range")] = "",
    if_range: Annotated[str, Header()] = "",
) -> Response:
    """The composed file, whole or a range of it; by bearer token or ticket."""
    grant, acting = await _content_caller(request, uses, recording_id, ticket)
    with acting:
        recording = await _get(uses, recording_id, grant)
        _ready(recording)
        size, etag = recording.size_bytes, f'"{recording.sha256}"'
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, no-store", "ETag": etag}
        # A range of another version than the client has would be put together with the wrong rest.
        wanted = range_header if if_range in ("", etag) else ""
        span = _span(wanted, size)
        if span is None:
            refused = problem(416, "RANGE_INVALID", f"The file has {size} bytes; ask for a range within.")
            refused.headers["Content-Range"] = f"bytes */{size}"
            return refused
        first, length, partial = span
        headers["Content-Length"] = str(length)
        if partial:
            headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{size}"
        call = uses.recording.ReadContent(
            pb.ReadContentRequest(recording_id=recording_id, offset=first, length=length, grant=grant)
        )
    parts = aiter(call)
    begin = await anext(parts, None)  # a refusal comes before the first byte, when it can still be said
    body = _content(call, begin, parts)
    return StreamingResponse(body, 206 if partial else 200, headers, media_type=recording.media_type)


async def _content_caller(
    request: Request, uses: UsesServices, recording_id: str, ticket: str
) -> tuple[str, AbstractContextManager[None]]:
    """The grant that a ticket stands for; or "", and the caller whose token is forwarded."""
    if ticket:
        return (await uses.tickets.look(ticket, CONTENT, recording_id)).token, nullcontext()
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() != "bearer" or not token:
        raise TokenMissing("Sign in first, or use the address from content-tickets.")
    principal = await uses.verifier.verify(token)
    uses.user_limit.take(principal.subject)
    return "", acting_as(principal, token)


async def _content(
    call: Any, begin: pb.ReadContentResponse | None, parts: AsyncIterator[pb.ReadContentResponse]
) -> AsyncIterator[bytes]:
    try:
        if begin is not None:
            yield begin.data
        async for part in parts:
            yield part.data
    finally:
        call.cancel()  # of a client that went away in the middle


def _span(header: str, size: int) -> tuple[int, int, bool] | None:
    """First byte, length, and whether that is a part; None when the range cannot be satisfied.

    Several ranges, other units and what is no range are ignored (RFC 9110, section 14.2).
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return 0, size, False
    start, end = found.groups()
    if not start:
        length = min(int(end), size)
        return (size - length, length, True) if length else None
    if end and int(end) < int(start):
        return 0, size, False
    first, last = int(start), min(int(end) if end else size - 1, size - 1)
    return (first, last - first + 1, True) if first <= last else None


def _ready(recording: recording_pb2.Recording) -> None:
    if recording.state != recording_pb2.RECORDING_STATE_READY:
        raise RecordingNotReady("The recording is not composed yet. Its state tells how far it is.")


async def _get(uses: UsesServices, recording_id: str, grant: str = "") -> recording_pb2.Recording:
    request = pb.GetRecordingRequest(recording_id=recording_id, grant=grant)
    return (await uses.recording.GetRecording(request)).recording


async def _list(uses: UsesServices, request: pb.ListRecordingsRequest) -> Page[Recording]:
    answer = await uses.recording.ListRecordings(request)
    return Page(
        items=[Recording.of(each) for each in answer.recordings],
        next_page_token=or_none(answer.next_page_token),
    )
