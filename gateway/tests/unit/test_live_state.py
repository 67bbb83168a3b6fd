# SPDX-License-Identifier: Apache-2.0
"""What clients see of the live state: nouns, who is audible, who is shown. (Media enforces the same rules.)"""

from typing import Any

import pytest
from giaoban.identity.v1 import identity_pb2
from giaoban.media.v1 import media_pb2
from giaoban.scheduling.v1 import scheduling_pb2 as roles
from giaoban_gateway.live import outgoing, state
from giaoban_gateway.live.state import LiveState, showing
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import TypeAdapter

CHAIR, DELEGATE, SITE, OBSERVER, PRESS = "C", "D", "S", "O", "P"
ROLES = {
    CHAIR: roles.APPOINTMENT_ROLE_CHAIR,
    DELEGATE: roles.APPOINTMENT_ROLE_DELEGATE,
    SITE: roles.APPOINTMENT_ROLE_DELEGATE,
    OBSERVER: roles.APPOINTMENT_ROLE_OBSERVER,
    PRESS: roles.APPOINTMENT_ROLE_PRESS,
}
FLOOR, OPEN = roles.MICROPHONE_POLICY_FLOOR, roles.MICROPHONE_POLICY_OPEN
AT = Timestamp(seconds=1_772_413_200, nanos=5_000_000)


def meeting(
    policy: Any = FLOOR, holders: tuple[tuple[str, bool], ...] = (), **people: dict[str, Any]
) -> LiveState:
    """A meeting with one participant of each role; holders are (id, called)."""
    found = LiveState(room=media_pb2.RoomState(meeting_id="M", microphone_policy=policy, open_time=AT))
    for key, role in ROLES.items():
        fields = people.get(key, {})
        found.participants[key] = media_pb2.ParticipantState(
            id=key, role=role, connection=media_pb2.CONNECTION_STATE_CONNECTED, join_time=AT, **fields
        )
    for key, called in holders:
        found.floor.holders.add(participant_id=key, called=called, grant_time=AT)
    return found


@pytest.mark.parametrize(
    ("live", "audible"),
    [
        (meeting(FLOOR), {CHAIR}),
        (meeting(FLOOR, ((DELEGATE, False),)), {CHAIR, DELEGATE}),
        (meeting(OPEN), {CHAIR, DELEGATE, SITE}),
        (meeting(OPEN, ((DELEGATE, False),)), {CHAIR, DELEGATE, SITE}),
        (meeting(OPEN, ((SITE, True),)), {CHAIR, SITE}),
        (meeting(FLOOR, ((SITE, True),)), {CHAIR, SITE}),
        (meeting(OPEN, C={"muted": True}, D={"muted": True}), {SITE}),
        (meeting(FLOOR, ((DELEGATE, False),), D={"muted": True}), {CHAIR}),
        (meeting(FLOOR, ((OBSERVER, False), (PRESS, False))), {CHAIR}),
        (meeting(OPEN, D={"removed": True}), {CHAIR, SITE}),
        (meeting(FLOOR, ((DELEGATE, False),), D={"microphone_off": True}), {CHAIR, DELEGATE}),
    ],
    ids=[
        "floor: the chair",
        "floor: and who holds it",
        "open: all who may speak",
        "open: holders change nothing",
        "called: alone with the chair",
        "called by floor policy",
        "muted: never",
        "muted holder: never",
        "observers and press: never",
        "removed: never",
        "a microphone switched off by its owner may still be heard",
    ],
)
def test_who_may_be_heard(live: LiveState, audible: set[str]) -> None:
    """Policy, floor, call and mutes decide together."""
    assert state.audible(live) == audible


def test_without_a_room_only_the_chair_is_heard() -> None:
    """Before media has opened the room the strict policy holds."""
    live = meeting(OPEN)
    live.room = None
    assert state.audible(live) == {CHAIR}


