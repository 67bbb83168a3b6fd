# SPDX-License-Identifier: Apache-2.0
"""What the routes need: the stubs of the other parts, the verifier of tokens, limits and tickets."""

from __future__ import annotations

from dataclasses import dataclass

from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceStub
from giaoban.notifications.v1.notifications_service_pb2_grpc import NotificationsServiceStub
from giaoban.recording.v1.recording_service_pb2_grpc import RecordingServiceStub
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import SchedulingServiceStub
from giaoban_kit.tokens import TokenVerifier

from giaoban_gateway.capacity import Capacity
from giaoban_gateway.config import Config
from giaoban_gateway.limits import Limiter
from giaoban_gateway.live.hub import Hub
from giaoban_gateway.tickets import Tickets


@dataclass(frozen=True)
class Services:
    """One of each, for as long as the process lives."""

    config: Config
    identity: IdentityServiceStub
    scheduling: SchedulingServiceStub
    media: MediaServiceStub
    recording: RecordingServiceStub
    notifications: NotificationsServiceStub
    verifier: TokenVerifier
    tickets: Tickets
    capacity: Capacity
    hub: Hub
    auth_limit: Limiter
    refresh_limit: Limiter
    refresh_address_limit: Limiter
    user_limit: Limiter
