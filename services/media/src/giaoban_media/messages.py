# SPDX-License-Identifier: Apache-2.0
"""What a seat tells the one who sits in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from giaoban_kit.errors import GiaobanError, Unavailable

from giaoban_media.sfu import FeedsChanged, ReceiveOffer

MAX_WAITING = 100
"""Messages that wait for their reader. An offer waits for its answer before the next, so this is minutes of them."""


@dataclass(frozen=True, slots=True)
class Entered:
    """The answer to a join."""

    participant_id: str
    answer_sdp: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class RejoinNeeded:
    """The publishing connection must be built anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream is over."""

    error: GiaobanError


SeatMessage = ReceiveOffer | FeedsChanged | RejoinNeeded | Ended


class Messages:
    """What a seat has told and nobody has taken yet, in order, at most `MAX_WAITING`."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._queue: asyncio.Queue[SeatMessage] = asyncio.Queue(MAX_WAITING)

    def put(self, message: SeatMessage) -> None:
        """Tells something. To who takes nothing for so long, that the stream is over: another one takes over."""
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            message = Ended(Unavailable("nobody reads this stream; open another one"))
        self._queue.put_nowait(message)

    async def get(self) -> SeatMessage:
        """Takes the next one, when there is one."""
        return await self._queue.get()
