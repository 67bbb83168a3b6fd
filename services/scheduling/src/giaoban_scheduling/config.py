# SPDX-License-Identifier: Apache-2.0
"""Owns scheduling's configuration; every key has a default that works on the local stack."""

from datetime import timedelta

from giaoban_kit.config import ServiceConfig
from pydantic import Field


class Config(ServiceConfig):
    """Keys `GIAOBAN_*`; durations as ISO 8601 ("PT30M") or seconds."""

    service_name: str = "scheduling"
    # Parties that may be admitted to one meeting.
    participant_limit: int = Field(default=500, ge=1, le=10_000)
    # A running meeting that everyone has left is ended this long after its planned end.
    end_overdue_after: timedelta = Field(default=timedelta(minutes=30), ge=timedelta())
    end_overdue_every: timedelta = Field(default=timedelta(minutes=1), ge=timedelta(seconds=1))
