# SPDX-License-Identifier: Apache-2.0
"""What media needs of the outside beside the media nodes (`sfu.py`), in our words."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from giaoban_media.conference.acts import Effect
from giaoban_media.conference.model import Participant, Room
from giaoban_media.domain import Grant


class News(Protocol):
    """Facts for the other services. Never raises: what cannot be told now is told later."""

    async def joined(self, grant: Grant, participant: Participant) -> None:
        """A new stay began."""
        ...

    async def left(
        self, meeting_id: str, organisation_id: str, participant: Participant, reason: str
    ) -> None:
        """A stay ended: left, lost (when the connection was), removed or meeting_ended."""
        ...

    async def floor(self, meeting_id: str, effect: Effect, now: datetime) -> None:
        """Somebody got or lost the floor."""
        ...

    async def moved(self, room: Room) -> None:
        """A room was placed on a node."""
        ...

    async def talking(self, meeting_id: str, talking: list[str], silent: list[str]) -> None:
        """Who was heard talking, who stopped; nobody keeps it."""
        ...
