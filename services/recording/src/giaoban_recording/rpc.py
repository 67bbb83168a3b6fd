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

from giaoban_recording.publish import to_proto
from giaoban_recording.service import Recorder


class RecordingServicer(RecordingServiceServicer):
    """Who may call what is decided before, by the kit's interceptors and `callers.toml`."""

    def __init__(self, recorder: Recorder) -> None:
        """The use cases."""
        self._recorder = recorder

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
        found = await self._recorder.get(_id("recording_id", request.recording_id))
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

    async def ReadContent(
        self, request: pb.ReadContentRequest, context: Any
    ) -> AsyncIterator[pb.ReadContentResponse]:
        """Bytes of the composed file."""
        recording_id = _id("recording_id", request.recording_id)
        async for data in await self._recorder.content(recording_id, request.offset, request.length):
            yield pb.ReadContentResponse(data=data)

    async def RetryRecording(
        self, request: pb.RetryRecordingRequest, context: Any
    ) -> pb.RetryRecordingResponse:
        """Composes again."""
        again = await self._recorder.retry(_id("recording_id", request.recording_id))
        return pb.RetryRecordingResponse(recording=to_proto(again))


def _id(field: str, value: str) -> str:
    check = Violations()
    checked = check.id(field, value)
    check.raise_if_any()
    return checked
