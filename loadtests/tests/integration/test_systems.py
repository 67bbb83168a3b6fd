# SPDX-License-Identifier: Apache-2.0
"""A crowd on a bare Janus node: what measuring sees of media that really flows."""

import asyncio

import pytest
from giaoban_dev.infra.janus import JanusNode
from giaoban_dev.testing import CLIENT_ADDRESS
from giaoban_loadtests.clips import layered_clip
from giaoban_loadtests.crowd import Crowd, first_pictures
from giaoban_loadtests.results import refuse_if_spoiled
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import System
from giaoban_loadtests.systems.janus import Janus, JanusAccess

VIEWERS = 4


@pytest.fixture
def janus(janus_nodes: dict[str, JanusNode]) -> System:
    node = janus_nodes["a"]
    return Janus(JanusAccess(node.url, node.api_secret, node.admin_key), {"janus-a": node.process.pid})


async def test_a_crowd_gets_the_lowest_layer_whole(janus: System) -> None:
    """Every viewer sees a keyframe, receives the lowest of three layers without loss, and hears within a second."""
    clip = await asyncio.to_thread(layered_clip)
    crowd = Crowd(CLIENT_ADDRESS)
    async with janus.meeting(VIEWERS + 1, crowd.media) as meeting:
        senders = await crowd.enter(meeting, [clip], per_second=10)
        await meeting.arrange(senders, senders[0], [])
        viewers = await crowd.enter(meeting, [None] * VIEWERS, per_second=10)
        assert all(0 < seconds < 5 for seconds in await first_pictures(viewers))
        crowd.delays.clear()
        before = crowd.totals()
        videos = [each for viewer in viewers if viewer.receiver for each in viewer.receiver.stats().streams]
        videos = [each for each in videos if each.kind == "video"]
        bytes_before = sum(each.bytes for each in videos)
        await asyncio.sleep(2)
        measured = crowd.totals().since(before)
        rate = 8 * (sum(each.bytes for each in videos) - bytes_before) / VIEWERS / 2
        assert crowd.without_media() == 0
    low, middle, _ = (sum(len(p) for frame in layer for p in frame.fragments) for layer in clip.layers)
    assert 8 * low / 4 * 0.5 < rate < 8 * middle / 4
    assert (measured.lost, measured.undecryptable, measured.send_errors) == (0, 0, 0)
    assert measured.received > 2 * VIEWERS * 50
    # One packet in twenty was looked into, and every stamped one told its age.
    assert measured.received / 30 < measured.decrypted < measured.received / 10
    assert 0 < percentile(crowd.delays, 0.5) < 1


async def test_a_full_receive_buffer_spoils_the_run(janus: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """When endpoints do not read in time the kernel drops packets; that is counted as ours, not as the system's."""
    monkeypatch.setattr("giaoban_loadtests.endpoint.RECEIVE_BUFFER_BYTES", 4096)
    clip = await asyncio.to_thread(layered_clip)
    crowd = Crowd(CLIENT_ADDRESS)
    async with janus.meeting(3, crowd.media) as meeting:
        senders = await crowd.enter(meeting, [clip], per_second=10)
        await meeting.arrange(senders, senders[0], [])
        await first_pictures(await crowd.enter(meeting, [None], per_second=10))
        before = crowd.totals()
        assert crowd.attendees[1].receiver is not None
        crowd.attendees[1].receiver._reactor.remove(crowd.attendees[1].receiver._socket)
        await asyncio.sleep(1)
        measured = crowd.totals().since(before)
    assert measured.kernel_drops > 0
    with pytest.raises(Exception, match="receive buffer"):
        refuse_if_spoiled(measured.generator())


async def test_a_layer_that_nobody_wants_is_not_sent(janus: System) -> None:
    """A sender told to send the lowest layer only sends far fewer packets; the receiver of that layer loses none."""
    clip = await asyncio.to_thread(layered_clip)
    crowd = Crowd(CLIENT_ADDRESS)
    async with janus.meeting(3, crowd.media) as meeting:
        (sender,) = await crowd.enter(meeting, [clip], per_second=10)
        await meeting.arrange([sender], sender, [])
        await first_pictures(await crowd.enter(meeting, [None], per_second=10))
        assert sender.publisher is not None
        sent = []
        for wanted in ([True, True, True], [True, False, False], [True, True, True]):
            sender.publisher.send_layers(wanted)
            before, keyframes = crowd.totals(), sender.publisher.stats().keyframes_sent
            await asyncio.sleep(1)
            measured = crowd.totals().since(before)
            sent.append(measured.sent)
            assert (measured.lost, measured.send_errors) == (0, 0)
            assert measured.received > 50
    assert sent[1] < sent[0] / 2
    assert sent[2] > 2 * sent[1]
    # What comes back can be decoded from its first picture on.
    assert sender.publisher.stats().keyframes_sent - keyframes >= 2
