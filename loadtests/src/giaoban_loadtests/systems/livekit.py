# SPDX-License-Identifier: Apache-2.0
"""Owns the adapter for a LiveKit server: participants over its own WebSocket signalling, in the lowest layer.

It speaks version 1 of the signalling, as LiveKit's own clients do: one peer connection a participant, whose offers the
client makes. Who sends and receives has two participants, as it has two handles on Janus.
"""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import jwt
import websockets
from livekit.protocol import models, rtc

from giaoban_loadtests.clips import LAYERS, Clip
from giaoban_loadtests.endpoint import ConnectionFailedError, PeerConnection
from giaoban_loadtests.systems import Attendee, Media, SystemFailedError

ANSWER_SECONDS = 10.0
PING_SECONDS = 5.0
TOKEN_SECONDS = 3600
PROTOCOL_VERSION = 16
VP8 = "video/vp8"
# As LiveKit's clients name layers, smallest first. Names it does not know it takes in the order of the offer.
RIDS = ("q", "h", "f")
_QUALITIES = (models.VideoQuality.LOW, models.VideoQuality.MEDIUM, models.VideoQuality.HIGH)


@dataclass(frozen=True)
class LiveKitAccess:
    """Where a server's API is, and the key that signs access tokens."""

    url: str
    key: str
    secret: str = field(repr=False)

    def token(self, room: str, name: str, *, sends: bool, hidden: bool) -> str:
        """Return an access token (JWT, HS256) for one participant that either sends or receives."""
        now = int(time.time())
        grants = {
            "room": room,
            "roomJoin": True,
            "canPublish": sends,
            "canSubscribe": not sends,
            "canPublishData": False,
            "hidden": hidden,
        }
        claims = {"iss": self.key, "sub": name, "nbf": now - 1, "exp": now + TOKEN_SECONDS, "video": grants}
        return jwt.encode(claims, self.secret, algorithm="HS256")


def join_request() -> str:
    """Return the parameter `join_request` of the WebSocket's address: nothing is subscribed to by itself."""
    request = rtc.JoinRequest(
        client_info=models.ClientInfo(sdk=models.ClientInfo.SDK.JS, protocol=PROTOCOL_VERSION),
        connection_settings=rtc.ConnectionSettings(auto_subscribe=False, adaptive_stream=True),
    )
    wrapped = rtc.WrappedJoinRequest(join_request=request.SerializeToString())
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


def track_requests(cname: str, layers: int) -> list[rtc.AddTrackRequest]:
    """Return how the tracks of an offer are announced; `layers` are its simulcast layers, 1 without simulcast."""
    described = [
        models.VideoLayer(
            # A picture in one size is the best there is.
            quality=_QUALITIES[at] if layers > 1 else models.VideoQuality.HIGH,
            width=width,
            height=height,
            bitrate=bitrate,
            rid=RIDS[at] if layers > 1 else "",
            spatial_layer=at,
        )
        for at, (width, height, bitrate) in enumerate(LAYERS[:layers])
    ]
    width, height, _ = LAYERS[layers - 1]
    mode = models.VideoLayer.Mode.ONE_SPATIAL_LAYER_PER_STREAM
    codec = rtc.SimulcastCodec(codec="vp8", cid=f"{cname}-video", layers=described, video_layer_mode=mode)
    return [
        rtc.AddTrackRequest(
            cid=f"{cname}-audio",
            type=models.TrackType.AUDIO,
            source=models.TrackSource.MICROPHONE,
            disable_red=True,
        ),
        rtc.AddTrackRequest(
            cid=f"{cname}-video",
            type=models.TrackType.VIDEO,
            source=models.TrackSource.CAMERA,
            width=width,
            height=height,
            layers=described,
            simulcast_codecs=[codec],
        ),
    ]


def wanted_layers(update: rtc.SubscribedQualityUpdate, layers: int) -> list[bool] | None:
    """Return which layers somebody receives, smallest first; None when the server says nothing of VP8 layers."""
    enabled = next(
        (
            {each.quality for each in codec.qualities if each.enabled}
            for codec in update.subscribed_codecs
            if codec.codec in {"vp8", VP8}
        ),
        None,
    )
    return None if enabled is None or layers < 2 else [quality in enabled for quality in _QUALITIES[:layers]]


