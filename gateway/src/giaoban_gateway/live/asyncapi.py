# SPDX-License-Identifier: Apache-2.0
"""The AsyncAPI 3 description of the meeting WebSocket, made of the types that the code itself uses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from giaoban_gateway.live import messages, outgoing

DESCRIPTION = (
    "The meeting WebSocket: one connection per participant, JSON text messages, one object each. "
    "docs/live-protocol.md says in prose what this says to programs. "
    "Before connecting, POST /v1/meetings/{meeting_id}/connect-tickets gives the ticket of the `join` message, "
    "which must be the first, within 5 seconds; the Origin must be one of the gateway's own."
)
LIMITS = (
    "64 KiB a message, 20 messages a second with a burst of 60; "
    "a client over a limit gets `ended` and is closed."
)
ACT_TYPES = get_args(get_args(messages.ActUnion)[0])
_REF = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    """The description as an AsyncAPI 3.0.0 document; equal each time."""
    incoming, sent = get_args(messages.Incoming), get_args(outgoing.Outgoing)
    schemas = _schemas([*incoming, *ACT_TYPES]) | _typed_schemas(sent)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Giaoban meeting WebSocket",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "meeting": {
                "address": "/v1/meetings/{meeting_id}/connect",
                "description": LIMITS,
                "parameters": {"meeting_id": {"description": "ULID of the meeting"}},
                "messages": {
                    each.__name__: {"$ref": f"#/components/messages/{each.__name__}"}
                    for each in (*incoming, *sent)
                },
            }
        },
        "operations": {
            "receive_from_client": _operation("receive", incoming),
            "send_to_client": _operation("send", sent),
        },
        "components": {
            "messages": {each.__name__: _message(each, schemas) for each in (*incoming, *sent)},
            "schemas": schemas,
        },
    }


def text() -> str:
    """The document as JSON, which every reader of YAML 1.2 reads."""
    return json.dumps(document(), ensure_ascii=False, indent=2)


def _operation(action: str, types: Iterable[type]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/meeting"},
        "messages": [{"$ref": f"#/channels/meeting/messages/{each.__name__}"} for each in types],
    }


def _message(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    word = schemas[kind.__name__]["properties"]["type"]["const"]
    payload: dict[str, Any] = {"$ref": _REF.format(model=kind.__name__)}
    if kind is messages.Command:
        acts = [{"$ref": _REF.format(model=each.__name__)} for each in ACT_TYPES]
        payload = {"allOf": [payload, {"oneOf": acts}]}
    return {"name": word, "summary": (kind.__doc__ or "").strip(), "payload": payload}


def _schemas(models: list[Any]) -> dict[str, Any]:
    _, top = models_json_schema([(each, "validation") for each in models], ref_template=_REF)
    found: dict[str, Any] = top["$defs"]
    for act in ACT_TYPES:  # they share the object with the fields of `command`
        found[act.__name__].pop("additionalProperties", None)
    return found


def _typed_schemas(types: Iterable[Any]) -> dict[str, Any]:
    _, top = TypeAdapter.json_schemas(
        [(each.__name__, "validation", TypeAdapter(each)) for each in types], ref_template=_REF
    )
    found: dict[str, Any] = top["$defs"]
    return found
