# SPDX-License-Identifier: Apache-2.0
"""One participant held by this replica: its media on a node, kept as the live state says.

What chair and rules decide is desired state; the seat makes the node match, and match again after anything.
A seat outlives its stream for a while: whoever comes back in time finds everything in place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog
from giaoban_kit.clock import Clock
from giaoban_kit.errors import GiaobanError

from giaoban_media.background import RETRY_DELAY, Background, Turn
from giaoban_media.conference import acts
from giaoban_media.conference.live import LiveMeeting
from giaoban_media.conference.model import Conference, Connection, Source, Stream
from giaoban_media.conference.rules import SPEAKERS, may_share_screen, sharer
from giaoban_media.domain import Desired, Grant, View, desired, muted_mids, turn
from giaoban_media.errors import (
    CommandForbidden,
    MediaLost,
    MeetingEnded,
    NoFloor,
    OfferInvalid,
    ParticipantRemoved,
    Replaced,
    ScreenTaken,
)
from giaoban_media.holding import Holding
from giaoban_media.journal import JournalEntry
from giaoban_media.messages import Ended, Entered, Messages, RejoinNeeded
from giaoban_media.ports import News
from giaoban_media.presence import Presence, depart
from giaoban_media.sfu import (
    FeedsChanged,
    LinkQuality,
    Peer,
    PeerLost,
    Published,
    ReceiveOffer,
    ReceivingLost,
    RoomKey,
    Sfu,
    Unpublished,
)

LOST_GRACE = 30.0
"""Seconds that a participant's place is kept after its connection was lost."""

FORMER_KEPT = 5.0
"""Seconds for which media where the room was before is kept at most, until the new connections stand."""

HANDOVER = 1.0
"""Seconds in which the others come to receive from the new node what is sent there."""

_GRACE = "grace"
MAX_STREAMS = 4
QUALITY_RECOVERY = 10.0
"""Seconds without loss after which a link counts as good again."""

_log = structlog.get_logger(__name__)


