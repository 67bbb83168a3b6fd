# SPDX-License-Identifier: Apache-2.0
"""Rules of media that are not the conference's own: placement, and what a participant receives. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

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

    `publication` tells streams apart that carry the same mid after a participant built its connection anew;
    `node_id` is where it is sent, perhaps not where it is received.
    """

    participant_id: str
    mid: str
    publication: int
    source: Source
    node_id: str = ""


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
    received: int = 0
    """Packets per second, measured; like `sent` and `budget`, which is what may be sent before newcomers are refused."""
    sent: int = 0
    budget: int = 0


VOICES, AUDIO_PACKETS = 3, 50
"""What a participant receives, as docs/adr/0011-placement.md assumes: so many voices, of so many packets/s each;"""
PICTURES, PICTURE_PACKETS = 4, 26
"""and so many small pictures."""


def demand(here: int, participants: int) -> int:
    """Packets/s expected to be sent to those of a meeting's participants who are on one node. Whoever is alone expects
    another."""
    others = max(participants - 1, 1)
    each = min(others, VOICES) * AUDIO_PACKETS + min(others, PICTURES) * PICTURE_PACKETS
    return max(here, 0) * each


def spare(node: NodeStatus, expected: int) -> int:
    """Packets/s left of a node's budget: what it sends, or is expected to send where that is more, counts."""
    return node.budget - max(node.sent, expected)


def place(nodes: Iterable[NodeStatus], expected: Mapping[str, int]) -> str | None:
    """The node for a room: up, not draining, with most left of its budget; `expected` is packets/s per node.

    Also when nothing is left anywhere: whoever has been let in is carried, refused are newcomers.
    """
    candidates = [each for each in nodes if each.health is NodeHealth.UP]
    if not candidates:
        return None
    return min(candidates, key=lambda each: (-spare(each, expected.get(each.id, 0)), each.id)).id


def seat_on(
    nodes: Collection[NodeStatus],
    expected: Mapping[str, int],
    growth: Mapping[str, int],
    *,
    home: str,
    there: Collection[str],
    held: int = 0,
) -> str | None:
    """The node for one more participant; None: full everywhere. `growth` is packets/s that each node would send more.

    The room's own node (`home`) first, then those where others of the meeting are (`there`), then the emptiest:
    every further node gets what is sent in the meeting once more. `held` is what must be left of all nodes together:
    a meeting for which room is held may be on several of them.
    """
    left = {each.id: spare(each, expected.get(each.id, 0)) for each in nodes if each.health is NodeHealth.UP}
    free = sum(max(each, 0) for each in left.values()) - held
    fitting = [
        (each != home, each not in there, -spared, each)
        for each, spared in left.items()
        if min(spared, free) >= growth.get(each, 0)
    ]
    return min(fitting)[3] if fitting else None


DEAREST = max(demand(n, n) - demand(n - 1, n - 1) for n in range(1, PICTURES + 2))
"""Packets/s more that are expected with one more participant, at most: the last who adds a picture for all others."""


