# SPDX-License-Identifier: Apache-2.0
"""What Janus' MQTT event handler tells on `janus.<node>.<kind>`, in our words.

Consumed once per node by one of the replicas (queue group), never per participant.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from giaoban_media.janus.relays import RELAYED

CORE, PLUGINS, STATUS, MEDIA = "core", "plugins", "status", "media"
STATISTICS = 3
"""The subtype of media events that carry a handle's counters."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a node is."""

    node_id: str
    sessions: int
    handles: int
    peer_connections: int


@dataclass(frozen=True, slots=True)
class Talking:
    """Somebody was heard, or fell silent."""

    meeting_id: str
    participant_id: str
    talking: bool


@dataclass(frozen=True, slots=True)
class Packets:
    """A connection's counters since it began, at a moment in µs of the node's clock."""

    node_id: str
    handle: int
    timestamp: int
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class NodeGone:
    """The node's last will: its connection to the broker broke."""

    node_id: str


def parse(subject: str, data: bytes) -> list[Load | Packets | Talking | NodeGone]:
    """The known facts in one message; what is malformed or of no interest gives none."""
    try:
        _, node_id, kind = subject.split(".")
        payload = json.loads(data)
    except ValueError:
        return []
    events = payload if isinstance(payload, list) else [payload]
    facts = (_fact(node_id, kind, each) for each in events if isinstance(each, dict))
    return [each for each in facts if each is not None]


def _fact(node_id: str, kind: str, message: dict[str, Any]) -> Load | Packets | Talking | NodeGone | None:
    event = message.get("event")
    if kind == MEDIA:
        return _packets(node_id, message)
    if kind == STATUS:
        return NodeGone(node_id) if event == "disconnected" else None
    if not isinstance(event, dict):
        return None
    if kind == CORE and event.get("status") == "update":
        info = event.get("info", {})
        return Load(
            node_id,
            int(info.get("sessions", 0)),
            int(info.get("handles", 0)),
            int(info.get("peerconnections", 0)),
        )
    if kind == PLUGINS:
        data = event.get("data", {})
        what, room = data.get("event", data.get("videoroom")), str(data.get("room", ""))
        who = str(data.get("id", ""))
        # A node that others pass somebody on to tells the same once more.
        if what in ("talking", "stopped-talking") and "-" in room and RELAYED not in who:
            meeting_id = room.rpartition("-")[0]
            return Talking(meeting_id, who, what == "talking")
    return None


def _packets(node_id: str, message: dict[str, Any]) -> Packets | None:
    streams = message.get("event")
    if message.get("subtype") != STATISTICS or not isinstance(streams, list):
        return None
    return Packets(
        node_id,
        int(message.get("handle_id", 0)),
        int(message.get("timestamp", 0)),
        sum(int(each.get("packets-received", 0)) for each in streams),
        sum(int(each.get("packets-sent", 0)) for each in streams),
    )
