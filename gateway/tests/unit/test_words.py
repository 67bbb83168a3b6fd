# SPDX-License-Identifier: Apache-2.0
"""Words of enums: what services mean, as the API says it, today and after one of them has been renewed."""

from typing import Any, get_type_hints

import pytest
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as directory
from giaoban.media.v1 import media_pb2
from giaoban.notifications.v1 import notifications_pb2
from giaoban.recording.v1 import recording_pb2
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1 import scheduling_service_pb2 as scheduling
from giaoban_gateway.live import outgoing, state
from giaoban_gateway.schemas import common, meetings, notifications, recordings
from giaoban_gateway.schemas import directory as shapes
from giaoban_kit.ids import new_id
from pydantic import TypeAdapter

from .conftest import Door

NEW: Any = 99
"""A number that only a newer service knows."""


def field(shape: Any, name: str) -> Any:
    return shape.model_fields[name].annotation


WORDS = [
    (identity_pb2.PartyKind, common.PartyKindWord),
    (identity_pb2.SiteKind, field(shapes.Site, "kind")),
    (scheduling_pb2.AppointmentRole, meetings.RoleWord),
    (scheduling_pb2.MeetingStatus, field(meetings.Meeting, "status")),
    (scheduling_pb2.MicrophonePolicy, meetings.PolicyWord),
    (scheduling_pb2.AdmissionState, field(meetings.Admission, "state")),
    (recording_pb2.RecordingState, field(recordings.Recording, "state")),
    (notifications_pb2.NotificationKind, field(notifications.Notification, "kind")),
    (media_pb2.NodeHealth, field(notifications.Node, "health")),
    (media_pb2.StreamSource, outgoing.Source),
    (media_pb2.ConnectionState, get_type_hints(outgoing.Participant)["connection"]),
]


@pytest.mark.parametrize(("enum", "words"), WORDS, ids=lambda each: getattr(each, "DESCRIPTOR", each))
def test_every_value_has_its_word_and_anything_else_is_unknown(enum: Any, words: Any) -> None:
    """The API's words are those of the enum, and one for what it has not heard of."""
    adapter: TypeAdapter[Any] = TypeAdapter(words)
    known = [common.word(enum, number) for number in enum.values() if number]
    assert [adapter.validate_python(each) for each in known] == known
    assert len(set(known)) == len(known)
    assert {common.word(enum, number) for number in (0, NEW, -1)} == {"unknown"}
    assert adapter.validate_python("unknown") == "unknown"


async def test_a_meeting_of_a_newer_service_is_still_told(door: Door) -> None:
    """Numbers that nobody here knows are words, not failures."""
    meeting = scheduling_pb2.Meeting(
        id=new_id(), title="Giao ban", etag="1", status=NEW, microphone_policy=NEW, my_role=NEW
    )
    party = identity_pb2.Party(ref=identity_pb2.PartyRef(kind=NEW, id=new_id()), name="Tổ công tác")
    meeting.appointments.add(id=new_id(), party=party, role=NEW)
    door.parts["scheduling"].script["GetMeeting"] = scheduling.GetMeetingResponse(meeting=meeting)
    answer = await door.web.get(f"/v1/meetings/{meeting.id}", headers=door.bearer())
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [told[name] for name in ("status", "microphone_policy", "my_role")] == ["unknown"] * 3
    [appointment] = told["appointments"]
    assert (appointment["role"], appointment["party"]["kind"]) == ("unknown", "unknown")


async def test_a_permission_nobody_here_knows_is_left_out(door: Door) -> None:
    """The others stay."""
    me = directory.GetMeResponse(user=identity_pb2.User(id=new_id()))
    me.permissions.add(unit_id="u", permissions=[NEW, identity_pb2.PERMISSION_CONVENE])
    door.parts["identity"].script["GetMe"] = me
    told = (await door.web.get("/v1/me", headers=door.bearer())).json()
    assert told["permissions"] == [{"unit_id": "u", "permissions": ["convene"]}]


def test_live_state_of_a_newer_media_is_still_shown() -> None:
    """A participant with a new role, connection and stream is sent like any other."""
    newer = media_pb2.ParticipantState(id="P" * 26, role=NEW, connection=NEW)
    newer.streams.add(mid="0", source=NEW)
    shown = state.participant_json(newer, audible=False)
    assert (shown["role"], shown["connection"], shown["streams"][0]["source"]) == ("unknown",) * 3
    assert not state.audible(state.LiveState(participants={newer.id: newer}))
    TypeAdapter(outgoing.Participant).validate_python(shown)
