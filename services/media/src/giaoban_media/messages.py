# SPDX-License-Identifier: Apache-2.0
"""What a seat tells the one who sits in it."""

from __future__ import annotations

from dataclasses import dataclass

from giaoban_kit.errors import GiaobanError

from giaoban_media.sfu import FeedsChanged, ReceiveOffer


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
