# SPDX-License-Identifier: Apache-2.0
"""Owns the adapter for a bare Janus node: its VideoRoom, signalled over Janus' own WebSocket API, nothing between."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import websockets

from giaoban_loadtests.clips import Clip
from giaoban_loadtests.dtls import SRTP_PROFILES
from giaoban_loadtests.endpoint import ConnectionFailedError, PeerConnection
from giaoban_loadtests.systems import Attendee, Media, SystemFailedError

ANSWER_SECONDS = 10.0
NO_SUCH_FEED = "No such feed"
SUBSCRIBE_ATTEMPTS, SUBSCRIBE_DELAY = 20, 0.05
KEEPALIVE_SECONDS = 20.0
_PROTOCOL = websockets.Subprotocol("janus-protocol")


@dataclass(frozen=True)
class JanusAccess:
    """Where a node's API is, and its secrets."""

    url: str
    api_secret: str = field(repr=False)
    admin_key: str = field(repr=False)


class JanusLink:
    """One WebSocket with one session; requests are answered in any order."""

    def __init__(self, socket: websockets.ClientConnection, access: JanusAccess) -> None:
        self._socket, self._access = socket, access
        self._session = 0
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._keep_alive())]

    @classmethod
    @asynccontextmanager
    async def opened(cls, access: JanusAccess) -> AsyncIterator[Self]:
        """A link to a node, with its session; ends both afterwards."""
        async with websockets.connect(access.url, subprotocols=[_PROTOCOL], proxy=None) as socket:
            link = cls(socket, access)
            link._session = int((await link._ask(janus="create"))["data"]["id"])
            try:
                yield link
            finally:
                await link._end()

    async def _end(self) -> None:
        await self._ask(janus="destroy")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def attach(self) -> int:
        """A new handle of the VideoRoom."""
        return int((await self._ask(janus="attach", plugin="janus.plugin.videoroom"))["data"]["id"])

    async def send(self, handle: int, jsep: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """Send a request to the VideoRoom; return the whole answer. Raises SystemFailedError."""
        answer = await self._ask(
            janus="message", handle_id=handle, body=body, **({"jsep": jsep} if jsep else {})
        )
        data = answer["plugindata"]["data"]
        if "error" in data:
            raise SystemFailedError(f"Janus refused {body['request']}: {data['error']}")
        return answer

    async def _ask(self, **message: Any) -> dict[str, Any]:
        transaction = f"t{next(self._numbers)}"
        answer = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        if self._session:
            message["session_id"] = self._session
        message |= {"transaction": transaction, "apisecret": self._access.api_secret}
        await self._socket.send(json.dumps(message))
        try:
            answered: dict[str, Any] = await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            raise SystemFailedError(
                f"Janus did not answer {message['janus']} in {ANSWER_SECONDS:g} s"
            ) from None
        finally:
            self._waiting.pop(transaction, None)
        if answered["janus"] == "error":
            raise SystemFailedError(f"Janus refused {message['janus']}: {answered['error']['reason']}")
        return answered

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            waiting = self._waiting.get(message.get("transaction", ""))
            if message["janus"] != "ack" and waiting is not None and not waiting.done():
                waiting.set_result(message)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_SECONDS)
            keepalive = {
                "janus": "keepalive",
                "session_id": self._session,
                "transaction": "k",
                "apisecret": self._access.api_secret,
            }
            await self._socket.send(json.dumps(keepalive))


