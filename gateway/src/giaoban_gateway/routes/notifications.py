# SPDX-License-Identifier: Apache-2.0
"""The caller's inbox."""

from __future__ import annotations

from fastapi import APIRouter
from giaoban.notifications.v1 import notifications_service_pb2 as pb

from giaoban_gateway.auth import IsCaller, UsesServices
from giaoban_gateway.schemas.common import PageSize, PageToken, PathId, or_none
from giaoban_gateway.schemas.notifications import Inbox, Notification

router = APIRouter(prefix="/v1", tags=["notifications"])


@router.get("/notifications")
async def list_notifications(
    uses: UsesServices,
    _: IsCaller,
    *,
    unread_only: bool = False,
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> Inbox:
    """The inbox, newest first."""
    answer = await uses.notifications.ListNotifications(
        pb.ListNotificationsRequest(unread_only=unread_only, page_size=page_size, page_token=page_token)
    )
    return Inbox(
        items=[Notification.of(each) for each in answer.notifications],
        unread_count=answer.unread_count,
        next_page_token=or_none(answer.next_page_token),
    )


@router.post("/notifications:read-all", status_code=204)
async def mark_all_read(uses: UsesServices, _: IsCaller) -> None:
    """Marks everything up to now as read."""
    await uses.notifications.MarkAllNotificationsRead(pb.MarkAllNotificationsReadRequest())


@router.post("/notifications/{notification_id}:read")
async def mark_read(notification_id: PathId, uses: UsesServices, _: IsCaller) -> Notification:
    """Marks one entry as read."""
    answer = await uses.notifications.MarkNotificationRead(
        pb.MarkNotificationReadRequest(notification_id=notification_id)
    )
    return Notification.of(answer.notification)
