# SPDX-License-Identifier: Apache-2.0
"""What a seat tells waits in order, and not without end."""

import pytest
from giaoban_kit.errors import Unavailable
from giaoban_media.messages import MAX_WAITING, Ended, Messages, RejoinNeeded


async def test_messages_come_in_their_order() -> None:
    """As many as may wait."""
    messages, told = Messages(), [RejoinNeeded(str(number)) for number in range(MAX_WAITING)]
    for each in told:
        messages.put(each)
    assert [await messages.get() for _ in told] == told


async def test_a_stream_that_nobody_reads_ends_and_keeps_nothing() -> None:
    """Whoever is behind it may open another one: the error is of the kind that is tried again."""
    messages = Messages()
    for number in range(MAX_WAITING + 1):
        messages.put(RejoinNeeded(str(number)))
    ended = await messages.get()
    assert isinstance(ended, Ended)
    with pytest.raises(Unavailable, match="open another one"):
        raise ended.error
    messages.put(RejoinNeeded("after"))
    assert await messages.get() == RejoinNeeded("after")
