# SPDX-License-Identifier: Apache-2.0
"""Between the model and the entries of the KV bucket: keys and protobuf values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from giaoban.identity.v1 import identity_pb2
from giaoban.media.v1 import media_pb2
from giaoban.scheduling.v1 import scheduling_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from giaoban_media.conference.model import (
    ChatMessage,
    Connection,
    Floor,
    FloorHolder,
    FloorRequest,
    MicrophonePolicy,
    Participant,
    Party,
    PartyKind,
    Role,
    Room,
    Source,
    Stage,
    Stream,
)

ROOM, FLOOR, STAGE, PARTICIPANT, CHAT = "room", "floor", "stage", "participant", "chat"


def key(meeting_id: str, kind: str, entry_id: str = "") -> str:
    """The entry's key, `<meeting>.<kind>[.<id>]`."""
    return f"{meeting_id}.{kind}.{entry_id}" if entry_id else f"{meeting_id}.{kind}"


def split(entry_key: str) -> tuple[str, str, str]:
    """Meeting, kind and id (empty for entries that a meeting has once) of a key."""
    meeting_id, kind, *rest = entry_key.split(".")
    return meeting_id, kind, rest[0] if rest else ""


def encode(value: Room | Participant | Floor | Stage | ChatMessage) -> bytes:
    """The bytes of an entry."""
    return _ENCODERS[type(value)](value).SerializeToString()  # type: ignore[operator, no-any-return]


def party_to_proto(party: Party) -> identity_pb2.Party:
    """A party as the wire has it."""
    kind = identity_pb2.PARTY_KIND_SITE if party.kind is PartyKind.SITE else identity_pb2.PARTY_KIND_USER
    return identity_pb2.Party(
        ref=identity_pb2.PartyRef(kind=kind, id=party.id),
        name=party.name,
        office=party.office,
        unit_id=party.unit_id,
        unit_name=party.unit_name,
    )


def role_to_proto(role: Role) -> scheduling_pb2.AppointmentRole.ValueType:
    """A role as the wire has it."""
    return scheduling_pb2.AppointmentRole.Value(f"APPOINTMENT_ROLE_{role.name}")


def timestamp(moment: datetime) -> Timestamp:
    """A moment as the wire has it."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def moment(stamp: Timestamp) -> datetime:
    """A moment as the model has it: aware, UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def _duration(span: timedelta | None) -> Duration | None:
    if span is None:
        return None
    duration = Duration()
    duration.FromTimedelta(span)
    return duration


def _room(room: Room) -> media_pb2.RoomState:
    return media_pb2.RoomState(
        meeting_id=room.meeting_id,
        organisation_id=room.organisation_id,
        node_id=room.node_id,
        generation=room.generation,
        microphone_policy=scheduling_pb2.MicrophonePolicy.Value(f"MICROPHONE_POLICY_{room.policy.name}"),
        recording_id=room.recording_id,
        recording_start_time=timestamp(room.recording_start_time) if room.recording_start_time else None,
        open_time=timestamp(room.open_time),
        closed=room.closed,
    )


def room_from(data: bytes) -> Room:
    """Decodes `<meeting>.room`."""
    state = media_pb2.RoomState.FromString(data)
    policy = scheduling_pb2.MicrophonePolicy.Name(state.microphone_policy)
    started = state.HasField("recording_start_time")
    return Room(
        meeting_id=state.meeting_id,
        organisation_id=state.organisation_id,
        policy=MicrophonePolicy[policy.removeprefix("MICROPHONE_POLICY_")],
        open_time=moment(state.open_time),
        node_id=state.node_id,
        generation=state.generation,
        recording_id=state.recording_id,
        recording_start_time=moment(state.recording_start_time) if started else None,
        closed=state.closed,
    )


