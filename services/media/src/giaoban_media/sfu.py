# SPDX-License-Identifier: Apache-2.0
"""The port to the selective forwarding units, in our words. No Janus type or number appears here.

A *peer* is one participant's media on one node: a publishing and a receiving connection. Every call that
talks to a node raises `MediaLost` when the peer's session or node is gone, and `OfferInvalid` for a session
description that the node refuses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from giaoban_media.conference.model import Stream
from giaoban_media.domain import Feed, Layer


@dataclass(frozen=True, slots=True)
class RoomKey:
    """A room on a node: the meeting and how often it was placed."""

    meeting_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """Everything needed to find a peer again after the process that held it has died. Journalled before use."""

    node_id: str
    room: RoomKey
    participant_id: str
    session: int
    publisher: int = 0
    receiver: int = 0
    origin: str = ""
    feeds: tuple[tuple[str, Feed], ...] = ()
    negotiation: int = 0
    answered: bool = True
    published: str = ""
    """What is published, as the node itself describes it."""
    relays: tuple[str, ...] = ()
    """Where what is published is passed on to, as the node's implementation names it."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The answer to a publishing offer; `fresh` when it began a new connection, not up yet."""

    answer_sdp: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class ReceiveOffer:
    """An offer for the receiving connection; `feeds` maps its mids to what they carry."""

    sdp: str
    negotiation: int
    feeds: tuple[tuple[str, Feed], ...]
    new_connection: bool


@dataclass(frozen=True, slots=True)
class FeedsChanged:
    """The receiving connection's mids carry these feeds from now on, without a negotiation."""

    feeds: tuple[tuple[str, Feed], ...]


@dataclass(frozen=True, slots=True)
class Published:
    """The publishing connection is up: others may receive it from now on."""


@dataclass(frozen=True, slots=True)
class Unpublished:
    """The publishing connection is gone (network lost, or hung up)."""


@dataclass(frozen=True, slots=True)
class ReceivingLost:
    """The receiving connection is gone."""


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """The node had to ask a sender for lost packets, or the receiver did; 0 (bad) to 100."""

    percent: int


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The whole session is gone: the node died or forgot it."""


PeerEvent = ReceiveOffer | FeedsChanged | Published | Unpublished | ReceivingLost | LinkQuality | PeerLost

Journal = Callable[[Ticket], Awaitable[None]]
"""Writes a ticket down; raises `Replaced` when somebody else owns the participant now."""


class Peer(Protocol):
    """One participant's media on a node."""

    @property
    def ticket(self) -> Ticket:
        """What is journalled of this peer."""
        ...

    def events(self) -> AsyncIterator[PeerEvent]:
        """What the node tells of this peer, until it is closed. One consumer."""
        ...

    async def publish(self, offer_sdp: str, streams: Sequence[Stream]) -> Publication:
        """Negotiates the publishing connection, first or anew (RFC 8829)."""
        ...

    def published_before(self, streams: Sequence[Stream]) -> None:
        """Tells a claimed peer what it publishes; the node is not asked."""
        ...

    async def mute(self, mids: Collection[str]) -> None:
        """Closes these mids at the server and opens every other one; remembers what is set."""
        ...

    async def record(self, name: str) -> None:
        """Records the publishing connection into files `<name>~<milliseconds>-…`; stops when empty."""
        ...

    async def receive(self, wanted: dict[Feed, Layer]) -> None:
        """What the participant should receive. Offers come out as events, one at a time."""
        ...

    async def relay(self, node_ids: Collection[str], publication: int) -> None:
        """Passes what is published on to these other nodes, where it is received as that publication."""
        ...

    async def answer(self, negotiation: int, sdp: str) -> None:
        """The participant's answer to the offer with that number; older ones are ignored."""
        ...

    async def restart_ice(self) -> None:
        """A new receiving offer with an ICE restart (RFC 8445, section 2.4)."""
        ...

    async def close(self) -> None:
        """Ends the session on the node."""
        ...

    async def abandon(self) -> None:
        """Lets go of the peer without touching the node: somebody else owns it now."""
        ...


class Sfu(Protocol):
    """All media nodes."""

    def node_ids(self) -> Sequence[str]:
        """Every configured node."""
        ...

    def reachable(self, node_id: str) -> bool:
        """Whether the node answers now."""
        ...

    async def open_room(self, node_id: str, room: RoomKey) -> None:
        """Creates a room; one that exists is left as it is."""
        ...

    async def close_room(self, node_id: str, room: RoomKey) -> None:
        """Destroys a room; one that does not exist is no error."""
        ...

    async def admit(self, ticket: Ticket, journal: Journal) -> Peer:
        """A new peer. `ticket.session` was chosen and journalled by the caller."""
        ...

    async def claim(self, ticket: Ticket, journal: Journal) -> Peer:
        """Takes a running peer over. Raises `MediaLost` when the node does not know it any more."""
        ...

    async def forget(self, ticket: Ticket) -> None:
        """Ends a session that nobody holds; one that is gone is no error."""
        ...
