# SPDX-License-Identifier: Apache-2.0
"""The server's side of a WebSocket: uvicorn's, which can also write a text at once that goes to many.

What the application sends passes a task of its own, every middleware and a state machine, which frames it. For what
all members of a meeting are told that is most of the cost, so it is framed once and handed straight to the transport.
"""

from __future__ import annotations

from functools import lru_cache

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

WRITE = "giaoban.write"
"""The key in the `extensions` of the ASGI scope; its `write` is `LiveSocket.write`."""

FRAMES_KEPT = 32


@lru_cache(FRAMES_KEPT)
def framed(text: str) -> bytes:
    """A text message as a server sends it: one frame, without mask and compression (RFC 6455, section 5.2)."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class LiveSocket(WebSocketsSansIOProtocol):
    """One connection."""

    async def run_asgi(self) -> None:
        """Runs the application, which finds `write` in its scope."""
        self.scope["extensions"][WRITE] = {"write": self.write}
        await super().run_asgi()

    def write(self, text: str) -> bool:
        """Sends a text message now. False, and nothing sent: the client does not keep up, or the connection ends."""
        if not self.writable.is_set() or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(framed(text))
        return True
