# SPDX-License-Identifier: Apache-2.0
"""A request to a node that dies ends with the one error that everybody expects."""

import pytest
from giaoban_media.errors import MediaLost
from giaoban_media.janus.wire import Wire
from websockets.exceptions import ConnectionClosedError


class Closed:
    """A socket whose end nobody has read yet."""

    async def send(self, _text: str) -> None:
        raise ConnectionClosedError(None, None)


async def test_a_socket_that_closes_while_something_is_sent_is_a_lost_node() -> None:
    """The reader that says so may run only after."""
    wire = Wire("ws://node.example", "secret", lambda _: None)
    wire.ws, wire.connected, wire.receiving_message = Closed(), True, True
    with pytest.raises(MediaLost):
        await wire.request({"janus": "info"})
