# SPDX-License-Identifier: Apache-2.0
"""What clients are sent: the nouns and messages of docs/live-protocol.md as types.

The code builds these types, so the type checker holds it to them; docs/asyncapi.yaml is made of them.
"""

from __future__ import annotations

from typing import (
    Annotated,
    Literal,
    NotRequired,  # pydantic cannot read typing's before Python 3.12
)

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from giaoban_gateway.schemas.common import PartyKindWord
from giaoban_gateway.schemas.meetings import PolicyWord, RoleWord

Code = Literal[
    "meeting_ended",
    "removed",
    "replaced",
    "refused",
    "meeting_not_found",
    "meeting_not_open",
    "ticket_invalid",
    "join_expected",
    "message_invalid",
    "rate_limited",
    "no_media_node",
    "media_capacity",
    "participant_limit",
    "appointment_changed",
    "server_stopping",
    "internal",
]
"""Why a connection ended."""

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Source = Literal["microphone", "camera", "screen", "unknown"]
_CLOSED = ConfigDict(extra="forbid")


@with_config(_CLOSED)
class RecordingRef(TypedDict):
    """The recording that runs."""

    recording_id: str
    start_time: Moment


@with_config(_CLOSED)
class Room(TypedDict):
    """The room as a whole."""

    meeting_id: str
    microphone_policy: PolicyWord
    recording: RecordingRef | None
    open_time: Moment
    closed: bool


@with_config(_CLOSED)
class PartyNoun(TypedDict):
    """A user or a site, with the names that people read."""

    kind: PartyKindWord
    id: str
    name: str
    office: str
    unit_id: str
    unit_name: str


@with_config(_CLOSED)
class PublishedStream(TypedDict):
    """One stream that a participant sends."""

    mid: str
    source: Source


@with_config(_CLOSED)
class Participant(TypedDict):
    """Somebody in the room; `audible`: may its audio be heard now."""

    id: str
    party: PartyNoun
    role: RoleWord
    connection: Literal["connecting", "connected", "lost", "unknown"]
    streams: list[PublishedStream]
    muted: bool
    microphone_off: bool
    camera_off: bool
    audible: bool
    join_time: Moment
    link_quality: Annotated[int, Field(ge=0, le=100)] | None


@with_config(_CLOSED)
class RaisedHand(TypedDict):
    """A place in the queue."""

    participant_id: str
    request_time: Moment


@with_config(_CLOSED)
class Holder(TypedDict):
    """Somebody who has the floor."""

    participant_id: str
    grant_time: Moment
    limit_seconds: int | None
    called: bool


@with_config(_CLOSED)
class Floor(TypedDict):
    """Who wants to speak, and who may."""

    queue: list[RaisedHand]
    holders: list[Holder]


@with_config(_CLOSED)
class Stage(TypedDict):
    """What the main screens show; `showing`: whose picture that is now."""

    mode: Literal["auto", "pinned", "called"]
    participant_id: str | None
    screen_participant_id: str | None
    showing: str | None


@with_config(_CLOSED)
class Chat(TypedDict):
    """A message to all."""

    id: str
    participant_id: str
    sender_name: str
    text: str
    send_time: Moment


@with_config(_CLOSED)
class WaitingParty(TypedDict):
    """Somebody about whom chair or secretary must decide."""

    admission_id: str
    party: PartyNoun
    request_time: Moment


@with_config(_CLOSED)
class IceServer(TypedDict):
    """A STUN or TURN server."""

    urls: list[str]
    username: NotRequired[str]
    credential: NotRequired[str]


@with_config(_CLOSED)
class AnswerSdp(TypedDict):
    """The answer to an offer of the publishing connection."""

    sdp: str


@with_config(_CLOSED)
class Feed(TypedDict):
    """What one m-line of the receiving connection carries."""

    mid: str
    participant_id: str
    source: Source


@with_config(_CLOSED)
class ReplyError(TypedDict):
    """Why an act was not done."""

    reason: str
    detail: str
    metadata: dict[str, str]


@with_config(_CLOSED)
class Waiting(TypedDict):
    """No appointment: chair or secretary will decide; stay connected."""

    type: Literal["waiting"]
    admission_id: str


@with_config(_CLOSED)
class Joined(TypedDict):
    """In. When `resumed` is false and peer connections were kept, throw them away."""

    type: Literal["joined"]
    participant_id: str
    role: RoleWord
    answer: AnswerSdp | None
    resumed: bool
    ice_servers: list[IceServer]


@with_config(_CLOSED)
class Snapshot(TypedDict):
    """The whole state; replaces everything known."""

    type: Literal["snapshot"]
    revision: int
    room: Room | None
    participants: list[Participant]
    floor: Floor
    stage: Stage
    chat: list[Chat]


@with_config(_CLOSED)
class Delta(TypedDict):
    """What changed since the revision before."""

    type: Literal["delta"]
    revision: int
    room: NotRequired[Room]
    participants: NotRequired[list[Participant]]
    removed_participants: NotRequired[list[str]]
    floor: NotRequired[Floor]
    stage: NotRequired[Stage]
    chat: NotRequired[list[Chat]]


@with_config(_CLOSED)
class ReceivingOffer(TypedDict):
    """Offer for the receiving connection; answer it, one at a time, in order."""

    type: Literal["offer"]
    negotiation: int
    sdp: str
    feeds: list[Feed]
    new_connection: bool


@with_config(_CLOSED)
class Feeds(TypedDict):
    """What the lines of the receiving connection carry from now on; nothing to answer."""

    type: Literal["feeds"]
    feeds: list[Feed]


@with_config(_CLOSED)
class Rejoin(TypedDict):
    """Media is gone: build the publishing connection anew and send `publish`; a new receiving offer follows."""

    type: Literal["rejoin"]
    reason: str


@with_config(_CLOSED)
class Reply(TypedDict):
    """Answer to `publish`, `restart_ice` or `command`."""

    type: Literal["reply"]
    id: str
    answer: AnswerSdp | None
    error: ReplyError | None


@with_config(_CLOSED)
class Talking(TypedDict):
    """Who has begun and who has ceased to be heard."""

    type: Literal["talking"]
    talking: list[str]
    silent: list[str]


@with_config(_CLOSED)
class Admissions(TypedDict):
    """The whole waiting list; to chair, secretary and operator."""

    type: Literal["admissions"]
    waiting: list[WaitingParty]


@with_config(_CLOSED)
class Ended(TypedDict):
    """The connection closes after this."""

    type: Literal["ended"]
    code: Code
    detail: str


Outgoing = (
    Waiting
    | Joined
    | Snapshot
    | Delta
    | ReceivingOffer
    | Feeds
    | Rejoin
    | Reply
    | Talking
    | Admissions
    | Ended
)
OUTGOING: TypeAdapter[Outgoing] = TypeAdapter(Annotated[Outgoing, Field(discriminator="type")])