class Seat:
    """One participant at the server: its WebSocket, and its peer connection."""

    def __init__(self, name: str, peer: PeerConnection, layers: int = 0) -> None:
        """`layers` of the video that it sends; 0 for a receiver."""
        self.name, self.peer, self.problem = name, peer, ""
        self.tracks: dict[str, str] = {}  # kind → the server's id of the track
        self._layers = layers
        self._kinds: list[str] = []
        self._lock = asyncio.Lock()
        loop = asyncio.get_running_loop()
        self._joined: asyncio.Future[None] = loop.create_future()
        self._published = asyncio.Event()
        self._answer: asyncio.Future[None] = loop.create_future()
        self._socket: websockets.ClientConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, access: LiveKitAccess, token: str) -> None:
        """Connect and join; raises SystemFailedError."""
        url = f"{access.url}/rtc/v1?join_request={join_request()}"
        try:
            self._socket = await websockets.connect(
                url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None, max_size=None
            )
        except (OSError, websockets.WebSocketException) as error:
            raise SystemFailedError(f"LiveKit let {self.name} not in: {error}") from error
        self._start(self._read())
        self._start(self._keep_alive())
        await self._within(self._joined, "join")

    async def publish(self) -> None:
        """Send both tracks; returns when the server knows them. Raises SystemFailedError."""
        for request in track_requests(self.peer.published.cname, self._layers):
            await self._send(rtc.SignalRequest(add_track=request))
        await self._within(self._published.wait(), "add_track")
        await self.offer()

    async def subscribe(self, heard: Sequence[str], seen: Sequence[str]) -> None:
        """Receive the sound and the smallest picture of tracks; raises SystemFailedError."""
        self._kinds = ["audio"] * len(heard) + ["video"] * len(seen)
        subscription = rtc.UpdateSubscription(track_sids=[*heard, *seen], subscribe=True)
        await self._send(rtc.SignalRequest(subscription=subscription))
        if seen:
            setting = rtc.UpdateTrackSettings(track_sids=list(seen), quality=models.VideoQuality.LOW)
            await self._send(rtc.SignalRequest(track_setting=setting))
        await self.offer()

    async def offer(self, more: Sequence[str] = ()) -> None:
        """Negotiate, with `more` tracks to receive; raises SystemFailedError."""
        async with self._lock:
            self._kinds += more
            self._answer = asyncio.get_running_loop().create_future()
            description = rtc.SessionDescription(type="offer", sdp=self.peer.create_offer(self._kinds))
            await self._send(rtc.SignalRequest(offer=description))
            await self._within(self._answer, "offer")

    async def close(self) -> None:
        """Leave."""
        self.peer.close()
        if self._socket is not None:
            with suppress(websockets.WebSocketException):
                await self._send(rtc.SignalRequest(leave=rtc.LeaveRequest()))
            await self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _within(self, awaited: Awaitable[object], what: str) -> None:
        try:
            await asyncio.wait_for(awaited, ANSWER_SECONDS)
        except TimeoutError:
            why = f"; last: {self.problem}" if self.problem else ""
            raise SystemFailedError(
                f"LiveKit did not answer {what} of {self.name} in {ANSWER_SECONDS:g} s{why}"
            ) from None

    async def _send(self, request: rtc.SignalRequest) -> None:
        if self._socket is not None:
            await self._socket.send(request.SerializeToString())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _read(self) -> None:
        if self._socket is None:
            return
        with suppress(websockets.ConnectionClosed):
            async for data in self._socket:
                if isinstance(data, bytes):
                    self._take(rtc.SignalResponse.FromString(data))

    def _take(self, message: rtc.SignalResponse) -> None:
        kind = message.WhichOneof("message")
        if kind == "join" and not self._joined.done():
            self._joined.set_result(None)
        elif kind == "answer" and not self._answer.done():
            # At once: candidates may follow in the next message, and belong to this description.
            self.peer.set_answer(message.answer.sdp)
            self._answer.set_result(None)
        elif kind == "trickle":
            self.peer.add_candidate(json.loads(message.trickle.candidateInit)["candidate"])
        elif kind == "track_published":
            track = message.track_published.track
            self.tracks["audio" if track.type == models.TrackType.AUDIO else "video"] = track.sid
            if len(self.tracks) == 2:
                self._published.set()
        elif kind == "media_sections_requirement":
            needed = message.media_sections_requirement
            self._start(self.offer(["audio"] * needed.num_audios + ["video"] * needed.num_videos))
        elif kind == "subscribed_quality_update":
            # Dynacast: what nobody receives is not sent.
            wanted = wanted_layers(message.subscribed_quality_update, self._layers)
            if wanted is not None:
                self.peer.send_layers(wanted)
        elif kind in {"leave", "request_response", "subscription_response"}:
            self.problem = f"{kind}: {str(message).strip()}"

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            ping = rtc.Ping(timestamp=int(1000 * time.time()))
            await self._send(rtc.SignalRequest(ping_req=ping))


