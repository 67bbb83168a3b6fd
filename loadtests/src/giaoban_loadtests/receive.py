# SPDX-License-Identifier: Apache-2.0
"""Owns what is known of one received RTP stream: loss and jitter (RFC 3550 appendix A), keyframes, Opus frames."""

from giaoban_loadtests import rtp

KEYFRAME_RETRY = 0.3  # seconds between requests for the first keyframe
MAX_DROPOUT = 3_000  # packets; a larger jump is a restarted source (RFC 3550 appendix A.1)


class ReceivedStream:
    """Counters of one SSRC. Packets are counted from the clear header; keyframes and Opus frames when decrypted."""

    __slots__ = (
        "_base",
        "_counted",
        "_every",
        "_expected_before",
        "_jitter",
        "_key_sequence",
        "_received_before",
        "_request_time",
        "_skipped",
        "_transit",
        "_until_look",
        "bytes",
        "clock",
        "codec",
        "decrypted",
        "first_keyframe_time",
        "highest",
        "keyframes",
        "kind",
        "last_sender_report",
        "mid",
        "opus_frames",
        "packets",
        "sender_report_time",
        "ssrc",
        "stamp",
        "undecryptable",
    )

    def __init__(self, ssrc: int, *, mid: str, kind: str, codec: str, every: int = 1) -> None:
        self.ssrc = ssrc
        self._every = every
        self._until_look = 1
        self.mid = mid
        self.kind = kind
        self.codec = codec
        self.clock = rtp.AUDIO_CLOCK if kind == "audio" else rtp.VIDEO_CLOCK
        self.packets = 0
        self.bytes = 0
        self.highest = -1  # extended highest sequence number, -1 before the first packet
        self.decrypted = 0
        self.undecryptable = 0
        self.keyframes = 0  # whole ones, from their first packet to the marker
        self.first_keyframe_time: float | None = None
        self.opus_frames = 0
        self.stamp: float | None = None  # send time in the Opus packet looked at last
        self.last_sender_report = 0
        self.sender_report_time = 0.0
        self._base = 0
        self._counted = 0  # packets since `_base`
        self._skipped = 0  # lost before the source restarted
        self._transit: int | None = None
        self._jitter = 0
        self._key_sequence = -1  # next packet of the keyframe being received
        self._request_time = float("-inf")
        self._expected_before = 0
        self._received_before = 0

    @property
    def expected(self) -> int:
        """Packets that should have come since the source last started."""
        return self.highest - self._base + 1 if self.highest >= 0 else 0

    @property
    def lost(self) -> int:
        """Packets that did not come (negative when duplicates came)."""
        return self._skipped + self.expected - self._counted

    @property
    def jitter(self) -> float:
        """Interarrival jitter in seconds, of the packets looked at."""
        return self._jitter / 16 / self.clock

    def count(self, packet: bytes) -> bool:
        """Count one packet of at least 12 bytes by its clear header; return whether to decrypt and `inspect` it.

        One in `every` is looked at, and video until a whole keyframe was seen.
        """
        self.packets += 1
        self.bytes += len(packet)
        sequence = (packet[2] << 8) | packet[3]
        step = (sequence - self.highest) & 0xFFFF
        if step == 1 and self.highest >= 0:
            self.highest += 1
        elif self.highest < 0:
            self._base = self.highest = sequence
        elif step < MAX_DROPOUT:
            self.highest += step
        elif step < 0x10000 - MAX_DROPOUT:
            self._restart(sequence)
        self._counted += 1
        self._until_look -= 1
        if self._until_look > 0 and (self.keyframes or self.kind != "video"):
            return False
        self._until_look = self._every
        return True

    def needs_keyframe(self, now: float) -> bool:
        """Tell whether to ask for a keyframe now: none was seen, none is coming, none was asked for just now.

        Janus does not ask on behalf of a new subscriber; like a browser, the receiver must.
        """
        if self.codec != "vp8" or self.keyframes or self._key_sequence >= 0:
            return False
        if now - self._request_time < KEYFRAME_RETRY:
            return False
        self._request_time = now
        return True

    def inspect(self, packet: bytes, now: float) -> None:
        """Look into one decrypted packet; `now` in seconds on the monotonic clock."""
        self.decrypted += 1
        # RFC 3550 section 6.4.1 defines the difference for any two packets, not only for neighbours.
        transit = int(now * self.clock) - int.from_bytes(packet[4:8], "big")
        if self._transit is not None:
            change = abs(((transit - self._transit + 0x80000000) & 0xFFFFFFFF) - 0x80000000)
            self._jitter += change - ((self._jitter + 8) >> 4)
        self._transit = transit
        payload = rtp.payload_of(packet)
        if self.kind == "audio":
            self.opus_frames += rtp.opus_frame_count(payload)
            self.stamp = rtp.opus_stamp(payload)
        elif self.codec == "vp8":
            self._inspect_vp8(packet, payload, now)

    def block(self, now: float) -> rtp.ReceiverBlock:
        """Return the report block since the one before (RFC 3550 appendix A.3)."""
        expected, received = self.expected + self._skipped, self._counted
        expected_now, received_now = expected - self._expected_before, received - self._received_before
        self._expected_before, self._received_before = expected, received
        missing = expected_now - received_now
        fraction = min(255, (missing << 8) // expected_now) if expected_now > 0 and missing > 0 else 0
        delay = int((now - self.sender_report_time) * 65536) if self.last_sender_report else 0
        return rtp.ReceiverBlock(
            self.ssrc,
            fraction,
            max(-0x800000, min(self.lost, 0x7FFFFF)),
            max(self.highest, 0) & 0xFFFFFFFF,
            self._jitter >> 4,
            self.last_sender_report,
            min(delay, 0xFFFFFFFF),
        )

    def _restart(self, sequence: int) -> None:
        self._skipped = self.lost
        self._base = self.highest = sequence
        self._counted = 0
        self._transit = None
        self._expected_before = self._skipped
        self._received_before = 0

    def _inspect_vp8(self, packet: bytes, payload: bytes, now: float) -> None:
        sequence = (packet[2] << 8) | packet[3]
        parsed = rtp.parse_vp8(payload)
        if parsed is None:
            return
        if parsed.key:
            self._key_sequence = sequence
        if sequence != self._key_sequence:
            return
        self._key_sequence = (sequence + 1) & 0xFFFF
        if packet[1] & 0x80:
            self.keyframes += 1
            self._key_sequence = -1
            if self.first_keyframe_time is None:
                self.first_keyframe_time = now
