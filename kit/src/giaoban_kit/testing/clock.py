# SPDX-License-Identifier: Apache-2.0
"""Owns a clock that stands still until told otherwise."""

from datetime import UTC, datetime, timedelta


class FixedClock:
    """A `giaoban_kit.clock.Clock` for tests."""

    def __init__(self, start: datetime = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """The time it was set to."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Lets time pass."""
        self._now += by
