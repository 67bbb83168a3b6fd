# SPDX-License-Identifier: Apache-2.0
"""What clients may send over the meeting WebSocket, and what becomes of it."""

import json
from typing import Any, get_args

import pytest
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban_gateway.live import messages
from giaoban_gateway.live.messages import INCOMING, Command, Join
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

P, Q = "01J9ZQ4N0000000000000000PA", "01J9ZQ4N0000000000000000QA"
JOIN: dict[str, Any] = {"type": "join", "ticket": "t"}

ACTS: list[tuple[dict[str, Any], pb.Command]] = [
    ({"act": "raise_hand"}, pb.Command(raise_hand=pb.RaiseHand())),
    ({"act": "lower_hand"}, pb.Command(lower_hand=pb.LowerHand())),
    ({"act": "lower_hand", "participant_id": P}, pb.Command(lower_hand=pb.LowerHand(participant_id=P))),
    ({"act": "grant_floor", "participant_id": P}, pb.Command(grant_floor=pb.GrantFloor(participant_id=P))),
    (
        {"act": "grant_floor", "participant_id": P, "limit_seconds": 180},
        pb.Command(grant_floor=pb.GrantFloor(participant_id=P, limit=Duration(seconds=180))),
    ),
    ({"act": "take_floor"}, pb.Command(take_floor=pb.TakeFloor())),
    ({"act": "take_floor", "participant_id": P}, pb.Command(take_floor=pb.TakeFloor(participant_id=P))),
    ({"act": "return_floor"}, pb.Command(return_floor=pb.ReturnFloor())),
    (
        {"act": "call_site", "participant_id": P, "limit_seconds": 300},
        pb.Command(call_site=pb.CallSite(participant_id=P, limit=Duration(seconds=300))),
    ),
    ({"act": "end_call"}, pb.Command(end_call=pb.EndCall())),
    (
        {"act": "mute_participant", "participant_id": P, "muted": True},
        pb.Command(mute_participant=pb.MuteParticipant(participant_id=P, muted=True)),
    ),
    (
        {"act": "mute_participant", "participant_id": P, "muted": False},
        pb.Command(mute_participant=pb.MuteParticipant(participant_id=P)),
    ),
    ({"act": "mute_all"}, pb.Command(mute_all=pb.MuteAll())),
    (
        {"act": "remove_participant", "participant_id": P},
        pb.Command(remove_participant=pb.RemoveParticipant(participant_id=P)),
    ),
    ({"act": "set_stage"}, pb.Command(set_stage=pb.SetStage())),
    ({"act": "set_stage", "participant_id": P}, pb.Command(set_stage=pb.SetStage(participant_id=P))),
    ({"act": "send_chat", "text": "Xin chào"}, pb.Command(send_chat=pb.SendChat(text="Xin chào"))),
    (
        {"act": "set_own_devices", "microphone_off": True, "camera_off": False},
        pb.Command(set_own_devices=pb.SetOwnDevices(microphone_off=True)),
    ),
    (
        {"act": "reorder_queue", "participant_ids": [Q, P]},
        pb.Command(reorder_queue=pb.ReorderQueue(participant_ids=[Q, P])),
    ),
]


def parse(message: Any) -> Any:
    return INCOMING.validate_json(json.dumps(message))


@pytest.mark.parametrize(("fields", "expected"), ACTS, ids=lambda value: str(value)[:60])
def test_every_act_becomes_its_command(fields: dict[str, Any], expected: pb.Command) -> None:
    """Fields arrive where media reads them, and the reply's id with them."""
    expected.request_id = "7"
    command = parse({"type": "command", "id": "7", **fields})
    assert command.to_proto() == pb.ConnectRequest(command=expected)


def test_no_act_of_media_is_out_of_reach() -> None:
    """Clients can send every act that media knows, and no other."""
    known = {each.name for each in pb.Command.DESCRIPTOR.oneofs_by_name["act"].fields}
    tried = {fields["act"] for fields, _ in ACTS}
    offered = {
        name
        for each in get_args(get_args(messages.ActUnion)[0])
        for name in get_args(each.model_fields["act"].annotation)
    }
    assert known == tried == offered


