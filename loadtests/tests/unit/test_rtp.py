# SPDX-License-Identifier: Apache-2.0
"""RTP and RTCP: VP8 and Opus payloads, counting, reports, and loops without a seam."""

import itertools
import time

import pytest
from giaoban_loadtests import rtp, sdp
from giaoban_loadtests.clips import Clip, VideoFrame
from giaoban_loadtests.publish import Publisher
from giaoban_loadtests.receive import ReceivedStream
from giaoban_loadtests.sdp import PublishedTracks
from giaoban_loadtests.tracks import AudioTrack
from hypothesis import given
from hypothesis import strategies as st

TRACKS = PublishedTracks(audio_ssrc=0xA, video_ssrc=0xB, cname="x")
KEY, DELTA = b"\x10" + bytes(9), b"\x11" + bytes(9)  # the P bit is the lowest of the first byte


class Clear:
    """Protects nothing, so that what is sent can be read."""

    def protect(self, packet: bytes) -> bytes:
        return packet

    protect_rtcp = protect


def clip(pictures: int = 6, key_every: int = 3) -> Clip:
    video = tuple(
        VideoFrame(i % key_every == 0, (KEY if i % key_every == 0 else DELTA, b"\x55" * 5))
        for i in range(pictures)
    )
    return Clip("x", video, tuple(bytes([8, i]) for i in range(5)), (38, 38, 38, 127, 127), 4)


def sent_by(publisher_clip: Clip, frames: int) -> tuple[Publisher, list[bytes]]:
    sent: list[bytes] = []
    publisher = Publisher(publisher_clip, TRACKS, Clear(), sent.append)
    for _ in range(frames):
        publisher.frame()
    return publisher, sent


def rtp_of(sent: list[bytes], ssrc: int) -> list[bytes]:
    return [p for p in sent if not 192 <= p[1] <= 223 and int.from_bytes(p[8:12], "big") == ssrc]


def sequence(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def timestamp(packet: bytes) -> int:
    return int.from_bytes(packet[4:8], "big")


def test_vp8_descriptor_has_a_picture_id_of_15_bits() -> None:
    """X and I are set, S on the first part only, M marks the wide PictureID (RFC 7741 section 4.2)."""
    assert rtp.vp8_descriptor(0x1234, start=True) == bytes([0x90, 0x80, 0x92, 0x34])
    assert rtp.vp8_descriptor(0x7FFF, start=False) == bytes([0x80, 0x80, 0xFF, 0xFF])


@given(st.integers(0, 0x7FFF), st.booleans(), st.booleans())
def test_vp8_payloads_are_read_as_written(picture_id: int, start: bool, key: bool) -> None:
    """Parsing gives back PictureID, start of frame and keyframe."""
    parsed = rtp.parse_vp8(rtp.vp8_descriptor(picture_id, start=start) + (KEY if key else DELTA))
    assert parsed is not None
    assert (parsed.picture_id, parsed.start, parsed.key) == (picture_id, start, start and key)


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (b"\x10" + KEY, True),  # no extension octet
        (b"\x90\x80\x05" + KEY, True),  # PictureID of 7 bits
        (b"\x90\xe0\x81\x00\x07\x20" + KEY, True),  # PictureID, TL0PICIDX, TID
        (b"\x11" + KEY, False),  # second partition: no start of a frame
    ],
)
def test_vp8_descriptors_of_others(payload: bytes, key: bool) -> None:
    """The optional fields that browsers send are skipped."""
    parsed = rtp.parse_vp8(payload)
    assert parsed is not None
    assert parsed.key is key


@given(st.binary(min_size=1, max_size=9000))
def test_fragments_fit_and_join_to_the_frame(frame: bytes) -> None:
    """Every part fits a packet, and together they are the frame."""
    parts = rtp.vp8_fragments(frame)
    assert b"".join(parts) == frame
    assert max(map(len, parts)) <= rtp.MAX_PAYLOAD_BYTES


def test_opus_frames_are_counted_by_the_toc() -> None:
    """Codes 0 to 3 hold one, two, two and M frames (RFC 6716 section 3.2)."""
    assert [rtp.opus_frame_count(p) for p in (b"\x08x", b"\x09xx", b"\x0ax", b"\x0b\x05", b"")] == [
        1,
        2,
        2,
        5,
        0,
    ]


