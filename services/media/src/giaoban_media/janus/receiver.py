# SPDX-License-Identifier: Apache-2.0
"""The receiving connection of a peer: wanted feeds in, offers out, one negotiation at a time.

The wanted set is desired state. Whatever is asked while an offer is unanswered is worked off after its answer.

The node also makes offers by itself, when what another node passed on ends (`autoupdate` holds for its own senders
only). Until such an offer is answered, it answers an update with `updating`, and with another offer after that answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import structlog
from giaoban_kit.errors import Unavailable
from giaoban_kit.tasks import ended

from giaoban_media.conference.model import Source
from giaoban_media.domain import Feed, Layer
from giaoban_media.errors import MediaLost, OfferInvalid, Replaced
from giaoban_media.janus.node import NO_SUCH_FEED
from giaoban_media.janus.pictures import Picture
from giaoban_media.janus.relays import relayed_id
from giaoban_media.janus.sdp import without_transport_feedback
from giaoban_media.janus.wire import JanusError, Message
from giaoban_media.sfu import FeedsChanged, PeerLost, ReceiveOffer, ReceivingLost, Ticket

if TYPE_CHECKING:
    from giaoban_media.janus.peer import JanusPeer

ANSWER_TIMEOUT = 20.0
"""Seconds in which a client must answer an offer before its receiving connection is built anew."""

OFFER_TIMEOUT = 2.0
"""Seconds in which the node must send an offer that it has announced: it may have sent it to a replica that died."""

RETRY_DELAY = 0.25
"""Seconds until feeds that were not there yet are tried again."""

UPDATING = "updating"

_log = structlog.get_logger(__name__)


class Receiver:
    """Makes the node send what is wanted."""

    def __init__(self, peer: JanusPeer) -> None:
        """Starts idle; the first `want` builds the connection."""
        self._peer = peer
        self._wanted: dict[Feed, Layer] = {}
        self._layers: dict[str, Layer] = {}
        self._restart = False
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._hung_up = self._dropping = self._up = self._doubtful = False
        self._unasked: tuple[Message, Message] | None = None
        self._offered = asyncio.Event()
        self._announced = 0
        self._asking: dict[tuple[str, str], tuple[Feed, Layer]] = {}
        """What the last update asked for, until an offer tells which lines carry it."""
        self._layered: dict[str, Picture] = {}
        self._blind: set[str] = set()
        """Mids with layers that the node has not begun to send, or not in the layer that was asked for."""
        self._task: asyncio.Task[None] | None = None

    def want(self, wanted: dict[Feed, Layer]) -> None:
        """Sets what should be received."""
        if wanted != self._wanted:
            self._wanted = dict(wanted)
            self._poke()

    def restart(self) -> None:
        """Asks for an ICE restart with the next offer."""
        self._restart = True
        self._poke()

    async def take_over(self) -> None:
        """After a claim: what the client was told last may never have reached it."""
        ticket = self._peer.ticket
        self._up = bool(ticket.receiver and ticket.answered)
        if self._up:
            self._peer.emit(FeedsChanged(ticket.feeds))
        elif ticket.receiver:
            # The answer went to whoever held it before, and without it the node makes no other offer.
            self._hung_up = True
            self._poke()

    async def answer(self, negotiation: int, sdp: str) -> None:
        """Completes the outstanding negotiation; answers to older offers are ignored."""
        ticket = self._peer.ticket
        if negotiation != ticket.negotiation or ticket.answered or not ticket.receiver:
            return
        try:
            await self._message({"request": "start"}, {"type": "answer", "sdp": sdp})
        except JanusError as error:
            raise OfferInvalid(
                "answer: the media node refused this session description", code=str(error.code)
            ) from error
        if self._up:
            self._expect_pictures()
        await self._peer.note(answered=True)
        self._answered.set()
        self._poke()

    def on_event(self, message: Message) -> None:
        """An event of the receiving handle. Must not wait."""
        match message.get("janus"):
            # What we end ourselves says so too: taken for news, it would end the connection that comes next.
            case "hangup" | "detached" if not self._dropping:
                self._hung_up = True
                self._answered.set()
                self._poke()
            case "webrtcup":
                self._up = True
                self._expect_pictures()
            case "event":
                data = message.get("plugindata", {}).get("data", {})
                if "substream" in data:  # a keyframe of this layer has just been passed on
                    self._forget_picture(str(data.get("mid", "")))
                elif "jsep" in message and not self._dropping:
                    self._unasked = data, message["jsep"]
                    self._offered.set()
                    self._poke()

    async def stop(self) -> None:
        """Ends the work."""
        self._forget_pictures()
        if self._task is not None:
            await ended(self._task)

    def _poke(self) -> None:
        self._wake.set()
        if self._task is None:
            self._task = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._step()
            except Unavailable:  # the node, or the bucket of the journal
                await asyncio.sleep(RETRY_DELAY)
                self._wake.set()
            except Replaced:
                return
            except JanusError as error:
                _log.warning("receiving_refused", node=self._peer.ticket.node_id, code=error.code)
                await self._drop_connection()
                await asyncio.sleep(RETRY_DELAY)
                self._wake.set()

    async def _step(self) -> None:
        if self._hung_up:
            self._hung_up = False
            await self._drop_connection()
            self._peer.emit(ReceivingLost())
        ticket = self._peer.ticket
        if ticket.receiver and not ticket.answered:
            await self._wait_for(self._answered, ANSWER_TIMEOUT)
            return
        if self._unasked is not None:
            await self._pass_on(*self._unasked)
            return
        if self._announced:
            await self._wait_for(self._offered, OFFER_TIMEOUT)
            return
        if self._restart and ticket.receiver:
            self._restart = False
            await self._offer(await self._message({"request": "configure", "restart": True}), fresh=False)
            return
        self._restart = False
        current = dict(ticket.feeds)
        extra = [mid for mid, feed in current.items() if feed not in self._wanted]
        missing = [feed for feed in self._wanted if feed not in current.values()]
        if missing and self._doubtful:
            missing = await self._available(missing)
        if extra or missing:
            if not await self._switch(extra, missing):
                await self._change(extra, missing)
        else:
            await self._choose_layers()

    async def _wait_for(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            what = "offer_unanswered" if event is self._answered else "offer_missing"
            _log.info(what, node=self._peer.ticket.node_id)
            self._hung_up = True
        self._wake.set()

    async def _available(self, feeds: list[Feed]) -> list[Feed]:
        # A subscription fails whole when one feed is not up (yet): who was refused asks first, and tries the others
        # again soon.
        up = await self._peer.node.publishers(self._peer.ticket.room)
        there = [feed for feed in feeds if self._id_of(feed) in up]
        if len(there) < len(feeds):
            asyncio.get_running_loop().call_later(RETRY_DELAY, self._wake.set)
        return there

    async def _switch(self, extra: list[str], missing: list[Feed]) -> bool:
        """Gives lines that are not wanted any more to feeds of the same source, which needs no negotiation.

        False: there is none, or it is better to ask first.
        """
        if not self._up or self._doubtful:
            return False
        table, given = dict(self._peer.ticket.feeds), dict[str, Feed]()
        for feed in missing:
            mid = next((mid for mid in extra if mid not in given and table[mid].source is feed.source), None)
            if mid is not None:
                given[mid] = feed
        if not given:
            return False
        kept = {mid: feed for mid, feed in table.items() if mid not in given}
        # If we die here, a line that nobody knows is better than a face under another's name.
        await self._peer.note(feeds=tuple(sorted(kept.items())))
        asked = self._asked(given.values())
        streams = [
            {**_subscription(key, *each), "sub_mid": mid}
            for mid, (key, each) in zip(given, asked.items(), strict=True)
        ]
        try:
            reply = await self._message({"request": "switch", "streams": streams})
        except JanusError as error:
            if error.code != NO_SUCH_FEED:
                raise
            await self._peer.note(feeds=tuple(sorted(table.items())))  # nothing was switched
            self._doubtful = True
            self._wake.set()
            return True
        for mid in given:
            self._forget_picture(mid)
        now = {str(each.get("mid")): _key(each) for each in reply[0].get("streams", [])}
        refused = {mid: table[mid] for mid, key in zip(given, asked, strict=True) if now.get(mid) != key}
        self._doubtful = bool(refused)
        await self._offer(reply, fresh=False, asked=asked, kept=kept | refused)
        self._wake.set()
        return True

    async def _change(self, extra: list[str], missing: list[Feed]) -> None:
        asked = self._asked(missing)
        subscribe = [_subscription(key, *each) for key, each in asked.items()]
        fresh = not self._peer.ticket.receiver
        if fresh:
            if not subscribe:
                return
            ticket = self._peer.ticket
            opaque = f"{self._peer.node.room_name(ticket.room)}/{ticket.participant_id}/sub"
            self._peer.assume(receiver=await self._peer.node.attach(ticket.session, opaque), feeds=())
            body: Message = {
                "request": "join",
                "ptype": "subscriber",
                "room": self._peer.node.room_name(ticket.room),
                "use_msid": True,
                "autoupdate": False,
                "streams": subscribe,
            }
        else:
            body = {"request": "update"}
            if subscribe:
                body["subscribe"] = subscribe
            if extra:
                body["unsubscribe"] = [{"sub_mid": mid} for mid in extra]
        self._asking |= asked  # before: should the reply be late, it comes as an offer that nobody asked for
        try:
            reply = await self._message(body)
        except JanusError as error:
            self._asking.clear()
            if error.code != NO_SUCH_FEED:
                raise
            if fresh:
                await self._drop_connection()
            asyncio.get_running_loop().call_later(RETRY_DELAY if self._doubtful else 0, self._wake.set)
            self._doubtful = True
            return
        self._doubtful = False
        for mid in extra:
            self._forget_picture(mid)
        if reply[0].get("videoroom") == UPDATING:
            self._announced = 2  # its own, and after the answer to that one ours
            self._wake.set()
            return
        self._asking.clear()
        kept = {mid: feed for mid, feed in self._peer.ticket.feeds if mid not in extra}
        await self._offer(reply, fresh=fresh, asked=asked, kept=kept)
        # Without an offer nothing has come of what was asked for: never ask again at once.
        asyncio.get_running_loop().call_later(
            RETRY_DELAY if asked and reply[1] is None else 0, self._wake.set
        )

    async def _pass_on(self, data: Message, jsep: Message) -> None:
        """Offers what the node has offered by itself."""
        self._unasked = None
        self._offered.clear()
        self._announced = max(0, self._announced - 1)
        asked: dict[tuple[str, str], tuple[Feed, Layer]] = {}
        if not self._announced:
            asked, self._asking = self._asking, {}
        carries = {str(each.get("mid")): _key(each) for each in data.get("streams", []) if each.get("active")}
        kept = {
            mid: feed
            for mid, feed in self._peer.ticket.feeds
            if carries.get(mid) == (self._id_of(feed), feed.mid)
        }
        for mid, _ in set(self._peer.ticket.feeds) - set(kept.items()):
            self._forget_picture(mid)
        await self._offer((data, jsep), fresh=False, asked=asked, kept=kept)

    def _asked(self, feeds: Iterable[Feed]) -> dict[tuple[str, str], tuple[Feed, Layer]]:
        # By what the node calls each of them.
        return {(self._id_of(feed), feed.mid): (feed, self._wanted[feed]) for feed in feeds}

    async def _offer(
        self,
        reply: tuple[Message, Message | None],
        *,
        fresh: bool,
        asked: dict[tuple[str, str], tuple[Feed, Layer]] | None = None,
        kept: dict[str, Feed] | None = None,
    ) -> None:
        data, jsep = reply
        feeds = dict(self._peer.ticket.feeds) if kept is None else dict(kept)
        for stream in data.get("streams", []):
            key = _key(stream)
            if asked and key in asked and stream.get("mid") is not None:
                mid, (feed, layer) = str(stream["mid"]), asked[key]
                feeds[mid], self._layers[mid] = feed, layer
                self._forget_picture(mid)
                self._layered.pop(mid, None)
                if "simulcast" in stream:
                    self._layered[mid] = (self._peer.node.room_name(self._peer.ticket.room), *key)
                    self._blind.add(mid)
        table = tuple(sorted(feeds.items()))
        if jsep is None:
            await self._peer.note(feeds=table)
            self._peer.emit(FeedsChanged(table))
            self._expect_pictures()
            return
        number = self._peer.ticket.negotiation + 1
        self._answered.clear()
        # Journalled before the client can see it: whoever takes over knows what this offer meant.
        await self._peer.note(feeds=table, negotiation=number, answered=False)
        sdp = without_transport_feedback(str(jsep["sdp"]))
        self._peer.emit(ReceiveOffer(sdp, number, table, fresh))
        self._wake.set()

    async def _choose_layers(self) -> None:
        table = dict(self._peer.ticket.feeds)
        wanted = {
            mid: self._wanted[feed]
            for mid, feed in table.items()
            if feed.source is Source.CAMERA and feed in self._wanted
        }
        changed = {mid: layer for mid, layer in wanted.items() if self._layers.get(mid) != layer}
        if changed:
            streams = [{"mid": mid, "substream": int(layer)} for mid, layer in changed.items()]
            self._blind |= changed.keys() & self._layered.keys()
            await self._message({"request": "configure", "streams": streams})
            self._expect_pictures()
        self._layers = wanted

    def _expect_pictures(self) -> None:
        for mid in self._blind:
            body: Message = {"request": "configure", "streams": [{"mid": mid, "send": True}]}
            ask = partial(self._message, body)  # `send` as it was: it makes the node ask for a keyframe
            self._peer.node.pictures.expect(self._layered[mid], (self, mid), ask)

    def _forget_picture(self, mid: str) -> None:
        if mid in self._blind:
            self._blind.discard(mid)
            self._peer.node.pictures.seen(self._layered[mid], (self, mid))

    def _forget_pictures(self) -> None:
        for mid in list(self._blind):
            self._forget_picture(mid)
        self._layered.clear()

    async def _drop_connection(self) -> None:
        ticket = self._peer.ticket
        self._layers = {}
        self._up = False
        self._unasked, self._announced = None, 0
        self._offered.clear()
        self._asking.clear()
        self._forget_pictures()
        if ticket.receiver:
            self._dropping = True  # until no event of the old handle can be taken for one of the next
            try:
                await self._detach(ticket)
                await self._peer.note(receiver=0, feeds=(), answered=True)
            except MediaLost:
                self._peer.emit(PeerLost())
                return
            finally:
                self._dropping = False
        self._wake.set()

    async def _detach(self, ticket: Ticket) -> None:
        try:
            await self._peer.node.request({"janus": "detach"}, session=ticket.session, handle=ticket.receiver)
        except JanusError:
            _log.debug("receiving_handle_already_gone", node=ticket.node_id)

    def _id_of(self, feed: Feed) -> str:
        # What is sent on another node is received from where it is passed on to.
        if feed.node_id in ("", self._peer.ticket.node_id):
            return feed.participant_id
        return relayed_id(feed.participant_id, feed.publication)

    async def _message(self, body: Message, jsep: Message | None = None) -> tuple[Message, Message | None]:
        ticket = self._peer.ticket
        return await self._peer.node.message(ticket.session, ticket.receiver, body, jsep)


def _key(stream: Message) -> tuple[str, str]:
    """Whose stream a line of the connection carries."""
    return str(stream.get("feed_id", "")), str(stream.get("feed_mid", ""))


def _subscription(key: tuple[str, str], feed: Feed, layer: Layer) -> Message:
    # With the layer from the beginning: a change afterwards waits for another keyframe, and the node asks a
    # publisher for one about once a second.
    wanted = {"substream": int(layer)} if feed.source is Source.CAMERA else {}
    return {"feed": key[0], "mid": key[1], **wanted}
