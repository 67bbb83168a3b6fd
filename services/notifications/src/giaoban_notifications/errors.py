# SPDX-License-Identifier: Apache-2.0
"""Owns the errors that notifications raises."""

from giaoban_kit.errors import Invalid, NotFound


class NotificationNotFound(NotFound):
    """No such entry in the caller's inbox."""

    reason = "NOTIFICATION_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no such notification in your inbox.")


class EventUnusable(Invalid):
    """An event lacks what a letter needs; it goes to the dead letters."""

    reason = "EVENT_UNUSABLE"
