# SPDX-License-Identifier: Apache-2.0
"""The stream to media for one client: opened again on another replica when it breaks, unnoticed by the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable

from giaoban.media.v1 import media_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceStub
from giaoban_kit.errors import ErrorKind, GiaobanError, Unavailable
from giaoban_kit.logging import get_logger

from giaoban_gateway.live.outgoing import Feed, Outgoing, Reply, ReplyError
from giaoban_gateway.schemas.common import word

FIRST_DELAY = 0.05
MAX_DELAY = 1.0
GIVE_UP_SECONDS = 60.0
"""How long a client that is in the meeting is kept without media's answer."""
JOIN_GIVE_UP_SECONDS = 10.0
"""How long one that wants to come in waits for it."""
STABLE_SECONDS = 5.0
"""A stream that held for so long is opened again without delay."""

MAX_REQUESTS = 256
"""Messages of a client that wait for media; it sends at most 20 a second."""

HELD_SECONDS = 5.0
"""How long a request that came while media is taken over waits for the new stream before it is refused."""

Requests = asyncio.Queue[pb.ConnectRequest | None]

_AGAIN = {ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.INTERNAL}

log = get_logger(__name__)


class MediaLink:
    """Relays between a client and whichever media replica holds it. `send` takes messages as JSON nouns."""

    def __init__(self, media: MediaServiceStub, join: pb.Join, send: Callable[[Outgoing], None]) -> None:
        """`run` opens the stream; `joined` resolves when media has let the client in."""
        self._media = media
        self._join = join
        self._send = send
        self._requests: Requests | None = None
        self._pending: set[str] = set()
        self._held: dict[str, pb.ConnectRequest] = {}
        self._left = False
        self.joined: asyncio.Future[pb.Joined] = asyncio.get_running_loop().create_future()
        self.joined.add_done_callback(lambda done: done.cancelled() or done.exception())

    @property
    def leaving(self) -> bool:
        """Whether the client has said farewell."""
        return self._left

    async def run(self) -> None:
        """Keeps the stream until the client has left.

        Raises: GiaobanError with the reason why media does not want the client (any more).
        """
        delay, answered = FIRST_DELAY, time.monotonic()
        try:
            while not self._left:
                started = time.monotonic()
                failed = await self._try_stream()
                if self._requests is not None:
                    answered = time.monotonic()
                    if answered - started > STABLE_SECONDS:
                        delay = FIRST_DELAY
                self._break()
                patience = GIVE_UP_SECONDS if self.joined.done() else JOIN_GIVE_UP_SECONDS
                if time.monotonic() - answered > patience:
                    raise failed or Unavailable("Media cannot be reached. Try again in a minute.")
                if self._left:
                    return
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_DELAY)
                if self.joined.done():
                    self._join.resume = True
                    self._join.offer_sdp = ""
                    del self._join.streams[:]
        except GiaobanError as error:
            if not self.joined.done():
                self.joined.set_exception(error)
            raise
        finally:
            self._held.clear()
            self._break()

    async def _try_stream(self) -> GiaobanError | None:
        """Runs one stream; what broke it, unless trying again is pointless, which raises."""
        try:
            await self._stream()
        except GiaobanError as error:
            if error.kind not in _AGAIN:
                raise
            log.info("media_stream_broken", reason=error.reason)
            return error
        return None

    def request(self, message: pb.ConnectRequest, request_id: str = "") -> None:
        """Passes a client's message on; one with a `request_id` gets a reply in any case."""
        kind = message.WhichOneof("message")
        if kind == "view":
            self._join.view.CopyFrom(message.view)
        if kind == "leave":
            self._left = True
        if self._requests is None:
            self._hold(message, request_id)
            return
        if request_id:
            self._pending.add(request_id)
        if self._requests.full():
            self._fail(request_id)
        else:
            self._requests.put_nowait(message)

    async def _stream(self) -> None:
        # Requests go through an iterator of our own: the one behind `call.write` is never ended when the
        # server breaks the stream, and complains about itself when it is collected.
        requests: Requests = asyncio.Queue(MAX_REQUESTS)
        requests.put_nowait(pb.ConnectRequest(join=self._join))
        call = self._media.Connect(_until_none(requests))
        try:
            async for message in call:
                if self._requests is None:
                    self._requests = requests
                    self._on_joined(message.joined)
                else:
                    self._on_message(message)
        finally:
            call.cancel()
            while not requests.empty():
                requests.get_nowait()
            requests.put_nowait(None)

    def _on_joined(self, joined: pb.Joined) -> None:
        if not self.joined.done():
            self.joined.set_result(joined)
        elif not joined.resumed:
            self._send({"type": "rejoin", "reason": "the media session could not be taken over"})
        held, self._held = self._held, {}
        for request_id, message in held.items():
            self.request(message, request_id)

    def _on_message(self, message: pb.ConnectResponse) -> None:
        match message.WhichOneof("message"):
            case "reply":
                self._pending.discard(message.reply.request_id)
                self._send(_reply(message.reply))
            case "offer":
                offer = message.offer
                self._send(
                    {
                        "type": "offer",
                        "negotiation": offer.negotiation,
                        "sdp": offer.offer_sdp,
                        "feeds": _feeds(offer.feeds),
                        "new_connection": offer.new_connection,
                    }
                )
            case "feeds":
                self._send({"type": "feeds", "feeds": _feeds(message.feeds.feeds)})
            case "rejoin":
                self._send({"type": "rejoin", "reason": message.rejoin.reason})

    def _break(self) -> None:
        self._requests = None
        for request_id in list(self._pending):
            self._fail(request_id)

    def _hold(self, message: pb.ConnectRequest, request_id: str) -> None:
        # Only what wants a reply: an answer or a candidate of the old stream means nothing to the new one.
        if request_id and len(self._held) < MAX_REQUESTS:
            self._held[request_id] = message
            asyncio.get_running_loop().call_later(HELD_SECONDS, self._expire, request_id)
        else:
            self._fail(request_id)

    def _expire(self, request_id: str) -> None:
        if self._held.pop(request_id, None) is not None:
            self._fail(request_id)

    def _fail(self, request_id: str) -> None:
        if not request_id:
            return
        self._pending.discard(request_id)
        detail = "Media is being taken over at this moment. Try again."
        error: ReplyError = {"reason": "MEDIA_LOST", "detail": detail, "metadata": {}}
        self._send({"type": "reply", "id": request_id, "answer": None, "error": error})


async def _until_none(requests: Requests) -> AsyncIterator[pb.ConnectRequest]:
    while (message := await requests.get()) is not None:
        yield message


def _feeds(feeds: Iterable[pb.Feed]) -> list[Feed]:
    return [
        {
            "mid": each.mid,
            "participant_id": each.participant_id,
            "source": word(media_pb2.StreamSource, each.source),
        }
        for each in feeds
    ]


def _reply(reply: pb.Reply) -> Reply:
    error: ReplyError | None = None
    if reply.HasField("error"):
        error = {
            "reason": reply.error.reason,
            "detail": reply.error.detail,
            "metadata": dict(reply.error.metadata),
        }
    return {
        "type": "reply",
        "id": reply.request_id,
        "answer": {"sdp": reply.answer_sdp} if reply.answer_sdp else None,
        "error": error,
    }