@pytest.mark.parametrize(
    "fields",
    [
        {"act": "shut_down"},
        {"act": "request_id"},
        {"act": "__class__"},
        {"act": ""},
        {"act": "raise_hand", "participant_id": P},
        {"act": "call_site"},
        {"act": "call_site", "participant_id": None},
        {"act": "call_site", "participant_id": P.lower()},
        {"act": "call_site", "participant_id": P + "\n"},
        {"act": "call_site", "participant_id": P, "limit_seconds": 9},
        {"act": "call_site", "participant_id": P, "limit_seconds": 7201},
        {"act": "call_site", "participant_id": P, "limit_seconds": "60"},
        {"act": "call_site", "participant_id": P, "limit_seconds": 60.5},
        {"act": "mute_participant", "participant_id": P},
        {"act": "mute_participant", "participant_id": P, "muted": "yes"},
        {"act": "mute_participant", "participant_id": P, "muted": 1},
        {"act": "send_chat", "text": ""},
        {"act": "send_chat", "text": "x" * 2001},
        {"act": "send_chat", "text": 5},
        {"act": "set_own_devices", "microphone_off": True},
        {"act": "reorder_queue", "participant_ids": [P] * 201},
        {"act": "reorder_queue", "participant_ids": P},
    ],
    ids=str,
)
def test_an_act_of_the_wrong_shape_is_refused(fields: dict[str, Any]) -> None:
    """Unknown acts, missing, surplus and wrong fields never reach media."""
    command = parse({"type": "command", "id": "7", **fields})
    assert isinstance(command, Command)
    with pytest.raises(ValidationError):
        command.to_proto()


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        5,
        "join",
        {},
        {"type": None},
        {"type": "joined"},
        {"type": "JOIN", "ticket": "t"},
        {"type": "join"},
        {"type": "join", "ticket": ""},
        {"type": "join", "ticket": "t" * 129},
        {"type": "join", "ticket": 5},
        JOIN | {"admin": True},
        JOIN | {"revision": -1},
        JOIN | {"revision": "5"},
        JOIN | {"resume": "yes"},
        JOIN | {"offer": {}},
        JOIN | {"offer": {"sdp": "", "streams": []}},
        JOIN | {"offer": {"sdp": "x" * 60_001, "streams": []}},
        JOIN | {"offer": {"sdp": "v=0", "streams": [{"mid": "0", "source": "keyboard"}]}},
        JOIN | {"offer": {"sdp": "v=0", "streams": [{"mid": "0" * 17, "source": "camera"}]}},
        JOIN | {"offer": {"sdp": "v=0", "streams": [{"mid": "0", "source": "camera"}] * 5}},
        JOIN | {"view": {"tiles": [P] * 50}},
        JOIN | {"view": {"stage_height": 1080}},
        {"type": "publish", "sdp": "v=0", "streams": []},
        {"type": "answer", "negotiation": 2**31, "sdp": "v=0"},
        {"type": "answer", "negotiation": -1, "sdp": "v=0"},
        {"type": "restart_ice"},
        {"type": "view", "tiles": ["x"]},
        {"type": "leave", "why": "tired"},
        {"type": "command", "act": "raise_hand"},
        {"type": "command", "id": "", "act": "raise_hand"},
        {"type": "command", "id": "x" * 65, "act": "raise_hand"},
        {"type": "command", "id": "7", "act": ["raise_hand"]},
    ],
    ids=lambda value: str(value)[:70],
)
def test_what_is_no_message_is_refused(message: Any) -> None:
    """Wrong types, surplus fields and everything over a limit."""
    with pytest.raises(ValidationError):
        parse(message)


def test_a_join_needs_no_more_than_its_ticket() -> None:
    """An observer sends nothing else; the rest has the defaults of the protocol."""
    join = parse(JOIN)
    assert isinstance(join, Join)
    assert join.offer is None
    assert not join.resume
    assert join.view.to_proto() == pb.View(stage_height=720)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "id", "act", "ticket", "offer", "sdp", "streams", "view", "tiles", "text"]
                )
                | st.text(max_size=5),
                inner | st.sampled_from(["join", "command", "view", "answer", "send_chat", "set_stage"]),
                max_size=6,
            )
        ),
        max_leaves=15,
    )
)
def test_nothing_a_client_sends_is_an_accident(message: Any) -> None:
    """Whatever JSON arrives, it is a message or refused as none; nothing else is raised."""
    try:
        found = INCOMING.validate_json(json.dumps(message))
        if isinstance(found, Command):
            found.to_proto()
    except ValidationError:
        pass


@pytest.mark.parametrize(
    "text", ["[" * 30_000, '{"type":' * 8_000, '{"type":"join","ticket":"' + "\\ud800" * 9 + '"}']
)
def test_hostile_json_is_refused_as_such(text: str) -> None:
    """Endless nesting and lone surrogates end in a refusal, not in a crash."""
    with pytest.raises((ValidationError, RecursionError)):
        INCOMING.validate_json(text)
