# SPDX-License-Identifier: Apache-2.0
"""The first picture for those who have just begun to receive one, on one node.

A node asks a sender for at most one keyframe a second, and of what is asked in between it keeps nothing (Janus 1.4.1,
janus_videoroom_reqpli): whoever came just after a keyframe would wait until the node itself misses a picture, after a
second and more. So it is asked again until the picture is there, once for all who wait for the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from giaoban_media.errors import MediaLost
from giaoban_media.janus.wire import JanusError

ASK_INTERVAL = 0.1
"""Seconds between two askings."""

ASKINGS = 15
"""Askings after the last newcomer, until a sender that shows nothing is left alone."""

Ask = Callable[[], Awaitable[object]]
Picture = tuple[str, str, str]
"""Room, participant and mid of a picture that is sent."""

_log = structlog.get_logger(__name__)


class Pictures:
    """Who waits for which picture."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._waiting: dict[Picture, dict[object, Ask]] = {}
        self._left: dict[Picture, int] = {}
        self._tasks: dict[Picture, asyncio.Task[None]] = {}

    def expect(self, picture: Picture, receiver: object, ask: Ask) -> None:
        """A receiver is ready for a picture and has not got it; `ask` asks the node for a keyframe of it."""
        self._waiting.setdefault(picture, {})[receiver] = ask
        self._left[picture] = ASKINGS
        if picture not in self._tasks:
            self._tasks[picture] = asyncio.create_task(self._ask_for(picture))

    def seen(self, picture: Picture, receiver: object) -> None:
        """It is there, or nobody wants it any more."""
        self._waiting.get(picture, {}).pop(receiver, None)

    async def _ask_for(self, picture: Picture) -> None:
        try:
            while self._left[picture]:
                await asyncio.sleep(ASK_INTERVAL)
                waiting = self._waiting.get(picture)
                if not waiting:
                    return
                self._left[picture] -= 1
                receiver, ask = next(iter(waiting.items()))
                try:
                    await ask()
                except (JanusError, MediaLost) as error:
                    _log.debug("picture_not_asked_for", reason=str(error))
                    self.seen(picture, receiver)
        finally:
            del self._tasks[picture], self._left[picture]
            self._waiting.pop(picture, None)