def test_a_loop_has_no_seam() -> None:
    """Over many rounds sequence numbers, timestamps and PictureIDs go on evenly."""
    _, sent = sent_by(clip(), 400)
    audio, video = rtp_of(sent, 0xA), rtp_of(sent, 0xB)
    assert len(audio) == 400
    assert len(video) == 200  # every fourth frame, two parts each
    for packets in (audio, video):
        assert all((sequence(b) - sequence(a)) & 0xFFFF == 1 for a, b in itertools.pairwise(packets))
    assert all((timestamp(b) - timestamp(a)) & 0xFFFFFFFF == 960 for a, b in itertools.pairwise(audio))
    pictures = video[::2]
    for a, b in itertools.pairwise(pictures):
        assert (timestamp(b) - timestamp(a)) & 0xFFFFFFFF == 4 * 1800
        ids = [rtp.parse_vp8(rtp.payload_of(p)) for p in (a, b)]
        assert ids[0] and ids[1] and ids[0].picture_id is not None and ids[1].picture_id is not None
        assert (ids[1].picture_id - ids[0].picture_id) & 0x7FFF == 1


def test_a_keyframe_request_is_answered_at_once() -> None:
    """After a PLI the next frame sent is a keyframe; those right behind it are answered by one more, later."""
    publisher, sent = sent_by(clip(pictures=60, key_every=30), 30)
    keyframes = publisher.keyframes
    del sent[:]
    publisher.request_keyframe(0xB)
    publisher.request_keyframe(0xB)
    publisher.frame()
    parsed = rtp.parse_vp8(rtp.payload_of(rtp_of(sent, 0xB)[0]))
    assert parsed is not None
    assert parsed.key
    for _ in range(3):
        publisher.request_keyframe(0xB)
        publisher.frame()
    assert publisher.keyframes == keyframes + 1
    for _ in range(20):
        publisher.frame()
    assert publisher.keyframes == keyframes + 2


def test_layers_are_streams_of_their_own() -> None:
    """Each simulcast layer has its source, its RID in every packet, and its own answer to a keyframe request."""
    low = clip(pictures=60, key_every=30)
    layered = Clip("x", low.video, low.audio, low.levels, 2, (low.video, low.video))
    tracks = PublishedTracks(0xA, 0xB, "x", rid="l", upper=(("m", 0xC), ("h", 0xD)))
    sent: list[bytes] = []
    publisher = Publisher(layered, tracks, Clear(), sent.append)
    for _ in range(20):
        publisher.frame()
    for ssrc, rid in ((0xB, b"l"), (0xC, b"m"), (0xD, b"h")):
        packets = rtp_of(sent, ssrc)
        assert len(packets) == 20
        assert all(bytes([sdp.RID_ID << 4]) + rid in packet[12:28] for packet in packets)
    before = publisher.keyframes
    publisher.request_keyframe(0xD)
    publisher.frame()
    assert publisher.keyframes == before + 1


def test_sound_goes_on_where_it_was() -> None:
    """A connection that replaces another begins with the frame of the clip that is due, not with the first."""
    made, sent = clip(), list[bytes]()
    for first in (0, 3):
        track = AudioTrack(made, TRACKS, stamped=False, first=first)
        for count in range(2):
            track.frame(count, bytes, sent.append)
    header = rtp.HEADER.size
    expected = [rest for rest, _ in (track._packets[at % len(track._packets)] for at in (0, 1, 3, 4))]
    assert [packet[header:] for packet in sent] == expected


def test_stamped_sound_tells_when_it_was_sent() -> None:
    """The stamp is read back, the packet still holds one Opus frame; sound without a stamp tells nothing."""
    sent: list[bytes] = []
    publisher = Publisher(clip(), TRACKS, Clear(), sent.append, stamped=True)
    before = time.monotonic()
    publisher.frame()
    payload = rtp.payload_of(rtp_of(sent, 0xA)[0])
    stamp = rtp.opus_stamp(payload)
    assert stamp is not None
    assert before <= stamp <= time.monotonic()
    assert rtp.opus_frame_count(payload) == 1
    assert rtp.opus_stamp(b"\x08x") is None
    with pytest.raises(ValueError, match="code 0"):
        rtp.opus_before_stamp(b"\x09xx")


def test_one_in_n_is_looked_at() -> None:
    """Sound is looked at from the first packet on, one in n; video every packet until a keyframe was seen."""
    sound = ReceivedStream(5, mid="0", kind="audio", codec="opus", every=4)
    assert [sound.count(packet(i)) for i in range(9)] == [True, *[False] * 3, True, *[False] * 3, True]
    video = ReceivedStream(5, mid="1", kind="video", codec="vp8", every=4)
    assert all(video.count(packet(i)) for i in range(9))
    video.keyframes = 1
    assert sum(video.count(packet(9 + i)) for i in range(40)) == 10


def test_a_lost_packet_is_sent_again_unchanged() -> None:
    """A NACK brings the same bytes; an unknown sequence number brings nothing."""
    publisher, sent = sent_by(clip(), 40)
    last = rtp_of(sent, 0xB)[-1]
    publisher.retransmit(0xB, sequence(last))
    assert sent[-1] is last
    count = len(sent)
    publisher.retransmit(0xB, (sequence(last) + 5) & 0xFFFF)
    assert len(sent) == count


