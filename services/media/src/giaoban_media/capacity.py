# SPDX-License-Identifier: Apache-2.0
"""What the nodes carry as this replica knows it: measured packets, and the participants expected on each."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from giaoban_media.domain import demand

MEASURE_HOLDS = 12.0
"""Seconds after which a connection that told nothing is gone; the nodes tell every five."""

Key = tuple[str, str]
"""Meeting and participant."""


class Meter:
    """Packets per second of the nodes, from the counters of their connections. Every replica hears all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._last: dict[tuple[str, int], tuple[int, int, int]] = {}
        self._rates: dict[str, dict[int, tuple[float, float, float]]] = defaultdict(dict)

    def counted(self, node_id: str, handle: int, *, timestamp: int, received: int, sent: int) -> None:
        """A connection's counters since it began, at a moment in µs."""
        before = self._last.get((node_id, handle))
        self._last[node_id, handle] = (timestamp, received, sent)
        seconds = (timestamp - before[0]) / 1e6 if before else 0.0
        # The same handle counts from zero when its connection was made anew.
        if before is None or seconds <= 0 or received < before[1] or sent < before[2]:
            rate = 0.0, 0.0
        else:
            rate = (received - before[1]) / seconds, (sent - before[2]) / seconds
        self._rates[node_id][handle] = (self._clock(), *rate)

    def rates(self, node_id: str) -> tuple[int, int]:
        """Packets per second that a node receives and sends."""
        known = self._rates[node_id]
        for handle in [each for each, (at, *_) in known.items() if self._clock() - at > MEASURE_HOLDS]:
            del known[handle], self._last[node_id, handle]
        return round(sum(each[1] for each in known.values())), round(sum(each[2] for each in known.values()))


class Occupancy:
    """Who is on which node: those in the journal, and those who are being let in here at this moment."""

    def __init__(self) -> None:
        """Nobody is anywhere."""
        self._journalled: dict[Key, str] = {}
        self._coming: dict[Key, str] = {}
        self._count: dict[str, Counter[str]] = defaultdict(Counter)
        self._size: Counter[str] = Counter()

    def where(self, key: Key) -> str:
        """The node that carries the participant; empty if none does."""
        return self._journalled.get(key, "")

    def seen(self, key: Key, node_id: str) -> None:
        """The journal has the participant on a node; on none if the name is empty."""
        self._move(key, node_id, self._coming.get(key, ""))

    def forget(self) -> None:
        """The journal is read anew."""
        for key in list(self._journalled):
            self.seen(key, "")

    @contextlib.contextmanager
    def coming(self, key: Key, node_id: str) -> Iterator[None]:
        """The participant counts there while it is let in, before anybody has journalled it."""
        self._move(key, self._journalled.get(key, ""), node_id)
        try:
            yield
        finally:
            self._move(key, self._journalled.get(key, ""), "")

    def size(self, meeting_id: str) -> int:
        """How many of a meeting are in it, wherever."""
        return self._size[meeting_id]

    def expected(self, node_id: str) -> int:
        """Packets/s that the meetings on a node are expected to have sent."""
        return sum(demand(here, self._size[meeting]) for meeting, here in self._count[node_id].items())

    def growth(self, node_id: str, meeting_id: str) -> int:
        """What more is expected of a node with one more participant of a meeting on it."""
        here, size = self._count[node_id][meeting_id], self._size[meeting_id]
        return demand(here + 1, size + 1) - demand(here, size)

    def _move(self, key: Key, journalled: str, coming: str) -> None:
        self._add(key, -1)
        for known, node_id in ((self._journalled, journalled), (self._coming, coming)):
            if node_id:
                known[key] = node_id
            else:
                known.pop(key, None)
        self._add(key, 1)

    def _add(self, key: Key, by: int) -> None:
        node_id = self._journalled.get(key) or self._coming.get(key)
        if node_id:
            for count in (self._count[node_id], self._size):
                count[key[0]] += by
                if not count[key[0]]:
                    del count[key[0]]
