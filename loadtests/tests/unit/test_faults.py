# SPDX-License-Identifier: Apache-2.0
"""When somebody counts as having heard something."""

from typing import cast

from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.faults import heard_more

OLD, NEW = (cast("PeerConnection", object()) for _ in range(2))


def test_only_a_packet_breaks_the_silence() -> None:
    """A connection that is replaced by one that carries nothing yet, or is gone, is none."""
    assert heard_more({OLD: 8}, {OLD: 7})
    assert heard_more({NEW: 1}, {OLD: 7})
    assert heard_more({NEW: 0, OLD: 8}, {OLD: 7})
    for now in ({OLD: 7}, {NEW: 0, OLD: 7}, {NEW: 0}, {}):
        assert not heard_more(now, {OLD: 7})
    assert not heard_more({NEW: 0}, {})
