# SPDX-License-Identifier: Apache-2.0
"""Recordings."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from giaoban.recording.v1 import recording_pb2
from pydantic import BaseModel

from giaoban_gateway.schemas.common import moment, or_none, word


class Recording(BaseModel):
    """A composed result, or what is on its way to it."""

    id: str
    meeting_id: str
    meeting_title: str
    state: Literal["capturing", "shipping", "composing", "ready", "failed", "unknown"]
    start_time: datetime | None
    stop_time: datetime | None
    duration_seconds: float | None
    size_bytes: int
    media_type: str | None
    sha256: str | None
    progress_percent: int
    shipped_bytes: int
    started_by: str
    failure: str | None

    @classmethod
    def of(cls, it: recording_pb2.Recording) -> Recording:
        """From the wire."""
        return cls(
            id=it.id,
            meeting_id=it.meeting_id,
            meeting_title=it.meeting_title,
            state=word(recording_pb2.RecordingState, it.state),
            start_time=moment(it, "start_time"),
            stop_time=moment(it, "stop_time"),
            duration_seconds=it.duration.ToTimedelta().total_seconds() if it.HasField("duration") else None,
            size_bytes=it.size_bytes,
            media_type=or_none(it.media_type),
            sha256=or_none(it.sha256),
            progress_percent=it.progress_percent,
            shipped_bytes=it.shipped_bytes,
            started_by=it.started_by,
            failure=or_none(it.failure),
        )


class ContentTicket(BaseModel):
    """A short-lived address of the composed file."""

    url: str
    expires_at: datetime
