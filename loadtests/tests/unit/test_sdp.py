# SPDX-License-Identifier: Apache-2.0
"""Session descriptions: what we offer, what we answer, and what we refuse to read."""

import pytest
from giaoban_loadtests import sdp
from giaoban_loadtests.dtls import Fingerprint
from hypothesis import given
from hypothesis import strategies as st

LOCAL = sdp.Local("abcd", "p" * 24, Fingerprint("sha-256", "AA:BB"))
TRACKS = sdp.PublishedTracks(audio_ssrc=11, video_ssrc=22, cname="c")
TRANSPORT = """a=ice-ufrag:uf\r\na=ice-pwd:pw\r\na=fingerprint:sha-256 CC:DD\r\na=setup:actpass\r\n"""
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v d x\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.0.0.1\r\na=mid:a\r\na=sendonly\r\n"
    + TRANSPORT
    + "a=rtpmap:111 opus/48000/2\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
    "a=ssrc:7 cname:j\r\na=ssrc:7 msid:x y\r\n"
    "a=candidate:1 1 udp 2013266431 10.0.0.1 20001 typ host\r\n"
    "a=candidate:2 1 tcp 1010827775 10.0.0.1 20001 typ host tcptype passive\r\n"
    "a=candidate:3 1 udp 100 10.0.0.2 20002 typ host\r\n"
    "a=candidate:4 1 udp 300 x.local 20003 typ host\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:v\r\na=sendonly\r\n"
    + TRANSPORT
    + "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtcp-fb:96 nack\r\n"
    "a=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\n"
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=ssrc:8 cname:j\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sctp-port:5000\r\n"
    + TRANSPORT
    + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:x\r\na=inactive\r\n"
    + TRANSPORT
    + "a=rtpmap:96 VP8/90000\r\n"
)


def test_offer_names_tracks_and_transport() -> None:
    """The offer of a publisher, read back, has both tracks with mids, sources, codecs and actpass."""
    text = sdp.publish_offer(LOCAL, TRACKS)
    read = sdp.parse(text)
    assert (read.ufrag, read.password, read.setup) == ("abcd", "p" * 24, "actpass")
    assert read.fingerprint == LOCAL.fingerprint
    described = [(s.kind, s.mid, s.ssrcs, s.codecs, s.direction) for s in read.sections]
    assert described == [
        ("audio", "0", [11], {111: "opus"}, "sendonly"),
        ("video", "1", [22], {96: "vp8"}, "sendonly"),
    ]
    assert "a=group:BUNDLE 0 1\r\n" in text
    for line in (
        "a=msid:c c-audio",
        f"a=extmap:4 {sdp.MID}",
        f"a=extmap:1 {sdp.AUDIO_LEVEL}",
        "a=rtcp-fb:96 nack pli",
    ):
        assert line in text


def test_answer_keeps_every_line_in_its_place() -> None:
    """Audio and video are received, an inactive line stays inactive, a data channel is refused with port 0."""
    answer = sdp.receive_answer(LOCAL, sdp.parse(OFFER), setup="active")
    read = sdp.parse(answer)
    assert [(s.kind, s.mid, s.port, s.direction) for s in read.sections] == [
        ("audio", "a", 9, "recvonly"),
        ("video", "v", 9, "recvonly"),
        ("application", "d", 0, "inactive"),
        ("video", "x", 9, "inactive"),
    ]
    assert "a=group:BUNDLE a v x\r\n" in answer
    assert read.setup == "active"


def test_answer_agrees_only_to_what_is_done() -> None:
    """PLI stays; NACK, transport-wide congestion control and unknown extensions are left out."""
    answer = sdp.receive_answer(LOCAL, sdp.parse(OFFER), setup="active").split("\r\n")
    assert "a=rtcp-fb:96 nack pli" in answer
    assert "a=rtcp-fb:96 nack" not in answer
    assert not any("transport" in line and "a=rtcp-fb" in line for line in answer)
    assert [line for line in answer if line.startswith("a=extmap")] == [f"a=extmap:1 {sdp.AUDIO_LEVEL}"]


def test_candidates_are_read_best_first() -> None:
    """Only IPv4 UDP candidates count, by priority; sources are listed once."""
    read = sdp.parse(OFFER)
    assert read.candidates == (("10.0.0.1", 20001), ("10.0.0.2", 20002))
    assert read.sections[0].ssrcs == [7]


@pytest.mark.parametrize("missing", ["ice-ufrag", "ice-pwd", "fingerprint", "setup"])
def test_what_a_session_needs_is_named(missing: str) -> None:
    """A description without credentials, fingerprint or setup is refused by the name of the line."""
    text = "\r\n".join(line for line in OFFER.split("\r\n") if not line.startswith(f"a={missing}"))
    with pytest.raises(sdp.SdpError, match=missing):
        sdp.parse(text)


@pytest.mark.parametrize(("setup", "role"), [("active", "server"), ("passive", "client")])
def test_role_follows_the_answer(setup: str, role: str) -> None:
    """An active answerer makes us the DTLS server."""
    assert sdp.role_as_offerer(setup) == role


def test_an_answer_must_choose_a_role() -> None:
    """actpass in an answer is refused."""
    with pytest.raises(sdp.SdpError, match="actpass"):
        sdp.role_as_offerer("actpass")


@given(st.text(max_size=400), st.integers(0, len(OFFER)))
def test_hostile_descriptions_raise_only_sdp_errors(text: str, position: int) -> None:
    """Any text is read or refused with SdpError."""
    for candidate in (text, OFFER[:position] + text + OFFER[position:], "m=" + text):
        try:
            remote = sdp.parse(candidate)
        except sdp.SdpError:
            continue
        sdp.receive_answer(LOCAL, remote, setup="active")


def test_a_receiver_offers_what_it_can_take() -> None:
    """One recvonly m-line a kind, mids in order, with the codec, and only the feedback that is really given."""
    read = sdp.parse(sdp.receive_offer(LOCAL, ["audio", "video", "video"], version=2))
    assert [(each.kind, each.mid, each.direction) for each in read.sections] == [
        ("audio", "0", "recvonly"),
        ("video", "1", "recvonly"),
        ("video", "2", "recvonly"),
    ]
    assert [each.codecs for each in read.sections] == [{111: "opus"}, {96: "vp8"}, {96: "vp8"}]
    assert "a=rtcp-fb:96 nack pli" in read.sections[1].lines
    assert "a=rtcp-fb:96 nack" not in read.sections[1].lines
