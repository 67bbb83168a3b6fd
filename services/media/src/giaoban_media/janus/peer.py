# SPDX-License-Identifier: Apache-2.0
"""One participant on one node: the publishing handle. The receiving one is `receiver.py`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from giaoban_media.conference.model import Stream
from giaoban_media.domain import Feed, Layer
from giaoban_media.errors import MediaLost, OfferInvalid
from giaoban_media.janus.node import ID_TAKEN, NO_SUCH_FEED, UNKNOWN_SESSION, Node
from giaoban_media.janus.receiver import Receiver
from giaoban_media.janus.relays import Relays
from giaoban_media.janus.sdp import check_sdp, origin_of
from giaoban_media.janus.wire import JanusError, Message
from giaoban_media.sfu import (
    Journal,
    LinkQuality,
    PeerEvent,
    PeerLost,
    Publication,
    Published,
    Ticket,
    Unpublished,
)

ENTER_ATTEMPTS, ENTER_DELAY = 10, 0.05
"""How often, and after how many seconds, a participant tries again whose former connection the node still holds: it
answers the end of a session before its plugin lets the participant go, which one in setting up may never do."""
_LOSS_PER_QUALITY = 2
"""Packets lost in the last second per point of link quality: 50 a second and more count as no link."""

_log = structlog.get_logger(__name__)


class _IdTaken(MediaLost):
    """The node has not let a former connection of the same participant go yet."""


class JanusPeer:
    """Implements `sfu.Peer`."""

    def __init__(self, node: Node, ticket: Ticket, journal: Journal, nodes: Mapping[str, Node]) -> None:
        """Wraps a session that exists or is about to; `create` or `take_over` comes next."""
        self._node = node
        self._ticket = ticket
        self._journal = journal
        self._events: asyncio.Queue[PeerEvent | None] = asyncio.Queue()
        self._publishing = asyncio.Lock()
        self._noting = asyncio.Lock()
        self._building = self._down = False
        self._mids: tuple[str, ...] = ()
        self._muted: frozenset[str] | None = frozenset()
        self._record: str | None = ""
        self._description = ""
        self._lost = False
        self.receiver = Receiver(self)
        self._relays = Relays(self, nodes)

    @property
    def ticket(self) -> Ticket:
        """What is journalled of this peer."""
        return self._ticket

    @property
    def node(self) -> Node:
        """Where the peer lives."""
        return self._node

    async def note(self, **changes: object) -> None:
        """Journals a change of the ticket, then believes it."""
        # Publishing and receiving note at the same time: what is believed must be what was written last.
        async with self._noting:
            await self._journal(replace(self._ticket, **changes))  # type: ignore[arg-type]
            self.assume(**changes)  # what was assumed meanwhile stays

    def assume(self, **changes: object) -> None:
        """Believes a change of the ticket that is journalled with the next `note`, before the participant hears of it.

        Whoever takes over before that makes a handle anew; the one lost goes with its session.
        """
        self._ticket = replace(self._ticket, **changes)  # type: ignore[arg-type]

    async def events(self) -> AsyncIterator[PeerEvent]:
        """What the node tells of this peer, until it is closed."""
        while (event := await self._events.get()) is not None:
            yield event

    def emit(self, event: PeerEvent) -> None:
        """Tells the holder of this peer."""
        self._events.put_nowait(event)

    # Life

    async def create(self) -> None:
        """Makes the session with the id that was journalled; who only watches needs no publishing handle."""
        session = self._ticket.session
        self._node.register(session, self)
        try:
            await self._node.request({"janus": "create", "id": session})
        except JanusError as error:
            raise MediaLost("the media node refused a session", node=self._ticket.node_id) from error

    async def take_over(self) -> None:
        """Claims a running session and finds out what has become of it."""
        self._node.register(self._ticket.session, self)
        self._muted = self._record = None
        await self._claim()
        published = self._ticket.participant_id in await self._node.publishers(self._ticket.room)
        # Who only watches has sent nothing before, so nothing of that kind is lost.
        if self._ticket.publisher and not published:
            self.emit(Unpublished())
        else:
            self.emit(Published())
        await self.receiver.take_over()

    def published_before(self, streams: Sequence[Stream]) -> None:
        """Tells a claimed peer what it publishes; the node is not asked."""
        self._mids = tuple(each.mid for each in streams)

    async def reclaim(self) -> None:
        """Our socket to the node is new."""
        try:
            await self._claim()
        except MediaLost:
            self._lose()

    async def close(self) -> None:
        """Ends the session on the node."""
        await self.abandon()
        await self._relays.end()
        try:
            await self._node.request({"janus": "destroy"}, session=self._ticket.session)
        except (JanusError, MediaLost):
            _log.debug("peer_already_gone", node=self._ticket.node_id)

    async def abandon(self) -> None:
        """Lets go without touching the node."""
        self._node.release(self._ticket.session, self)
        await self.receiver.stop()
        self._events.put_nowait(None)

    def on_event(self, message: Message) -> None:
        """An event of our session. Must not wait."""
        kind, sender = message.get("janus"), message.get("sender", 0)
        if kind == "timeout":
            self._lose()
        elif sender and sender == self._ticket.receiver:
            self.receiver.on_event(message)
        elif sender and sender == self._ticket.publisher:
            self._on_publisher_event(message)

    # Publishing

    async def publish(self, offer_sdp: str, streams: Sequence[Stream]) -> Publication:
        """Negotiates the publishing connection; the same `o=` line means the same connection (RFC 8829, 5.2.2)."""
        check_sdp(offer_sdp, "offer")
        async with self._publishing:
            origin = origin_of(offer_sdp)
            body = self._publish_body(streams)
            jsep = {"type": "offer", "sdp": offer_sdp}
            fresh = not self._mids or self._down or self._ticket.origin != origin
            if not fresh:
                answer = await self._negotiate({"request": "configure", **body}, jsep)
            else:
                body |= {"ptype": "publisher", "room": self._room(), "id": self._ticket.participant_id}
                self._building = True  # meanwhile the end of the connection before is no news
                try:
                    if self._mids or not self._ticket.publisher:
                        await self._renew_publisher()
                    answer = await self._enter({"request": "joinandconfigure", **body}, jsep)
                finally:
                    self._building = False
            await self.note(origin=origin, published=self._description)
            self._down, self._mids, self._muted = False, tuple(each.mid for each in streams), None
            return Publication(answer, fresh)

    async def mute(self, mids: Collection[str]) -> None:
        """Closes these mids at the server and opens every other one of ours."""
        wanted = frozenset(mids) & frozenset(self._mids)
        known = self._muted
        changed = frozenset(self._mids) if known is None else wanted ^ known
        for mid in sorted(changed):
            try:
                await self._control(
                    {
                        "request": "moderate",
                        "id": self._ticket.participant_id,
                        "mid": mid,
                        "mute": mid in wanted,
                    }
                )
            except JanusError as error:
                if error.code != NO_SUCH_FEED:  # not there (any more): nothing to close
                    raise MediaLost("the media node refused to mute", node=self._ticket.node_id) from error
        self._muted = wanted

    async def record(self, name: str) -> None:
        """Starts or stops recording of the publishing connection."""
        if name == self._record:
            return
        self._record = name
        if self._mids:
            body: Message = {"request": "configure", "record": bool(name)}
            try:
                await self._publisher_message(body | ({"filename": _file(name)} if name else {}))
            except JanusError as error:
                # Not publishing at this moment: what is published next is recorded from its beginning.
                _log.info("record_refused", node=self._ticket.node_id, code=error.code)

    async def relay(self, node_ids: Collection[str], publication: int) -> None:
        """Passes what is published on to other nodes."""
        if self._ticket.published:
            await self._relays.keep(node_ids, publication)

    # Receiving

    async def receive(self, wanted: dict[Feed, Layer]) -> None:
        """What the participant should receive."""
        self.receiver.want(wanted)

    async def answer(self, negotiation: int, sdp: str) -> None:
        """The participant's answer."""
        check_sdp(sdp, "answer")
        await self.receiver.answer(negotiation, sdp)

    async def restart_ice(self) -> None:
        """A new receiving offer with an ICE restart."""
        self.receiver.restart()

    # Inside

    def _publish_body(self, streams: Sequence[Stream]) -> Message:
        body: Message = {
            "audiocodec": "opus",
            "videocodec": "vp8",
            "descriptions": [{"mid": each.mid, "description": each.source.value} for each in streams],
        }
        if self._record:
            body |= {"record": True, "filename": _file(self._record)}
        return body

    async def _enter(self, body: Message, jsep: Message) -> str:
        for _ in range(ENTER_ATTEMPTS - 1):
            try:
                return await self._negotiate(body, jsep)
            except _IdTaken:
                with contextlib.suppress(JanusError):
                    await self._control({"request": "kick", "id": self._ticket.participant_id})
                await asyncio.sleep(ENTER_DELAY)
                await self._renew_publisher()  # the refused offer has left half a connection on the handle
        return await self._negotiate(body, jsep)

    async def _negotiate(self, body: Message, jsep: Message) -> str:
        try:
            data, answer = await self._publisher_message(body, jsep)
        except JanusError as error:
            if error.code == ID_TAKEN:
                raise _IdTaken(
                    "the media node still holds a former connection", node=self._ticket.node_id
                ) from error
            # A refused offer leaves the connection half built; only a hang-up makes the handle usable again.
            await self._hang_up()
            raise OfferInvalid(
                "offer: the media node refused this session description", code=str(error.code)
            ) from error
        if answer is None:
            raise OfferInvalid("offer: the media node gave no answer to this session description")
        self._description = json.dumps(data.get("streams", []), separators=(",", ":"))
        return str(answer["sdp"])

    async def _hang_up(self) -> None:
        try:
            await self._node.request(
                {"janus": "hangup"}, session=self._ticket.session, handle=self._ticket.publisher
            )
        except (JanusError, MediaLost):
            return

    async def _renew_publisher(self) -> None:
        session, former = self._ticket.session, self._ticket.publisher
        if former:
            try:
                await self._node.request({"janus": "detach"}, session=session, handle=former)
            except JanusError:
                _log.debug("publisher_handle_already_gone", node=self._ticket.node_id)
        try:
            self.assume(publisher=await self._node.attach(session, self._opaque("pub")))
        except JanusError as error:
            raise MediaLost("the media session is gone", node=self._ticket.node_id) from error
        self._mids = ()

    async def _publisher_message(
        self, body: Message, jsep: Message | None = None
    ) -> tuple[Message, Message | None]:
        return await self._node.message(self._ticket.session, self._ticket.publisher, body, jsep)

    async def _control(self, body: Message) -> Message:
        return await self._node.room_request(self._ticket.room, body)

    async def _claim(self) -> None:
        try:
            await self._node.request({"janus": "claim"}, session=self._ticket.session)
        except JanusError as error:
            self._node.release(self._ticket.session, self)
            if error.code != UNKNOWN_SESSION:
                _log.warning("claim_refused", node=self._ticket.node_id, code=error.code)
            raise MediaLost("the media session is gone", node=self._ticket.node_id) from error

    def _room(self) -> str:
        return self._node.room_name(self._ticket.room)

    def _opaque(self, what: str) -> str:
        # With the admin API this alone is enough to rebuild the journal.
        return f"{self._room()}/{self._ticket.participant_id}/{what}"

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._node.release(self._ticket.session, self)
            self.emit(PeerLost())

    def _on_publisher_event(self, message: Message) -> None:
        match message.get("janus"):
            case "webrtcup":
                self.emit(Published())
            case "hangup" if not self._building:
                self._down = True
                self.emit(Unpublished())
            case "slowlink":
                self.emit(LinkQuality(max(0, 100 - int(message.get("lost", 0)) * _LOSS_PER_QUALITY)))


def _file(name: str) -> str:
    # Every connection has files of its own: the same name again would be written over.
    return f"{name}~{time.time_ns() // 1_000_000}"
