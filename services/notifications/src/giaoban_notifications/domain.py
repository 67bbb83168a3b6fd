# SPDX-License-Identifier: Apache-2.0
"""Owns the nouns and rules of notifications: who is told what, and when a mail is tried again.

Pure: standard library only, no clock, no input or output.
"""

import enum
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_TOKEN = 1024
MAX_ERROR = 100


class Locale(enum.Enum):
    """The language a user reads."""

    VI = "vi"
    EN = "en"


class Kind(enum.Enum):
    """What a notification is about."""

    MEETING_INVITED = "meeting_invited"
    MEETING_CHANGED = "meeting_changed"
    MEETING_CANCELLED = "meeting_cancelled"
    # The meeting goes on without this person; shown as a cancelled invitation.
    MEETING_WITHDRAWN = "meeting_withdrawn"
    RECORDING_READY = "recording_ready"
    RECORDING_FAILED = "recording_failed"


class DeliveryState(enum.Enum):
    """How far a mail has come."""

    PENDING = "pending"
    SENT = "sent"
    # Given up; somebody has to look.
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class PartyRef:
    """A user, site or unit; `kind` is the number identity gives it."""

    kind: int
    id: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person who is told, with where and how."""

    user_id: str
    organisation_id: str
    display_name: str
    email: str = field(repr=False)  # never in a log by accident
    locale: Locale
    time_zone: str


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a letter says about a meeting. `time_zone`: IANA, the zone in which the meeting was called."""

    id: str
    organisation_id: str
    unit_name: str
    title: str
    description: str
    start: datetime
    duration: timedelta
    time_zone: str
    chair: str
    cancel_reason: str
    # RFC 5545, section 3.8.7.4.
    sequence: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What a letter says about a recording."""

    id: str
    organisation_id: str
    meeting_id: str
    meeting_title: str
    started_by: str
    failure: str


@dataclass(frozen=True, slots=True)
class Notification:
    """An entry of a user's inbox, in the user's language."""

    id: str
    event_id: str
    organisation_id: str
    user_id: str
    kind: Kind
    title: str
    body: str
    meeting_id: str
    created_at: datetime
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A mail on its way: one per event and recipient.

    `message` is the whole mail (RFC 5322), made once, so that every attempt sends the same with the same
    Message-ID. It and the address are erased when the mail was sent.
    """

    id: str
    event_id: str
    user_id: str
    address: str = field(repr=False)
    message: bytes = field(repr=False)
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a mail that could not be sent is tried again, and when it is given up."""

    first_delay: timedelta
    max_delay: timedelta
    max_attempts: int

    def delay(self, attempts: int) -> timedelta | None:
        """The wait after this many attempts; None: give up."""
        if attempts >= self.max_attempts:
            return None
        doublings: int = 2 ** min(attempts - 1, 30)
        return min(self.first_delay * doublings, self.max_delay)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who hears what about a changed meeting; no person is in two of them."""

    invited: frozenset[str]
    withdrawn: frozenset[str]
    informed: frozenset[str]


def audience_of_change(before: Collection[str], after: Collection[str], *, announce_to_all: bool) -> Audience:
    """Sorts user ids by what they are told.

    People, not appointments, are compared: who is invited twice (as a person and for a unit) and loses one
    of both is still invited.
    """
    old, new = frozenset(before), frozenset(after)
    return Audience(new - old, old - new, new & old if announce_to_all else frozenset())
