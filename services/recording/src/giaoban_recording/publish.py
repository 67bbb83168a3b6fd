# SPDX-License-Identifier: Apache-2.0
"""Facts of recording on the wire: giaoban.recording.v1.recording.<verb>.<recording id>."""

from __future__ import annotations

from datetime import datetime

from giaoban.recording.v1 import events_pb2, recording_pb2
from giaoban_kit.events import new_event, subject
from giaoban_kit.outbox import Outbox
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from giaoban_recording.domain import Recording

_FACTS = {
    "started": events_pb2.RecordingStarted,
    "stopped": events_pb2.RecordingStopped,
    "completed": events_pb2.RecordingCompleted,
    "failed": events_pb2.RecordingFailed,
}


class OutboxNews:
    """Implements `ports.News`: each fact goes to the outbox of its transaction."""

    def __init__(self, outbox: Outbox) -> None:
        """The outbox of one transaction."""
        self._outbox = outbox

    async def tell(self, verb: str, recording: Recording) -> None:
        """started, stopped, completed or failed."""
        fact = _FACTS[verb](recording=to_proto(recording))
        await self._outbox.add(new_event(subject("recording", "recording", verb, recording.id), fact))


def to_proto(it: Recording) -> recording_pb2.Recording:
    """A recording as the wire has it."""
    message = recording_pb2.Recording(
        id=it.id,
        organisation_id=it.organisation_id,
        meeting_id=it.meeting_id,
        meeting_title=it.meeting_title,
        state=recording_pb2.RecordingState.Value(f"RECORDING_STATE_{it.state.name}"),
        start_time=_timestamp(it.start_time),
        stop_time=_timestamp(it.stop_time) if it.stop_time else None,
        size_bytes=it.size_bytes,
        media_type=it.media_type,
        sha256=it.sha256,
        progress_percent=it.progress_percent,
        shipped_bytes=it.shipped_bytes,
        started_by=it.started_by,
        failure=it.failure,
    )
    if it.duration is not None:
        duration = Duration()
        duration.FromTimedelta(it.duration)
        message.duration.CopyFrom(duration)
    return message


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
