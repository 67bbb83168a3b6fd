# SPDX-License-Identifier: Apache-2.0
"""What one participant has on a media node: the right to act for it, and the peer that carries it.

The right is won in the journal before the node hears of anything; whoever loses it touches nothing any more.
"""

from __future__ import annotations

import secrets

from giaoban_kit.ids import new_id

from giaoban_media.errors import MediaLost, Replaced
from giaoban_media.journal import Journal, JournalEntry, Ownership
from giaoban_media.sfu import Peer, RoomKey, Sfu, Ticket


class Holding:
    """A participant's media as one seat holds it. Every method raises `Replaced` once somebody else does."""

    def __init__(
        self, sfu: Sfu, journal: Journal, meeting_id: str, participant_id: str, *, newcomer: bool = False
    ) -> None:
        """Nothing is held before `resume` or `begin`. `newcomer`: the journal has nothing of it, as far as is known."""
        self._sfu = sfu
        self._journal = journal
        self._meeting_id = meeting_id
        self._participant_id = participant_id
        self._holder = new_id()
        self._unread = newcomer
        self._ownership: Ownership | None = None
        self.peer: Peer | None = None
        self.begun = False
        """Whether the media was made by this seat, not taken over."""
        self.former: Ticket | None = None
        """Media where the participant was before it moved, until `leave_former`."""

    async def read(self) -> JournalEntry | None:
        """What is journalled of the participant."""
        self._unread = False
        return await self._journal.read(self._meeting_id, self._participant_id)

    async def before(self, *, resume: bool) -> JournalEntry | None:
        """What a join finds; of a newcomer nothing, without a look: if that is wrong, `begin` finds out."""
        return None if self._unread and not resume else await self.read()

    def lost_to(self, epoch: int, holder: str) -> bool:
        """Whether an owner that the journal shows has taken the participant from us."""
        mine = holder == self._holder  # seen before our own write has returned
        return self._ownership is not None and epoch > self._ownership.epoch and not mine

    async def is_ours(self) -> bool:
        """Whether nobody has taken the participant since; asks the journal."""
        return self._mine(await self.read())

    def _mine(self, entry: JournalEntry | None) -> bool:
        # Not by its epoch: once the participant has left, the next one begins at one again.
        return entry is not None and entry.holder == self._holder

    async def resume(self, before: JournalEntry | None, room: RoomKey) -> bool:
        """Takes running media over; False if there is none in this room."""
        if before is None or before.ticket.room != room or not before.ticket.session:
            return False
        self._ownership = await self._journal.take_over(before, self._holder)
        try:
            self.peer = await self._sfu.claim(self._ownership.ticket, self._ownership.write)
        except MediaLost:
            return False
        return True

    async def begin(self, before: JournalEntry | None, node_id: str, room: RoomKey) -> None:
        """A new peer in a room. Raises `MediaLost`."""
        # Chosen here and journalled before the node hears of it (Janus: 53 bits).
        ticket = Ticket(node_id, room, self._participant_id, session=secrets.randbits(52) + 1)
        self._ownership, before = await self._win(before, ticket)
        if before is not None and before.ticket.session:
            if before.ticket.room == room and before.ticket.node_id == node_id:
                await self._sfu.forget(before.ticket)  # a participant is in a room once
            else:
                self.former = before.ticket
        await self._sfu.open_room(node_id, room)
        self.begun = True
        self.peer = await self._sfu.admit(ticket, self._ownership.write)

    async def _win(
        self, before: JournalEntry | None, ticket: Ticket
    ) -> tuple[Ownership, JournalEntry | None]:
        """Wins the participant with a ticket of our own; also what the journal had of it."""
        try:
            return await self._journal.own(before, ticket, self._holder), before
        except Replaced:
            if not self._unread:
                raise
        before = await self.read()
        return await self._journal.own(before, ticket, self._holder), before

    async def begin_again(self, node_id: str, room: RoomKey) -> None:
        """The same after the peer was lost, or the room moved. Raises `MediaLost`, `Replaced`."""
        before = await self.read()
        if before is None and self._ownership is not None:
            await self._ownership.restore()
            before = await self.read()
        if not self._mine(before):
            raise Replaced("the participant has joined from elsewhere")
        await self.begin(before, node_id, room)

    async def journal_again(self) -> None:
        """Writes what is held into a journal that was lost."""
        if self.peer is not None and self._ownership is not None:
            await self._ownership.write(self.peer.ticket)

    async def let_go(self) -> None:
        """Leaves the media running for whoever takes it over."""
        if self.peer is not None:
            await self.peer.abandon()
        self.peer = None

    async def yield_up(self) -> None:
        """Ends the media, unless somebody else holds the participant now and has taken it over.

        Whoever holds the participant with media of their own has ended ours already, but may have done so
        before the node knew of it: then it would stay until its session times out.
        """
        now = await self.read()
        await self.leave_former()
        if self.peer is None or self._ownership is None:
            return
        theirs = now is not None and now.epoch > self._ownership.epoch
        if theirs and now is not None and now.ticket.session == self.peer.ticket.session:
            await self.let_go()
        else:
            await self.peer.close()
            self.peer = None

    async def leave_former(self) -> None:
        """Ends what was left where the room was before."""
        former, self.former = self.former, None
        if former is not None:
            await self._sfu.forget(former)

    async def end(self) -> None:
        """Ends the media everywhere."""
        if self.peer is not None:
            await self.peer.close()
        await self.leave_former()

    async def release(self) -> None:
        """Forgets the participant in the journal."""
        if self._ownership is not None:
            await self._ownership.release()
