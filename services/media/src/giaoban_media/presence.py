# SPDX-License-Identifier: Apache-2.0
"""One participant's own entry of the live state, as the replica that holds the participant writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from giaoban_kit.clock import Clock
from giaoban_kit.ids import new_id

from giaoban_media.conference import acts
from giaoban_media.conference.live import LiveMeeting
from giaoban_media.conference.model import Connection, Participant, Stream
from giaoban_media.domain import Grant
from giaoban_media.ports import News

QUALITY_STEP = 20


class Presence:
    """What everybody sees of a participant. `last` is the entry as it was known last, should it get lost."""

    def __init__(self, grant: Grant, live: LiveMeeting, news: News, clock: Clock) -> None:
        """Nothing is written before `enter`."""
        self._grant = grant
        self._live = live
        self._news = news
        self._clock = clock
        self.last: Participant | None = None

    @property
    def entry(self) -> Participant | None:
        """The entry now."""
        return self._live.conference.participants.get(self._grant.participant_id)

    async def enter(self, node_id: str, *, publishes: bool, keeps_streams: bool) -> None:
        """Writes the entry; a new one begins a new stay, which is told. Media that was taken over keeps its streams."""
        connection = Connection.CONNECTING if publishes else Connection.CONNECTED
        fresh = Participant(
            id=self._grant.participant_id,
            party=self._grant.party,
            role=self._grant.role,
            join_time=self._clock.now(),
            presence_id=new_id(),
            connection=connection,
            node_id=node_id,
        )

        def enter(me: Participant | None) -> Participant:
            if me is None:
                return fresh
            streams = me.streams if keeps_streams else ()
            up = Connection.CONNECTED if streams else connection
            return replace(
                me, party=fresh.party, role=fresh.role, connection=up, streams=streams, node_id=node_id
            )

        self.last = await self._live.update_participant(fresh.id, enter)
        if self.last is not None and self.last.presence_id == fresh.presence_id:
            await self._news.joined(self._grant, self.last)

    async def connected(self, streams: tuple[Stream, ...] | None) -> None:
        """The publishing connection is up; `streams` of a new one, None when the running one was taken over."""
        if streams is None:
            await self._change(lambda me: replace(me, connection=_unless_lost(me, Connection.CONNECTED)))
            return
        await self._change(
            lambda me: replace(
                me,
                connection=_unless_lost(me, Connection.CONNECTED),
                streams=streams,
                publication=me.publication + 1,
            )
        )

    async def disconnected(self, connection: Connection) -> None:
        """Nothing is sent any more; `connection` says what is next."""
        await self._change(lambda me: replace(me, connection=_unless_lost(me, connection), streams=()))

    async def moved(self, node_id: str, *, publishes: bool) -> None:
        """Media begins anew on a node."""
        connection = Connection.CONNECTING if publishes else Connection.CONNECTED
        await self._change(
            lambda me: replace(me, connection=_unless_lost(me, connection), streams=(), node_id=node_id)
        )

    async def sends(self, streams: tuple[Stream, ...]) -> None:
        """The streams on the running connection changed."""
        await self._change(lambda me: replace(me, streams=streams))

    async def lost(self) -> None:
        """Signalling is lost; media may still flow."""
        now = self._clock.now()  # the stay ends here if nobody comes back
        await self._change(lambda me: replace(me, connection=Connection.LOST, lost_time=now))

    async def quality(self, percent: int) -> None:
        """How good the link is, in steps, so that few changes are written."""
        step = percent // QUALITY_STEP * QUALITY_STEP
        await self._change(lambda me: replace(me, link_quality=step))

    async def restore(self) -> None:
        """Writes the entry again after the live state was lost."""
        if self.last is not None:
            await self._live.update_participant(self._grant.participant_id, lambda _: self.last)

    async def _change(self, change: Callable[[Participant], Participant]) -> None:
        await self._live.update_participant(
            self._grant.participant_id, lambda me: None if me is None else change(me)
        )


def _unless_lost(me: Participant, connection: Connection) -> Connection:
    """Whose signalling is lost stays so until it is back (`enter`), whatever becomes of the media meanwhile."""
    return Connection.LOST if me.connection is Connection.LOST else connection


async def depart(live: LiveMeeting, participant_id: str) -> None:
    """Takes a participant out of the live state, its hand and floor first."""
    await live.apply(lambda conference: acts.without_participant(conference, participant_id))
    await live.remove_participant(participant_id)
