# SPDX-License-Identifier: Apache-2.0
"""Media really flows in the tests' network: ICE, DTLS and RTP between a WebRTC endpoint and a Janus node."""

import asyncio
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import nats
import websockets
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from giaoban_dev.infra.janus import JanusNode
from giaoban_dev.infra.janus_root import pp_rec_command
from giaoban_dev.infra.nats import Nats

PLUGIN = "janus.plugin.videoroom"


class Conversation:
    """Janus' WebSocket API by hand: the test must not depend on the code it is for."""

    def __init__(self, socket: websockets.ClientConnection, secret: str) -> None:
        self._socket = socket
        self._secret = secret
        self._numbers = itertools.count()

    async def ask(self, until: str, **message: Any) -> dict[str, Any]:
        transaction = f"t{next(self._numbers)}"
        await self._socket.send(
            json.dumps({**message, "transaction": transaction, "apisecret": self._secret})
        )
        while True:
            answer: dict[str, Any] = json.loads(await asyncio.wait_for(self._socket.recv(), 10))
            if answer.get("transaction") == transaction and answer["janus"] in {until, "error"}:
                assert answer["janus"] == until, answer
                return answer


async def test_ice_connects_to_the_nodes_own_address_and_the_recording_is_readable(
    janus_nodes: dict[str, JanusNode], nats_server_with_accounts: Nats
) -> None:
    """An endpoint publishes audio to 10.77.0.1, Janus reports the pair through NATS, and records what arrives."""
    node = janus_nodes["a"]
    client = await nats.connect(**nats_server_with_accounts.connect_options("media"))
    events = await client.subscribe("janus.a.webrtc")
    await client.flush()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTrack(AudioStreamTrack())
    await peer.setLocalDescription(await peer.createOffer())
    async with websockets.connect(
        node.url, subprotocols=[websockets.Subprotocol("janus-protocol")], proxy=None
    ) as socket:
        janus = Conversation(socket, node.api_secret)
        session = (await janus.ask("success", janus="create"))["data"]["id"]
        handle = (await janus.ask("success", janus="attach", session_id=session, plugin=PLUGIN))["data"]["id"]
        room = {
            "request": "create",
            "room": "proof",
            "admin_key": node.admin_key,
            "record": True,
            "rec_dir": str(node.recordings),
        }
        made = await janus.ask("success", janus="message", session_id=session, handle_id=handle, body=room)
        assert made["plugindata"]["data"]["videoroom"] == "created"
        join = {"request": "joinandconfigure", "ptype": "publisher", "room": "proof", "id": "alpha"}
        offer = {"type": "offer", "sdp": peer.localDescription.sdp}
        answer = await janus.ask(
            "event", janus="message", session_id=session, handle_id=handle, body=join, jsep=offer
        )
        assert "10.77.0.1 " in answer["jsep"]["sdp"]
        await peer.setRemoteDescription(RTCSessionDescription(**answer["jsep"]))
        pair = await asyncio.wait_for(_selected_pair(events), 10)
        assert pair.startswith("10.77.0.1:")
        await asyncio.sleep(1.5)
        await peer.close()
        await janus.ask("success", janus="destroy", session_id=session)
    (recorded,) = list(await _closed_recordings(node.recordings))
    made_audio = recorded.with_suffix(".opus")
    command = [*pp_rec_command(node.recordings), str(recorded), str(made_audio)]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(made_audio)]
    shown = await asyncio.to_thread(subprocess.run, probe, capture_output=True, text=True, check=True)
    assert float(shown.stdout) > 1
    await client.close()


async def _selected_pair(events: Any) -> str:
    while True:
        event = json.loads((await events.next_msg(timeout=10)).data)
        if pair := event["event"].get("selected-pair"):
            return str(pair)


async def _closed_recordings(directory: Path) -> list[Path]:
    for _ in range(100):
        if found := list(directory.glob("*.mjr")):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"no closed recording, only {list(directory.iterdir())}")