@pytest.mark.parametrize(
    ("holders", "chosen", "people", "shown", "mode"),
    [
        ((), "", {}, CHAIR, "auto"),
        (((DELEGATE, False),), "", {}, DELEGATE, "auto"),
        (((DELEGATE, False),), OBSERVER, {}, OBSERVER, "pinned"),
        (((DELEGATE, False), (SITE, True)), OBSERVER, {}, SITE, "called"),
        (((DELEGATE, False),), "", {"D": {"removed": True}}, CHAIR, "auto"),
        ((), "nobody", {}, CHAIR, "pinned"),
        ((), "", {"C": {"removed": True}}, None, "auto"),
    ],
)
def test_who_is_on_the_stage(holders: Any, chosen: str, people: Any, shown: str | None, mode: str) -> None:
    """A called site goes before the chosen one, that before the first floor holder, that before the chair."""
    live = meeting(FLOOR, holders, **people)
    live.stage.participant_id = chosen
    assert showing(live) == shown
    assert state.stage_json(live)["mode"] == mode
    assert state.stage_json(live)["showing"] == shown


def test_a_shared_screen_does_not_take_the_speakers_place() -> None:
    """The screen is named beside whoever is shown."""
    live = meeting()
    live.stage.screen_participant_id = SITE
    assert state.stage_json(live) == {
        "mode": "auto",
        "participant_id": None,
        "screen_participant_id": SITE,
        "showing": CHAIR,
    }


def test_entries_come_and_go() -> None:
    """Every kind of entry is taken and given up again; unknown kinds of a newer media are passed over."""
    live = LiveState()
    live.apply("room", "", media_pb2.RoomState(meeting_id="M").SerializeToString())
    live.apply("participant", "D", media_pb2.ParticipantState(id="D").SerializeToString())
    live.apply("chat", "1", media_pb2.ChatMessage(id="1").SerializeToString())
    live.apply(
        "floor",
        "",
        media_pb2.FloorState(holders=[media_pb2.FloorHolder(participant_id="D")]).SerializeToString(),
    )
    live.apply("stage", "", media_pb2.StageState(participant_id="D").SerializeToString())
    live.apply("breakout", "7", b"\xff\xff")
    assert live.room is not None
    assert (set(live.participants), set(live.chat)) == ({"D"}, {"1"})
    assert live.floor.holders[0].participant_id == live.stage.participant_id == "D"
    for kind, key in (("room", ""), ("participant", "D"), ("chat", "1"), ("floor", ""), ("stage", "")):
        live.apply(kind, key, None)
    assert live == LiveState()


def test_nouns_are_what_the_protocol_says() -> None:
    """Every noun, full and empty, fits its type; times are RFC 3339 in UTC."""
    live = meeting(OPEN, ((SITE, True),), D={"link_quality": 0, "muted": True})
    live.floor.holders[0].limit.seconds = 180
    live.floor.queue.add(participant_id=DELEGATE, request_time=AT)
    live.participants[DELEGATE].streams.add(mid="0", source=media_pb2.STREAM_SOURCE_SCREEN)
    ref = identity_pb2.PartyRef(kind=identity_pb2.PARTY_KIND_SITE, id="X")
    for each in live.participants.values():
        each.party.CopyFrom(identity_pb2.Party(ref=ref, name="Quận Bình Tân"))
    assert live.room is not None
    quiet = state.room_json(live.room)
    live.room.recording_id = "R"
    live.room.recording_start_time.CopyFrom(AT)
    chat = media_pb2.ChatMessage(id="1", participant_id="D", sender_name="An", text="Xin chào", send_time=AT)
    people = [state.participant_json(each, audible=True) for each in live.participants.values()]
    for kind, noun in [
        (outgoing.Room, quiet),
        (outgoing.Room, state.room_json(live.room)),
        (list[outgoing.Participant], people),
        (outgoing.Floor, state.floor_json(live.floor)),
        (outgoing.Stage, state.stage_json(live)),
        (outgoing.Chat, state.chat_json(chat)),
    ]:
        TypeAdapter(kind).validate_python(noun, strict=True)
    assert quiet["recording"] is None
    delegate = next(each for each in people if each["id"] == DELEGATE)
    assert delegate["link_quality"] == 0  # bad, not unknown
    assert delegate["streams"] == [{"mid": "0", "source": "screen"}]
    assert next(each for each in people if each["id"] == SITE)["link_quality"] is None
    assert state.chat_json(chat)["send_time"] == "2026-03-02T01:00:00.005Z"
    assert state.floor_json(live.floor)["holders"][0]["limit_seconds"] == 180
