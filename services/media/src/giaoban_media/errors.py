# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in media, in its own words. Each reason is part of the public error table."""

from __future__ import annotations

from datetime import timedelta

from giaoban_kit.errors import (
    Conflict,
    Exhausted,
    FieldViolation,
    Forbidden,
    Invalid,
    NotFound,
    Precondition,
    Unauthenticated,
    Unavailable,
)


class GrantInvalid(Unauthenticated):
    """The admission grant is missing, forged, expired or for something else."""

    reason = "GRANT_INVALID"


class JoinExpected(Invalid):
    """A stream must begin with `join`, and only once."""

    reason = "JOIN_EXPECTED"


class OfferInvalid(Invalid):
    """The session description was refused."""

    reason = "OFFER_INVALID"


class CommandInvalid(Invalid):
    """A value of an act is out of bounds."""

    reason = "COMMAND_INVALID"

    @classmethod
    def field(cls, field: str, remedy: str) -> CommandInvalid:
        """One offending field with its remedy."""
        return cls(f"{field}: {remedy}", violations=[FieldViolation(field, "COMMAND_INVALID", remedy)])


class CommandForbidden(Forbidden):
    """The participant's role does not allow the act."""

    reason = "COMMAND_FORBIDDEN"


class NoFloor(Forbidden):
    """Only those who have the floor may do this."""

    reason = "NO_FLOOR"


class ParticipantNotFound(NotFound):
    """Nobody with this id is in the room."""

    reason = "PARTICIPANT_NOT_FOUND"


class RoomNotFound(NotFound):
    """Nobody has opened this meeting's room."""

    reason = "ROOM_NOT_FOUND"


class FloorQueueFull(Exhausted):
    """Too many raised hands."""

    reason = "FLOOR_QUEUE_FULL"


class FloorFull(Exhausted):
    """Too many have the floor."""

    reason = "FLOOR_FULL"


class ScreenTaken(Precondition):
    """Somebody else shares a screen."""

    reason = "SCREEN_TAKEN"


class MeetingEnded(Precondition):
    """The meeting was ended; nobody can be in its room."""

    reason = "MEETING_ENDED"


class ParticipantRemoved(Forbidden):
    """The participant was removed and may not come back."""

    reason = "PARTICIPANT_REMOVED"


class Replaced(Conflict):
    """The same party has joined from elsewhere."""

    reason = "REPLACED"


class RecordingInProgress(Precondition):
    """Another recording of the room is running."""

    reason = "RECORDING_IN_PROGRESS"


class NoMediaNode(Unavailable):
    """No media node can carry the room now."""

    reason = "NO_MEDIA_NODE"


CAPACITY_RETRY_AFTER = timedelta(seconds=10)
"""When somebody who found no room may ask again: a node's measured load is told every five seconds."""


class MediaCapacity(Exhausted):
    """The media nodes have no room for one more; whoever is in the meeting is unharmed."""

    reason = "MEDIA_CAPACITY"

    def __init__(self) -> None:
        """The same for everybody: what the nodes carry is not the caller's to know."""
        super().__init__(
            "The media servers are full at this moment. Your place is not lost: try again in a moment.",
            retry_after=CAPACITY_RETRY_AFTER,
        )


class MediaLost(Unavailable):
    """The media session, or the node that carried it, is gone: the client must rejoin."""

    reason = "MEDIA_LOST"


class LiveStateBusy(Conflict):
    """The live state changed too often while a command was applied."""

    reason = "LIVE_STATE_BUSY"
