# SPDX-License-Identifier: Apache-2.0
"""Facts of media on NATS. Media has no database and so no outbox: what NATS does not take is kept in memory,
in order, and tried again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime

import structlog
from giaoban.media.v1 import events_pb2, media_pb2
from giaoban_kit.events import Event, new_event, signal_subject, subject
from google.protobuf.message import Message

from giaoban_media.conference import codec
from giaoban_media.conference.acts import Effect, Granted
from giaoban_media.conference.model import Connection, Participant, Room
from giaoban_media.domain import Grant
from giaoban_media.metrics import ROOMS_MOVED

MAX_WAITING = 10_000
RETRY_DELAY = 0.5

_REASONS = {
    "left": events_pb2.LEAVE_REASON_LEFT,
    "lost": events_pb2.LEAVE_REASON_LOST,
    "removed": events_pb2.LEAVE_REASON_REMOVED,
    "meeting_ended": events_pb2.LEAVE_REASON_MEETING_ENDED,
}

_log = structlog.get_logger(__name__)


class NatsNews:
    """Implements `ports.News`."""

    def __init__(self, send: Callable[[Event], object], send_live: Callable[[str, bytes], object]) -> None:
        """`send` publishes an event durably, `send_live` a message that nobody keeps; both are awaited."""
        self._send = send
        self._send_live = send_live
        self._waiting: deque[Event] = deque(maxlen=MAX_WAITING)
        self._more = asyncio.Event()

    async def run(self) -> None:
        """Sends what waits, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                try:
                    await self._send(self._waiting[0])  # type: ignore[misc]
                except Exception:  # noqa: BLE001 - whatever NATS raises: the fact must go out
                    _log.warning("event_waits", waiting=len(self._waiting))
                    await asyncio.sleep(RETRY_DELAY)
                    continue
                self._waiting.popleft()

    async def joined(self, grant: Grant, participant: Participant) -> None:
        """participant.joined."""
        self._tell(
            "participant",
            "joined",
            grant.meeting_id,
            events_pb2.ParticipantJoined(
                meeting_id=grant.meeting_id,
                organisation_id=grant.organisation_id,
                participant_id=participant.id,
                presence_id=participant.presence_id,
                party=codec.party_to_proto(participant.party),
                role=codec.role_to_proto(participant.role),
                join_time=codec.timestamp(participant.join_time),
            ),
        )

    async def left(
        self, meeting_id: str, organisation_id: str, participant: Participant, reason: str
    ) -> None:
        """participant.left."""
        message = events_pb2.ParticipantLeft(
            meeting_id=meeting_id,
            organisation_id=organisation_id,
            participant_id=participant.id,
            presence_id=participant.presence_id,
            reason=_REASONS[reason],
        )
        if reason == "lost" and participant.connection is Connection.LOST and participant.lost_time:
            message.leave_time.CopyFrom(codec.timestamp(participant.lost_time))
        else:
            message.leave_time.GetCurrentTime()
        self._tell("participant", "left", meeting_id, message)

    async def floor(self, meeting_id: str, effect: Effect, now: datetime) -> None:
        """floor.granted or floor.returned."""
        if isinstance(effect, Granted):
            self._tell(
                "floor",
                "granted",
                meeting_id,
                events_pb2.FloorGranted(
                    meeting_id=meeting_id,
                    participant_id=effect.holder.participant_id,
                    called=effect.holder.called,
                    grant_time=codec.timestamp(effect.holder.grant_time),
                ),
            )
        else:
            self._tell(
                "floor",
                "returned",
                meeting_id,
                events_pb2.FloorReturned(
                    meeting_id=meeting_id,
                    participant_id=effect.participant_id,
                    return_time=codec.timestamp(now),
                ),
            )

    async def moved(self, room: Room) -> None:
        """room.moved."""
        ROOMS_MOVED.labels(room.node_id).inc()
        message = events_pb2.RoomMoved(
            meeting_id=room.meeting_id, node_id=room.node_id, generation=room.generation
        )
        self._tell("room", "moved", room.meeting_id, message)

    async def talking(self, meeting_id: str, talking: list[str], silent: list[str]) -> None:
        """The core subject giaoban.media.live.<meeting>."""
        signal = media_pb2.LiveSignal(talking=talking, silent=silent)
        try:
            await self._send_live(signal_subject("media", "live", meeting_id), signal.SerializeToString())  # type: ignore[misc]
        except Exception:  # noqa: BLE001 - too lively to be kept
            _log.debug("live_signal_dropped")

    def _tell(self, aggregate: str, verb: str, entity_id: str, message: Message) -> None:
        self._waiting.append(new_event(subject("media", aggregate, verb, entity_id), message))
        self._more.set()