class LiveKitAttendee:
    """A seat that sends when there is something to send, one that receives once there is something to see."""

    def __init__(self, meeting: "LiveKitMeeting", name: str, clip: Clip | None, media: Media) -> None:
        self.name = name
        self.entering_time = 0.0
        self.inside = False
        self.sending: Seat | None = None
        self.receiving: Seat | None = None
        self._meeting, self._clip, self._media = meeting, clip, media

    @property
    def publisher(self) -> PeerConnection | None:
        return self.sending.peer if self.sending else None

    @property
    def receiver(self) -> PeerConnection | None:
        return self.receiving.peer if self.receiving else None

    @property
    def problem(self) -> str:
        return next((seat.problem for seat in (self.receiving, self.sending) if seat and seat.problem), "")

    async def prepare(self) -> None:
        pass  # access tokens are signed by whoever calls the meeting

    async def enter(self) -> None:
        self.entering_time = asyncio.get_running_loop().time()
        if self._clip is not None:
            await self._publish(self._clip)
        self.inside = True
        await self.receive()

    async def _publish(self, clip: Clip) -> None:
        media = self._media
        peer = PeerConnection(
            clip=clip,
            pacer=media.pacer,
            local_ip=media.local_ip,
            decrypt_every=media.decrypt_every,
            stamped=True,
            rids=RIDS,
        )
        self.sending = Seat(self.name, peer, len(clip.layers))
        await self._meeting.let_in(self.sending, sends=True, hidden=False)
        await self.sending.publish()
        try:
            await peer.connected
        except ConnectionFailedError as error:
            raise SystemFailedError(f"{self.name} could not publish: {error}") from error

    async def receive(self) -> None:
        """Begin to receive what the meeting's arrangement says; does nothing without one, or when it is received."""
        heard, seen = self._meeting.tracks_for(self)
        if not (heard or seen) or self.receiving is not None or not self.inside:
            return
        media = self._media
        peer = PeerConnection(
            local_ip=media.local_ip, decrypt_every=media.decrypt_every, on_delay=media.on_delay
        )
        self.receiving = Seat(f"{self.name}-view", peer)
        await self._meeting.let_in(self.receiving, sends=False, hidden=self.sending is not None)
        await self.receiving.subscribe(heard, seen)

    async def leave(self) -> None:
        self.inside = False
        for seat in (self.sending, self.receiving):
            if seat is not None:
                await seat.close()


class LiveKitMeeting:
    """A room; media flows as arranged, in the lowest layer, as Giaoban does it."""

    def __init__(self, access: LiveKitAccess, room: str, media: Media) -> None:
        self.attendees: list[LiveKitAttendee] = []
        self._access, self._room, self._media = access, room, media
        self._heard: list[LiveKitAttendee] = []
        self._seen: list[LiveKitAttendee] = []

    def attendee(self, clip: Clip | None) -> LiveKitAttendee:
        made = LiveKitAttendee(self, f"p{len(self.attendees)}", clip, self._media)
        self.attendees.append(made)
        return made

    async def let_in(self, seat: Seat, *, sends: bool, hidden: bool) -> None:
        """Join the room; raises SystemFailedError."""
        await seat.join(self._access, self._access.token(self._room, seat.name, sends=sends, hidden=hidden))

    def tracks_for(self, attendee: LiveKitAttendee) -> tuple[list[str], list[str]]:
        """Return the ids of the tracks that one attendee hears and sees: all that is arranged but its own."""
        heard = [
            each.sending.tracks["audio"] for each in self._heard if each is not attendee and each.sending
        ]
        seen = [each.sending.tracks["video"] for each in self._seen if each is not attendee and each.sending]
        return heard, seen

    async def arrange(self, speakers: Sequence[Attendee], stage: Attendee, tiles: Sequence[Attendee]) -> None:
        by_name = {each.name: each for each in self.attendees}
        self._heard = [by_name[each.name] for each in speakers]
        self._seen = [by_name[name] for name in dict.fromkeys([stage.name, *(each.name for each in tiles)])]
        for attendee in self.attendees:
            await attendee.receive()


class LiveKit:
    """A running LiveKit server."""

    name = "livekit"

    def __init__(self, access: LiveKitAccess, processes: Mapping[str, int] | None = None) -> None:
        self.processes: Mapping[str, int] = processes or {}
        self._access = access
        self._rooms = itertools.count()

    @property
    def media_processes(self) -> Sequence[str]:
        return list(self.processes)

    @asynccontextmanager
    async def meeting(self, size: int, media: Media) -> AsyncIterator[LiveKitMeeting]:  # noqa: ARG002 its rooms have no size
        """Open a room, which the server makes when the first comes and ends when the last has left."""
        meeting = LiveKitMeeting(self._access, f"loadtest-{next(self._rooms)}", media)
        try:
            yield meeting
        finally:
            await asyncio.gather(*(attendee.leave() for attendee in meeting.attendees))
