# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG002, N802  (gRPC chooses the names of methods and hands every one a context)
"""Owns the gRPC surface of notifications: message in, one use case, message out."""

from collections.abc import Mapping
from typing import Any

from giaoban.notifications.v1 import notifications_pb2 as nouns
from giaoban.notifications.v1 import notifications_service_pb2 as calls
from giaoban.notifications.v1.notifications_service_pb2_grpc import NotificationsServiceServicer
from giaoban_kit.db import decode_page_token, encode_page_token, page_size
from giaoban_kit.tokens import current_principal
from giaoban_kit.validate import Violations

from giaoban_notifications.domain import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    Kind,
    Notification,
)
from giaoban_notifications.service import UserInbox

Context = Any  # grpc.aio.ServicerContext; generic in the stubs, not at run time

KINDS: Mapping[Kind, nouns.NotificationKind.ValueType] = {
    Kind.MEETING_INVITED: nouns.NOTIFICATION_KIND_MEETING_INVITED,
    Kind.MEETING_CHANGED: nouns.NOTIFICATION_KIND_MEETING_CHANGED,
    Kind.MEETING_CANCELLED: nouns.NOTIFICATION_KIND_MEETING_CANCELLED,
    Kind.MEETING_WITHDRAWN: nouns.NOTIFICATION_KIND_MEETING_CANCELLED,
    Kind.RECORDING_READY: nouns.NOTIFICATION_KIND_RECORDING_READY,
    Kind.RECORDING_FAILED: nouns.NOTIFICATION_KIND_RECORDING_FAILED,
}


class NotificationsServicer(NotificationsServiceServicer):
    """The caller's inbox; who may call is decided before, by the kit's interceptors."""

    def __init__(self, inbox: UserInbox) -> None:
        self._inbox = inbox

    async def ListNotifications(
        self, request: calls.ListNotificationsRequest, context: Context
    ) -> calls.ListNotificationsResponse:
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, max=MAX_PAGE_SIZE)
        cursor = decode_page_token(request.page_token, "id")
        before_id = None
        if cursor is not None:
            check = Violations()
            before_id = check.id("page_token", cursor["id"])
            check.raise_if_any()
        entries, end, unread = await self._inbox.page(
            current_principal().subject, unread_only=request.unread_only, before_id=before_id, limit=size
        )
        return calls.ListNotificationsResponse(
            notifications=[to_proto(entry) for entry in entries],
            next_page_token=encode_page_token(id=end) if end else "",
            unread_count=unread,
        )

    async def MarkNotificationRead(
        self, request: calls.MarkNotificationReadRequest, context: Context
    ) -> calls.MarkNotificationReadResponse:
        check = Violations()
        notification_id = check.id("notification_id", request.notification_id)
        check.raise_if_any()
        entry = await self._inbox.mark_read(current_principal().subject, notification_id)
        return calls.MarkNotificationReadResponse(notification=to_proto(entry))

    async def MarkAllNotificationsRead(
        self, request: calls.MarkAllNotificationsReadRequest, context: Context
    ) -> calls.MarkAllNotificationsReadResponse:
        await self._inbox.mark_all_read(current_principal().subject)
        return calls.MarkAllNotificationsReadResponse()


def to_proto(entry: Notification) -> nouns.Notification:
    """As clients see it."""
    message = nouns.Notification(
        id=entry.id,
        kind=KINDS[entry.kind],
        title=entry.title,
        body=entry.body,
        meeting_id=entry.meeting_id,
    )
    message.create_time.FromDatetime(entry.created_at)
    if entry.read_at is not None:
        message.read_time.FromDatetime(entry.read_at)
    return message
