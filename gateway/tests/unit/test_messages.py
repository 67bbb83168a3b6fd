# SPDX-License-Identifier: Apache-2.0
"""What clients may send: every message and act, and everything that is nearly one."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban_gateway.live import asyncapi, outgoing
from giaoban_gateway.live.endpoint import CODES, MAX_MESSAGE_BYTES, End
from giaoban_gateway.live.messages import INCOMING, Command
from giaoban_kit.errors import Internal, NotFound
from jsonschema import Draft202012Validator
from pydantic import ValidationError

ONE, TWO = "P" * 26, "Q" * 26
ROOT = Path(__file__).resolve().parents[3]

ACTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("raise_hand", {}, {}),
    ("return_floor", {}, {}),
    ("end_call", {}, {}),
    ("mute_all", {}, {}),
    ("lower_hand", {}, {"participant_id": ONE}),
    ("take_floor", {}, {"participant_id": ONE}),
    ("set_stage", {}, {"participant_id": ONE}),
    ("remove_participant", {"participant_id": ONE}, {}),
    ("grant_floor", {"participant_id": ONE}, {"limit_seconds": 60}),
    ("call_site", {"participant_id": ONE}, {"limit_seconds": 60}),
    ("mute_participant", {"participant_id": ONE, "muted": True}, {}),
    ("send_chat", {"text": "Kính chào"}, {}),
    ("set_own_devices", {"microphone_off": False, "camera_off": True}, {}),
    ("reorder_queue", {"participant_ids": [ONE, TWO]}, {}),
]
WRONG: dict[str, list[Any]] = {
    "participant_id": ["", "p" * 26, "P" * 25, 1, ["P"]],
    "limit_seconds": [9, 7201, "60", 60.5, True, 10**30],
    "muted": ["yes", 1],
    "microphone_off": [0, "false"],
    "camera_off": [1, []],
    "text": ["", "x" * 2001, 5],
    "participant_ids": [["x"], [ONE] * 201, ONE, {}],
}


def command(act: str, fields: dict[str, Any]) -> Command:
    message = INCOMING.validate_python({"type": "command", "id": "1", "act": act, **fields})
    assert isinstance(message, Command)
    return message


def test_the_acts_are_those_that_media_knows() -> None:
    """Clients can ask for everything that media can do, and for nothing else."""
    known = {field.name for field in pb.Command.DESCRIPTOR.oneofs_by_name["act"].fields}
    assert {act for act, _, _ in ACTS} == known


@pytest.mark.parametrize(("act", "needed", "allowed"), ACTS, ids=[act for act, _, _ in ACTS])
def test_an_act_reaches_media_with_its_fields(
    act: str, needed: dict[str, Any], allowed: dict[str, Any]
) -> None:
    """With the fields it needs, and with all it may have."""
    for fields in (needed, needed | allowed):
        sent = command(act, fields).to_proto().command
        assert sent.WhichOneof("act") == act
        found = getattr(sent, act)
        for name, value in fields.items():
            if name == "limit_seconds":
                assert found.limit.seconds == value
            elif isinstance(value, list):
                assert list(getattr(found, name)) == value
            else:
                assert getattr(found, name) == value
    if "limit_seconds" in allowed:
        assert not getattr(command(act, needed).to_proto().command, act).HasField("limit")


@pytest.mark.parametrize(("act", "needed", "allowed"), ACTS, ids=[act for act, _, _ in ACTS])
def test_a_wrong_act_names_the_field(act: str, needed: dict[str, Any], allowed: dict[str, Any]) -> None:
    """Missing, additional and wrong fields are each named."""
    good = needed | allowed
    trials: list[tuple[str, dict[str, Any]]] = [("surprise", good | {"surprise": 1})]
    trials += [(name, {key: each for key, each in good.items() if key != name}) for name in needed]
    trials += [(name, good | {name: wrong}) for name in good for wrong in WRONG[name]]
    for name, fields in trials:
        with pytest.raises(ValidationError) as refused:
            command(act, fields).to_proto()
        assert name in [str(part) for part in refused.value.errors()[0]["loc"]], (name, fields)


@pytest.mark.parametrize("act", ["", "dance", "_Plain", "request_id", "__class__", "raise_hand "])
def test_an_unknown_act_is_none(act: str) -> None:
    """Nothing but the acts is an act."""
    with pytest.raises(ValidationError):
        command(act, {}).to_proto()


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"join","ticket":"t","revision":-1}',
        '{"type":"join","ticket":"t","revision":1.5}',
        '{"type":"join","ticket":"t","resume":"yes"}',
        '{"type":"join","ticket":"","offer":null}',
        '{"type":"join","ticket":"' + "t" * 129 + '"}',
        '{"type":"join","ticket":"t","offer":{"sdp":"","streams":[]}}',
        '{"type":"join","ticket":"t","offer":{"sdp":"v","streams":[{"mid":"0","source":"hologram"}]}}',
        '{"type":"join","ticket":"t","offer":{"sdp":"v","streams":['
        + ",".join(['{"mid":"0","source":"camera"}'] * 5)
        + "]}}",
        '{"type":"join","ticket":"t","view":{"tiles":["x"]}}',
        '{"type":"view","stage_height":1080}',
        '{"type":"view","tiles":[' + ",".join([f'"{ONE}"'] * 50) + "]}",
        '{"type":"answer","negotiation":-1,"sdp":"v"}',
        '{"type":"answer","negotiation":2147483648,"sdp":"v"}',
        '{"type":"answer","negotiation":"1","sdp":"v"}',
        '{"type":"publish","id":"","sdp":"v","streams":[]}',
        '{"type":"publish","id":"' + "x" * 65 + '","sdp":"v","streams":[]}',
        '{"type":"publish","id":"1","sdp":"' + "v" * 60_001 + '","streams":[]}',
        '{"type":"restart_ice"}',
        '{"type":"leave","when":"now"}',
        '{"type":"command","id":"1"}',
        '{"type":"command","act":"raise_hand"}',
        '{"type":["join"]}',
        "{}",
        "1",
    ],
)
def test_what_is_nearly_a_message_is_none(text: str) -> None:
    """Limits, kinds and unknown fields are checked before anything else sees the message."""
    with pytest.raises(ValidationError):
        INCOMING.validate_json(text)


def test_the_page_names_every_message_act_and_code() -> None:
    """docs/live-protocol.md, for people, and the types, for programs, speak of the same things."""
    page = (ROOT / "docs" / "live-protocol.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    document = asyncapi.document()
    assert rows == {each["name"] for each in document["components"]["messages"].values()}
    acts = re.search(r"^Acts: (.*)$", page, re.MULTILINE)
    assert acts is not None
    assert set(re.findall(r"`(\w+)", acts[1])) == {act for act, _, _ in ACTS}
    codes = re.search(r"^`ended` codes: (.*?)\. ", page, re.MULTILINE)
    assert codes is not None
    assert set(re.findall(r"`(\w+)`", codes[1])) == set(get_args(outgoing.Code))
    assert f"{MAX_MESSAGE_BYTES // 1024} KiB a message" in page


def test_the_description_is_whole() -> None:
    """Every reference leads somewhere, every schema is one, and it is the same each time."""
    document = asyncapi.document()
    assert document == asyncapi.document()
    references = re.findall(r'"\$ref": "#/([^"]+)"', asyncapi.text())
    assert references
    for reference in references:
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("act", "needed", "allowed"), ACTS, ids=[act for act, _, _ in ACTS])
def test_the_description_takes_what_the_code_takes(
    act: str, needed: dict[str, Any], allowed: dict[str, Any]
) -> None:
    """A client that follows the description is understood, and one that does not is not."""
    document = asyncapi.document()
    payload = document["components"]["messages"]["Command"]["payload"]
    validator = Draft202012Validator(payload | {"components": document["components"]})
    message = {"type": "command", "id": "1", "act": act, **needed, **allowed}
    assert validator.is_valid(message)
    for name in needed:
        assert not validator.is_valid({key: each for key, each in message.items() if key != name})


def reasons_of(service: str, rpc: str) -> set[str]:
    """The reasons that the contract of an RPC names."""
    text = (ROOT / "proto" / "giaoban" / service / "v1" / f"{service}_service.proto").read_text()
    comment: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("//"):
            comment.append(line)
        elif f"rpc {rpc}(" in line:
            break
        else:
            comment = []
    return set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bREPLACED\b", " ".join(comment)))


def test_every_reason_to_end_has_its_code() -> None:
    """What admission and media say according to their contracts is never just `internal`."""
    reasons = reasons_of("scheduling", "RequestAdmission") | reasons_of("media", "Connect")
    assert {"MEETING_NOT_OPEN", "REPLACED", "NO_MEDIA_NODE"} <= reasons
    assert reasons <= CODES.keys()
    assert set(CODES.values()) <= set(get_args(outgoing.Code))


def test_what_nobody_expected_says_nothing() -> None:
    """Reasons without a code end as `internal`, without their text."""
    assert End.of(Internal("column missing")).detail == "Something went wrong on our side."
    error = NotFound("Không có.")
    error.reason = "MEETING_NOT_FOUND"
    assert (End.of(error).code, End.of(error).detail) == ("meeting_not_found", "Không có.")
