# SPDX-License-Identifier: Apache-2.0
"""Rules of media that are not the conference's own: placement, and what a participant receives. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache

from giaoban_media.conference.model import (
    Conference,
    MicrophonePolicy,
    Participant,
    Party,
    Role,
    Room,
    Source,
)
from giaoban_media.conference.rules import audible, is_audible, sharer, showing

MAX_TILES = 49

MOMENTS_KEPT = 64
"""States of meetings for which what is sent in them is kept; each is asked by everybody there, soon after it began."""


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


@dataclass(frozen=True, slots=True)
class Desired:
    """What a participant's media should be: in which room, from whose entry, with which mids kept closed, with
    which feeds received."""

    room: Room
    me: Participant
    muted: frozenset[str]
    feeds: dict[Feed, Layer]


def desired(conference: Conference, me: str, view: View) -> Desired | None:
    """What follows from a conference for one participant; None: it is not there, or there is no room."""
    participant = conference.participants.get(me)
    if conference.room is None or participant is None:
        return None
    return Desired(conference.room, participant, muted_mids(conference, me), wanted(conference, me, view))


def wanted(conference: Conference, me: str, view: View) -> dict[Feed, Layer]:
    """What a participant receives: audio of all who are audible, the stage, a shared screen, its tiles."""
    sent = _sent(conference)
    feeds = dict.fromkeys(sent.heard, Layer.LOW)
    if me in sent.audible:
        for feed in sent.by_source.get((me, Source.MICROPHONE), ()):
            del feeds[feed]
    if not view.audio_only:
        for (other, source), layer in _pictures(sent, view).items():
            if other != me:
                feeds |= dict.fromkeys(sent.by_source.get((other, source), ()), layer)
    return feeds


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is sent in a conference, the same for everybody: found once, for else N seats would search N entries."""

    audible: frozenset[str]
    heard: tuple[Feed, ...]
    by_source: Mapping[tuple[str, Source], tuple[Feed, ...]]
    stage: str | None
    screen: str | None


@lru_cache(MOMENTS_KEPT)
def _sent(conference: Conference) -> _Sent:
    by_source: dict[tuple[str, Source], tuple[Feed, ...]] = {}
    for each in conference.present().values():
        for stream in each.streams:
            feed = Feed(each.id, stream.mid, each.publication, stream.source)
            key = each.id, stream.source
            by_source[key] = (*by_source.get(key, ()), feed)
    heard = audible(conference)
    sharing = sharer(conference)
    return _Sent(
        audible=heard,
        heard=tuple(
            feed
            for (who, source), feeds in by_source.items()
            if source is Source.MICROPHONE and who in heard
            for feed in feeds
        ),
        by_source=by_source,
        stage=showing(conference),
        screen=sharing.id if sharing else None,
    )


def _pictures(sent: _Sent, view: View) -> dict[tuple[str, Source], Layer]:
    pictures = {(tile, Source.CAMERA): Layer.LOW for tile in view.tiles[:MAX_TILES]}
    if sent.stage is not None:
        pictures[sent.stage, Source.CAMERA] = layer_for(view.stage_height)
    if sent.screen is not None:
        pictures[sent.screen, Source.SCREEN] = Layer.HIGH
    return pictures


def muted_mids(conference: Conference, me: str) -> frozenset[str]:
    """The mids of a participant that the server must keep closed now."""
    participant = conference.participants.get(me)
    if participant is None or is_audible(conference, participant):
        return frozenset()
    return frozenset(each.mid for each in participant.streams if each.source is Source.MICROPHONE)
