# SPDX-License-Identifier: Apache-2.0
"""What media hears: meetings that are called and end from scheduling, and what the media nodes tell through NATS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

from giaoban.scheduling.v1.events_pb2 import (
    MeetingCancelled,
    MeetingChanged,
    MeetingEnded,
    MeetingScheduled,
)
from giaoban_kit.events import Event
from nats.aio.msg import Msg

from giaoban_media.capacity import Meter
from giaoban_media.domain import NodeHealth
from giaoban_media.janus import events
from giaoban_media.nodes import Nodes
from giaoban_media.ports import News
from giaoban_media.reservations import Reservation, Reservations
from giaoban_media.service import Media


class MeetingEvents:
    """Durable: meeting.ended and meeting.cancelled."""

    def __init__(self, media: Media) -> None:
        """Closing a room twice is harmless, so no inbox is kept."""
        self._media = media

    async def handle(self, event: Event) -> None:
        """Closes the room."""
        if isinstance(event.message, MeetingEnded | MeetingCancelled):
            await self._media.close_room(event.message.meeting.id)


class ScheduleEvents:
    """Durable: meetings that are called, changed, cancelled or over."""

    def __init__(self, reservations: Reservations) -> None:
        """Keeping the same twice is harmless, so no inbox is kept."""
        self._reservations = reservations

    async def handle(self, event: Event) -> None:
        """Holds room for all who are invited, or gives it back."""
        if isinstance(event.message, MeetingEnded | MeetingCancelled):
            await self._reservations.drop(event.message.meeting.id)
        elif isinstance(event.message, MeetingScheduled | MeetingChanged):
            meeting = event.message.meeting
            await self._reservations.keep(
                Reservation(
                    meeting.id,
                    len(meeting.appointments),
                    start=meeting.start_time.ToDatetime(UTC),
                    called=meeting.create_time.ToDatetime(UTC),
                    changed=meeting.update_time.ToDatetime(UTC),
                )
            )


class NodeEvents:
    """What the nodes tell. Load and talking reach one replica each, a node's death all of them."""

    def __init__(self, nodes: Nodes, news: News, reachable: Callable[[str], bool]) -> None:
        """`reachable` tells whether this replica still reaches a node."""
        self._meter = Meter()
        self._nodes = nodes
        self._news = news
        self._reachable = reachable

    async def shared(self, message: Msg) -> None:
        """From the queue group: core and plugins."""
        for fact in events.parse(message.subject, message.data):
            if isinstance(fact, events.Load):
                received, sent = self._meter.rates(fact.node_id)
                await self._nodes.load(
                    fact.node_id,
                    sessions=fact.sessions,
                    handles=fact.handles,
                    peer_connections=fact.peer_connections,
                    received=received,
                    sent=sent,
                )
            elif isinstance(fact, events.Talking):
                who = [fact.participant_id]
                await self._news.talking(
                    fact.meeting_id, who if fact.talking else [], [] if fact.talking else who
                )

    async def media(self, message: Msg) -> None:
        """To every replica: whichever tells a node's load next has all connections of the node counted."""
        for fact in events.parse(message.subject, message.data):
            if isinstance(fact, events.Packets):
                self._meter.counted(
                    fact.node_id,
                    fact.handle,
                    timestamp=fact.timestamp,
                    received=fact.received,
                    sent=fact.sent,
                )

    async def status(self, message: Msg) -> None:
        """To every replica: a last will counts when we cannot reach the node either."""
        for fact in events.parse(message.subject, message.data):
            if isinstance(fact, events.NodeGone) and not self._reachable(fact.node_id):
                self._nodes.report(fact.node_id, NodeHealth.DOWN)
