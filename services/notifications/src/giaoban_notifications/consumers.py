# SPDX-License-Identifier: Apache-2.0
"""Owns the way from an event to a use case."""

from collections.abc import Iterable
from datetime import UTC

from giaoban.identity.v1.identity_pb2 import PARTY_KIND_USER
from giaoban.recording.v1 import events_pb2 as recording_events
from giaoban.recording.v1 import recording_pb2 as recording_nouns
from giaoban.scheduling.v1 import events_pb2 as scheduling_events
from giaoban.scheduling.v1 import scheduling_pb2 as scheduling_nouns
from giaoban_kit.events import Event
from giaoban_kit.ids import is_id

from giaoban_notifications.domain import Kind, Meeting, PartyRef, Recording
from giaoban_notifications.errors import EventUnusable
from giaoban_notifications.service import Announcements

MEETINGS = "notifications-meetings"
RECORDINGS = "notifications-recordings"
# Identity may be away for hours before an invitation is given up.
MAX_DELIVERIES = 100


class Consumers:
    """Handlers for `giaoban_kit.events.consuming`."""

    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements

    async def meeting(self, event: Event) -> None:
        """A meeting was scheduled, changed or cancelled."""
        message = event.message
        if isinstance(message, scheduling_events.MeetingScheduled):
            meeting = message.meeting
            await self._announcements.meeting_scheduled(
                MEETINGS, event.id, event.time, _meeting(meeting), _refs(meeting.appointments)
            )
        elif isinstance(message, scheduling_events.MeetingChanged):
            after = _refs(message.meeting.appointments)
            added = {appointment.id for appointment in message.added_appointments}
            kept = [a for a in message.meeting.appointments if a.id not in added]
            await self._announcements.meeting_changed(
                MEETINGS,
                event.id,
                event.time,
                _meeting(message.meeting),
                before=_refs(kept) | _refs(message.removed_appointments),
                after=after,
                announce_to_all=message.announce_to_all,
            )
        elif isinstance(message, scheduling_events.MeetingCancelled):
            meeting = message.meeting
            await self._announcements.meeting_cancelled(
                MEETINGS, event.id, event.time, _meeting(meeting), _refs(meeting.appointments)
            )
        else:
            raise EventUnusable(f"Not an event about a meeting: {message.DESCRIPTOR.full_name}.")

    async def recording(self, event: Event) -> None:
        """A recording was completed or failed."""
        message = event.message
        if isinstance(message, recording_events.RecordingCompleted):
            kind = Kind.RECORDING_READY
        elif isinstance(message, recording_events.RecordingFailed):
            kind = Kind.RECORDING_FAILED
        else:
            raise EventUnusable(f"Not an event about a recording: {message.DESCRIPTOR.full_name}.")
        recording = _recording(message.recording)
        starter = PartyRef(PARTY_KIND_USER, recording.started_by)
        await self._announcements.recording_finished(
            RECORDINGS, event.id, event.time, recording, starter, kind
        )


def _refs(appointments: Iterable[scheduling_nouns.Appointment]) -> set[PartyRef]:
    refs = {PartyRef(appointment.party.ref.kind, appointment.party.ref.id) for appointment in appointments}
    if not all(is_id(ref.id) for ref in refs):
        raise EventUnusable("An appointment names no party.")
    return refs


def _meeting(meeting: scheduling_nouns.Meeting) -> Meeting:
    if not is_id(meeting.id) or not is_id(meeting.organisation_id) or not meeting.HasField("start_time"):
        raise EventUnusable("The meeting has no id, organisation or start.")
    chairs = [
        f"{a.party.name}, {a.party.office}" if a.party.office else a.party.name
        for a in meeting.appointments
        if a.role == scheduling_nouns.APPOINTMENT_ROLE_CHAIR
    ]
    return Meeting(
        id=meeting.id,
        organisation_id=meeting.organisation_id,
        unit_name=meeting.unit_name,
        title=meeting.title,
        description=meeting.description,
        start=meeting.start_time.ToDatetime(tzinfo=UTC),
        duration=meeting.duration.ToTimedelta(),
        time_zone=meeting.time_zone,
        chair="; ".join(chairs),
        cancel_reason=meeting.cancel_reason,
        sequence=meeting.sequence,
    )


def _recording(recording: recording_nouns.Recording) -> Recording:
    if not all(is_id(i) for i in (recording.id, recording.organisation_id, recording.started_by)):
        raise EventUnusable("The recording has no id, organisation or person who started it.")
    return Recording(
        id=recording.id,
        organisation_id=recording.organisation_id,
        meeting_id=recording.meeting_id,
        meeting_title=recording.meeting_title,
        started_by=recording.started_by,
        failure=recording.failure,
    )
