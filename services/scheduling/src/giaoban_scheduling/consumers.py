# SPDX-License-Identifier: Apache-2.0
"""Owns what scheduling hears: who came into a room and who left it, from media."""

from datetime import datetime

from giaoban.media.v1.events_pb2 import ParticipantJoined, ParticipantLeft
from giaoban_kit.errors import Invalid
from giaoban_kit.events import Event, event_filter
from google.protobuf.timestamp_pb2 import Timestamp

from giaoban_scheduling import convert
from giaoban_scheduling.domain import Presence
from giaoban_scheduling.entry import Entry

STREAM = "MEDIA"
DURABLE = "scheduling-attendance"
FILTERS = (event_filter("media", "participant", "joined"), event_filter("media", "participant", "left"))


class AttendanceEvents:
    """Durable; in any order, once or more often."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    async def handle(self, event: Event) -> None:
        """One event, one use case. Raises: Invalid if it cannot be true, MeetingNotFound."""
        message = event.message
        if not isinstance(message, ParticipantJoined | ParticipantLeft):
            raise Invalid(f"Not an event for attendance: {message.DESCRIPTOR.full_name}")
        stay = Presence(message.presence_id, message.meeting_id, message.participant_id)
        if isinstance(message, ParticipantLeft):
            left_at = _moment(message.leave_time)
            await self._entry.left(message.organisation_id, stay, left_at)
            return
        joined_at = _moment(message.join_time)
        role = convert.ROLES.get(message.role)
        if role is None or message.party.ref.kind not in convert.PARTY_KINDS:
            raise Invalid("The event names no party or role that we know.")
        party = convert.party_from_proto(message.party)
        await self._entry.joined(message.organisation_id, stay, party, role, joined_at)


def _moment(time: Timestamp) -> datetime:
    try:
        return convert.moment(time)
    except (ValueError, OverflowError):
        raise Invalid("The event names a time that cannot be.") from None
