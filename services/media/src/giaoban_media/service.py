# SPDX-License-Identifier: Apache-2.0
"""The use cases of media."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime

from giaoban_kit.clock import Clock

from giaoban_media.conference.model import PartyKind, Room, Stream
from giaoban_media.domain import Grant, NodeStatus, View
from giaoban_media.errors import MediaCapacity, MediaLost, RecordingInProgress, RoomNotFound
from giaoban_media.meetings import Meetings
from giaoban_media.messages import Entered
from giaoban_media.metrics import CAPACITY_REFUSED, JOIN_SECONDS, SEATS
from giaoban_media.nodes import Nodes
from giaoban_media.seat import Seat

JOIN_ATTEMPTS = 3


class Media:
    """One method per use case."""

    def __init__(self, meetings: Meetings, nodes: Nodes, clock: Clock) -> None:
        """Lives as long as the process."""
        self._meetings = meetings
        self._nodes = nodes
        self._clock = clock

    @contextlib.asynccontextmanager
    async def connect(
        self, grant: Grant, offer_sdp: str, streams: Sequence[Stream], *, resume: bool, view: View
    ) -> AsyncIterator[tuple[Seat, Entered]]:
        """A participant's stay for as long as its stream lasts.

        Raises `MeetingEnded`, `ParticipantRemoved`, `NoMediaNode`, `MediaCapacity`, `OfferInvalid`, `MediaLost`,
        `Replaced`.
        """
        async with self._meetings.using(grant.meeting_id) as meeting:
            started = time.monotonic()
            with self._meetings.admitted(meeting, grant) as node_id:
                for attempt in range(JOIN_ATTEMPTS):
                    await self._meetings.open_room(meeting, grant)
                    seat = self._meetings.seat(meeting, grant, node_id)
                    try:
                        entered = await seat.join(offer_sdp, streams, resume=resume, view=view)
                    except MediaLost:
                        # The node died under the join: the room is placed elsewhere, join there.
                        await seat.abandon()
                        if attempt == JOIN_ATTEMPTS - 1:
                            raise
                        continue
                    except BaseException:
                        await seat.withdraw()
                        raise
                    break
            JOIN_SECONDS.labels("resume" if entered.resumed else "join").observe(time.monotonic() - started)
            self._meetings.hold(meeting, seat)
            with SEATS.track_inprogress():
                try:
                    yield seat, entered
                finally:
                    seat.detach()

    async def check_capacity(self, meeting_id: str, kind: PartyKind, party_id: str) -> int:
        """Whether there is room for a party in a meeting now; who is in it has it. Raises `MediaCapacity`.

        How many more would find room, at least.
        """
        async with self._meetings.using(meeting_id) as meeting:
            present = meeting.live.conference.participants.values()
            if any(each.party.kind is kind and each.party.id == party_id for each in present):
                return self._meetings.room_for(meeting_id)
            try:
                self._meetings.check_capacity(meeting, meeting_id)
            except MediaCapacity:
                CAPACITY_REFUSED.labels("ticket").inc()
                raise
            return self._meetings.room_for(meeting_id)

    async def set_recording(self, meeting_id: str, recording_id: str, *, active: bool) -> datetime:
        """Starts or stops the recording of a room. Raises `RoomNotFound`, `RecordingInProgress`."""
        now = self._clock.now()

        def decide(room: Room | None) -> Room | None:
            if room is None or room.closed:
                if active:
                    raise RoomNotFound("nobody is in the room of this meeting", meeting_id=meeting_id)
                return room
            if active:
                if room.recording_id and room.recording_id != recording_id:
                    raise RecordingInProgress("another recording of this meeting is running")
                if room.recording_id == recording_id:
                    return room
                return replace(room, recording_id=recording_id, recording_start_time=now)
            if room.recording_id != recording_id:
                return room
            return replace(room, recording_id="", recording_start_time=None)

        async with self._meetings.using(meeting_id) as meeting:
            room = await meeting.live.update_room(decide)
        return room.recording_start_time if room and active and room.recording_start_time else now

    async def close_room(self, meeting_id: str) -> None:
        """The meeting has ended or was cancelled."""
        await self._meetings.close_room(meeting_id)

    def nodes(self) -> list[NodeStatus]:
        """Media nodes with their load."""
        return sorted(self._nodes.all(), key=lambda each: each.id)
