# SPDX-License-Identifier: Apache-2.0
"""Questions and commands to the other services, in our words."""

from __future__ import annotations

import grpc
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as identity
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban.media.v1 import media_service_pb2 as media
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceStub
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1 import scheduling_service_pb2 as scheduling
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import SchedulingServiceStub
from giaoban_kit.errors import NotFound

from giaoban_recording.ports import Appointment


class GrpcMeetings:
    """Implements `ports.Meetings` with the caller's own token."""

    def __init__(self, to_scheduling: grpc.aio.Channel, to_identity: grpc.aio.Channel) -> None:
        """Channels of the kit."""
        self._scheduling = SchedulingServiceStub(to_scheduling)
        self._identity = IdentityServiceStub(to_identity)

    async def appointment(self, meeting_id: str) -> Appointment:
        """The caller's role ("" without one)."""
        answer = await self._scheduling.GetMyAppointment(
            scheduling.GetMyAppointmentRequest(meeting_id=meeting_id)
        )
        role = scheduling_pb2.AppointmentRole.Name(answer.role).removeprefix("APPOINTMENT_ROLE_").lower()
        return Appointment(
            role="" if role == "unspecified" else role,
            organisation_id=answer.organisation_id,
            unit_id=answer.unit_id,
            meeting_title=answer.meeting_title,
            running=answer.status == scheduling_pb2.MEETING_STATUS_RUNNING,
        )

    async def may_oversee(self, unit_id: str) -> bool:
        """Whether the caller oversees the unit."""
        request = identity.CheckPermissionRequest(unit_id=unit_id, permission=identity_pb2.PERMISSION_OVERSEE)
        try:
            return bool((await self._identity.CheckPermission(request)).allowed)
        except NotFound:
            return False


class GrpcRooms:
    """Implements `ports.Rooms`."""

    def __init__(self, to_media: grpc.aio.Channel) -> None:
        """A channel of the kit."""
        self._media = MediaServiceStub(to_media)

    async def record(self, meeting_id: str, recording_id: str, *, active: bool) -> None:
        """Starts or stops capture."""
        await self._media.SetRecording(
            media.SetRecordingRequest(meeting_id=meeting_id, recording_id=recording_id, active=active)
        )
