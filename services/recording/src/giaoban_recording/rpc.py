# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG002, N802  (gRPC chooses the names of methods and hands every one a context)
"""The gRPC surface of recording: message in, one use case, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from giaoban.recording.v1 import recording_service_pb2 as pb
from giaoban.recording.v1.recording_service_pb2_grpc import RecordingServiceServicer
from giaoban_kit.db import decode_page_token, encode_page_token, page_size
from giaoban_kit.tokens import current_principal
from giaoban_kit.validate import Violations

from giaoban_recording.ports import Grants
from giaoban_recording.publish import to_proto
from giaoban_recording.service import Recorder


class RecordingServicer(RecordingServiceServicer):
    """Who may call what is decided before, by the kit's interceptors and `callers.toml`."""

    def __init__(self, recorder: Recorder, grants: Grants) -> None:
        """The use cases, and what may stand for a user."""
        self._recorder = recorder
        self._grants = grants

    async def StartRecording(
        self, request: pb.StartRecordingRequest, context: Any
    ) -> pb.StartRecordingResponse:
        """Starts capture."""
        made = await self._recorder.start(current_principal(), _id("meeting_id", request.meeting_id))
        return pb.StartRecordingResponse(recording=to_proto(made))

    async def StopRecording(self, request: pb.StopRecordingRequest, context: Any) -> pb.StopRecordingResponse:
        """Stops capture."""
        stopped = await self._recorder.stop(_id("recording_id", request.recording_id))
        return pb.StopRecordingResponse(recording=to_proto(stopped))

    async def GetRecording(self, request: pb.GetRecordingRequest, context: Any) -> pb.GetRecordingResponse:
        """One recording."""
        recording_id = _id("recording_id", request.recording_id)
        found = await self._recorder.get(recording_id, granted=self._granted(request.grant, recording_id))
        return pb.GetRecordingResponse(recording=to_proto(found))

    async def ListRecordings(
        self, request: pb.ListRecordingsRequest, context: Any
    ) -> pb.ListRecordingsResponse:
        """Recordings, newest first."""
        meeting_id = _id("meeting_id", request.meeting_id) if request.HasField("meeting_id") else None
        cursor = decode_page_token(request.page_token, "id") if request.page_token else None
        before = cursor["id"] if cursor else None
        found, more = await self._recorder.list(
            current_principal(), meeting_id, before, page_size(request.page_size)
        )
        return pb.ListRecordingsResponse(
            recordings=[to_proto(each) for each in found],
            next_page_token=encode_page_token(id=more) if more else "",
        )

    async def CreateContentGrant(
        self, request: pb.CreateContentGrantRequest, context: Any
    ) -> pb.CreateContentGrantResponse:
        """A grant to play one recording."""
        recording = await self._recorder.ready(_id("recording_id", request.recording_id))
        return pb.CreateContentGrantResponse(grant=self._grants.sign(current_principal(), recording))

    async def ReadContent(
        self, request: pb.ReadContentRequest, context: Any
    ) -> AsyncIterator[pb.ReadContentResponse]:
        """Bytes of the composed file."""
        recording_id = _id("recording_id", request.recording_id)
        parts = await self._recorder.content(
            recording_id,
            request.offset,
            request.length,
            granted=self._granted(request.grant, recording_id),
        )
        async for data in parts:
            yield pb.ReadContentResponse(data=data)

    async def RetryRecording(
        self, request: pb.RetryRecordingRequest, context: Any
    ) -> pb.RetryRecordingResponse:
        """Composes again."""
        again = await self._recorder.retry(_id("recording_id", request.recording_id))
        return pb.RetryRecordingResponse(recording=to_proto(again))

    def _granted(self, grant: str, recording_id: str) -> bool:
        """Whether a grant stands for the user. Raises `GrantInvalid`, `Unauthenticated` when there is neither."""
        if grant:
            self._grants.check(grant, recording_id)
        else:
            current_principal()
        return bool(grant)


def _id(field: str, value: str) -> str:
    check = Violations()
    checked = check.id(field, value)
    check.raise_if_any()
    return checked
