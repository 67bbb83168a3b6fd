# SPDX-License-Identifier: Apache-2.0
"""Real tracks: simulated sites publish to a real Janus node, which records them as media would have it."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from giaoban_dev.infra.janus import JanusNode
from giaoban_dev.infra.janus_root import pp_rec_command
from giaoban_dev.testing import CLIENT_ADDRESS
from giaoban_kit.ids import new_id
from giaoban_loadtests.clips import Clip, clips_for
from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.publish import Pacer
from giaoban_recording.composer import Tools
from giaoban_recording.storage import ObjectStorage

NAMES = ("Quận 1", "Bình Tân", "Củ Chi")
_numbers = itertools.count()


class Room:
    """A room on a Janus node, by its WebSocket API; `publish` records as media does."""

    def __init__(self, socket: websockets.ClientConnection, node: JanusNode) -> None:
        self._socket, self._node, self.session = socket, node, 0
        self.id = f"rec{next(_numbers)}"
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())
        self._peers: dict[int, PeerConnection] = {}
        self._pacer = Pacer()

    async def ask(self, **message: Any) -> dict[str, Any]:
        transaction = f"t{next(_numbers)}"
        answer = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        if self.session:
            message["session_id"] = self.session
        message |= {"transaction": transaction, "apisecret": self._node.api_secret}
        await self._socket.send(json.dumps(message))
        answered: dict[str, Any] = await asyncio.wait_for(answer, 10)
        assert answered["janus"] != "error", answered
        return answered

    async def send(self, handle: int, jsep: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        extra = {"jsep": jsep} if jsep else {}
        answered = await self.ask(janus="message", handle_id=handle, body=body, **extra)
        assert "error" not in answered["plugindata"]["data"], answered
        return answered

    async def attach(self) -> int:
        return int((await self.ask(janus="attach", plugin="janus.plugin.videoroom"))["data"]["id"])

    async def publish(self, clip: Clip, recording_id: str, *, source: str = "camera") -> int:
        """A participant who is recorded; returns the handle to stop with."""
        handle, participant = await self.attach(), new_id()
        peer = PeerConnection(clip=clip, pacer=self._pacer, local_ip=CLIENT_ADDRESS)
        offer = {"type": "offer", "sdp": peer.create_offer()}
        answered = await self.send(
            handle,
            offer,
            request="joinandconfigure",
            ptype="publisher",
            room=self.id,
            id=participant,
            record=True,
            filename=f"{recording_id}~{participant}~{time.time_ns() // 1_000_000}",
            descriptions=[{"mid": "0", "description": "microphone"}, {"mid": "1", "description": source}],
        )
        peer.set_answer(answered["jsep"]["sdp"])
        await peer.connected
        self._peers[handle] = peer
        return handle

    async def stop_recording(self, handle: int) -> None:
        await self.send(handle, request="configure", record=False)

    def close(self) -> None:
        for peer in self._peers.values():
            peer.close()
        self._reader.cancel()

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            waiting = None
            if message["janus"] != "ack":
                waiting = self._waiting.pop(message.get("transaction", ""), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)


@asynccontextmanager
async def room_on(node: JanusNode) -> AsyncIterator[Room]:
    """A room whose tracks land in the node's folder."""
    async with websockets.connect(
        node.url, subprotocols=[websockets.Subprotocol("janus-protocol")], proxy=None
    ) as socket:
        room = Room(socket, node)
        room.session = (await room.ask(janus="create"))["data"]["id"]
        settings: dict[str, Any] = {
            "admin_key": node.admin_key,
            "publishers": 50,
            "rec_dir": str(node.recordings),
        }
        await room.send(await room.attach(), request="create", room=room.id, **settings)
        try:
            yield room
        finally:
            room.close()


async def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Waits for something to become true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    """What the simulated sites send."""
    return list(clips_for(NAMES).values())


@pytest.fixture
def node(janus_nodes: dict[str, JanusNode]) -> JanusNode:
    """A node with an empty folder of recordings."""
    for file in janus_nodes["a"].recordings.iterdir():
        file.unlink()
    return janus_nodes["a"]


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """The folder that is the object store."""
    return tmp_path / "objects"


@pytest.fixture
def storage(objects: Path) -> ObjectStorage:
    """Storage on a local folder, through the client that S3 has as well."""
    return ObjectStorage(objects.as_uri())


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The worker's folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def tools(work: Path) -> Tools:
    """janus-pp-rec in its sandbox, and the machine's FFmpeg."""
    return Tools(pp_rec=tuple(pp_rec_command(work)), niceness=0)