def packet(number: int, *, marker: bool = False, payload: bytes = b"\x08x") -> bytes:
    return rtp.HEADER.pack(0x80, 111 | marker << 7, number & 0xFFFF, 960 * number & 0xFFFFFFFF, 5) + payload


@given(
    start=st.integers(0, 0xFFFF),
    dropped=st.sets(st.integers(1, 298), max_size=40),
    swap=st.integers(0, 298),
)
def test_loss_is_counted_across_wraps_and_reordering(start: int, dropped: set[int], swap: int) -> None:
    """Exactly the packets that did not come are lost, whatever their order."""
    numbers = [i for i in range(300) if i not in dropped]
    if swap + 1 < len(numbers) and swap > 0:
        numbers[swap], numbers[swap + 1] = numbers[swap + 1], numbers[swap]
    stream = ReceivedStream(5, mid="0", kind="audio", codec="opus")
    for i in numbers:
        stream.count(packet(start + i))
    assert stream.lost == len(dropped)
    assert stream.packets == 300 - len(dropped)


def test_a_restarted_source_is_no_loss() -> None:
    """A jump of the sequence number starts the count anew and keeps what was lost before."""
    stream = ReceivedStream(5, mid="0", kind="audio", codec="opus")
    for number in (1, 2, 4, 30_000, 30_001):
        stream.count(packet(number))
    assert stream.lost == 1


def test_a_keyframe_counts_only_when_it_is_whole() -> None:
    """A keyframe with a missing part is not counted."""
    stream = ReceivedStream(5, mid="1", kind="video", codec="vp8")
    first, rest = rtp.vp8_descriptor(1, start=True) + KEY, rtp.vp8_descriptor(1, start=False) + KEY
    for number, payload, marker in ((1, first, False), (3, rest, True)):
        stream.inspect(packet(number, marker=marker, payload=payload), 1.0)
    assert stream.keyframes == 0
    for number, payload, marker in ((5, first, False), (6, rest, False), (7, rest, True)):
        stream.inspect(packet(number, marker=marker, payload=payload), 2.0)
    assert (stream.keyframes, stream.first_keyframe_time) == (1, 2.0)


def test_a_first_keyframe_is_asked_for_until_it_comes() -> None:
    """A stream that begins in the middle asks at once and again after 0.3 s, not while a keyframe arrives."""
    stream = ReceivedStream(5, mid="1", kind="video", codec="vp8")
    stream.inspect(packet(1, marker=True, payload=rtp.vp8_descriptor(1, start=True) + DELTA), 1.0)
    assert [stream.needs_keyframe(now) for now in (1.0, 1.1, 1.31)] == [True, False, True]
    stream.inspect(packet(2, payload=rtp.vp8_descriptor(2, start=True) + KEY), 2.0)
    assert not stream.needs_keyframe(2.0)
    stream.inspect(packet(3, marker=True, payload=rtp.vp8_descriptor(2, start=False) + KEY), 2.0)
    assert not stream.needs_keyframe(9.0)


def test_reports_are_read_as_written() -> None:
    """SR, RR, PLI and NACK survive a round trip in one compound packet."""
    block = rtp.ReceiverBlock(7, 12, 34, 56, 78, 90, 11)
    compound = (
        rtp.sender_report(5, 1.5, 99, 3, 4)
        + rtp.receiver_report(6, [block])
        + rtp.source_description(6, "name")
        + rtp.picture_loss(6, 7)
        + rtp.negative_acknowledgement(6, 7, [65534, 65535, 0, 40])
    )
    feedback = rtp.parse_rtcp(compound)
    seconds, fraction = rtp.ntp_time(1.5)
    assert feedback.sender_reports == ((5, (seconds << 16 | fraction >> 16) & 0xFFFFFFFF),)
    assert feedback.blocks == (block,)
    assert feedback.keyframe_requests == (7,)
    assert feedback.lost == ((7, 65534), (7, 65535), (7, 0), (7, 40))


@given(st.binary(max_size=300))
def test_hostile_packets_give_empty_results(data: bytes) -> None:
    """No parser raises, whatever it is given."""
    rtp.parse_rtcp(data)
    rtp.parse_rtcp(b"\x81\xce" + data)
    rtp.payload_of(data)
    rtp.parse_vp8(data)
    rtp.opus_frame_count(data)
    if len(data) >= rtp.HEADER_BYTES:
        stream = ReceivedStream(5, mid="1", kind="video", codec="vp8")
        stream.count(data)
        stream.inspect(data, 1.0)
        stream.block(2.0)
