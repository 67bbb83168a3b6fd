# SPDX-License-Identifier: Apache-2.0
"""The meetings in which this replica holds somebody: their live state, their seats, what time does to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from giaoban_kit.clock import Clock
from giaoban_kit.errors import GiaobanError
from giaoban_kit.kv import RESTARTED, SYNCED, Bucket, Deleted, Entry
from giaoban_kit.tasks import ended

from giaoban_media.background import RETRY_DELAY
from giaoban_media.capacity import Occupancy
from giaoban_media.conference import acts, codec
from giaoban_media.conference.live import LiveMeeting
from giaoban_media.conference.model import Conference, Room
from giaoban_media.domain import Grant, NodeHealth, NodeStatus, concerned, place, room_for, seat_on
from giaoban_media.errors import MediaCapacity, MeetingEnded, NoMediaNode, Replaced
from giaoban_media.holding import Holding
from giaoban_media.journal import Journal, JournalEntry, node_of
from giaoban_media.metrics import CAPACITY_REFUSED
from giaoban_media.nodes import Nodes
from giaoban_media.ports import News
from giaoban_media.presence import depart
from giaoban_media.reservations import Reservations
from giaoban_media.seat import LOST_GRACE, Seat
from giaoban_media.sfu import RoomKey, Sfu

TICK = 1.0
"""Seconds between looks at speaking times."""

CLOSED_ROOM_KEPT = 60.0
"""Seconds for which the live state of an ended meeting is kept, so that latecomers learn that it has ended."""

MOVE_PAUSE = 0.25
"""Seconds between two rooms that leave a node which is to be emptied."""

FORMER_ROOM_KEPT = 15.0
"""Seconds until a room that has moved is taken from its former node; by then everybody receives from the new one."""

SYNC_TIMEOUT = 5.0

_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Meeting:
    """One meeting on this replica."""

    live: LiveMeeting
    seats: dict[str, Seat] = field(default_factory=dict)
    users: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Meetings:
    """All meetings of this replica."""

    def __init__(
        self,
        *,
        live: Bucket,
        tickets: Bucket,
        journal: Journal,
        reservations: Reservations,
        sfu: Sfu,
        news: News,
        clock: Clock,
    ) -> None:
        """`bind` gives the nodes, which want to know the meetings too."""
        self._live = live
        self._tickets = tickets
        self._journal = journal
        self._reservations = reservations
        self._sfu = sfu
        self._news = news
        self._clock = clock
        self._meetings: dict[str, Meeting] = {}
        self._occupancy = Occupancy()
        self._nodes: Nodes
        self._background: set[asyncio.Task[None]] = set()
        self._emptying: asyncio.Task[None] | None = None

    def bind(self, nodes: Nodes) -> None:
        """The nodes to place rooms on."""
        self._nodes = nodes

    @contextlib.asynccontextmanager
    async def using(self, meeting_id: str) -> AsyncIterator[Meeting]:
        """The meeting with its live state followed, for as long as the context lasts or a seat is held."""
        meeting = self._meetings.get(meeting_id)
        if meeting is None:
            meeting = self._follow(meeting_id)
        meeting.users += 1
        try:
            async with asyncio.timeout(SYNC_TIMEOUT):
                await meeting.live.synced.wait()
            yield meeting
        finally:
            meeting.users -= 1
            self._drop_if_unused(meeting_id, meeting)

    def seat(self, meeting: Meeting, grant: Grant, node_id: str) -> Seat:
        """A seat for a participant, on the node that `admitted` has found."""
        room, key = meeting.live.conference.room, (grant.meeting_id, grant.participant_id)
        homeless = not self._occupancy.where(key)
        if homeless and room is not None and self._node_with_room(meeting, grant.meeting_id) == room.node_id:
            node_id = room.node_id  # of those who came first, each had found a node before the room had one
        return Seat(
            grant,
            meeting.live,
            node_id,
            where=lambda former: self._find_node(meeting, grant.meeting_id, former),
            sfu=self._sfu,
            holding=Holding(self._sfu, self._journal, *key, newcomer=homeless),
            news=self._news,
            clock=self._clock,
            on_end=lambda seat: self._seat_ended(meeting, seat),
        )

    def hold(self, meeting: Meeting, seat: Seat) -> None:
        """From now on the seat is told of changes; it may have missed some."""
        older = meeting.seats.get(seat.participant_id)
        meeting.seats[seat.participant_id] = seat  # from here on the journal's news is for the new one
        if older is not None:
            older.give_way()
        seat.follow()

    def _seat_ended(self, meeting: Meeting, seat: Seat) -> None:
        if meeting.seats.get(seat.participant_id) is seat:
            del meeting.seats[seat.participant_id]
        self._drop_if_unused(seat.grant.meeting_id, meeting)

    def check_capacity(self, meeting: Meeting, meeting_id: str) -> str:
        """The node with room for one more of the meeting. Raises `MediaCapacity`.

        Empty if no node is there at all, which `place_room` tells.
        """
        found = self._node_with_room(meeting, meeting_id)
        if found is None and place(self._usable(), {}) is not None:
            raise MediaCapacity
        return found or ""

    def room_for(self, meeting_id: str) -> int:
        """How many more of the meeting would be let in now, at least."""
        held = self._reservations.held(meeting_id, self._occupancy.size)
        return room_for(self._usable(), self._expected(), held=held)

    @contextlib.contextmanager
    def admitted(self, meeting: Meeting, grant: Grant) -> Iterator[str]:
        """The node for the participant, with room held there while it joins. Whoever returns is let in in any case.

        Raises `MediaCapacity`.
        """
        key = (grant.meeting_id, grant.participant_id)
        former = self._occupancy.where(key)
        if former or grant.participant_id in meeting.live.conference.participants:
            node_id = self._find_node(meeting, grant.meeting_id, former)
        else:
            try:
                node_id = self.check_capacity(meeting, grant.meeting_id)
            except MediaCapacity:
                CAPACITY_REFUSED.labels("join").inc()
                raise
        with self._occupancy.coming(key, node_id):
            yield node_id

    def _find_node(self, meeting: Meeting, meeting_id: str, former: str) -> str:
        """The node for somebody of the meeting: the former one while it is up; empty if there is none at all."""
        room = meeting.live.conference.room
        if self._nodes.health(former) is NodeHealth.UP:
            return former
        if former and room is not None and self._nodes.health(room.node_id) is not NodeHealth.UP:
            return former  # the room moves first, and all of it to one node if that has room
        found = self._node_with_room(meeting, meeting_id) or place(self._usable(), self._expected())
        return found or former

    def _node_with_room(self, meeting: Meeting, meeting_id: str) -> str | None:
        usable, expected, conference = self._usable(), self._expected(), meeting.live.conference
        return seat_on(
            usable,
            expected,
            {each.id: self._occupancy.growth(each.id, meeting_id) for each in usable},
            home=conference.room.node_id if conference.room is not None else "",
            there={each.node_id for each in conference.participants.values()},
            held=self._reservations.held(meeting_id, self._occupancy.size),
        )

    def _usable(self) -> list[NodeStatus]:
        return [each for each in self._nodes.all() if self._sfu.reachable(each.id)]

    def _expected(self) -> dict[str, int]:
        return {each.id: self._occupancy.expected(each.id) for each in self._nodes.all()}

    async def open_room(self, meeting: Meeting, grant: Grant) -> Room:
        """The room, made and placed if need be. Raises `MeetingEnded`, `NoMediaNode`."""
        room = meeting.live.conference.room
        if room is None:
            fresh = Room(grant.meeting_id, grant.organisation_id, grant.policy, self._clock.now())
            room = await meeting.live.update_room(lambda known: known or fresh)
        if room is None or room.closed:
            raise MeetingEnded("the meeting has ended")
        if self._nodes.health(room.node_id) is not NodeHealth.UP:
            room = await self.place_room(meeting)
        return room

    async def place_room(self, meeting: Meeting) -> Room:
        """Puts a room whose node is gone or to be emptied on another one. Raises `NoMediaNode`."""
        former: Room | None = None

        def decide(room: Room | None) -> Room | None:
            nonlocal former
            former = None
            health = self._nodes.health(room.node_id) if room else NodeHealth.UP
            if room is None or room.closed or health is NodeHealth.UP:
                return room
            node_id = place(self._usable(), self._expected())
            if node_id is None:
                if health is NodeHealth.DRAINING:
                    return room  # where it is, until there is somewhere to go
                raise NoMediaNode(
                    "no media node can carry this meeting now; it goes on as soon as one is back"
                )
            former = room
            return replace(room, node_id=node_id, generation=room.generation + 1)

        room = await meeting.live.update_room(decide)
        assert room is not None  # noqa: S101 - a placed meeting has a room
        if former is not None:
            _log.info(
                "room_placed", meeting_id=room.meeting_id, node=room.node_id, generation=room.generation
            )
            await self._news.moved(room)
            if former.node_id:
                self._spawn(self._close_former(former))
        return room

    async def _close_former(self, room: Room) -> None:
        await asyncio.sleep(FORMER_ROOM_KEPT)
        await self._close(room)

    async def _close(self, room: Room) -> None:
        # Wherever anybody of it was: a node that has no such room says so, and that is no error.
        for node_id in self._sfu.node_ids():
            if self._sfu.reachable(node_id):
                with contextlib.suppress(GiaobanError):
                    await self._sfu.close_room(node_id, RoomKey(room.meeting_id, room.generation))

    async def close_room(self, meeting_id: str) -> None:
        """The meeting has ended: everybody is sent home, the room goes, live state is cleared later."""
        async with self.using(meeting_id) as meeting:
            room = await meeting.live.update_room(
                lambda known: replace(known, closed=True, recording_id="") if known else None
            )
            if room is None:
                return
            await self._close(room)
        self._spawn(self._clear(meeting_id))

    def nodes_changed(self) -> None:
        """A node died, came back, or is to be emptied."""
        waiting = []
        for meeting in list(self._meetings.values()):
            room = meeting.live.conference.room
            health = self._nodes.health(room.node_id) if room and not room.closed else NodeHealth.UP
            if health is NodeHealth.DOWN:
                self._spawn(self._replace_room(meeting))
            elif health is NodeHealth.DRAINING:
                waiting.append(meeting)
            for seat in meeting.seats.values():
                seat.wake()
        if waiting and (self._emptying is None or self._emptying.done()):
            self._emptying = self._spawn(self._empty(waiting))

    async def _empty(self, meetings: Iterable[Meeting]) -> None:
        # One room after the other, so that not everybody of a node connects anew in the same moment.
        for meeting in meetings:
            await self._replace_room(meeting)
            await asyncio.sleep(MOVE_PAUSE)

    async def follow_journal(self) -> None:
        """Tells seats that somebody else holds their participant now; until cancelled."""
        said: set[str] | None = None
        async for change in self._tickets.watch(">"):
            if change is RESTARTED:
                self._occupancy.forget()
                said = set()
            elif change is SYNCED and said is not None:
                self._spawn(self._journal_again(said))
                said = None
            if not isinstance(change, Entry | Deleted):
                continue
            if said is not None:
                said.add(change.key)
            meeting_id, _, participant_id = change.key.partition(".")
            if isinstance(change, Deleted):
                self._occupancy.seen((meeting_id, participant_id), "")
                continue
            self._occupancy.seen((meeting_id, participant_id), node_of(change))
            meeting = self._meetings.get(meeting_id)
            seat = meeting.seats.get(participant_id) if meeting else None
            # Every participant's entry of every replica passes here; only those of our own seats are read whole.
            if seat is not None and (entry := JournalEntry.decode(change)) is not None:
                seat.superseded(entry.epoch, entry.holder)

    async def _journal_again(self, said: set[str]) -> None:
        # Whoever is held here and was not spoken of: the server has lost its store.
        left = [
            seat
            for meeting_id, meeting in self._meetings.items()
            for seat in meeting.seats.values()
            if f"{meeting_id}.{seat.participant_id}" not in said
        ]
        while left:
            seat = left.pop(0)
            try:
                await seat.holding.journal_again()
            except Replaced:
                continue  # the seat hears of that by itself
            except GiaobanError:
                left.append(seat)
                await asyncio.sleep(RETRY_DELAY)

    async def sweep(self, entry: JournalEntry) -> None:
        """Sends a participant home whose replica died and whom nobody has taken over."""
        ownership = await self._journal.take_over(entry, "sweep")
        await self._sfu.forget(ownership.ticket)
        async with self.using(entry.meeting_id) as meeting:
            conference = meeting.live.conference
            participant = conference.participants.get(entry.participant_id)
            if participant is not None:
                await depart(meeting.live, entry.participant_id)
                organisation = conference.room.organisation_id if conference.room else ""
                await self._news.left(entry.meeting_id, organisation, participant, "lost")
        await ownership.release()
        _log.info("participant_swept", meeting_id=entry.meeting_id, participant_id=entry.participant_id)

    async def close(self) -> None:
        """The process ends: media is left running for whoever takes it over."""
        meetings = list(self._meetings.values())
        await asyncio.gather(*(seat.abandon() for each in meetings for seat in list(each.seats.values())))
        tasks = [*self._background, *(task for each in meetings for task in each.tasks)]
        await ended(*tasks)

    def _follow(self, meeting_id: str) -> Meeting:
        told = Conference()

        def changed() -> None:
            nonlocal told
            before, told = told, meeting.live.conference
            whose = concerned(before, told)
            for key in list(meeting.seats) if whose is None else whose & meeting.seats.keys():
                meeting.seats[key].follow()

        meeting = Meeting(LiveMeeting(self._live, meeting_id, changed))
        meeting.tasks = [
            asyncio.ensure_future(meeting.live.run()),
            asyncio.ensure_future(self._tick(meeting)),
        ]
        self._meetings[meeting_id] = meeting
        return meeting

    def _drop_if_unused(self, meeting_id: str, meeting: Meeting) -> None:
        if not meeting.users and not meeting.seats and self._meetings.get(meeting_id) is meeting:
            del self._meetings[meeting_id]
            self._spawn(ended(*meeting.tasks))

    async def _tick(self, meeting: Meeting) -> None:
        while True:
            await asyncio.sleep(TICK)
            conference = meeting.live.conference
            now = self._clock.now()
            if acts.expired(conference, now) == acts.Change():
                continue
            with contextlib.suppress(GiaobanError):
                change = await meeting.live.apply(lambda newest: acts.expired(newest, now))  # noqa: B023 - used at once
                for effect in change.effects:
                    if conference.room is not None:
                        await self._news.floor(conference.room.meeting_id, effect, now)

    async def _replace_room(self, meeting: Meeting) -> None:
        try:
            await self.place_room(meeting)
        except GiaobanError as error:
            _log.warning("room_not_placed", reason=error.reason)

    async def _clear(self, meeting_id: str) -> None:
        await asyncio.sleep(CLOSED_ROOM_KEPT)
        for entry in await self._live.entries(f"{meeting_id}.>"):
            if codec.split(entry.key)[1] != codec.ROOM:
                await self._live.delete(entry.key)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


class Replicas:
    """Which media replicas are alive: each keeps an entry that expires, and sweeps after those that died."""

    def __init__(self, bucket: Bucket, replica: str, journal: Journal, meetings: Meetings) -> None:
        """`replica` is this process's own name; the bucket's entries expire by themselves."""
        self._bucket = bucket
        self._replica = replica
        self._journal = journal
        self._meetings = meetings
        self._missing: dict[tuple[str, str, int], float] = {}

    async def run(self, interval: float) -> None:
        """Tells that this replica lives, and sweeps; until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._bucket.put(self._replica, b"")
                await self._sweep(loop.time())
            except GiaobanError as error:
                _log.warning("replica_heartbeat_failed", reason=error.reason)
            await asyncio.sleep(interval)

    async def _sweep(self, now: float) -> None:
        alive = {each.key for each in await self._bucket.entries(">")}
        orphans = {
            (each.meeting_id, each.participant_id, each.epoch): each
            for each in await self._journal.all()
            if each.replica not in alive
        }
        self._missing = {key: self._missing.get(key, now) for key in orphans}
        for key, since in list(self._missing.items()):
            if now - since >= LOST_GRACE:
                with contextlib.suppress(GiaobanError):
                    await self._meetings.sweep(orphans[key])
