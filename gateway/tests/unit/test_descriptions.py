# SPDX-License-Identifier: Apache-2.0
"""The protocol's page, its AsyncAPI twin, the OpenAPI document and the code say the same."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from giaoban_gateway.config import Config
from giaoban_gateway.live import asyncapi, endpoint, messages, outgoing
from giaoban_gateway.routes.recordings import _span

from .conftest import Door, application

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/live-protocol.md").read_text()
P = "01J9ZQ4N0000000000000000PA"


def table(heading: str) -> dict[str, str]:
    """The rows of the table under a heading: message type to its fields."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|", section, re.MULTILINE)
    return dict(rows)


def schema_of(kind: type) -> dict[str, Any]:
    """The schema of a message, with everything it refers to."""
    document = asyncapi.document()
    return {
        "$ref": f"#/components/schemas/{kind.__name__}",
        "components": {"schemas": document["components"]["schemas"]},
    }


def words(kinds: Any) -> dict[str, type]:
    """Message type by the word in `type`."""
    schemas = asyncapi.document()["components"]["schemas"]
    return {schemas[each.__name__]["properties"]["type"]["const"]: each for each in kinds}


INCOMING, OUTGOING = words(get_args(messages.Incoming)), words(get_args(outgoing.Outgoing))


@pytest.mark.parametrize(("heading", "kinds"), [("Client → server", INCOMING), ("Server → client", OUTGOING)])
def test_the_page_and_the_code_know_the_same_messages(heading: str, kinds: dict[str, type]) -> None:
    """Each message is on the page with every one of its fields, and the page has no other."""
    rows = table(heading)
    assert rows.keys() == kinds.keys()
    schemas = asyncapi.document()["components"]["schemas"]
    for word, kind in kinds.items():
        fields = set(schemas[kind.__name__]["properties"]) - {"type"}
        told = set(re.findall(r"`(\w+)`", rows[word]))
        assert fields <= told, f"{word}: the page does not tell of {fields - told}"
        assert told <= fields, f"{word}: the code does not have {told - fields}"


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    """Size, rate, burst and the length of a chat message."""
    limits = PAGE.split("\nLimits: ", 1)[1].split("\n", 1)[0]
    assert f"{endpoint.MAX_MESSAGE_BYTES // 1024} KiB a message" in limits
    assert f"{endpoint.MESSAGES_PER_SECOND} messages a second" in limits
    assert f"burst of {endpoint.MESSAGE_BURST}" in limits
    assert "2,000 characters of chat" in limits
    assert "within 5 seconds" in PAGE
    assert endpoint.JOIN_SECONDS == 5


def test_the_committed_asyncapi_document_is_the_codes() -> None:
    """docs/asyncapi.yaml says what the code says."""
    document = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text())
    assert document == json.loads(asyncapi.text())
    assert document["asyncapi"].startswith("3.")


JOIN = {"type": "join", "ticket": "t"}


@pytest.mark.parametrize(
    ("message", "good"),
    [
        (JOIN, True),
        (JOIN | {"offer": {"sdp": "v=0", "streams": [{"mid": "0", "source": "camera"}]}}, True),
        (JOIN | {"offer": None, "revision": None, "view": {"tiles": [P], "stage_height": 180}}, True),
        (JOIN | {"revision": -1}, False),
        (JOIN | {"more": 1}, False),
        (JOIN | {"view": {"stage_height": 200}}, False),
        (JOIN | {"offer": {"sdp": "v=0", "streams": [{"mid": "0", "source": "keyboard"}]}}, False),
        ({"type": "join"}, False),
        ({"type": "publish", "id": "1", "sdp": "v=0", "streams": []}, True),
        ({"type": "publish", "id": "1" * 65, "sdp": "v=0", "streams": []}, False),
        ({"type": "answer", "negotiation": 1, "sdp": "v=0"}, True),
        ({"type": "answer", "negotiation": 2**31, "sdp": "v=0"}, False),
        ({"type": "restart_ice", "id": "1"}, True),
        ({"type": "restart_ice"}, False),
        ({"type": "view", "tiles": [], "audio_only": True, "stage_height": 360}, True),
        ({"type": "view", "tiles": ["x"]}, False),
        ({"type": "leave"}, True),
        ({"type": "leave", "x": 1}, False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_described_schema_refuses_what_the_code_refuses(message: dict[str, Any], good: bool) -> None:
    """A client that checks by the AsyncAPI schema comes to the code's own judgement."""
    kind = INCOMING[message["type"]]
    by_schema = jsonschema.Draft202012Validator(schema_of(kind)).is_valid(message)
    try:
        messages.INCOMING.validate_json(json.dumps(message))
    except ValueError:
        by_code = False
    else:
        by_code = True
    assert by_schema == by_code == good


def test_the_committed_openapi_document_is_the_codes() -> None:
    """docs/openapi.json says what the code says."""
    committed = json.loads((ROOT / "docs/openapi.json").read_text())
    assert committed == json.loads(json.dumps(application(Config()).openapi()))


def test_every_operation_is_described() -> None:
    """Each has a sentence, an id of its own, and the one shape of errors."""
    seen: set[str] = set()
    for path, operations in application(Config()).openapi()["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["description"].endswith("."), where
            assert operation["operationId"] not in seen, where
            seen.add(operation["operationId"])
            for status in ("4XX", "5XX"):
                content = operation["responses"][status]["content"]
                reference = content["application/problem+json"]["schema"]["$ref"]
                assert reference == "#/components/schemas/Problem", where


async def test_both_documents_are_served(door: Door) -> None:
    """The running gateway gives out what is committed."""
    served = (await door.web.get("/openapi.json")).json()
    assert served == json.loads((ROOT / "docs/openapi.json").read_text())
    response = await door.web.get("/asyncapi.yaml")
    assert response.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(response.text) == asyncapi.document()


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("", (0, 1000, False)),
        ("bytes=0-", (0, 1000, True)),
        ("bytes=0-0", (0, 1, True)),
        ("bytes=100-199", (100, 100, True)),
        ("bytes=900-5000", (900, 100, True)),
        ("bytes=-100", (900, 100, True)),
        ("bytes=-5000", (0, 1000, True)),
        ("bytes=999-999", (999, 1, True)),
        ("bytes=1000-", None),
        ("bytes=5000-6000", None),
        ("bytes=-0", None),
        ("bytes=-", (0, 1000, False)),
        ("bytes=200-100", (0, 1000, False)),
        ("bytes=0-1,5-6", (0, 1000, False)),
        ("items=0-1", (0, 1000, False)),
        ("bytes=a-b", (0, 1000, False)),
        ("bytes=" + "9" * 40 + "-", (0, 1000, False)),
    ],
)
def test_ranges(header: str, span: tuple[int, int, bool] | None) -> None:
    """RFC 9110, section 14: satisfiable ones are cut out, unsatisfiable ones refused, unknown ones ignored."""
    assert _span(header, 1000) == span


def test_an_empty_file_has_no_range() -> None:
    """Whole it is empty; no range of it can be satisfied."""
    assert _span("", 0) == (0, 0, False)
    assert _span("bytes=0-", 0) is None
    assert _span("bytes=-5", 0) is None
