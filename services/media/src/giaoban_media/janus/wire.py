# SPDX-License-Identifier: Apache-2.0
"""One WebSocket to one Janus node: requests with deadlines, events handed on, loss noticed at once.

janus_client carries the transport and the transactions. Added here is what it lacks (docs/adr/0005): every
request has a deadline, all of them fail when the socket is lost, messages that answer nothing go to a
callback that must not wait, and nothing it logs can carry the API secret.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable
from typing import Any

from websockets.exceptions import WebSocketException

from giaoban_media.errors import MediaLost

# At import janus_client configures the root logger (media.py) and later logs every message with the API
# secret at INFO: undo the first, and let nothing below ERROR out of it.
_handlers, _level = logging.root.handlers[:], logging.root.level
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it names a class that websockets will drop
    from janus_client import JanusTransportWebsocket

logging.root.handlers[:], logging.root.level = _handlers, _level
logging.getLogger("janus_client").setLevel(logging.ERROR)

REQUEST_TIMEOUT = 5.0
CONNECT_TIMEOUT = 2.0

Message = dict[str, Any]


class JanusError(Exception):
    """An error that Janus answered; `code` as in its documentation."""

    def __init__(self, code: int, text: str) -> None:
        """Keeps the code for the translation into our own errors."""
        super().__init__(f"{text} ({code})")
        self.code = code


class Wire(JanusTransportWebsocket):  # type: ignore[misc]
    """A connected socket. Used once: after a loss a new one is made."""

    def __init__(self, url: str, api_secret: str, on_event: Callable[[Message], None]) -> None:
        """Prepares; `connect` opens the socket."""
        super().__init__(base_url=url, api_secret=api_secret)
        self._on_event = on_event
        self._live: set[str] = set()
        self.lost = asyncio.Event()

    async def open(self) -> None:
        """Opens the socket. Raises `MediaLost` when the node does not answer in time."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.connect()
        except (OSError, TimeoutError, WebSocketException) as error:
            # WebSocketException: the node died in the middle of the handshake.
            raise MediaLost("the media node does not answer") from error

    async def close(self) -> None:
        """Closes the socket; pending requests fail."""
        if self.connected:
            await self.disconnect()
        await self._fail_live()

    async def request(
        self,
        message: Message,
        *,
        session: int | None = None,
        handle: int | None = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109 - the deadline covers several waits
        acked: bool = False,
    ) -> Message:
        """Sends and waits for the answer; with `acked` the acknowledgement is the answer.

        Raises:
            JanusError: Janus refused.
            MediaLost: no answer in time, or the socket is gone.

        """
        if self.lost.is_set() or not self.connected:
            raise MediaLost("the connection to the media node is lost")
        finals = {"success", "event", "error", "pong", "server_info"} | ({"ack"} if acked else set())
        transaction = None
        try:
            async with asyncio.timeout(timeout):
                transaction = await self.send(message, session_id=session, handle_id=handle)
                # An event may overtake the acknowledgement of its own request: never wait for both.
                answer: Message = await transaction.get(matcher=lambda each: each.get("janus") in finals)
        except TimeoutError as error:
            raise MediaLost("the media node did not answer in time") from error
        except MediaLost:
            raise
        except Exception as error:  # janus_client raises bare Exception when the socket is gone
            # WebSocketException: closed, and the reader, which says so, has not run yet.
            if not self.connected or self.lost.is_set() or isinstance(error, OSError | WebSocketException):
                raise MediaLost("the connection to the media node is lost") from error
            raise
        finally:
            if transaction is not None:
                self._live.discard(transaction.id)
                await transaction.done()
        return _checked(answer)

    async def receive(self, response: Message) -> None:
        """Hands an answer to its transaction and everything else on."""
        if response.get("transaction") in self._live:
            await super().receive(response)
        elif response.get("janus") != "ack":
            self._on_event(response)

    async def _send(self, message: Message) -> None:
        # Noted before the message leaves, so that an answer cannot come too early to be known.
        self._live.add(message["transaction"])
        await super()._send(message)

    def receive_message_done_cb(self, task: asyncio.Task[None], context: object = None) -> None:  # noqa: ARG002
        """Called when the reader ends: the socket is lost or closed."""
        self.receiving_message = False
        self.connected = False
        self.lost.set()
        if not task.cancelled():
            task.exception()  # fetched so that asyncio does not report a plain close
        self._failing = asyncio.ensure_future(self._fail_live())

    async def _fail_live(self) -> None:
        gone = {"janus": "error", "error": {"code": -1, "reason": "connection lost"}}
        for transaction in list(self._live):
            await super().receive({**gone, "transaction": transaction})


def _checked(answer: Message) -> Message:
    if answer["janus"] == "error":
        error = answer.get("error", {})
        if error.get("code") == -1:
            raise MediaLost("the connection to the media node is lost")
        raise JanusError(int(error.get("code", 0)), str(error.get("reason", "")))
    data = answer.get("plugindata", {}).get("data", {})
    if "error_code" in data:
        raise JanusError(int(data["error_code"]), str(data.get("error", "")))
    return answer
