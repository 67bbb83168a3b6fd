# SPDX-License-Identifier: Apache-2.0
"""One Janus node: its socket kept open, a control handle, the sessions of our peers on it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from giaoban_media.domain import NodeHealth
from giaoban_media.errors import MediaLost
from giaoban_media.janus.pictures import Pictures
from giaoban_media.janus.wire import JanusError, Message, Wire
from giaoban_media.sfu import RoomKey

PLUGIN = "janus.plugin.videoroom"
KEEPALIVE_INTERVAL = 12.0
"""Seconds. The node forgets a session `reclaim_session_timeout` (60 s) after its last request, also while
nobody is connected, so this is what a lost replica may already have used up."""

HEALTH_INTERVAL = 2.0
"""Seconds between questions whether the node still takes new sessions."""

RECONNECT_DELAYS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.0)

UNKNOWN_SESSION, UNKNOWN_HANDLE = 458, 459
ROOM_EXISTS, NO_SUCH_ROOM, NO_SUCH_FEED, ID_TAKEN = 427, 426, 428, 436

MAX_ROOMS_KNOWN = 10_000
"""Rooms of which this process remembers that a node has them; with more it begins anew."""

MAX_PUBLISHERS = 500
MAX_BITRATE = 2_500_000
"""Bits per second and publisher, told to senders by RTCP feedback."""

ROOM_SETTINGS: Message = {
    "request": "create",
    "permanent": False,
    "is_private": True,
    "publishers": MAX_PUBLISHERS,
    "bitrate": MAX_BITRATE,
    "bitrate_cap": True,
    "audiocodec": "opus",
    "videocodec": "vp8",
    "opus_fec": True,
    "audiolevel_ext": True,
    "audiolevel_event": True,
    "audio_active_packets": 25,
    "audio_level_average": 60,
    "transport_wide_cc_ext": True,
}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """How to reach a node, and what it is trusted with."""

    id: str
    url: str
    api_secret: str
    admin_key: str
    rec_dir: str
    """Where Janus writes tracks, as Janus sees the path."""
    relay_host: str
    """Where other nodes send what they pass on."""
    relay_ports: tuple[int, int]

    def relay_port(self) -> int:
        """The first of two ports for what another node passes on; taken by chance, then others are tried."""
        first, last = self.relay_ports
        return first + 2 * secrets.randbelow((last - first + 1) // 2)


class SessionOwner(Protocol):
    """A peer, as its node sees it."""

    def on_event(self, message: Message) -> None:
        """Something happened in the session; must not wait."""
        ...

    async def reclaim(self) -> None:
        """The socket is new: take the session over, or learn that it is gone."""
        ...


class Node:
    """Keeps the socket to one node. Peers register their sessions to get their events."""

    def __init__(self, address: NodeAddress, on_health: Callable[[str, NodeHealth], None]) -> None:
        """Prepares; `run` connects and stays connected."""
        self.address = address
        self._on_health = on_health
        self._wire: Wire | None = None
        self._control: tuple[int, int] | None = None
        self._owners: dict[int, SessionOwner] = {}
        self._up = asyncio.Event()
        self.connections = 0
        """How often it was connected to: a node that was lost may have come back empty."""
        self.pictures = Pictures()
        self._rooms: set[str] = set()

    @property
    def reachable(self) -> bool:
        """Whether the node answers now."""
        return self._up.is_set()

    def register(self, session: int, owner: SessionOwner) -> None:
        """Events of this session go to the owner from now on."""
        self._owners[session] = owner

    def release(self, session: int, owner: SessionOwner) -> None:
        """The owner gives the session up; if another one here has taken it over, it is theirs."""
        if self._owners.get(session) is owner:
            del self._owners[session]

    async def run(self) -> None:
        """Connects, keeps sessions alive, reconnects; until cancelled."""
        attempt = 0
        while True:
            await asyncio.sleep(RECONNECT_DELAYS[min(attempt, len(RECONNECT_DELAYS) - 1)])
            wire = Wire(self.address.url, self.address.api_secret, self._dispatch)
            try:
                await wire.open()
                self._rooms.clear()  # it may have come back empty
                self._wire = wire
                session = int((await wire.request({"janus": "create"}))["data"]["id"])
                self._control = (session, await self.attach(session, "control"))
            except (MediaLost, JanusError):
                attempt += 1
                if attempt == 4:
                    self._on_health(self.address.id, NodeHealth.DOWN)
                with contextlib.suppress(Exception):
                    await wire.close()
                continue
            except asyncio.CancelledError:
                await wire.close()
                raise
            attempt = 0
            self.connections += 1
            _log.info("media_node_connected", node=self.address.id)
            try:
                await self._serve(wire)
            finally:
                self._up.clear()
                self._wire = self._control = None
                await wire.close()
            _log.warning("media_node_disconnected", node=self.address.id)

    async def request(
        self, body: Message, *, session: int | None = None, handle: int | None = None, acked: bool = False
    ) -> Message:
        """A raw request. Raises `JanusError`, `MediaLost`."""
        if self._wire is None:
            raise MediaLost("the media node is not reachable", node=self.address.id)
        return await self._wire.request(body, session=session, handle=handle, acked=acked)

    async def message(
        self, session: int, handle: int, body: Message, jsep: Message | None = None
    ) -> tuple[Message, Message | None]:
        """A plugin message; returns the plugin's data and its session description, if any."""
        answer = await self.request(
            {"janus": "message", "body": body, **({"jsep": jsep} if jsep else {})},
            session=session,
            handle=handle,
        )
        return answer.get("plugindata", {}).get("data", {}), answer.get("jsep")

    async def control(self, body: Message) -> Message:
        """A synchronous VideoRoom request on our own handle."""
        if self._control is None:
            raise MediaLost("the media node is not reachable", node=self.address.id)
        return (await self.message(*self._control, body))[0]

    async def room_request(self, room: RoomKey, body: Message) -> Message:
        """The same, about a room."""
        return await self.control(body | {"room": self.room_name(room), "secret": self.room_secret(room)})

    async def open_room(self, room: RoomKey) -> None:
        """Creates a room; one that exists is left as it is, and not asked for again over the same connection.

        A room that was destroyed never comes back: the meeting has ended, or goes on under another generation.
        """
        name = self.room_name(room)
        if name in self._rooms:
            return
        try:
            await self.room_request(
                room, ROOM_SETTINGS | {"admin_key": self.address.admin_key, "rec_dir": self.address.rec_dir}
            )
        except JanusError as error:
            if error.code != ROOM_EXISTS:
                raise MediaLost("the media node refused a room", node=self.address.id) from error
        if len(self._rooms) >= MAX_ROOMS_KNOWN:
            self._rooms.clear()
        self._rooms.add(name)

    async def publishers(self, room: RoomKey) -> set[str]:
        """The ids of those who send in a room, also by way of other nodes."""
        data = await self.room_request(room, {"request": "listparticipants"})
        return {str(each["id"]) for each in data.get("participants", []) if each.get("publisher")}

    async def attach(self, session: int, opaque_id: str) -> int:
        """A new handle on a session."""
        answer = await self.request(
            {"janus": "attach", "plugin": PLUGIN, "opaque_id": opaque_id}, session=session
        )
        return int(answer["data"]["id"])

    def room_name(self, room: RoomKey) -> str:
        """The room's id on the node."""
        return f"{room.meeting_id}-{room.generation}"

    def room_secret(self, room: RoomKey) -> str:
        """Every replica derives the same secret, so none has to be stored."""
        key = self.address.admin_key.encode()
        return hmac.new(key, self.room_name(room).encode(), hashlib.sha256).hexdigest()

    def _dispatch(self, message: Message) -> None:
        owner = self._owners.get(message.get("session_id", 0))
        if owner is not None:
            owner.on_event(message)

    async def _serve(self, wire: Wire) -> None:
        # Sessions lost their socket with ours: claim them before anything else is asked of them.
        await asyncio.gather(*(owner.reclaim() for owner in list(self._owners.values())))
        self._up.set()
        lost = asyncio.ensure_future(wire.lost.wait())
        told: NodeHealth | None = None
        kept = time.monotonic()
        try:
            while not lost.done():
                with contextlib.suppress(MediaLost, JanusError):
                    health = await self._ask_health(wire)
                    if health is not told:
                        self._on_health(self.address.id, health)
                        told = health
                await asyncio.wait([lost], timeout=HEALTH_INTERVAL)
                if not lost.done() and time.monotonic() - kept >= KEEPALIVE_INTERVAL:
                    await self._keep_alive(wire)
                    kept = time.monotonic()
        finally:
            lost.cancel()

    async def _ask_health(self, wire: Wire) -> NodeHealth:
        # A node that takes no new sessions is being emptied; its own word for it spares us one more switch.
        info = await wire.request({"janus": "info"})
        return NodeHealth.UP if info.get("accepting-new-sessions", True) else NodeHealth.DRAINING

    async def _keep_alive(self, wire: Wire) -> None:
        control = [self._control[0]] if self._control else []
        for session in (*control, *list(self._owners)):
            try:
                await wire.request({"janus": "keepalive"}, session=session, acked=True)
            except JanusError as error:
                owner = self._owners.get(session)
                if error.code == UNKNOWN_SESSION and owner is not None:
                    owner.on_event({"janus": "timeout", "session_id": session})
            except MediaLost:
                return