def _participant(participant: Participant) -> media_pb2.ParticipantState:
    return media_pb2.ParticipantState(
        id=participant.id,
        party=party_to_proto(participant.party),
        role=role_to_proto(participant.role),
        connection=media_pb2.ConnectionState.Value(f"CONNECTION_STATE_{participant.connection.name}"),
        streams=[
            media_pb2.Stream(
                mid=each.mid, source=media_pb2.StreamSource.Value(f"STREAM_SOURCE_{each.source.name}")
            )
            for each in participant.streams
        ],
        publication=participant.publication,
        muted=participant.muted,
        microphone_off=participant.microphone_off,
        camera_off=participant.camera_off,
        join_time=timestamp(participant.join_time),
        presence_id=participant.presence_id,
        removed=participant.removed,
        link_quality=participant.link_quality,
        lost_time=timestamp(participant.lost_time) if participant.lost_time else None,
        node_id=participant.node_id,
    )


def participant_from(data: bytes) -> Participant:
    """Decodes `<meeting>.participant.<id>`."""
    state = media_pb2.ParticipantState.FromString(data)
    site = state.party.ref.kind == identity_pb2.PARTY_KIND_SITE
    role = scheduling_pb2.AppointmentRole.Name(state.role)
    connection = media_pb2.ConnectionState.Name(state.connection)
    return Participant(
        id=state.id,
        party=Party(
            kind=PartyKind.SITE if site else PartyKind.USER,
            id=state.party.ref.id,
            name=state.party.name,
            office=state.party.office,
            unit_id=state.party.unit_id,
            unit_name=state.party.unit_name,
        ),
        role=Role[role.removeprefix("APPOINTMENT_ROLE_")],
        join_time=moment(state.join_time),
        presence_id=state.presence_id,
        connection=Connection[connection.removeprefix("CONNECTION_STATE_")],
        streams=streams_from(state.streams),
        publication=state.publication,
        muted=state.muted,
        microphone_off=state.microphone_off,
        camera_off=state.camera_off,
        removed=state.removed,
        link_quality=state.link_quality if state.HasField("link_quality") else None,
        lost_time=moment(state.lost_time) if state.HasField("lost_time") else None,
        node_id=state.node_id,
    )


def streams_from(streams: object) -> tuple[Stream, ...]:
    """Streams of a message; sources that nobody knows are left out."""
    known = {
        media_pb2.STREAM_SOURCE_MICROPHONE: Source.MICROPHONE,
        media_pb2.STREAM_SOURCE_CAMERA: Source.CAMERA,
        media_pb2.STREAM_SOURCE_SCREEN: Source.SCREEN,
    }
    return tuple(
        Stream(each.mid, known[each.source])
        for each in streams  # type: ignore[attr-defined]
        if each.source in known
    )


def _floor(floor: Floor) -> media_pb2.FloorState:
    return media_pb2.FloorState(
        queue=[
            media_pb2.FloorRequest(
                participant_id=each.participant_id, request_time=timestamp(each.request_time)
            )
            for each in floor.queue
        ],
        holders=[
            media_pb2.FloorHolder(
                participant_id=each.participant_id,
                grant_time=timestamp(each.grant_time),
                limit=_duration(each.limit),
                called=each.called,
            )
            for each in floor.holders
        ],
    )


def floor_from(data: bytes) -> Floor:
    """Decodes `<meeting>.floor`."""
    state = media_pb2.FloorState.FromString(data)
    return Floor(
        queue=tuple(FloorRequest(each.participant_id, moment(each.request_time)) for each in state.queue),
        holders=tuple(
            FloorHolder(
                each.participant_id,
                moment(each.grant_time),
                each.limit.ToTimedelta() if each.HasField("limit") else None,
                each.called,
            )
            for each in state.holders
        ),
    )


def _stage(stage: Stage) -> media_pb2.StageState:
    return media_pb2.StageState(
        participant_id=stage.participant_id, screen_participant_id=stage.screen_participant_id
    )


def stage_from(data: bytes) -> Stage:
    """Decodes `<meeting>.stage`."""
    state = media_pb2.StageState.FromString(data)
    return Stage(state.participant_id, state.screen_participant_id)


def _chat(message: ChatMessage) -> media_pb2.ChatMessage:
    return media_pb2.ChatMessage(
        id=message.id,
        participant_id=message.participant_id,
        sender_name=message.sender_name,
        text=message.text,
        send_time=timestamp(message.send_time),
    )


_ENCODERS = {Room: _room, Participant: _participant, Floor: _floor, Stage: _stage, ChatMessage: _chat}
