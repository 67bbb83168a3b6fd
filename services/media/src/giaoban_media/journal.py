# SPDX-License-Identifier: Apache-2.0
"""Who holds which participant's media, written down before use, so that any replica can take it over.

`claim` on a node steals silently; the epoch here decides who may: it must be won by compare-and-set first.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from giaoban_kit.errors import Conflict
from giaoban_kit.kv import Bucket

from giaoban_media.conference.model import Source
from giaoban_media.domain import Feed
from giaoban_media.errors import Replaced
from giaoban_media.sfu import RoomKey, Ticket


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

    @staticmethod
    def owner_of(data: bytes) -> tuple[int, str]:
        """Epoch and holder in an entry's bytes."""
        fields = json.loads(data)
        return fields["epoch"], fields["holder"]


class Ownership:
    """The right to act for a participant's media, until somebody wins a higher epoch."""

    def __init__(self, bucket: Bucket, entry: JournalEntry) -> None:
        """Made by `Journal.own`."""
        self._bucket = bucket
        self._entry = entry

    @property
    def epoch(self) -> int:
        """The epoch that was won."""
        return self._entry.epoch

    async def write(self, ticket: Ticket) -> None:
        """Journals. Raises `Replaced` when somebody else owns the participant now."""
        updated = replace(self._entry, ticket=ticket)
        try:
            revision = await self._bucket.update(_key(updated), _encode(updated), self._entry.revision)
        except Conflict as error:
            raise Replaced("the participant has joined from elsewhere") from error
        self._entry = replace(updated, revision=revision)

    async def release(self) -> None:
        """Forgets the participant; if somebody else owns it now, it is theirs."""
        try:
            await self._bucket.delete(_key(self._entry), self._entry.revision)
        except Conflict:
            return


class Journal:
    """The bucket of tickets."""

    def __init__(self, bucket: Bucket, replica: str) -> None:
        """`replica` is this process's own name."""
        self._bucket = bucket
        self._replica = replica

    async def read(self, meeting_id: str, participant_id: str) -> JournalEntry | None:
        """What is journalled of a participant."""
        entry = await self._bucket.get(f"{meeting_id}.{participant_id}")
        return None if entry is None else _decode(entry.key, entry.value, entry.revision)

    async def all(self) -> list[JournalEntry]:
        """Everything journalled."""
        return [_decode(each.key, each.value, each.revision) for each in await self._bucket.entries(">")]

    async def own(self, before: JournalEntry | None, ticket: Ticket, holder: str) -> Ownership:
        """Wins the participant from whoever had it in `before`. Raises `Replaced` when another was faster."""
        epoch = before.epoch + 1 if before else 1
        room = ticket.room
        fresh = JournalEntry(room.meeting_id, ticket.participant_id, epoch, self._replica, holder, ticket)
        try:
            if before is None:
                revision = await self._bucket.create(_key(fresh), _encode(fresh))
            else:
                revision = await self._bucket.update(_key(fresh), _encode(fresh), before.revision)
        except Conflict as error:
            raise Replaced("the participant is joining from elsewhere at this moment") from error
        return Ownership(self._bucket, replace(fresh, revision=revision))


def _key(entry: JournalEntry) -> str:
    return f"{entry.meeting_id}.{entry.participant_id}"


def _encode(entry: JournalEntry) -> bytes:
    ticket = asdict(entry.ticket)
    return json.dumps(
        {"epoch": entry.epoch, "replica": entry.replica, "holder": entry.holder, "ticket": ticket},
        separators=(",", ":"),
    ).encode()


def _decode(key: str, data: bytes, revision: int) -> JournalEntry:
    meeting_id, participant_id = key.split(".")
    fields: dict[str, Any] = json.loads(data)
    ticket = fields["ticket"]
    ticket["room"] = RoomKey(**ticket["room"])
    ticket["feeds"] = tuple(
        (mid, Feed(**{**feed, "source": Source(feed["source"])})) for mid, feed in ticket["feeds"]
    )
    owner = fields["epoch"], fields["replica"], fields["holder"]
    return JournalEntry(meeting_id, participant_id, *owner, Ticket(**ticket), revision)
