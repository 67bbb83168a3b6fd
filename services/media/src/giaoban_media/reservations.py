# SPDX-License-Identifier: Apache-2.0
"""Room that is held for scheduled meetings around their start: who is invited finds a place when they come.

Whoever called a meeting earlier goes first; what is held for it is not given to a meeting that was called later, nor
to anybody beyond the number of those who are invited to their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from giaoban_kit.clock import Clock
from giaoban_kit.kv import RESTARTED, Bucket, Deleted, Entry

from giaoban_media.domain import demand

HELD_BEFORE = timedelta(minutes=15)
"""Room is held from so long before a meeting's start: for those who come early, and to test the lines."""

HELD_AFTER = timedelta(minutes=15)
"""and until so long after it; who has not come by then takes what room there is."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room for so many participants of a meeting that was called, and last changed, at these moments."""

    meeting_id: str
    participants: int
    start: datetime
    called: datetime
    changed: datetime

    def holds(self, now: datetime) -> bool:
        """Whether room is held at this moment."""
        return self.start - HELD_BEFORE <= now < self.start + HELD_AFTER

    def open(self, present: int) -> int:
        """Packets/s that those who have not come yet will be sent, on one node."""
        if present >= self.participants:
            return 0
        return demand(self.participants, self.participants) - demand(present, present)


class Reservations:
    """The bucket of reservations, and what is held by them now."""

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        """Nothing is known before `follow` runs."""
        self._bucket = bucket
        self._clock = clock
        self._known: dict[str, Reservation] = {}

    async def keep(self, reservation: Reservation) -> None:
        """Writes it for all replicas, unless a newer one is there."""
        left = reservation.start + HELD_AFTER - self._clock.now()
        if left < timedelta(seconds=1):
            await self.drop(reservation.meeting_id)
            return
        before = await self._bucket.get(reservation.meeting_id)
        known = None if before is None else _decode(before)
        if known is None or known.changed <= reservation.changed:
            await self._bucket.put(reservation.meeting_id, _encode(reservation), left)

    async def drop(self, meeting_id: str) -> None:
        """The meeting is over, or will not be."""
        await self._bucket.delete(meeting_id)

    async def follow(self) -> None:
        """Knows what all replicas have kept; until cancelled."""
        async for change in self._bucket.watch():
            if change is RESTARTED:
                self._known.clear()
            elif isinstance(change, Deleted):
                self._known.pop(change.key, None)
            elif isinstance(change, Entry) and (reservation := _decode(change)) is not None:
                self._known[change.key] = reservation

    def held(self, meeting_id: str, present: Callable[[str], int]) -> int:
        """Packets/s of the nodes that one more participant of a meeting must leave to others.

        `present` tells how many of a meeting are in it.
        """
        now = self._clock.now()
        others = [each for each in self._known.values() if each.meeting_id != meeting_id and each.holds(now)]
        mine = self._known.get(meeting_id)
        if mine is not None and mine.holds(now) and present(meeting_id) < mine.participants:
            others = [each for each in others if _turn(each) < _turn(mine)]
        return sum(each.open(present(each.meeting_id)) for each in others)


def _turn(reservation: Reservation) -> tuple[datetime, str]:
    return reservation.called, reservation.meeting_id


def _encode(reservation: Reservation) -> bytes:
    return json.dumps(
        {
            "participants": reservation.participants,
            "start": reservation.start.isoformat(),
            "called": reservation.called.isoformat(),
            "changed": reservation.changed.isoformat(),
        },
        separators=(",", ":"),
    ).encode()


def _decode(entry: Entry) -> Reservation | None:
    # While replicas of two versions run, one bucket holds the entries of both.
    try:
        fields = json.loads(entry.value)
        moments = [datetime.fromisoformat(fields[each]) for each in ("start", "called", "changed")]
        return Reservation(entry.key, int(fields["participants"]), *moments)
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("reservation_unreadable", key=entry.key, error=type(error).__name__)
        return None
