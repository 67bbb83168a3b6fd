# SPDX-License-Identifier: Apache-2.0
"""Owns one simulated participant of a Giaoban meeting: the meeting WebSocket's client side (docs/live-protocol.md).

It joins, publishes, answers offers, and comes back by itself as the protocol asks; the media is PeerConnection's.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx
import websockets

from giaoban_loadtests.clips import Clip
from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.gateway_api import ApiError, GatewayApi, Identity
from giaoban_loadtests.publish import Pacer
from giaoban_loadtests.receive import ReceivedStream

MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # a snapshot of a large meeting
OPEN_TIMEOUT = 10.0
REPLY_TIMEOUT = 10.0
MEDIA_GRACE = 2.0  # seconds between lost media and a fresh join, in which the server may say `rejoin` first
FIRST_BACKOFF = 0.1
MAX_BACKOFF = 5.0
# As the browser does (web/src/room/peers.ts): what stood sends and receives on until the new connections carry it.
FORMER_PUBLISHER = 1.0  # seconds after the new one is connected
FORMER_RECEIVER = 3.0  # seconds after the new one was offered
STABLE_AFTER = 10.0  # seconds in a meeting after which backing off begins anew
LEFT = "left"  # what `run` returns after `leave`: the server closes such a connection without a word
RETRIED_CODES = {"server_stopping", "appointment_changed", "no_media_node", "media_capacity", "internal"}


@lru_cache(maxsize=64)
def _decode(text: str | bytes) -> Any:
    # The gateway sends the same bytes to all; what comes out is shared, and nobody changes it.
    return json.loads(text)


def _feeds(message: dict[str, Any]) -> "tuple[Feed, ...]":
    return tuple(Feed(each["mid"], each["participant_id"], each["source"]) for each in message["feeds"])


class SignallingError(Exception):
    """The server said something that the protocol does not allow, or refused a request."""


@dataclass
class View:
    """What to receive beside the stage and the audio: cameras of these participants."""

    tiles: list[str] = field(default_factory=list)
    audio_only: bool = False
    stage_height: int = 180

    def to_json(self) -> dict[str, Any]:
        return {"tiles": self.tiles, "audio_only": self.audio_only, "stage_height": self.stage_height}


@dataclass(frozen=True)
class Feed:
    """What one m-line of the receiving connection carries: whose, and `microphone`, `camera` or `screen`."""

    mid: str
    participant_id: str
    source: str


@dataclass
class MeetingState:
    """What snapshots and deltas have told so far; nouns as in docs/live-protocol.md."""

    revision: int | None = None
    room: dict[str, Any] = field(default_factory=dict)
    participants: dict[str, dict[str, Any]] = field(default_factory=dict)
    floor: dict[str, Any] = field(default_factory=dict)
    stage: dict[str, Any] = field(default_factory=dict)
    chat: list[dict[str, Any]] = field(default_factory=list)

    def apply(self, message: dict[str, Any]) -> None:
        """Take a snapshot (replaces everything) or a delta."""
        if message["type"] == "snapshot":
            self.participants, self.chat = {}, []
        self.revision = int(message["revision"])
        self.room = message.get("room") or self.room
        self.floor = message.get("floor") or self.floor
        self.stage = message.get("stage") or self.stage
        for participant in message.get("participants") or []:
            self.participants[participant["id"]] = participant
        for gone in message.get("removed_participants") or []:
            self.participants.pop(gone, None)
        self.chat += message.get("chat") or []


@dataclass
class Counts:
    """What happened to a participant so far."""

    joins: int = 0
    resumes: int = 0
    rejoins: int = 0
    failures: int = 0
    last_problem: str = ""


class Participant:
    """One simulated participant; `run` keeps it in the meeting until the meeting is over for it.

    With a `clip` it publishes as camera and microphone, without one it only receives. `joined` is set while it is
    in the meeting.
    """

    def __init__(
        self,
        api: GatewayApi,
        meeting_id: str,
        identity: Identity,
        *,
        pacer: Pacer,
        clip: Clip | None = None,
        view: View | None = None,
        local_ip: str = "0.0.0.0",  # noqa: S104 see PeerConnection
        decrypt_every: int = 1,
        stamped: bool = False,
        on_delay: Callable[[float], None] | None = None,
    ) -> None:
        self.name = identity.name
        self.participant_id: str | None = None
        self.state = MeetingState()
        self.counts = Counts()
        self.joined = asyncio.Event()
        self.publisher: PeerConnection | None = None
        self.receiver: PeerConnection | None = None
        self.former_receiver: PeerConnection | None = None  # still carries sound while the new one comes up
        self.feeds: tuple[Feed, ...] = ()
        self._api, self._meeting_id, self._identity = api, meeting_id, identity
        self._pacer, self._clip = pacer, clip
        self._view = view or View()
        self._local_ip, self._decrypt_every = local_ip, decrypt_every
        self._stamped, self._on_delay = stamped, on_delay
        self.on_state: Callable[[MeetingState], None] | None = None  # called after each snapshot and delta
        self.messages = 0  # received from the server
        self.connecting_time = 0.0  # when the last connection began, on the event loop's clock
        self.joined_time = 0.0  # when it was answered by `joined`
        self._token: str | None = None
        self._leaving = False
        self._sounding_since: float | None = None
        self._socket: websockets.ClientConnection | None = None
        self._requests = 0
        self._publishing: str | None = None  # id of the `publish` whose reply is awaited
        self._replies: dict[str, asyncio.Future[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._former_publisher: PeerConnection | None = None

    async def run(self) -> str:
        """Stay in the meeting; return the code or reason that ended it for good. Cancelling it leaves the meeting."""
        loop, backoff = asyncio.get_running_loop(), FIRST_BACKOFF
        self._leaving = False  # whoever left may come again
        try:
            while True:
                began, ended = loop.time(), None
                try:
                    ended = await self._connect()
                    problem = ended or "connection closed"
                except ApiError as error:
                    if error.final:
                        return error.reason
                    problem = str(error)
                except (OSError, httpx.HTTPError, websockets.WebSocketException, SignallingError) as error:
                    problem = f"{type(error).__name__}: {error}"
                finally:
                    self._disconnected()
                if self._leaving:
                    return LEFT
                if ended is not None and ended not in RETRIED_CODES:
                    return ended
                self.counts.failures += 1
                self.counts.last_problem = problem
                if loop.time() - began > STABLE_AFTER:
                    backoff = FIRST_BACKOFF
                await asyncio.sleep(random.uniform(0.5, 1) * backoff)
                backoff = min(2 * backoff, MAX_BACKOFF)
        finally:
            self._drop_media()

    async def sign_in(self) -> None:
        """Sign in ahead of `run`, as whoever joins has done long before; raises ApiError or httpx.HTTPError."""
        self._token = await self._api.sign_in(self._identity)

    async def leave(self) -> None:
        """Leave for good; `run` returns LEFT when the server has closed the connection."""
        self._leaving = True
        await self._send({"type": "leave"})

    async def command(self, act: str, **fields: Any) -> None:
        """Carry out an act in the meeting; raises SignallingError when it is refused or not answered."""
        identifier = self._next_id()
        reply = self._replies[identifier] = asyncio.get_running_loop().create_future()
        try:
            await self._send({"type": "command", "id": identifier, "act": act, **fields})
            await asyncio.wait_for(reply, REPLY_TIMEOUT)
        except TimeoutError as error:
            raise SignallingError(f"{act}: no reply within {REPLY_TIMEOUT:g} s") from error
        finally:
            self._replies.pop(identifier, None)

    async def set_view(self, view: View) -> None:
        """Change what is received; remembered over reconnects."""
        self._view = view
        await self._send({"type": "view", **view.to_json()})

    def streams_from(self, participant_id: str, source: str) -> list[ReceivedStream]:
        """Return the received streams of one participant's source."""
        if self.receiver is None:
            return []
        wanted = [f.mid for f in self.feeds if f.participant_id == participant_id and f.source == source]
        return [stream for mid in wanted for stream in self.receiver.streams_of(mid)]

    # --- one connection --------------------------------------------------------------------------------------

    async def _connect(self) -> str | None:
        """Hold one WebSocket; return the code of `ended`, None when it closed without one."""
        self.connecting_time = asyncio.get_running_loop().time()
        ticket = await self._ticket()
        url = self._api.base_url.replace("http", "ws", 1) + f"/v1/meetings/{self._meeting_id}/connect"
        async with websockets.connect(
            url,
            origin=websockets.Origin(self._api.origin),
            open_timeout=OPEN_TIMEOUT,
            max_size=MAX_MESSAGE_BYTES,
            proxy=None,
        ) as socket:
            self._socket = socket
            resume = self._media_stands()
            if not resume:
                self._drop_media()
            await self._send(
                {
                    "type": "join",
                    "ticket": ticket,
                    "offer": None if resume else self._new_offer(),
                    "resume": resume,
                    "revision": self.state.revision if resume else None,
                    "view": self._view.to_json(),
                }
            )
            async for text in socket:
                ended = await self._on_text(text)
                if ended is not None:
                    return ended
        return None

    async def _ticket(self) -> str:
        if self._token is not None:
            try:
                return await self._api.connect_ticket(self._meeting_id, self._token)
            except ApiError as error:
                if error.status != httpx.codes.UNAUTHORIZED:
                    raise
        self._token = await self._api.sign_in(self._identity)
        return await self._api.connect_ticket(self._meeting_id, self._token)

    def _disconnected(self) -> None:
        self._socket = None
        self.joined.clear()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(SignallingError("the connection closed before the reply"))
        self._replies.clear()

    async def _send(self, message: dict[str, Any]) -> None:
        if self._socket is None:
            raise SignallingError(f"not connected: {message['type']} cannot be sent")
        await self._socket.send(json.dumps(message, ensure_ascii=False))

    def _next_id(self) -> str:
        self._requests += 1
        return f"r{self._requests}"

    # --- messages --------------------------------------------------------------------------------------------

    async def _on_text(self, text: str | bytes) -> str | None:
        try:
            self.messages += 1
            message = _decode(text)
            return await self._on_message(message)
        except (KeyError, TypeError, ValueError) as error:
            # Also SdpError: what the server sent cannot be used, so join afresh.
            self._drop_media()
            raise SignallingError(f"unusable message from the server: {error!r}") from error

    async def _on_message(self, message: dict[str, Any]) -> str | None:
        kind = message["type"]
        if kind == "joined":
            await self._on_joined(message)
        elif kind in {"snapshot", "delta"}:
            self.state.apply(message)
            if self.on_state is not None:
                self.on_state(self.state)
        elif kind == "offer":
            await self._on_offer(message)
        elif kind == "feeds":
            self.feeds = _feeds(message)
        elif kind == "rejoin":
            self.counts.rejoins += 1
            await self._publish()  # the receiving connection stays until an offer replaces it
        elif kind == "reply":
            self._on_reply(message)
        elif kind == "ended":
            return str(message["code"])
        # waiting, talking, admissions, and what later versions add need no act.
        return None

    async def _on_joined(self, message: dict[str, Any]) -> None:
        self.participant_id = message["participant_id"]
        answer, resumed = message.get("answer"), bool(message.get("resumed"))
        if resumed:
            self.counts.resumes += 1
        else:
            self.counts.joins += 1
        if answer is not None and self.publisher is not None:
            self.publisher.set_answer(answer["sdp"])
        elif not resumed:
            # We may have come back with connections that the server no longer knows.
            self._drop_media()
            await self._publish()
        self.joined_time = asyncio.get_running_loop().time()
        self.joined.set()

    async def _on_offer(self, message: dict[str, Any]) -> None:
        if message.get("new_connection") or self.receiver is None:
            self._close(self.former_receiver)
            former = self.former_receiver = self._keep(self.receiver)
            self.receiver = PeerConnection(
                local_ip=self._local_ip, decrypt_every=self._decrypt_every, on_delay=self._on_delay
            )
            self._watch(self.receiver)
            if former is not None:
                asyncio.get_running_loop().call_later(FORMER_RECEIVER, former.close)
        answer = self.receiver.answer(message["sdp"])
        self.feeds = _feeds(message)
        await self._send({"type": "answer", "negotiation": message["negotiation"], "sdp": answer})

    def _on_reply(self, message: dict[str, Any]) -> None:
        identifier, error = message["id"], message.get("error")
        problem = SignallingError(f"{error['reason']}: {error['detail']}") if error else None
        if identifier == self._publishing:
            self._publishing = None
            if problem is not None:
                raise problem
            if self.publisher is not None:
                self.publisher.set_answer(message["answer"]["sdp"])
            return
        reply = self._replies.get(identifier)
        if reply is None or reply.done():
            return
        if problem is None:
            reply.set_result(None)
        else:
            reply.set_exception(problem)

    # --- media -----------------------------------------------------------------------------------------------

    def _new_offer(self) -> dict[str, Any] | None:
        if self._clip is None:
            return None
        self._close(self._former_publisher)
        former = self._former_publisher = self._keep(self.publisher)
        # Somebody goes on with the sound, whatever connection carries it.
        self._sounding_since = self._sounding_since or time.monotonic()
        self.publisher = PeerConnection(
            clip=self._clip,
            pacer=self._pacer,
            local_ip=self._local_ip,
            decrypt_every=self._decrypt_every,
            stamped=self._stamped,
            sounding_since=self._sounding_since,
        )
        self._watch(self.publisher)
        if former is not None:
            loop = asyncio.get_running_loop()
            self.publisher.connected.add_done_callback(
                lambda _: loop.call_later(FORMER_PUBLISHER, former.close)
            )
        tracks = self.publisher.published
        streams = [
            {"mid": tracks.audio_mid, "source": "microphone"},
            {"mid": tracks.video_mid, "source": "camera"},
        ]
        return {"sdp": self.publisher.create_offer(), "streams": streams}

    async def _publish(self) -> None:
        offer = self._new_offer()
        if offer is not None:
            self._publishing = self._next_id()
            await self._send({"type": "publish", "id": self._publishing, **offer})

    def _media_stands(self) -> bool:
        peers = [peer for peer in (self.publisher, self.receiver) if peer is not None]
        return bool(peers) and all(peer.state == "connected" for peer in peers)

    def _drop_media(self) -> None:
        dropped = (self.publisher, self.receiver, self._former_publisher, self.former_receiver)
        self.publisher = self.receiver = self._former_publisher = self.former_receiver = None
        self.feeds = ()
        self._publishing = None
        for peer in dropped:
            self._close(peer)

    @staticmethod
    def _keep(peer: PeerConnection | None) -> PeerConnection | None:
        """Return a connection that still carries something; any other is closed."""
        if peer is None or peer.state == "connected":
            return peer
        peer.close()
        return None

    @staticmethod
    def _close(peer: PeerConnection | None) -> None:
        if peer is not None:
            peer.close()

    def _watch(self, peer: PeerConnection) -> None:
        loop = asyncio.get_running_loop()
        peer.ended.add_done_callback(lambda _: loop.call_later(MEDIA_GRACE, self._rejoin_without, peer))

    def _rejoin_without(self, peer: PeerConnection) -> None:
        # Still ours though it has ended: nobody told us to replace it, so a fresh join does.
        if peer in (self.publisher, self.receiver) and self._socket is not None:
            self.counts.last_problem = f"media ended: {peer.ended.result()}"
            task = asyncio.create_task(self._socket.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