class Seat:
    """A participant in a meeting, as long as this replica holds it."""

    def __init__(
        self,
        grant: Grant,
        live: LiveMeeting,
        node_id: str,
        *,
        where: Callable[[str], str],
        sfu: Sfu,
        holding: Holding,
        news: News,
        clock: Clock,
        on_end: Callable[[Seat], None],
    ) -> None:
        """`join` comes next. `where` gives the node to be on, from the one before; `on_end` is called once at the end."""
        self.grant = grant
        self.messages = Messages()
        self._live = live
        self._node_id = node_id
        self._where = where
        self._sfu = sfu
        self.holding = holding
        self._news = news
        self._clock = clock
        self._on_end = on_end
        self._view = View()
        self._media = asyncio.Lock()
        self._wake = asyncio.Event()
        self._fulfilled: Desired | None = None
        self._background = Background(grant.participant_id)
        self._pending: tuple[Stream, ...] | None = None
        self._turn = Turn(self._wake)
        self._presence = Presence(grant, live, news, clock)
        self._ended = False

    @property
    def participant_id(self) -> str:
        """Whose seat it is."""
        return self.grant.participant_id

    # Coming and going

    async def join(self, offer_sdp: str, streams: Sequence[Stream], *, resume: bool, view: View) -> Entered:
        """Enters the room, or takes the running media over.

        Raises `MeetingEnded`, `ParticipantRemoved`, `Replaced`, `OfferInvalid`, `MediaLost`.
        """
        self._check_streams(streams)
        self._view = view
        room = self._room_key()
        known = self._presence.entry
        if known is not None and known.removed:
            raise ParticipantRemoved("the chair has ended your participation in this meeting")
        before = await self.holding.before(resume=resume)
        async with self._media:
            resumed = resume and await self._resume(before, room)
            if resume and not resumed:  # the attempt has written the entry
                before = await self.holding.read()
            if not resumed:
                self._node_id = self._where(self._node_id)
                await self.holding.begin(before, self._node_id, room)
                self._follow_peer()
            answer = ""
            if offer_sdp and not resumed:
                answer = await self._publish(offer_sdp, streams)
        publishing = bool(offer_sdp) or resumed
        await self._presence.enter(self._node_id, publishes=publishing, keeps_streams=resumed)
        self._background.spawn(self._run())
        self.wake()
        return Entered(self.participant_id, answer, resumed)

    async def leave(self) -> None:
        """Leaves for good, also when the stream is cut meanwhile: who says farewell goes."""
        await asyncio.shield(self._background.spawn(self._give_up("left", keep_entry=False)))

    def detach(self) -> None:
        """The stream is gone without a farewell: the place is kept for a while."""
        if not self._ended:
            self._background.write(self._presence.lost)
            self._background.later(_GRACE, LOST_GRACE, self._lose)

    async def abandon(self) -> None:
        """The process ends: media is left running for whoever takes it over."""
        self._ended = True
        await self._background.stopped()
        await self.holding.let_go()

    async def withdraw(self) -> None:
        """The join was refused: what was begun for it ends, what it would have taken over goes on."""
        self._ended = True
        await self._background.stopped()
        if self.holding.begun:
            with contextlib.suppress(GiaobanError):
                await self.holding.yield_up()
        await self.holding.let_go()

    def superseded(self, epoch: int, holder: str) -> None:
        """The journal shows an owner; a higher epoch of another seat means that it holds the participant now."""
        if self.holding.lost_to(epoch, holder):
            self.give_way()

    def give_way(self) -> None:
        """Another seat holds the participant now."""
        if not self._ended:
            self._background.spawn(self._yield_to_other())

    def wake(self) -> None:
        """Something of the media may not be as desired."""
        self._wake.set()

    def follow(self) -> None:
        """The live state changed: most of what others do asks nothing of this seat."""
        now = desired(self._live.conference, self.participant_id, self._view)
        if now is None or now != self._fulfilled:
            self._wake.set()

    # What the client asks

    async def publish(self, offer_sdp: str, streams: Sequence[Stream]) -> str:
        """Negotiates the publishing connection anew; returns the answer."""
        self._check_streams(streams)
        conference = self._live.conference
        me = self._presence.entry
        sharing = any(each.source is Source.SCREEN for each in streams)
        if sharing and me is not None:
            other = sharer(conference)
            if other is not None and other.id != me.id:
                raise ScreenTaken(f"{other.party.name} is sharing a screen; ask them to stop first")
            if not may_share_screen(conference, me):
                raise NoFloor("ask for the floor first, then share your screen")
        async with self._media:
            answer = await self._publish(offer_sdp, streams)
        await self._live.apply(lambda now: acts.screen_shared(now, self.participant_id, sharing=sharing))
        self.wake()
        return answer

    async def answer(self, negotiation: int, sdp: str) -> None:
        """The client's answer to an offer of the receiving connection."""
        if self.holding.peer is not None:
            await self.holding.peer.answer(negotiation, sdp)

    async def restart_ice(self) -> None:
        """A new receiving offer with an ICE restart."""
        if self.holding.peer is not None:
            await self.holding.peer.restart_ice()

    def set_view(self, view: View) -> None:
        """What the client wants to see."""
        self._view = view
        self.wake()

    async def act(self, act: acts.Act) -> None:
        """An act in the meeting; done when the live state says so, and the node follows."""
        now = self._clock.now()

        def decide(conference: Conference) -> acts.Change:
            me = conference.participants.get(self.participant_id) or self._presence.last
            if me is None:
                raise CommandForbidden("join the meeting first", act=type(act).__name__)
            return acts.decide(conference, act, me, now)

        change = await self._live.apply(decide)
        for effect in change.effects:
            await self._news.floor(self.grant.meeting_id, effect, now)

    # Inside: media

    def _check_streams(self, streams: Sequence[Stream]) -> None:
        if len(streams) > MAX_STREAMS or len({each.mid for each in streams}) != len(streams):
            raise OfferInvalid(f"streams: name at most {MAX_STREAMS} streams, each mid once")
        if streams and self.grant.role not in SPEAKERS:
            raise CommandForbidden(
                f"a participant with the role {self.grant.role} may only watch", act="publish"
            )

    def _room_key(self) -> RoomKey:
        room = self._live.conference.room
        if room is None or room.closed:
            raise MeetingEnded("the meeting has ended")
        return RoomKey(room.meeting_id, room.generation)

    async def _resume(self, before: JournalEntry | None, room: RoomKey) -> bool:
        me = self._presence.entry
        if me is not None and me.streams and self.grant.role not in SPEAKERS:
            return False  # what it sent as a speaker must end
        if not await self.holding.resume(before, room):
            return False
        if self.holding.peer is not None:
            self._node_id = self.holding.peer.ticket.node_id
            if me is not None:
                self.holding.peer.published_before(me.streams)
        self._follow_peer()
        return True

    def _follow_peer(self) -> None:
        if self.holding.peer is not None:
            self._background.spawn(self._follow(self.holding.peer))
        # What is sent and received where the room was before ends when the new connections carry it.
        self._leave_former_in(FORMER_KEPT)

    async def _publish(self, offer_sdp: str, streams: Sequence[Stream]) -> str:
        if self.holding.peer is None:
            raise MediaLost("media is being restored; try again in a moment")
        done = await self.holding.peer.publish(offer_sdp, streams)
        if done.fresh:
            self._pending = tuple(streams)
        else:
            await self._presence.sends(tuple(streams))
        await self._close_microphones(streams)
        return done.answer_sdp

    async def _close_microphones(self, streams: Sequence[Stream]) -> None:
        # Before anybody can hear: media flows only after the client has the answer.
        assert self.holding.peer is not None  # noqa: S101 - the caller has just published on it
        me = self._presence.entry
        conference = self._live.conference
        if me is not None:
            mine = replace(me, streams=tuple(streams))
            others = {**conference.participants, me.id: mine}
            await self.holding.peer.mute(muted_mids(replace(conference, participants=others), me.id))
        else:
            await self.holding.peer.mute([each.mid for each in streams if each.source is Source.MICROPHONE])

    async def _follow(self, peer: Peer) -> None:
        async for event in peer.events():
            if peer is not self.holding.peer or self._ended:
                return
            match event:
                case ReceiveOffer() | FeedsChanged():
                    self.messages.put(event)
                case Published():
                    self._published()
                case Unpublished():
                    self._unpublished()
                case LinkQuality():
                    self._note_quality(event.percent)
                case PeerLost():
                    async with self._media:
                        if peer is self.holding.peer:  # else the one that came after it is held already
                            await self.holding.let_go()
                    self.wake()
                    return
                case ReceivingLost():
                    self.wake()

    # Written beside: while the bucket is away, the end of a peer must be seen all the same.

    def _published(self) -> None:
        streams, self._pending = self._pending, None
        self._background.write(lambda: self._presence.connected(streams))
        self._leave_former_in(HANDOVER)

    def _leave_former_in(self, seconds: float) -> None:
        if self.holding.former is not None:
            self._background.later("former", seconds, self.holding.leave_former)

    def _unpublished(self) -> None:
        if self._pending is not None:
            return  # the old connection's end, while a new one is coming up
        self.messages.put(RejoinNeeded("the media connection was lost"))
        self._background.write(lambda: self._presence.disconnected(Connection.CONNECTING))

    def _note_quality(self, percent: int) -> None:
        recovered = partial(self._background.eventually, partial(self._presence.quality, 100))
        self._background.later("quality", QUALITY_RECOVERY, recovered)
        self._background.write(lambda: self._presence.quality(percent))

    # Inside: state

    async def _run(self) -> None:
        while not self._ended:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._reconcile()
            except Replaced:
                self._background.spawn(self._yield_to_other())
                return
            except (MeetingEnded, ParticipantRemoved) as error:
                reason = "meeting_ended" if isinstance(error, MeetingEnded) else "removed"
                self._background.spawn(
                    self._give_up(reason, keep_entry=isinstance(error, ParticipantRemoved), error=error)
                )
                return
            except GiaobanError as error:
                # The node or the bucket is away: try again until it is back.
                _log.info("seat_reconcile_postponed", participant_id=self.participant_id, reason=error.reason)
                asyncio.get_running_loop().call_later(RETRY_DELAY, self._wake.set)

    async def _reconcile(self) -> None:
        if not self._live.synced.is_set() or self._live.conference.room is None:
            return
        room = self._room_key()
        me = self._presence.entry
        if me is None:
            if not self._background.waits_for(_GRACE):
                # The live state was lost: what this replica knows is written again.
                await self._presence.restore()
            return
        self._presence.last = me
        if me.removed:
            raise ParticipantRemoved("the chair has ended your participation in this meeting")
        async with self._media:
            node_id = self._where(self._node_id)
            peer = self.holding.peer
            if peer is None or peer.ticket.room != room or node_id != self._node_id:
                moves = peer is not None and self._sfu.reachable(peer.ticket.node_id)
                await self.holding.let_go()
                await self._restore(room, node_id, at_once=moves)
                peer = self.holding.peer
        if peer is None:
            return
        now = desired(self._live.conference, self.participant_id, self._view)
        if now is None:
            return
        # What changes and changes back meanwhile is no change to `follow`, but one to the node.
        self._fulfilled = None
        await peer.mute(now.muted)
        await peer.record(f"{now.room.recording_id}~{self.participant_id}" if now.room.recording_id else "")
        await peer.receive(now.feeds)
        if me.streams:
            await peer.relay(now.relays, now.me.publication)
        self._fulfilled = now

    async def _restore(self, room: RoomKey, node_id: str, *, at_once: bool) -> None:
        """Begins anew on a node; in its turn, unless others still receive from the node before and so must `at_once`."""
        if not self._sfu.reachable(node_id):
            asyncio.get_running_loop().call_later(RETRY_DELAY, self._wake.set)
            return
        if not at_once and self._turn.is_ahead(turn(self._live.conference, self.participant_id)):
            return
        self._turn.over()
        self._pending = None
        self._node_id = node_id
        await self.holding.begin_again(node_id, room)
        self._follow_peer()
        await self._presence.moved(node_id, publishes=self.grant.role in SPEAKERS)
        self.messages.put(RejoinNeeded("the meeting was moved to another media node"))

    # Inside: the end

    async def _yield_to_other(self) -> None:
        if self._ended:
            return
        self._ended = True
        self.messages.put(Ended(Replaced("you have joined this meeting from elsewhere")))
        await self._background.stopped()
        await self._background.eventually(self.holding.yield_up)
        self._finish()

    async def _lose(self) -> None:
        # Whoever has come back elsewhere has the place, the floor, and perhaps our media, though nobody told us.
        try:
            ours = await self.holding.is_ours()
        except GiaobanError:
            self._background.later(_GRACE, RETRY_DELAY, self._lose)
        else:
            await (self._give_up("lost", keep_entry=False) if ours else self._yield_to_other())

    async def _give_up(self, reason: str, *, keep_entry: bool, error: GiaobanError | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if error is not None:
            self.messages.put(Ended(error))
        me = self._presence.entry or self._presence.last
        await self._background.stopped()  # nothing is begun any more of what ends here
        await self.holding.end()
        await self._background.eventually(self.holding.release)
        if not keep_entry:
            await self._background.eventually(lambda: depart(self._live, self.participant_id))
        if me is not None:
            await self._news.left(self.grant.meeting_id, self.grant.organisation_id, me, reason)
        self._finish()

    def _finish(self) -> None:
        self._background.stop()
        self._on_end(self)
