# SPDX-License-Identifier: Apache-2.0
"""What clients may send, checked before anything else sees it; docs/asyncapi.yaml says the same."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from giaoban.media.v1 import media_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from giaoban_gateway.schemas.common import ULID_PATTERN

MAX_SDP = 60_000
MAX_TILES = 49

Sdp = Annotated[str, Field(min_length=1, max_length=MAX_SDP)]
RequestId = Annotated[str, Field(min_length=1, max_length=64)]
ParticipantId = Annotated[str, Field(pattern=ULID_PATTERN)]
Limit = Annotated[int, Field(ge=10, le=7_200)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Stream(_Message):
    """One stream on the publishing connection."""

    mid: Annotated[str, Field(min_length=1, max_length=16)]
    source: Literal["microphone", "camera", "screen"]

    def to_proto(self) -> media_pb2.Stream:
        """As the wire has it."""
        return media_pb2.Stream(
            mid=self.mid, source=media_pb2.StreamSource.Value(f"STREAM_SOURCE_{self.source.upper()}")
        )


Streams = Annotated[list[Stream], Field(max_length=4)]


class Offer(_Message):
    """The publishing connection's first offer."""

    sdp: Sdp
    streams: Streams


class View(_Message):
    """What to receive beside stage and audio."""

    tiles: Annotated[list[ParticipantId], Field(max_length=MAX_TILES)] = []
    audio_only: bool = False
    stage_height: Literal[180, 360, 720] = 720

    def to_proto(self) -> pb.View:
        """As the wire has it."""
        return pb.View(tiles=self.tiles, audio_only=self.audio_only, stage_height=self.stage_height)


class Join(_Message):
    """Must come first."""

    type: Literal["join"]
    ticket: Annotated[str, Field(min_length=1, max_length=128)]
    offer: Offer | None = None
    resume: bool = False
    revision: Annotated[int, Field(ge=0)] | None = None
    view: View = View()


class Publish(_Message):
    """Renegotiates the publishing connection."""

    type: Literal["publish"]
    id: RequestId
    sdp: Sdp
    streams: Streams

    def to_proto(self) -> pb.ConnectRequest:
        """As the wire has it."""
        streams = [each.to_proto() for each in self.streams]
        return pb.ConnectRequest(publish=pb.Publish(request_id=self.id, offer_sdp=self.sdp, streams=streams))


class Answer(_Message):
    """Answers an offer of the receiving connection."""

    type: Literal["answer"]
    negotiation: Annotated[int, Field(ge=0, lt=2**31)]
    sdp: Sdp

    def to_proto(self) -> pb.ConnectRequest:
        """As the wire has it."""
        return pb.ConnectRequest(answer=pb.Answer(negotiation=self.negotiation, answer_sdp=self.sdp))


class RestartIce(_Message):
    """Asks for a receiving offer with an ICE restart."""

    type: Literal["restart_ice"]
    id: RequestId

    def to_proto(self) -> pb.ConnectRequest:
        """As the wire has it."""
        return pb.ConnectRequest(restart_ice=pb.RestartIce(request_id=self.id))


class ViewChange(View):
    """Changes what is received."""

    type: Literal["view"]


class Leave(_Message):
    """Leaves for good."""

    type: Literal["leave"]

    def to_proto(self) -> pb.ConnectRequest:
        """As the wire has it."""
        return pb.ConnectRequest(leave=pb.Leave())


class Command(BaseModel):
    """An act; its own fields are checked by its shape."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["command"]
    id: RequestId
    act: str

    def to_proto(self) -> pb.ConnectRequest:
        """As the wire has it. Raises pydantic's ValidationError for an unknown act or wrong fields."""
        act: Any = ACTS.validate_python({"act": self.act, **(self.model_extra or {})})
        fields = act.model_dump(exclude={"act"}, exclude_none=True)
        if "limit_seconds" in fields:
            fields["limit"] = Duration(seconds=fields.pop("limit_seconds"))
        message = pb.Command(request_id=self.id)
        target = getattr(message, self.act)
        target.SetInParent()
        target.MergeFrom(type(target)(**fields))
        return pb.ConnectRequest(command=message)


class PlainAct(_Message):
    """An act without fields."""

    act: Literal["raise_hand", "return_floor", "end_call", "mute_all"]


class ActOfOne(_Message):
    """An act on one participant."""

    act: Literal["remove_participant"]
    participant_id: ParticipantId


class ActOfOneOrNone(_Message):
    """An act on one participant, or without one."""

    act: Literal["lower_hand", "take_floor", "set_stage"]
    participant_id: ParticipantId | None = None


class TimedAct(_Message):
    """An act on one participant with a limit of time."""

    act: Literal["grant_floor", "call_site"]
    participant_id: ParticipantId
    limit_seconds: Limit | None = None


class MuteAct(_Message):
    """Mutes or unmutes one participant."""

    act: Literal["mute_participant"]
    participant_id: ParticipantId
    muted: bool


class ChatAct(_Message):
    """A message to all."""

    act: Literal["send_chat"]
    text: Annotated[str, Field(min_length=1, max_length=2_000)]


class DevicesAct(_Message):
    """Tells which own devices are off."""

    act: Literal["set_own_devices"]
    microphone_off: bool
    camera_off: bool


class QueueAct(_Message):
    """Puts the queue of hands in another order."""

    act: Literal["reorder_queue"]
    participant_ids: Annotated[list[ParticipantId], Field(max_length=200)]


ActUnion = Annotated[
    PlainAct | ActOfOne | ActOfOneOrNone | TimedAct | MuteAct | ChatAct | DevicesAct | QueueAct,
    Field(discriminator="act"),
]
ACTS: TypeAdapter[Any] = TypeAdapter(ActUnion)
Incoming = Join | Publish | Answer | RestartIce | ViewChange | Leave | Command
INCOMING: TypeAdapter[Incoming] = TypeAdapter(Annotated[Incoming, Field(discriminator="type")])
