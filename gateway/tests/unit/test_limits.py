# SPDX-License-Identifier: Apache-2.0
"""Token buckets."""

import pytest
from giaoban_gateway import limits
from giaoban_gateway.limits import Bucket, Limiter, RateLimited


class Time:
    """A monotonic clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1024.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def test_a_burst_then_the_rate(time: Time) -> None:
    """A full bucket gives its burst at once, then one token for each span of the rate."""
    bucket = Bucket(rate=16, burst=60)
    assert [bucket.take() for _ in range(60)] == [0.0] * 60
    assert bucket.take() == pytest.approx(1 / 16)
    time.now += 1 / 16
    assert bucket.take() == 0.0
    assert bucket.take() > 0


def test_a_bucket_never_holds_more_than_its_burst(time: Time) -> None:
    """A day of silence does not save up more than one burst."""
    bucket = Bucket(rate=20, burst=60)
    time.now += 86_400
    assert sum(bucket.take() == 0.0 for _ in range(100)) == 60


def test_each_key_has_its_own_bucket(time: Time) -> None:
    """One guesser does not lock the others out."""
    limiter = Limiter(per_minute=4)
    limiter.take("203.0.113.9")
    with pytest.raises(RateLimited) as refused:
        limiter.take("203.0.113.9")
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after.total_seconds() <= 15
    limiter.take("203.0.113.10")
    time.now += 15
    limiter.take("203.0.113.9")


def test_the_keys_in_memory_are_bounded(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the key unused longest is forgotten, not the one that is being limited."""
    monkeypatch.setattr(limits, "MAX_KEYS", 3)
    limiter = Limiter(per_minute=4)
    limiter.take("hot")
    for number in range(10):
        limiter.take(f"other-{number}")
        with pytest.raises(RateLimited):
            limiter.take("hot")
    assert len(limiter._buckets) == 3
