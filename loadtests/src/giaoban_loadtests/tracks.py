# SPDX-License-Identifier: Apache-2.0
"""Owns the RTP streams of a publisher: the packets of a clip, of which sending patches only what changes.

Everything but header, PictureID and send time is laid out once, and shared by all publishers of a clip.
"""

import random
import struct
import time
from collections.abc import Callable
from functools import lru_cache

from giaoban_loadtests import rtp, sdp
from giaoban_loadtests.clips import Clip, VideoFrame

RETRANSMIT_PACKETS = 64  # video packets of a stream kept for NACKs
KEYFRAME_INTERVAL_FRAMES = 5  # at most one on request in 100 ms; a request meanwhile waits, it is not dropped

Protect = Callable[[bytes], bytes]
Send = Callable[[bytes], None]


class AudioTrack:
    """An Opus stream."""

    __slots__ = ("_first", "_packets", "_sequence", "_stamped", "_time", "packets", "payload_bytes", "ssrc")

    def __init__(self, clip: Clip, tracks: sdp.PublishedTracks, *, stamped: bool, first: int = 0) -> None:
        """`first` is the frame of the clip to begin with; it is played again and again."""
        self._first = first
        self.ssrc = tracks.audio_ssrc
        self.packets = 0
        self.payload_bytes = 0
        self._stamped = stamped
        self._packets = _audio_packets(clip, tracks.audio_mid, stamped)
        self._sequence = random.getrandbits(15)
        self._time = random.getrandbits(32)

    def timestamp(self, count: int) -> int:
        """Return the RTP time of frame `count`."""
        return (self._time + count * 960) & 0xFFFFFFFF

    def frame(self, count: int, protect: Protect, send: Send) -> None:
        """Send the packet of frame `count`."""
        rest, payload_bytes = self._packets[(self._first + self.packets) % len(self._packets)]
        packet = rtp.HEADER.pack(
            0x90, sdp.OPUS_PAYLOAD_TYPE, self._sequence, (self._time + count * 960) & 0xFFFFFFFF, self.ssrc
        )
        packet += rest + rtp.STAMP.pack(time.monotonic()) if self._stamped else rest
        send(protect(packet))
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.packets += 1
        self.payload_bytes += payload_bytes


class VideoTrack:
    """A VP8 stream: the only one of an m-line, or one layer of a simulcast (`rid`)."""

    __slots__ = (
        "_due",
        "_frames",
        "_header",
        "_interval",
        "_kept",
        "_last_keyframe",
        "_picture_id",
        "_position",
        "_prefix",
        "_sequence",
        "_time",
        "keyframe_wanted",
        "keyframes",
        "packets",
        "payload_bytes",
        "ssrc",
    )

    def __init__(
        self, frames: tuple[VideoFrame, ...], interval: int, ssrc: int, mid: str, rid: str | None
    ) -> None:
        self.ssrc = ssrc
        self.packets = 0
        self.payload_bytes = 0
        self.keyframes = 0
        self.keyframe_wanted = False
        elements = [(sdp.MID_ID, mid.encode())]
        if rid is not None:
            elements.append((sdp.RID_ID, rid.encode()))
        self._prefix = rtp.extension_block(elements)
        # RTP header, extensions, payload descriptor.
        self._header = struct.Struct(f">BBHII{len(self._prefix)}s4s")
        self._frames = frames
        self._interval = interval
        self._position = 0
        self._due = random.randrange(interval)
        self._sequence = random.getrandbits(15)
        self._time = random.getrandbits(32)
        self._picture_id = random.getrandbits(15)
        self._last_keyframe = -KEYFRAME_INTERVAL_FRAMES
        self._kept: list[tuple[int, bytes] | None] = [None] * RETRANSMIT_PACKETS

    def kept(self, sequence: int) -> bytes | None:
        """Return a packet that was sent, as it was, when it is still kept."""
        kept = self._kept[sequence % RETRANSMIT_PACKETS]
        return kept[1] if kept is not None and kept[0] == sequence else None

    def timestamp(self, count: int) -> int:
        """Return the RTP time of frame `count`."""
        return (self._time + count * 1800) & 0xFFFFFFFF

    def frame(self, count: int, protect: Protect, send: Send) -> None:
        """Send the picture of frame `count`, when one is due."""
        if self.keyframe_wanted and count - self._last_keyframe >= KEYFRAME_INTERVAL_FRAMES:
            self._position = _keyframe_after(self._frames, self._position)
            self._due = 0
        if self._due == 0:
            self._send_picture(count, protect, send)
            self._due = self._interval
        self._due -= 1

    def _send_picture(self, count: int, protect: Protect, send: Send) -> None:
        frame = self._frames[self._position]
        if frame.key:
            self.keyframes += 1
            self._last_keyframe = count
            self.keyframe_wanted = False
        timestamp = (self._time + count * 1800) & 0xFFFFFFFF
        pack, prefix, ssrc, sequence = self._header.pack, self._prefix, self.ssrc, self._sequence
        descriptor = rtp.vp8_descriptor(self._picture_id, start=True)
        last = len(frame.fragments) - 1
        for index, fragment in enumerate(frame.fragments):
            payload_type = sdp.VP8_PAYLOAD_TYPE | 0x80 if index == last else sdp.VP8_PAYLOAD_TYPE
            header = pack(0x90, payload_type, sequence, timestamp, ssrc, prefix, descriptor)
            packet = protect(header + fragment)
            self._kept[sequence % RETRANSMIT_PACKETS] = (sequence, packet)
            send(packet)
            sequence = (sequence + 1) & 0xFFFF
            if index == 0:
                descriptor = rtp.vp8_descriptor(self._picture_id, start=False)
            self.payload_bytes += len(fragment)
        self.packets += last + 1
        self._sequence = sequence
        self._picture_id = (self._picture_id + 1) & rtp.PICTURE_ID_MASK
        self._position = (self._position + 1) % len(self._frames)


Track = AudioTrack | VideoTrack


@lru_cache(maxsize=256)
def _audio_packets(clip: Clip, mid: str, stamped: bool) -> list[tuple[bytes, int]]:
    """Return what follows the RTP header in every packet of a loop, with the payload's bytes."""
    packets = []
    for payload, level in zip(clip.audio, clip.levels, strict=True):
        extensions = rtp.extension_block([(sdp.AUDIO_LEVEL_ID, bytes([level])), (sdp.MID_ID, mid.encode())])
        body = rtp.opus_before_stamp(payload) if stamped else payload
        packets.append((extensions + body, len(body) + (rtp.STAMP.size if stamped else 0)))
    return packets


def _keyframe_after(frames: tuple[VideoFrame, ...], position: int) -> int:
    """Return the index of the first keyframe at `position` or after it, beginning again at the end."""
    count = len(frames)
    return next(i % count for i in range(position, position + count) if frames[i % count].key)
