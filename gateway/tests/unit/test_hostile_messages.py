# SPDX-License-Identifier: Apache-2.0
"""What nobody means to send over the meeting WebSocket; test_messages.py has what is nearly a message."""

import json
from contextlib import suppress
from typing import Any

import pytest
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban_gateway.live.messages import INCOMING, Command, Join
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

WORDS = ["type", "id", "act", "ticket", "offer", "sdp", "streams", "view", "tiles", "text"]
KINDS = ["join", "command", "view", "answer", "publish", "leave", "send_chat", "set_stage"]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(WORDS) | st.text(max_size=5), inner | st.sampled_from(KINDS), max_size=6
        )
    ),
    max_leaves=15,
)


def test_a_join_needs_no_more_than_its_ticket() -> None:
    """An observer sends nothing else; the rest has the defaults of the protocol."""
    join = INCOMING.validate_json('{"type":"join","ticket":"t"}')
    assert isinstance(join, Join)
    assert join.offer is None
    assert not join.resume
    assert join.view.to_proto() == pb.View(stage_height=720)


@given(anything)
def test_nothing_a_client_sends_is_an_accident(message: Any) -> None:
    """Whatever JSON arrives, it is a message or refused as none; nothing else is raised."""
    with suppress(ValidationError):
        found = INCOMING.validate_json(json.dumps(message))
        if isinstance(found, Command):
            found.to_proto()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"join"',
        "{",
        "NaN",
        '{"type":null}',
        "[" * 30_000,
        '{"type":' * 8_000,
        '{"type":"join","ticket":"' + "\\ud800" * 9 + '"}',
    ],
    ids=lambda text: text[:20],
)
def test_hostile_json_is_refused_as_such(text: str) -> None:
    """Endless nesting, lone surrogates and what is no object end in a refusal, not in a crash."""
    with pytest.raises((ValidationError, RecursionError)):
        INCOMING.validate_json(text)
