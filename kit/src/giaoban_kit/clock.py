# SPDX-License-Identifier: Apache-2.0
"""Owns the time of day, so that tests can own it instead."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time now: aware, in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The time now: aware, in UTC."""
        return datetime.now(UTC)
