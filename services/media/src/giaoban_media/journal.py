# SPDX-License-Identifier: Apache-2.0
"""Who holds which participant's media, written down before use, so that any replica can take it over.

`claim` on a node steals silently; the epoch here decides who may: it must be won by compare-and-set first.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from giaoban_kit.errors import Conflict
from giaoban_kit.kv import Bucket, Entry

from giaoban_media.conference.model import Source
from giaoban_media.domain import Feed
from giaoban_media.errors import Replaced
from giaoban_media.sfu import RoomKey, Ticket

ATTEMPTS = 10
"""Lost races against an owner that journals what it does, until a join gives up."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_JOINING = "the participant is joining from elsewhere at this moment"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One participant's media: its owner (epoch, replica, and the seat that holds it there), and how to find it."""

    meeting_id: str
    participant_id: str
    epoch: int
    replica: str
    holder: str
    ticket: Ticket
    revision: int = 0

    @classmethod
    def decode(cls, entry: Entry) -> JournalEntry | None:
        """What the bucket holds; None, and a warning, for what this version cannot read.

        While replicas of two versions run, one bucket holds the entries of both.
        """
        try:
            meeting_id, participant_id = entry.key.split(".")
            fields: dict[str, Any] = json.loads(entry.value)
            ticket = fields["ticket"]
            ticket["room"] = RoomKey(**ticket["room"])
            ticket["feeds"] = tuple(
                (mid, Feed(**{**feed, "source": Source(feed["source"])})) for mid, feed in ticket["feeds"]
            )
            ticket["relays"] = tuple(ticket.get("relays", ()))
            owner = fields["epoch"], fields["replica"], fields["holder"]
            return cls(meeting_id, participant_id, *owner, Ticket(**ticket), entry.revision)
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("journal_entry_unreadable", key=entry.key, error=type(error).__name__)
            return None


def node_of(entry: Entry) -> str:
    """The node that carries an entry's participant; empty for what this version cannot read."""
    try:
        return str(json.loads(entry.value)["ticket"]["node_id"])
    except (ValueError, KeyError, TypeError):
        return ""


class Ownership:
    """The right to act for a participant's media, until somebody wins a higher epoch."""

    def __init__(self, bucket: Bucket, entry: JournalEntry) -> None:
        """Made by `Journal.own`."""
        self._bucket = bucket
        self._entry = entry
        self._written = datetime.now(UTC)

    @property
    def epoch(self) -> int:
        """The epoch that was won."""
        return self._entry.epoch

    @property
    def ticket(self) -> Ticket:
        """How to find the media."""
        return self._entry.ticket

    async def write(self, ticket: Ticket) -> None:
        """Journals, one after the other: of two at once the later need not win.

        Raises `Replaced` when somebody else owns the participant now.
        """
        updated = replace(self._entry, ticket=ticket)
        revision = await self._ours(
            lambda revision: self._bucket.update(_key(updated), _encode(updated), revision)
        )
        self._entry = replace(updated, revision=revision)
        self._written = datetime.now(UTC)

    async def restore(self) -> None:
        """Writes the entry again, which the server has lost. Raises `Replaced` when somebody has deleted it."""
        await self.write(self._entry.ticket)

    async def release(self) -> None:
        """Forgets the participant; if somebody else owns it now, it is theirs."""
        with contextlib.suppress(Replaced):
            await self._ours(lambda revision: self._bucket.delete(_key(self._entry), revision))

    async def _ours(self, act: Callable[[int], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS):
            try:
                return await act(self._entry.revision)
            except Conflict:
                # A write that was cancelled may have been done all the same: then the entry is still ours.
                entry = await self._bucket.get(_key(self._entry))
                now = await self._lost() if entry is None else JournalEntry.decode(entry)
                if now is None or now.holder != self._entry.holder:
                    break
                self._entry = replace(self._entry, revision=now.revision)
        raise Replaced("the participant has joined from elsewhere")

    async def _lost(self) -> JournalEntry | None:
        """Writes the entry again when the server has lost its store; None when somebody has deleted it.

        Revisions only grow, unless the store begins anew: then the next one is smaller than ours, or the bucket is
        younger than what we wrote there.
        """
        younger = await self._bucket.made_at() > self._written
        try:
            revision = await self._bucket.create(_key(self._entry), _encode(self._entry))
        except Conflict:
            return None
        if younger or revision < self._entry.revision:
            return replace(self._entry, revision=revision)
        await self._bucket.delete(_key(self._entry), revision)
        return None


class Journal:
    """The bucket of tickets."""

    def __init__(self, bucket: Bucket, replica: str) -> None:
        """`replica` is this process's own name."""
        self._bucket = bucket
        self._replica = replica

    async def read(self, meeting_id: str, participant_id: str) -> JournalEntry | None:
        """What is journalled of a participant."""
        entry = await self._bucket.get(f"{meeting_id}.{participant_id}")
        return None if entry is None else JournalEntry.decode(entry)

    async def all(self) -> list[JournalEntry]:
        """Everything journalled that this version can read."""
        entries = await self._bucket.entries(">")
        return [known for entry in entries if (known := JournalEntry.decode(entry)) is not None]

    async def own(self, before: JournalEntry | None, ticket: Ticket, holder: str) -> Ownership:
        """Wins the participant with a ticket of one's own. Raises `Replaced` when another was faster."""
        if before is not None:
            return await self._win(before, holder, ticket)
        fresh = JournalEntry(ticket.room.meeting_id, ticket.participant_id, 1, self._replica, holder, ticket)
        try:
            revision = await self._bucket.create(_key(fresh), _encode(fresh))
        except Conflict as error:
            raise Replaced(_JOINING) from error
        return Ownership(self._bucket, replace(fresh, revision=revision))

    async def take_over(self, before: JournalEntry, holder: str) -> Ownership:
        """Wins the participant with the media that is running. Raises `Replaced` when another was faster."""
        return await self._win(before, holder, None)

    async def _win(self, before: JournalEntry, holder: str, ticket: Ticket | None) -> Ownership:
        for _ in range(ATTEMPTS):
            won = replace(
                before,
                epoch=before.epoch + 1,
                replica=self._replica,
                holder=holder,
                ticket=ticket or before.ticket,
            )
            try:
                revision = await self._bucket.update(_key(won), _encode(won), before.revision)
            except Conflict:
                now = await self.read(before.meeting_id, before.participant_id)
                if now is None or now.epoch != before.epoch:
                    break
                before = now  # its owner wrote its ticket meanwhile: that wins nothing
                continue
            return Ownership(self._bucket, replace(won, revision=revision))
        raise Replaced(_JOINING)


def _key(entry: JournalEntry) -> str:
    return f"{entry.meeting_id}.{entry.participant_id}"


def _encode(entry: JournalEntry) -> bytes:
    ticket = asdict(entry.ticket)
    return json.dumps(
        {"epoch": entry.epoch, "replica": entry.replica, "holder": entry.holder, "ticket": ticket},
        separators=(",", ":"),
    ).encode()
