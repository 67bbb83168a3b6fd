# SPDX-License-Identifier: Apache-2.0
"""Owns what notifications needs from the outside, in its own words.

Two implementations of the records exist and pass one contract suite: `store` (PostgreSQL) and
`testing` (in memory).
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from giaoban_notifications.domain import Delivery, Kind, Meeting, Notification, PartyRef, Recipient, Recording


class People(Protocol):
    """Identity, as far as notifications needs it."""

    async def behind(self, organisation_id: str, refs: Collection[PartyRef]) -> Sequence[Recipient]:
        """The people behind parties, each once. Errors: UNAVAILABLE and what else identity raises."""
        ...


class Letters(Protocol):
    """Writes what people read."""

    def about_meeting(self, kind: Kind, meeting: Meeting, recipient: Recipient) -> tuple[str, str]:
        """Title and body of the inbox entry."""
        ...

    def about_recording(self, kind: Kind, recording: Recording, recipient: Recipient) -> tuple[str, str]:
        """Title and body of the inbox entry."""
        ...

    def meeting_mail(
        self, kind: Kind, meeting: Meeting, recipient: Recipient, event_id: str, at: datetime
    ) -> bytes:
        """The whole mail (RFC 5322) with its calendar file; empty without a usable address."""
        ...

    def recording_mail(
        self, kind: Kind, recording: Recording, recipient: Recipient, event_id: str, at: datetime
    ) -> bytes:
        """The whole mail (RFC 5322); empty without a usable address."""
        ...


class Inbox(Protocol):
    """The inbox entries of all users."""

    async def add(self, *notifications: Notification) -> int:
        """Adds entries but those of users who were already told of the event; says how many."""
        ...

    async def get(self, user_id: str, notification_id: str) -> Notification | None:
        """An entry of this user."""
        ...

    async def page(
        self, user_id: str, *, unread_only: bool, before_id: str | None, limit: int
    ) -> Sequence[Notification]:
        """Entries of this user, newest (greatest id) first."""
        ...

    async def unread_count(self, user_id: str) -> int:
        """How many entries of this user are unread."""
        ...

    async def mark_read(self, user_id: str, notification_id: str, at: datetime) -> None:
        """Marks an entry; the first time counts."""
        ...

    async def mark_all_read(self, user_id: str, at: datetime) -> None:
        """Marks every entry created up to then."""
        ...


class Deliveries(Protocol):
    """Mails on their way."""

    async def add(self, *deliveries: Delivery) -> int:
        """Adds mails but those for whose event and user there is one; says how many."""
        ...

    async def claim(self, now: datetime, lease_until: datetime, limit: int) -> Sequence[Delivery]:
        """Takes mails that are due, each counted as attempted once more.

        Nobody else gets them before `lease_until`: when the worker dies meanwhile they come again.
        """
        ...

    async def mark_sent(self, delivery_id: str) -> None:
        """The server has it; address and content are erased."""
        ...

    async def mark_retry(self, delivery_id: str, at: datetime, error: str) -> None:
        """It is to be tried again."""
        ...

    async def mark_dead(self, delivery_id: str, error: str) -> None:
        """It was given up."""
        ...

    async def of_event(self, event_id: str) -> Sequence[Delivery]:
        """Every mail of an event, by user id."""
        ...


class Records(Protocol):
    """Everything notifications keeps, within one transaction."""

    @property
    def inbox(self) -> Inbox: ...
    @property
    def deliveries(self) -> Deliveries: ...

    async def first_time(self, consumer: str, event_id: str) -> bool:
        """Whether this consumer sees this event for the first time."""
        ...


class Transactions(Protocol):
    """Opens a transaction: committed when the block ends, rolled back when it raises."""

    def __call__(self) -> AbstractAsyncContextManager[Records]: ...

    async def has_seen(self, consumer: str, event_id: str) -> bool:
        """Whether this event had its effect by this consumer; asked outside of any transaction."""
        ...


class MailRefused(Exception):  # noqa: N818  # a fact, like our other errors
    """The server will never take this mail. `code`: its reply (RFC 5321, section 4.2)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with {code}")
        self.code = code


class MailDelayed(Exception):  # noqa: N818  # a fact, like our other errors
    """The mail could not be handed over now. `what`: a code or the name of an error, no address."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Mailer(Protocol):
    """Hands mails to a server."""

    async def send(self, address: str, message: bytes) -> None:
        """Returns when the server has taken responsibility. Errors: MailRefused, MailDelayed."""
        ...

    async def hang_up(self) -> None:
        """Ends the connection that was kept for the next mail, if there is one."""
        ...
