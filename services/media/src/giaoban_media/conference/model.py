# SPDX-License-Identifier: Apache-2.0
"""What a running meeting is made of. Immutable values; owns no rule and no input or output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Role(StrEnum):
    """The role of an appointment; the words are those of the grant's `role` claim."""

    CHAIR = "chair"
    SECRETARY = "secretary"
    OPERATOR = "operator"
    DELEGATE = "delegate"
    OBSERVER = "observer"
    PRESS = "press"


class PartyKind(StrEnum):
    """Who takes part: a person, or a place as one party."""

    USER = "user"
    SITE = "site"


class MicrophonePolicy(StrEnum):
    """Who may send audio: those with the floor, or everyone."""

    FLOOR = "floor"
    OPEN = "open"


class Connection(StrEnum):
    """How far a participant's media has come."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"


class Source(StrEnum):
    """What a stream shows or carries."""

    MICROPHONE = "microphone"
    CAMERA = "camera"
    SCREEN = "screen"


@dataclass(frozen=True, slots=True)
class Party:
    """A person or site, with the names people read."""

    kind: PartyKind
    id: str
    name: str
    office: str = ""
    unit_id: str = ""
    unit_name: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream on the publishing connection; `mid` as in RFC 5888."""

    mid: str
    source: Source


@dataclass(frozen=True, slots=True)
class Participant:
    """A party present in a room."""

    id: str
    party: Party
    role: Role
    join_time: datetime
    presence_id: str
    connection: Connection = Connection.CONNECTING
    streams: tuple[Stream, ...] = ()
    publication: int = 0
    muted: bool = False
    microphone_off: bool = False
    camera_off: bool = False
    removed: bool = False
    link_quality: int | None = None
    lost_time: datetime | None = None
    """When signalling was lost; means something only while the connection is LOST."""
    node_id: str = ""
    """The media node that carries the participant."""


@dataclass(frozen=True, slots=True)
class FloorRequest:
    """A raised hand."""

    participant_id: str
    request_time: datetime


@dataclass(frozen=True, slots=True)
class FloorHolder:
    """Somebody who has the floor; `called` when the chair called the site."""

    participant_id: str
    grant_time: datetime
    limit: timedelta | None = None
    called: bool = False


@dataclass(frozen=True, slots=True)
class Floor:
    """Who speaks and who is next, in order."""

    queue: tuple[FloorRequest, ...] = ()
    holders: tuple[FloorHolder, ...] = ()

    def holds(self, participant_id: str) -> bool:
        """Whether the participant has the floor."""
        return any(holder.participant_id == participant_id for holder in self.holders)


@dataclass(frozen=True, slots=True)
class Stage:
    """What was chosen for the main screens; empty strings mean nothing was."""

    participant_id: str = ""
    screen_participant_id: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message to all."""

    id: str
    participant_id: str
    sender_name: str
    text: str
    send_time: datetime


@dataclass(frozen=True, slots=True)
class Room:
    """The live media space: where it is, what it is set to."""

    meeting_id: str
    organisation_id: str
    policy: MicrophonePolicy
    open_time: datetime
    node_id: str = ""
    generation: int = 0
    recording_id: str = ""
    recording_start_time: datetime | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Conference:
    """The whole live state at one moment, told from others by identity: what follows from it is found once for all.

    `room` is None before the first participant has opened it.
    """

    room: Room | None = None
    participants: Mapping[str, Participant] = field(default_factory=dict)
    floor: Floor = Floor()
    stage: Stage = Stage()

    def present(self) -> dict[str, Participant]:
        """Everyone who has not been removed."""
        return {key: each for key, each in self.participants.items() if not each.removed}
