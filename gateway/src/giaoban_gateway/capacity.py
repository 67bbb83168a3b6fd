# SPDX-License-Identifier: Apache-2.0
"""Owns the question whether media has room before a ticket is given. Media decides at the join in any case."""

from __future__ import annotations

from cachetools import TTLCache
from giaoban.media.v1.media_service_pb2 import CheckCapacityRequest
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceStub
from giaoban_kit.errors import GiaobanError
from giaoban_kit.logging import get_logger

CAPACITY_SECONDS = 1.0
"""How long a ticket waits for media's word whether there is room."""

PLENTY = 100
"""Where so many more find room, media is not asked again for a while: fewer come in meanwhile, over all gateways."""

PLENTY_SECONDS = 1.0
MAX_MEETINGS = 10_000

log = get_logger(__name__)


class Capacity:
    """What media has said of its capacity."""

    def __init__(self, media: MediaServiceStub) -> None:
        """Knows nothing yet."""
        self._media = media
        self._plenty: TTLCache[str, bool] = TTLCache(MAX_MEETINGS, PLENTY_SECONDS)

    async def check(self, meeting_id: str) -> None:
        """Whether there is room for the caller; a media that does not answer refuses nobody.

        Raises: GiaobanError MEDIA_CAPACITY.
        """
        if meeting_id in self._plenty:
            return
        try:
            answer = await self._media.CheckCapacity(
                CheckCapacityRequest(meeting_id=meeting_id), timeout=CAPACITY_SECONDS
            )
        except GiaobanError as error:
            if error.reason == "MEDIA_CAPACITY":
                raise
            # Media decides at the join in any case, and may be back by then.
            log.info("capacity_not_known", meeting_id=meeting_id, reason=error.reason)
        else:
            if answer.room_for >= PLENTY:
                self._plenty[meeting_id] = True
