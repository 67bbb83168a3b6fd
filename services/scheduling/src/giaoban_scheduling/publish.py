# SPDX-License-Identifier: Apache-2.0
"""Owns scheduling's facts on the wire: subjects `giaoban.scheduling.v1.meeting.<verb>.<meeting id>`."""

from collections.abc import Sequence

from giaoban.scheduling.v1 import events_pb2 as facts
from giaoban_kit.events import new_event, subject
from giaoban_kit.outbox import Outbox
from google.protobuf.message import Message

from giaoban_scheduling.convert import admission_to_proto, appointment_to_proto, meeting_to_proto
from giaoban_scheduling.domain import Admission, Appointment, Meeting


class OutboxNews:
    """The `News` port: each fact goes to the outbox of its transaction."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def scheduled(self, meeting: Meeting) -> None:
        """A meeting was called."""
        await self._tell("scheduled", meeting.id, facts.MeetingScheduled(meeting=meeting_to_proto(meeting)))

    async def changed(
        self,
        meeting: Meeting,
        removed: Sequence[Appointment],
        added: Sequence[Appointment],
        *,
        announce_to_all: bool,
    ) -> None:
        """A meeting was changed."""
        message = facts.MeetingChanged(
            meeting=meeting_to_proto(meeting),
            removed_appointments=[appointment_to_proto(each) for each in removed],
            added_appointments=[appointment_to_proto(each) for each in added],
            announce_to_all=announce_to_all,
        )
        await self._tell("changed", meeting.id, message)

    async def cancelled(self, meeting: Meeting) -> None:
        """A meeting was called off."""
        await self._tell("cancelled", meeting.id, facts.MeetingCancelled(meeting=meeting_to_proto(meeting)))

    async def ended(self, meeting: Meeting) -> None:
        """A meeting is over."""
        await self._tell("ended", meeting.id, facts.MeetingEnded(meeting=meeting_to_proto(meeting)))

    async def admission_requested(self, admission: Admission) -> None:
        """Somebody waits."""
        message = facts.AdmissionRequested(admission=admission_to_proto(admission))
        await self._tell("admission_requested", admission.meeting_id, message)

    async def admission_decided(self, admission: Admission) -> None:
        """Somebody was admitted or refused."""
        message = facts.AdmissionDecided(admission=admission_to_proto(admission))
        await self._tell("admission_decided", admission.meeting_id, message)

    async def _tell(self, verb: str, meeting_id: str, message: Message) -> None:
        await self._outbox.add(new_event(subject("scheduling", "meeting", verb, meeting_id), message))
