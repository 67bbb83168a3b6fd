# SPDX-License-Identifier: Apache-2.0
"""What is looked at, and taken out, of session descriptions (RFC 8866); all else passes between node and client as it is."""

from __future__ import annotations

import re

from giaoban_media.errors import OfferInvalid

MAX_SDP_CHARACTERS = 60_000

# draft-holmer-rmcat-transport-wide-cc-extensions-01
_TRANSPORT_FEEDBACK = re.compile(
    r"a=(?:extmap:\S+ \S+transport-wide-cc-extensions\S*|rtcp-fb:\S+ transport-cc)\r\n"
)


def check_sdp(sdp: str, field: str) -> None:
    """Refuses what is no session description before it reaches a node. Raises `OfferInvalid`."""
    if not sdp.startswith("v=0") or "\nm=" not in sdp or len(sdp) > MAX_SDP_CHARACTERS:
        raise OfferInvalid(
            f"{field}: send a session description (RFC 8866) of at most {MAX_SDP_CHARACTERS} characters"
        )


def origin_of(sdp: str) -> str:
    """User and id of the `o=` line, which stay for the life of a connection."""
    # o=<username> <sess-id> <sess-version> …
    line = next((each for each in sdp.splitlines() if each.startswith("o=")), "")
    return " ".join(line.split()[:2])


def without_transport_feedback(sdp: str) -> str:
    """An offer of streams to receive, without transport-wide feedback about them.

    The node makes no use of it, and browsers would send ten to twenty packets of it a second. Senders are still given it.
    """
    return _TRANSPORT_FEEDBACK.sub("", sdp)
