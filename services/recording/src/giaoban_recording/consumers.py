# SPDX-License-Identifier: Apache-2.0
"""What recording hears: how participants are called, and that a meeting has ended."""

from __future__ import annotations

from giaoban.media.v1.events_pb2 import ParticipantJoined
from giaoban.scheduling.v1.events_pb2 import MeetingEnded
from giaoban_kit.events import Event

from giaoban_recording.ports import Begin
from giaoban_recording.service import Recorder

MAX_NAME_CHARACTERS = 200


class Names:
    """Durable, of media: participant.joined. Writing a name twice is harmless, so no inbox is kept."""

    def __init__(self, begin: Begin) -> None:
        """Opens a transaction for each event."""
        self._begin = begin

    async def handle(self, event: Event) -> None:
        """Remembers the name that is drawn on the participant's tile."""
        it = event.message
        if isinstance(it, ParticipantJoined):
            async with self._begin() as unit:
                name = it.party.name[:MAX_NAME_CHARACTERS]
                await unit.recordings.name_participant(it.meeting_id, it.participant_id, name)


class Ends:
    """Durable, of scheduling: meeting.ended. Stopping twice is harmless."""

    def __init__(self, recorder: Recorder) -> None:
        """The use cases."""
        self._recorder = recorder

    async def handle(self, event: Event) -> None:
        """Stops capture."""
        if isinstance(event.message, MeetingEnded):
            await self._recorder.meeting_ended(event.message.meeting.id)
