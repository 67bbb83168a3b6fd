# SPDX-License-Identifier: Apache-2.0
"""The adapter for LiveKit: what can be known without its server, which is not part of this project."""

import base64
from pathlib import Path

import jwt
import pytest
from giaoban_loadtests.blocks import Block
from giaoban_loadtests.livekit_server import livekit_server
from giaoban_loadtests.scenarios.forwarding_cost import refuse_other_traffic
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.livekit import LiveKitAccess, join_request, track_requests, wanted_layers
from livekit.protocol import models, rtc

SECRET = "a secret that is long enough for HS256"
LOW, MEDIUM, HIGH = models.VideoQuality.LOW, models.VideoQuality.MEDIUM, models.VideoQuality.HIGH


def test_a_token_allows_one_thing_in_one_room() -> None:
    """Who sends may not receive and the other way round; the secret is in no representation."""
    access = LiveKitAccess("ws://localhost", "key", SECRET)
    for sends in (True, False):
        token = access.token("room", "p0", sends=sends, hidden=False)
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer="key")
        assert claims["sub"] == "p0"
        assert (claims["video"]["canPublish"], claims["video"]["canSubscribe"]) == (sends, not sends)
        assert claims["video"]["room"] == "room"
    assert SECRET not in repr(access)


def test_nothing_is_subscribed_to_by_itself() -> None:
    """The join request, read back as the server reads it, asks for adaptive streams and no subscription."""
    wrapped = rtc.WrappedJoinRequest.FromString(base64.urlsafe_b64decode(join_request()))
    settings = rtc.JoinRequest.FromString(wrapped.join_request).connection_settings
    assert (settings.auto_subscribe, settings.adaptive_stream) == (False, True)


def test_layers_are_announced_by_their_rids() -> None:
    """Three layers from the smallest up with RIDs; a single picture is the best quality and has no RID."""
    audio, video = track_requests("c", 3)
    assert (audio.cid, video.cid) == ("c-audio", "c-video")
    assert [(each.rid, each.quality, each.width) for each in video.layers] == [
        ("q", LOW, 320),
        ("h", MEDIUM, 640),
        ("f", HIGH, 1280),
    ]
    assert list(video.simulcast_codecs[0].layers) == list(video.layers)
    (only,) = track_requests("c", 1)[1].layers
    assert (only.rid, only.quality, only.width) == ("", HIGH, 320)


@pytest.mark.parametrize(
    ("codec", "layers", "wanted"),
    [("vp8", 3, [True, False, False]), ("vp8", 1, None), ("h264", 3, None)],
)
def test_only_layers_that_somebody_receives_are_sent(codec: str, layers: int, wanted: object) -> None:
    """Dynacast's message becomes one yes or no per layer; other codecs and single pictures are left alone."""
    qualities = [rtc.SubscribedQuality(quality=each, enabled=each == LOW) for each in (LOW, MEDIUM, HIGH)]
    update = rtc.SubscribedQualityUpdate(
        subscribed_codecs=[rtc.SubscribedCodec(codec=codec, qualities=qualities)]
    )
    assert wanted_layers(update, layers) == wanted


@pytest.mark.parametrize(("theirs", "same"), [(1_000, True), (1_100, True), (2_000, False)])
def test_different_traffic_is_not_compared(theirs: int, same: bool) -> None:
    """When one system forwards other layers than the other, the price of a packet says nothing."""
    blocks = [Block(side, 1.0, 1.0, 0.0, 0.0, packets, 1) for side, packets in (("A", 1_000), ("B", theirs))]
    if same:
        refuse_other_traffic("picture", blocks)
    else:
        with pytest.raises(SystemFailedError, match="not the same"):
            refuse_other_traffic("picture", blocks)


async def test_a_binary_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the option; outside a network of its own nothing is started."""
    with pytest.raises(SystemFailedError, match=r"--livekit .*give the path"):
        async with livekit_server(tmp_path / "none"):
            pass
    monkeypatch.delenv("GIAOBAN_IN_NETNS", raising=False)
    with pytest.raises(SystemFailedError, match="bin/in-netns"):
        async with livekit_server(Path("/bin/true")):
            pass
