# SPDX-License-Identifier: Apache-2.0
"""Simulated endpoints against a real Janus node: what they send arrives whole, what they ask for happens."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from giaoban_dev.infra.janus import JanusNode
from giaoban_dev.testing import CLIENT_ADDRESS
from giaoban_loadtests.clips import Clip, clips_for
from giaoban_loadtests.endpoint import ConnectionFailedError, PeerConnection
from giaoban_loadtests.publish import Pacer
from giaoban_loadtests.systems.janus import JanusAccess, JanusLink

_numbers = itertools.count()


class Janus:
    """What these tests ask of a node, over the client of the load tests."""

    def __init__(self, link: JanusLink) -> None:
        self.attach, self.send = link.attach, link.send

    async def publish(self, room: str, who: str, clip: Clip, pacer: Pacer) -> PeerConnection:
        handle = await self.attach()
        peer = PeerConnection(clip=clip, pacer=pacer, local_ip=CLIENT_ADDRESS)
        offer = {"type": "offer", "sdp": peer.create_offer()}
        join = {"request": "joinandconfigure", "ptype": "publisher", "room": room, "id": who}
        answered = await self.send(handle, offer, **join)
        peer.set_answer(answered["jsep"]["sdp"])
        await peer.connected
        # The node offers the feed to others once its own side of DTLS is through as well.
        async with asyncio.timeout(5):
            while not await self._publishes(handle, room, who):
                await asyncio.sleep(0.02)
        return peer

    async def _publishes(self, handle: int, room: str, who: str) -> bool:
        listed = await self.send(handle, request="listparticipants", room=room)
        return any(
            each["id"] == who and each["publisher"] for each in listed["plugindata"]["data"]["participants"]
        )

    async def receive(self, handle: int, peer: PeerConnection, **body: Any) -> dict[str, Any]:
        """Send a request that is answered by an offer, and answer that."""
        offered = await self.send(handle, **body)
        answer = {"type": "answer", "sdp": peer.answer(offered["jsep"]["sdp"])}
        await self.send(handle, answer, request="start")
        await peer.connected
        return offered


@asynccontextmanager
async def janus_room(node: JanusNode) -> AsyncIterator[tuple[Janus, str]]:
    room = f"room{next(_numbers)}"
    async with JanusLink.opened(JanusAccess(node.url, node.api_secret, node.admin_key)) as link:
        janus = Janus(link)
        keys: dict[str, Any] = {"admin_key": node.admin_key, "audiolevel_event": True, "publishers": 10}
        await janus.send(await janus.attach(), request="create", room=room, **keys)
        yield janus, room


async def until(true: Callable[[], bool], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return list(clips_for(["Quận 1", "Bình Tân"]).values())


async def test_two_publishers_reach_a_subscriber_without_loss(
    janus_nodes: dict[str, JanusNode], clips: list[Clip]
) -> None:
    """One receiver gets decrypted audio and video with a keyframe from both publishers, and nothing is lost."""
    pacer = Pacer()
    async with janus_room(janus_nodes["a"]) as (janus, room):
        senders = [await janus.publish(room, f"p{i}", clip, pacer) for i, clip in enumerate(clips)]
        receiver = PeerConnection(local_ip=CLIENT_ADDRESS)
        streams = [{"feed": "p0"}, {"feed": "p1"}]
        join = {"request": "join", "ptype": "subscriber", "room": room, "streams": streams}
        await janus.receive(await janus.attach(), receiver, **join)
        await until(lambda: len(receiver.stats().streams) == 4)
        await until(lambda: all(s.keyframes >= 2 for s in receiver.stats().streams if s.kind == "video"))
        stats = receiver.stats()
        assert sorted(s.mid for s in stats.streams) == ["0", "1", "2", "3"]
        assert all(s.opus_frames > 50 for s in stats.streams if s.kind == "audio")
        assert (stats.lost_packets, stats.undecryptable, stats.malformed) == (0, 0, 0)
        assert sum(s.decrypted for s in stats.streams) == stats.received_packets
        assert all(sender.stats().remote_loss == 0 for sender in senders)
        for peer in (*senders, receiver):
            peer.close()
    assert receiver.ended.result() == "closed"


async def test_a_keyframe_request_restarts_the_clip_at_a_keyframe(
    janus_nodes: dict[str, JanusNode], clips: list[Clip]
) -> None:
    """A PLI from the receiver travels through the node and brings a keyframe long before the next regular one."""
    pacer = Pacer()
    async with janus_room(janus_nodes["a"]) as (janus, room):
        sender = await janus.publish(room, "p0", clips[0], pacer)
        receiver = PeerConnection(local_ip=CLIENT_ADDRESS)
        join = {"request": "join", "ptype": "subscriber", "room": room, "streams": [{"feed": "p0"}]}
        await janus.receive(await janus.attach(), receiver, **join)

        def seen() -> int:
            return sum(s.keyframes for s in receiver.stats().streams)

        await until(lambda: seen() >= 1)
        # Behind a regular keyframe, so that the next one would be two seconds away.
        before = seen()
        await until(lambda: seen() > before)
        await asyncio.sleep(0.4)
        before, requested = seen(), sender.stats().keyframe_requests
        (video,) = [s for s in receiver.stats().streams if s.kind == "video"]
        receiver.request_keyframe(video.ssrc)
        await until(lambda: seen() > before, seconds=0.8)
        assert sender.stats().keyframe_requests > requested
        assert receiver.stats().lost_packets == 0
        sender.close()
        receiver.close()


async def test_a_renegotiation_adds_a_second_feed(
    janus_nodes: dict[str, JanusNode], clips: list[Clip]
) -> None:
    """A second publisher is added on the same connection: old m-lines keep their place, both are received."""
    pacer = Pacer()
    async with janus_room(janus_nodes["a"]) as (janus, room):
        first = await janus.publish(room, "p0", clips[0], pacer)
        receiver, handle = PeerConnection(local_ip=CLIENT_ADDRESS), await janus.attach()
        join = {"request": "join", "ptype": "subscriber", "room": room, "streams": [{"feed": "p0"}]}
        await janus.receive(handle, receiver, **join)
        await until(lambda: len(receiver.stats().streams) == 2)
        second = await janus.publish(room, "p1", clips[1], pacer)
        more = await janus.receive(handle, receiver, request="subscribe", streams=[{"feed": "p1"}])
        assert [s["feed_id"] for s in more["plugindata"]["data"]["streams"]] == ["p0", "p0", "p1", "p1"]
        await until(lambda: all(receiver.streams_of(mid) for mid in "0123"))
        await until(lambda: all(s.keyframes >= 1 for mid in "13" for s in receiver.streams_of(mid)))
        assert receiver.stats().lost_packets == 0
        for peer in (first, second, receiver):
            peer.close()


async def test_a_wrong_fingerprint_is_refused(janus_nodes: dict[str, JanusNode], clips: list[Clip]) -> None:
    """When the node's certificate is not the one its SDP names, nothing connects and the error says why."""
    async with janus_room(janus_nodes["a"]) as (janus, room):
        peer = PeerConnection(clip=clips[0], pacer=Pacer(), local_ip=CLIENT_ADDRESS)
        offer = {"type": "offer", "sdp": peer.create_offer()}
        join = {"request": "joinandconfigure", "ptype": "publisher", "room": room, "id": "p0"}
        answered = await janus.send(await janus.attach(), offer, **join)
        right = answered["jsep"]["sdp"].partition("a=fingerprint:sha-256 ")[2][:95]
        wrong = ":".join(["00"] * 32)
        peer.set_answer(answered["jsep"]["sdp"].replace(right, wrong))
        with pytest.raises(ConnectionFailedError, match="fingerprint"):
            await asyncio.wait_for(peer.connected, 5)
        assert peer.state == "closed"
        assert peer.stats().sent_packets == 0


async def test_connection_ends_by_itself_when_the_node_hangs_up(
    janus_nodes: dict[str, JanusNode], clips: list[Clip]
) -> None:
    """A hang-up by the node ends the connection at once, with the reason."""
    async with janus_room(janus_nodes["a"]) as (janus, room):
        sender = await janus.publish(room, "p0", clips[0], Pacer())
        await asyncio.sleep(0.2)
    assert "closed" in await asyncio.wait_for(sender.ended, 5)
