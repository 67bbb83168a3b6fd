# SPDX-License-Identifier: Apache-2.0
"""Rules of media that are not the conference's own: placement, and what a participant receives. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from giaoban_media.conference.model import Conference, MicrophonePolicy, Party, Role, Source
from giaoban_media.conference.rules import audible, sharer, showing

MAX_TILES = 49


class Layer(IntEnum):
    """A simulcast layer; senders without simulcast have just one."""

    LOW = 0
    MIDDLE = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Feed:
    """One stream of one participant, as somebody receives it.

    `publication` tells streams apart that carry the same mid after a participant built its connection anew.
    """

    participant_id: str
    mid: str
    publication: int
    source: Source


@dataclass(frozen=True, slots=True)
class Grant:
    """What scheduling's admission says: who may be in which meeting, as what."""

    meeting_id: str
    organisation_id: str
    participant_id: str
    role: Role
    policy: MicrophonePolicy
    party: Party


@dataclass(frozen=True, slots=True)
class View:
    """What a client wants to see beside the stage."""

    tiles: tuple[str, ...] = ()
    audio_only: bool = False
    stage_height: int = 720


class NodeHealth(StrEnum):
    """Whether a node carries rooms: as it is; until they have moved elsewhere; not at all."""

    UP = "up"
    DRAINING = "draining"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A media node as the replicas agree on it."""

    id: str
    health: NodeHealth
    peer_connections: int = 0
    sessions: int = 0
    handles: int = 0
    version: str = ""


def place(nodes: Iterable[NodeStatus], rooms: Mapping[str, int]) -> str | None:
    """The node for a new room: up, not draining, with the fewest connections, then the fewest rooms."""
    candidates = [each for each in nodes if each.health is NodeHealth.UP]
    if not candidates:
        return None
    return min(candidates, key=lambda each: (each.peer_connections, rooms.get(each.id, 0), each.id)).id


def layer_for(height: int) -> Layer:
    """The simulcast layer for a picture of so many lines; senders send 180, 360 and 720."""
    if height <= 180:
        return Layer.LOW
    return Layer.MIDDLE if height <= 360 else Layer.HIGH


def wanted(conference: Conference, me: str, view: View) -> dict[Feed, Layer]:
    """What a participant receives: audio of all who are audible, the stage, a shared screen, its tiles."""
    heard = audible(conference)
    pictures = {} if view.audio_only else _pictures(conference, view)
    feeds: dict[Feed, Layer] = {}
    for other in conference.present().values():
        for stream in other.streams if other.id != me else ():
            feed = Feed(other.id, stream.mid, other.publication, stream.source)
            if stream.source is Source.MICROPHONE and other.id in heard:
                feeds[feed] = Layer.LOW
            elif (layer := pictures.get((other.id, stream.source))) is not None:
                feeds[feed] = layer
    return feeds


def _pictures(conference: Conference, view: View) -> dict[tuple[str, Source], Layer]:
    pictures = {(tile, Source.CAMERA): Layer.LOW for tile in view.tiles[:MAX_TILES]}
    if (stage := showing(conference)) is not None:
        pictures[stage, Source.CAMERA] = layer_for(view.stage_height)
    if (sharing := sharer(conference)) is not None:
        pictures[sharing.id, Source.SCREEN] = Layer.HIGH
    return pictures


def muted_mids(conference: Conference, me: str) -> frozenset[str]:
    """The mids of a participant that the server must keep closed now."""
    participant = conference.participants.get(me)
    if participant is None or me in audible(conference):
        return frozenset()
    return frozenset(each.mid for each in participant.streams if each.source is Source.MICROPHONE)
