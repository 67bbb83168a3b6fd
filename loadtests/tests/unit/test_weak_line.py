# SPDX-License-Identifier: Apache-2.0
"""When a packet arrives over a weak line, and when it does not."""

import random

import pytest
from giaoban_loadtests.weak_line import QUEUE_SECONDS, Quality, Way

ONE, OTHER = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"


def test_packets_wait_for_those_before_them() -> None:
    """1,000 bytes take 80 ms at 100 kbit/s, then the delay; another address has a rate of its own."""
    way = Way(Quality(delay=0.05, loss=0, rate=100_000))
    assert way.arrival(10, ONE, 1000) == pytest.approx(10.13)
    assert way.arrival(10, ONE, 1000) == pytest.approx(10.21)
    assert way.arrival(10, OTHER, 1000) == pytest.approx(10.13)
    assert way.arrival(20, ONE, 1000) == pytest.approx(20.13)


def test_the_queue_is_bounded() -> None:
    """What would wait longer than the queue holds is dropped; nothing else is, and it empties again."""
    way = Way(Quality(delay=0, loss=0, rate=100_000))
    times = [way.arrival(0, ONE, 1000) for _ in range(20)]
    kept = [each for each in times if each is not None]
    assert kept == pytest.approx([0.08 * number for number in range(1, len(kept) + 1)])
    assert QUEUE_SECONDS < max(kept) <= QUEUE_SECONDS + 0.08 + 1e-9
    assert times[len(kept) :] == [None] * (20 - len(kept))
    assert way.arrival(1, ONE, 1000) == pytest.approx(1.08)


def test_the_share_that_is_lost() -> None:
    """Independent of each other; what is lost takes no time of the line."""
    way = Way(Quality(delay=0, loss=0.05, rate=1e12), random.Random(7).random)
    lost = sum(way.arrival(number, ONE, 100) is None for number in range(20_000))
    assert lost / 20_000 == pytest.approx(0.05, abs=0.005)


def test_nothing_passes_while_it_is_cut() -> None:
    """And everything after it."""
    way = Way(Quality(delay=0, loss=0, rate=1e9))
    way.cut_until = 5
    assert [way.arrival(at, ONE, 100) is None for at in (4.9, 5.0)] == [True, False]
