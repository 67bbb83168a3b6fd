# SPDX-License-Identifier: Apache-2.0
"""The caller's inbox, and media nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from giaoban.media.v1 import media_pb2
from giaoban.notifications.v1 import notifications_pb2
from pydantic import BaseModel

from giaoban_gateway.schemas.common import moment, or_none, word


class Notification(BaseModel):
    """An inbox entry in the user's language."""

    id: str
    kind: Literal[
        "meeting_invited",
        "meeting_changed",
        "meeting_cancelled",
        "recording_ready",
        "recording_failed",
        "unknown",
    ]
    title: str
    body: str
    meeting_id: str | None
    create_time: datetime | None
    read_time: datetime | None

    @classmethod
    def of(cls, it: notifications_pb2.Notification) -> Notification:
        """From the wire."""
        return cls(
            id=it.id,
            kind=word(notifications_pb2.NotificationKind, it.kind),
            title=it.title,
            body=it.body,
            meeting_id=or_none(it.meeting_id),
            create_time=moment(it, "create_time"),
            read_time=moment(it, "read_time"),
        )


class Inbox(BaseModel):
    """One page of the inbox."""

    items: list[Notification]
    unread_count: int
    next_page_token: str | None


class Node(BaseModel):
    """A media node with its load."""

    id: str
    health: Literal["up", "down", "draining", "unknown"]
    sessions: int
    handles: int
    peer_connections: int
    packets_received_per_second: int
    packets_sent_per_second: int
    budget_packets_per_second: int
    observe_time: datetime | None
    janus_version: str | None

    @classmethod
    def of(cls, it: media_pb2.NodeState) -> Node:
        """From the wire."""
        return cls(
            id=it.id,
            health=word(media_pb2.NodeHealth, it.health),
            sessions=it.sessions,
            handles=it.handles,
            peer_connections=it.peer_connections,
            packets_received_per_second=it.packets_received_per_second,
            packets_sent_per_second=it.packets_sent_per_second,
            budget_packets_per_second=it.budget_packets_per_second,
            observe_time=moment(it, "observe_time"),
            janus_version=or_none(it.janus_version),
        )
