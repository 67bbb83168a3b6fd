# SPDX-License-Identifier: Apache-2.0
"""Live state as clients see it: from the entries of the bucket to JSON nouns, with what follows from them. Pure.

Who is audible and who is shown follows the same rules as in media, which enforces them; a contract test
holds both together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from giaoban.identity.v1 import identity_pb2
from giaoban.media.v1 import media_pb2
from giaoban.scheduling.v1 import scheduling_pb2 as roles
from google.protobuf.timestamp_pb2 import Timestamp

from giaoban_gateway.live.outgoing import Chat, Floor, Participant, PartyNoun, RecordingRef, Room, Stage
from giaoban_gateway.schemas.common import word

SPEAKERS = frozenset(
    {
        roles.APPOINTMENT_ROLE_CHAIR,
        roles.APPOINTMENT_ROLE_SECRETARY,
        roles.APPOINTMENT_ROLE_OPERATOR,
        roles.APPOINTMENT_ROLE_DELEGATE,
    }
)


@dataclass
class LiveState:
    """The entries of one meeting, decoded."""

    room: media_pb2.RoomState | None = None
    floor: media_pb2.FloorState = field(default_factory=media_pb2.FloorState)
    stage: media_pb2.StageState = field(default_factory=media_pb2.StageState)
    participants: dict[str, media_pb2.ParticipantState] = field(default_factory=dict)
    chat: dict[str, media_pb2.ChatMessage] = field(default_factory=dict)

    def apply(self, kind: str, entry_id: str, data: bytes | None) -> None:
        """Takes an entry; None: it was deleted."""
        if kind == "room":
            self.room = media_pb2.RoomState.FromString(data) if data is not None else None
        elif kind == "floor":
            self.floor = media_pb2.FloorState.FromString(data or b"")
        elif kind == "stage":
            self.stage = media_pb2.StageState.FromString(data or b"")
        elif kind == "participant":
            self._apply(self.participants, entry_id, media_pb2.ParticipantState, data)
        elif kind == "chat":
            self._apply(self.chat, entry_id, media_pb2.ChatMessage, data)

    @staticmethod
    def _apply(entries: dict[str, Any], entry_id: str, kind: Any, data: bytes | None) -> None:
        if data is None:
            entries.pop(entry_id, None)
        else:
            entries[entry_id] = kind.FromString(data)

    def present(self, participant_id: str) -> media_pb2.ParticipantState | None:
        """Somebody who is there and has not been removed."""
        found = self.participants.get(participant_id)
        return None if found is None or found.removed else found


def audible(state: LiveState) -> frozenset[str]:
    """The ids of everyone whose audio may be heard now."""
    called = any(each.called for each in state.floor.holders)
    open_policy = state.room is not None and state.room.microphone_policy == roles.MICROPHONE_POLICY_OPEN
    everyone = open_policy and not called
    holders = {each.participant_id for each in state.floor.holders}
    return frozenset(
        key
        for key, each in state.participants.items()
        if (everyone or key in holders or each.role == roles.APPOINTMENT_ROLE_CHAIR)
        and each.role in SPEAKERS
        and not each.muted
        and not each.removed
    )


def showing(state: LiveState) -> str | None:
    """Whose picture is on the main screens."""
    called = [each.participant_id for each in state.floor.holders if each.called]
    holders = [each.participant_id for each in state.floor.holders]
    for candidate in (*called, state.stage.participant_id, *holders):
        if state.present(candidate):
            return candidate
    chairs = (key for key, each in state.participants.items() if each.role == roles.APPOINTMENT_ROLE_CHAIR)
    return min((key for key in chairs if state.present(key)), default=None)


def room_json(room: media_pb2.RoomState) -> Room:
    """The noun `room`."""
    recording: RecordingRef | None = None
    if room.recording_id:
        started = time(room.recording_start_time)
        recording = {"recording_id": room.recording_id, "start_time": started}
    return {
        "meeting_id": room.meeting_id,
        "microphone_policy": word(roles.MicrophonePolicy, room.microphone_policy),
        "recording": recording,
        "open_time": time(room.open_time),
        "closed": room.closed,
    }


def participant_json(it: media_pb2.ParticipantState, *, audible: bool) -> Participant:
    """The noun `participant`."""
    return {
        "id": it.id,
        "party": party_json(it.party),
        "role": word(roles.AppointmentRole, it.role),
        "connection": word(media_pb2.ConnectionState, it.connection),
        "streams": [
            {"mid": each.mid, "source": word(media_pb2.StreamSource, each.source)} for each in it.streams
        ],
        "muted": it.muted,
        "microphone_off": it.microphone_off,
        "camera_off": it.camera_off,
        "audible": audible,
        "join_time": time(it.join_time),
        "link_quality": it.link_quality if it.HasField("link_quality") else None,
    }


def party_json(party: identity_pb2.Party) -> PartyNoun:
    """A party with its names."""
    return {
        "kind": word(identity_pb2.PartyKind, party.ref.kind),
        "id": party.ref.id,
        "name": party.name,
        "office": party.office,
        "unit_id": party.unit_id,
        "unit_name": party.unit_name,
    }


def floor_json(floor: media_pb2.FloorState) -> Floor:
    """The noun `floor`."""
    return {
        "queue": [
            {"participant_id": each.participant_id, "request_time": time(each.request_time)}
            for each in floor.queue
        ],
        "holders": [
            {
                "participant_id": each.participant_id,
                "grant_time": time(each.grant_time),
                "limit_seconds": each.limit.seconds if each.HasField("limit") else None,
                "called": each.called,
            }
            for each in floor.holders
        ],
    }


def stage_json(state: LiveState) -> Stage:
    """The noun `stage`."""
    called = next((each.participant_id for each in state.floor.holders if each.called), None)
    chosen = state.stage.participant_id or None
    return {
        "mode": "called" if called else "pinned" if chosen else "auto",
        "participant_id": called or chosen,
        "screen_participant_id": state.stage.screen_participant_id or None,
        "showing": showing(state),
    }


def chat_json(message: media_pb2.ChatMessage) -> Chat:
    """The noun `chat`."""
    return {
        "id": message.id,
        "participant_id": message.participant_id,
        "sender_name": message.sender_name,
        "text": message.text,
        "send_time": time(message.send_time),
    }


def time(stamp: Timestamp) -> str:
    """RFC 3339 in UTC."""
    return stamp.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
