# SPDX-License-Identifier: Apache-2.0
"""Two simulated endpoints connected to each other: what a hostile peer sends never gets further than a counter."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from giaoban_loadtests import rtp
from giaoban_loadtests.clips import SECONDS, clips_for
from giaoban_loadtests.endpoint import ConnectionFailedError, PeerConnection
from giaoban_loadtests.publish import Pacer

LOOPBACK = "127.0.0.1"
HOSTILE_DATAGRAMS = 4_000


def candidate(peer: PeerConnection) -> str:
    return f"candidate:1 1 udp 1 {LOOPBACK} {peer._socket.getsockname()[1]} typ host"


@pytest.fixture
async def pair() -> AsyncIterator[tuple[PeerConnection, PeerConnection]]:
    """A publisher connected to a receiver."""
    (clip,) = clips_for(["Quận 1"]).values()
    sender = PeerConnection(clip=clip, pacer=Pacer(), local_ip=LOOPBACK)
    receiver = PeerConnection(local_ip=LOOPBACK)
    sender.set_answer(receiver.answer(sender.create_offer()))
    sender.add_candidate(candidate(receiver))
    receiver.add_candidate(candidate(sender))
    await asyncio.wait_for(asyncio.gather(sender.connected, receiver.connected), 5)
    yield sender, receiver
    sender.close()
    receiver.close()


async def test_hostile_datagrams_are_only_counted(pair: tuple[PeerConnection, PeerConnection]) -> None:
    """Noise, cut and changed packets raise nothing, add no stream, and leave the real media whole."""
    _, receiver = pair
    chance = random.Random(77)
    heads = [
        b"",
        b"\x00\x01",
        b"\x01\x01",
        b"\x16\xfe\xfd",
        b"\x17\xfe\xfd",
        b"\x80\x6f",
        b"\x90\x60",
        b"\x81\xce",
        b"\x80\xc8",
        b"\xff",
    ]
    async with asyncio.timeout(10):
        while len(receiver.stats().streams) < 2:
            await asyncio.sleep(0.02)
    for _ in range(HOSTILE_DATAGRAMS):
        datagram = chance.choice(heads) + chance.randbytes(chance.choice((0, 1, 3, 12, 60, 1500)))
        if datagram[:1] not in {b"\x16", b"\x17"} or len(datagram) < 13:
            receiver._on_datagram(datagram, (LOOPBACK, 9), 1.0)
    before = receiver.stats()
    assert before.state == "connected"
    assert before.malformed + before.undecryptable > HOSTILE_DATAGRAMS / 3
    assert len(before.streams) == 2
    await asyncio.sleep(0.3)
    after = receiver.stats()
    assert after.lost_packets == 0
    assert after.received_packets > before.received_packets + 10


async def test_a_forged_packet_of_a_known_source_is_not_decrypted(
    pair: tuple[PeerConnection, PeerConnection],
) -> None:
    """A packet with the right source but without the key counts as undecryptable."""
    sender, receiver = pair
    async with asyncio.timeout(10):
        while len(receiver.stats().streams) < 2:
            await asyncio.sleep(0.02)
    (audio,) = receiver.streams_of("0")
    forged = rtp.HEADER.pack(0x80, 111, audio.highest & 0xFFFF, 0, sender.published.audio_ssrc)
    frames = audio.opus_frames
    receiver._on_datagram(forged + bytes(60), None, 1.0)
    assert (audio.undecryptable, audio.opus_frames) == (1, frames)


async def test_no_answer_is_told_as_ice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a candidate that answers, connecting ends in time with the step that failed."""
    monkeypatch.setattr("giaoban_loadtests.endpoint.CONNECT_TIMEOUT", 0.3)
    (clip,) = clips_for(["Quận 1"]).values()
    sender, receiver = PeerConnection(clip=clip, pacer=Pacer()), PeerConnection()
    sender.set_answer(receiver.answer(sender.create_offer()))
    with pytest.raises(ConnectionFailedError, match="ICE"):
        await asyncio.wait_for(sender.connected, 5)
    receiver.close()


async def test_clips_are_made_once(tmp_path: Path) -> None:
    """ffmpeg makes a clip with keyframes every two seconds at most; the second time it comes from the cache."""
    names = ["Sở Văn hóa và Thể thao", "50% 'giá': \\ [x];", "Quận 1"]
    made = await asyncio.to_thread(clips_for, names, directory=tmp_path)
    times = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    again = await asyncio.to_thread(clips_for, names, directory=tmp_path)
    assert again == made
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == times
    for clip in made.values():
        keys = [i for i, frame in enumerate(clip.video) if frame.key]
        assert keys[0] == 0
        gaps = [b - a for a, b in zip(keys, [*keys[1:], len(clip.video)], strict=True)]
        assert max(gaps) * clip.video_interval * 20 <= 2000
        assert len(clip.audio) == len(clip.levels) == SECONDS * 50
        assert all(rtp.opus_frame_count(packet) == 1 for packet in clip.audio)
        assert all(len(p) <= rtp.MAX_PAYLOAD_BYTES for frame in clip.video for p in frame.fragments)
    assert len({clip.video for clip in made.values()}) == len(names)