class JanusAttendee:
    """One publisher handle when there is something to send, one subscriber handle once there is something to see."""

    def __init__(self, meeting: "JanusMeeting", name: str, clip: Clip | None, media: Media) -> None:
        self.name = name
        self.publisher: PeerConnection | None = None
        self.receiver: PeerConnection | None = None
        self.entering_time = 0.0
        self.problem = ""
        self.inside = False
        self._meeting, self._clip, self._media = meeting, clip, media
        self._handles: list[int] = []

    async def prepare(self) -> None:
        pass  # a bare node knows nobody

    async def enter(self) -> None:
        self.entering_time = asyncio.get_running_loop().time()
        if self._clip is not None:
            await self._publish(self._clip)
        self.inside = True
        await self.receive()

    async def _publish(self, clip: Clip) -> None:
        media, link = self._media, self._meeting.link
        self.publisher = PeerConnection(
            clip=clip,
            pacer=media.pacer,
            local_ip=media.local_ip,
            decrypt_every=media.decrypt_every,
            stamped=True,
            srtp_profiles=self._meeting.srtp_profiles,
        )
        handle = await link.attach()
        self._handles.append(handle)
        answer = await link.send(
            handle,
            {"type": "offer", "sdp": self.publisher.create_offer()},
            request="joinandconfigure",
            ptype="publisher",
            room=self._meeting.room,
            id=self.name,
        )
        self.publisher.set_answer(answer["jsep"]["sdp"])
        try:
            await self.publisher.connected
        except ConnectionFailedError as error:
            raise SystemFailedError(f"{self.name} could not publish: {error}") from error

    async def receive(self) -> None:
        """Begin to receive what the meeting's arrangement says; does nothing without one, or when it is received."""
        feeds = self._meeting.feeds_for(self)
        if not feeds or self.receiver is not None or not self.inside:
            return
        media, link = self._media, self._meeting.link
        self.receiver = PeerConnection(
            local_ip=media.local_ip,
            decrypt_every=media.decrypt_every,
            on_delay=media.on_delay,
            srtp_profiles=self._meeting.srtp_profiles,
        )
        handle = await link.attach()
        self._handles.append(handle)
        offer = await self._subscribe(handle, feeds)
        answer = self.receiver.answer(offer["jsep"]["sdp"])
        await link.send(handle, {"type": "answer", "sdp": answer}, request="start")

    async def _subscribe(self, handle: int, feeds: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "request": "join",
            "ptype": "subscriber",
            "room": self._meeting.room,
            "streams": feeds,
        }
        for _ in range(SUBSCRIBE_ATTEMPTS - 1):
            try:
                return await self._meeting.link.send(handle, **body)
            except SystemFailedError as error:
                if NO_SUCH_FEED not in str(error):
                    raise
                # The sender's side of DTLS is up a moment before the node's: there is no event to wait for here.
                await asyncio.sleep(SUBSCRIBE_DELAY)
        return await self._meeting.link.send(handle, **body)

    async def leave(self) -> None:
        self.inside = False
        for peer in (self.publisher, self.receiver):
            if peer is not None:
                peer.close()


class JanusMeeting:
    """A room; media flows as arranged, in the lowest layer, as Giaoban does it."""

    def __init__(self, link: JanusLink, room: str, media: Media, srtp_profiles: Sequence[str]) -> None:
        self.link, self.room, self.srtp_profiles = link, room, srtp_profiles
        self.attendees: list[JanusAttendee] = []
        self._media = media
        self._heard: list[str] = []
        self._seen: list[str] = []

    def attendee(self, clip: Clip | None) -> JanusAttendee:
        made = JanusAttendee(self, f"p{len(self.attendees)}", clip, self._media)
        self.attendees.append(made)
        return made

    def feeds_for(self, attendee: JanusAttendee) -> list[dict[str, Any]]:
        """Return the subscriptions of one attendee: all that is heard and seen but its own, in the lowest layer."""
        feeds: list[dict[str, Any]] = [
            {"feed": name, "mid": "0"} for name in self._heard if name != attendee.name
        ]
        return feeds + [
            {"feed": name, "mid": "1", "substream": 0} for name in self._seen if name != attendee.name
        ]

    async def arrange(self, speakers: Sequence[Attendee], stage: Attendee, tiles: Sequence[Attendee]) -> None:
        self._heard = [each.name for each in speakers]
        self._seen = list(dict.fromkeys([stage.name, *(each.name for each in tiles)]))
        for attendee in self.attendees:
            await attendee.receive()


class Janus:
    """A running Janus node. `helpers` are the threads of a room that forward to its receivers, none by default."""

    name = "janus"

    def __init__(
        self,
        access: JanusAccess,
        processes: Mapping[str, int] | None = None,
        *,
        helpers: int = 0,
        srtp_profiles: Sequence[str] = tuple(SRTP_PROFILES),
    ) -> None:
        self.processes: Mapping[str, int] = processes or {}
        self._access, self._helpers, self._srtp_profiles = access, helpers, srtp_profiles
        self._rooms = itertools.count()

    @property
    def media_processes(self) -> Sequence[str]:
        return list(self.processes)

    @asynccontextmanager
    async def meeting(self, size: int, media: Media) -> AsyncIterator[JanusMeeting]:
        """Open a room; destroys it afterwards."""
        async with JanusLink.opened(self._access) as link:
            room, handle = f"loadtest-{next(self._rooms)}", await link.attach()
            await link.send(
                handle,
                request="create",
                room=room,
                admin_key=self._access.admin_key,
                publishers=size,
                threads=self._helpers,
            )
            meeting = JanusMeeting(link, room, media, self._srtp_profiles)
            try:
                yield meeting
            finally:
                for attendee in meeting.attendees:
                    await attendee.leave()
                await link.send(handle, request="destroy", room=room)