def room_for(nodes: Iterable[NodeStatus], expected: Mapping[str, int], *, held: int = 0) -> int:
    """How many more `seat_on` would let into one meeting now, at least."""
    left = (
        max(spare(each, expected.get(each.id, 0)), 0) // DEAREST
        for each in nodes
        if each.health is NodeHealth.UP
    )
    return max(0, sum(left) - -(-held // DEAREST))


def layer_for(height: int) -> Layer:
    """The simulcast layer for a picture of so many lines; senders send 180, 360 and 720."""
    if height <= 180:
        return Layer.LOW
    return Layer.MIDDLE if height <= 360 else Layer.HIGH


class Desired(NamedTuple):
    """What a participant's media should be: in which room, from whose entry, with which mids kept closed, with
    which feeds received, passed on to which other nodes."""

    room: Room
    me: Participant
    muted: frozenset[str]
    feeds: dict[Feed, Layer]
    relays: frozenset[str]


def desired(conference: Conference, me: str, view: View) -> Desired | None:
    """What follows from a conference for one participant; None: it is not there, or there is no room."""
    participant = conference.participants.get(me)
    if conference.room is None or participant is None:
        return None
    return Desired(
        conference.room,
        participant,
        muted_mids(conference, me),
        wanted(conference, me, view),
        _sent(conference).nodes - {participant.node_id} if participant.node_id else frozenset(),
    )


def concerned(before: Conference, after: Conference) -> frozenset[str] | None:
    """Whose media a change may concern; None: everybody's. Equal `desired` is what decides in the end."""
    known = before.participants
    changed = frozenset(
        [key for key, each in after.participants.items() if known.get(key) is not each]
        + [key for key in known if key not in after.participants]
    )
    same_for_all = (
        before.room == after.room
        and _sent(before).for_all == _sent(after).for_all
        and all(_sending(before, key) == _sending(after, key) for key in changed)
    )
    return changed if same_for_all else None


def _sending(conference: Conference, who: str) -> tuple[object, ...]:
    sender = conference.participants.get(who)
    if sender is None or sender.removed:
        return ()
    return tuple((sender.publication, each) for each in sender.streams)


def wanted(conference: Conference, me: str, view: View) -> dict[Feed, Layer]:
    """What a participant receives: audio of all who are audible, the stage, a shared screen, its tiles."""
    sent = _sent(conference)
    feeds = sent.heard.copy()
    if me in sent.audible:
        for feed in sent.feeds(me, Source.MICROPHONE):
            del feeds[feed]
    if view.audio_only:
        return feeds
    for tile in view.tiles[:MAX_TILES]:
        if tile != me:
            feeds |= dict.fromkeys(sent.feeds(tile, Source.CAMERA), Layer.LOW)
    if sent.stage is not None and sent.stage != me:
        feeds |= dict.fromkeys(sent.feeds(sent.stage, Source.CAMERA), layer_for(view.stage_height))
    if sent.screen is not None and sent.screen != me:
        feeds |= dict.fromkeys(sent.feeds(sent.screen, Source.SCREEN), Layer.HIGH)
    return feeds


class _Sent:
    """What is sent in a conference, the same for everybody: found once, or N seats would search N entries each."""

    def __init__(self, conference: Conference) -> None:
        self._participants = conference.participants
        self._feeds: dict[tuple[str, Source], tuple[Feed, ...]] = {}
        sharing = sharer(conference)
        self.audible = audible(conference)
        self.heard = {
            feed: Layer.LOW
            for who in conference.participants
            if who in self.audible
            for feed in self.feeds(who, Source.MICROPHONE)
        }
        self.stage = showing(conference)
        self.screen = sharing.id if sharing else None
        self.nodes = frozenset(
            each.node_id for each in conference.participants.values() if each.node_id and not each.removed
        )
        self.for_all = (
            self.nodes,
            self.heard,
            self.feeds(self.stage or "", Source.CAMERA),
            self.feeds(self.screen or "", Source.SCREEN),
        )

    def feeds(self, who: str, source: Source) -> tuple[Feed, ...]:
        """What one participant sends from a source."""
        key = who, source
        if key not in self._feeds:
            sender = self._participants.get(who)
            self._feeds[key] = (
                tuple(
                    Feed(who, each.mid, sender.publication, source, sender.node_id)
                    for each in sender.streams
                    if each.source is source
                )
                if sender is not None and not sender.removed
                else ()
            )
        return self._feeds[key]


_sent = lru_cache(MOMENTS_KEPT)(_Sent)

RETURNS_PER_SECOND = 150
"""How many of those whose media a node has lost come back in a second: each costs a connection or two, and all at once
would wait for each other."""


def turn(conference: Conference, me: str) -> float:
    """Seconds until a participant comes back whose media was lost with its node.

    First who is heard or on the main screens, then who sends a picture, then who only watches: whoever comes later
    finds sound and pictures there with the first offer.
    """
    return _turns(conference).get(me, 0) / RETURNS_PER_SECOND


@lru_cache(MOMENTS_KEPT)
def _turns(conference: Conference) -> dict[str, int]:
    sent = _sent(conference)
    first = {feed.participant_id for feed in sent.heard} | {sent.stage, sent.screen}
    order = sorted(
        conference.participants.values(), key=lambda each: (each.id not in first, not each.streams, each.id)
    )
    met, turns = Counter[str](), dict[str, int]()
    for each in order:
        turns[each.id] = met[each.node_id]
        met[each.node_id] += 1
    return turns


def muted_mids(conference: Conference, me: str) -> frozenset[str]:
    """The mids of a participant that the server must keep closed now."""
    participant = conference.participants.get(me)
    if participant is None or not participant.streams or is_audible(conference, participant):
        return frozenset()
    return frozenset(each.mid for each in participant.streams if each.source is Source.MICROPHONE)
