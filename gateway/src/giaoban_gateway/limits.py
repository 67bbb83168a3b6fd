# SPDX-License-Identifier: Apache-2.0
"""Token buckets, in the process: a cluster allows as many times more as it has gateways."""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import timedelta

from giaoban_kit.errors import Exhausted

MAX_KEYS = 100_000


class RateLimited(Exhausted):
    """Too many requests; try again after the time given."""

    reason = "RATE_LIMITED"


class Bucket:
    """Holds `burst` tokens and gains `rate` a second."""

    __slots__ = ("_burst", "_rate", "_seen", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        """Starts full."""
        self._rate, self._burst = rate, burst
        self._tokens, self._seen = burst, time.monotonic()

    def take(self) -> float:
        """Takes a token; returns 0, or the seconds until there is one."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._rate)
        self._seen = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate


class Limiter:
    """A bucket per key; the ones unused longest are forgotten first."""

    def __init__(self, per_minute: int) -> None:
        """A quarter of a minute's worth may come at once."""
        self._rate = per_minute / 60
        self._burst = max(1.0, per_minute / 4)
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, key: str) -> None:
        """Counts a request. Raises `RateLimited`."""
        bucket = self._buckets.get(key) or Bucket(self._rate, self._burst)
        self._keep(key, bucket)
        wait = bucket.take()
        if wait:
            raise RateLimited(
                "Too many requests. Wait a moment, then try again.", retry_after=timedelta(seconds=wait)
            )

    def share(self, key: str, other: str) -> None:
        """From now on `other` is counted together with `key`."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._keep(other, bucket)

    def _keep(self, key: str, bucket: Bucket) -> None:
        self._buckets[key] = bucket
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
