# SPDX-License-Identifier: Apache-2.0
"""Owns RTP and RTCP packets: VP8 (RFC 7741), Opus (RFC 7587, RFC 6716), and the RTCP that a media node speaks.

Parsers take anything: malformed input gives an empty result, never an exception.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER_BYTES = 12
VIDEO_CLOCK = 90_000
AUDIO_CLOCK = 48_000
MAX_PAYLOAD_BYTES = 1_100  # leaves room for headers, extensions and the SRTP tag below 1,200 bytes
PICTURE_ID_MASK = 0x7FFF
HEADER = struct.Struct(">BBHII")  # V, P, X and CC; M and PT; sequence number; timestamp; SSRC
STAMP = struct.Struct(">d")  # seconds on the sender's monotonic clock
_EXTENSION_PROFILE = 0xBEDE  # one-byte headers, RFC 8285 section 4.2
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


class PacketType(IntEnum):
    """RTCP packet types (RFC 3550 section 12.1, RFC 4585 section 6.1)."""

    SENDER_REPORT = 200
    RECEIVER_REPORT = 201
    SOURCE_DESCRIPTION = 202
    BYE = 203
    TRANSPORT_FEEDBACK = 205
    PAYLOAD_FEEDBACK = 206


@dataclass(frozen=True)
class ReceiverBlock:
    """One report block: what a receiver says about the source `ssrc` (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    lost: int
    highest_sequence: int
    jitter: int = 0
    last_sender_report: int = 0
    delay_since_last_sender_report: int = 0


@dataclass(frozen=True)
class Feedback:
    """What an RTCP datagram asked for or told: sources of keyframe requests, lost packets, sender reports."""

    keyframe_requests: tuple[int, ...] = ()
    lost: tuple[tuple[int, int], ...] = ()  # (ssrc, sequence number)
    sender_reports: tuple[tuple[int, int], ...] = ()  # (ssrc, middle 32 bits of the NTP time)
    blocks: tuple[ReceiverBlock, ...] = ()


# --- RTP ---------------------------------------------------------------------------------------------------


def extension_block(elements: list[tuple[int, bytes]]) -> bytes:
    """Return a header extension block of (id 1..14, 1..16 bytes) elements, padded to 32 bits."""
    body = b"".join(bytes([(name << 4) | (len(value) - 1)]) + value for name, value in elements)
    body += bytes(-len(body) % 4)
    return struct.pack(">HH", _EXTENSION_PROFILE, len(body) // 4) + body


def payload_of(packet: bytes) -> bytes:
    """Return the payload of a decrypted RTP packet without extensions and padding; empty when malformed."""
    if len(packet) < HEADER_BYTES:
        return b""
    start = HEADER_BYTES + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if len(packet) < start + 4:
            return b""
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0)
    return packet[start:end] if start < end else b""


# --- VP8 ---------------------------------------------------------------------------------------------------


def vp8_fragments(frame: bytes) -> list[bytes]:
    """Split one encoded frame into equal parts that fit a packet; the descriptor is added when it is sent."""
    count = -(-len(frame) // MAX_PAYLOAD_BYTES)
    size = -(-len(frame) // count) if count else 0
    return [frame[i : i + size] for i in range(0, len(frame), size)] if count else []


def vp8_descriptor(picture_id: int, *, start: bool) -> bytes:
    """Return a payload descriptor with a 15-bit PictureID (RFC 7741 section 4.2): X, S on the first part, I, M."""
    return struct.pack(">BBH", 0x90 if start else 0x80, 0x80, 0x8000 | picture_id)


def vp8_frame_is_key(frame: bytes) -> bool:
    """Tell whether an encoded frame is a keyframe: inverse of the P bit (RFC 6386 section 9.1)."""
    return bool(frame) and not frame[0] & 1


@dataclass(frozen=True)
class Vp8Payload:
    """A parsed payload: whether it begins a frame, whether that is a keyframe, PictureID, the encoded bytes."""

    start: bool
    key: bool
    picture_id: int | None
    data: bytes


def parse_vp8(payload: bytes) -> Vp8Payload | None:
    """Parse a VP8 payload; None when the descriptor is cut short or no data follows."""
    if not payload:
        return None
    first = payload[0]
    position, picture_id = 1, None
    if first & 0x80:
        if len(payload) < 2:
            return None
        flags = payload[1]
        position = 2
        if flags & 0x80:
            wide = position < len(payload) and bool(payload[position] & 0x80)
            size = 2 if wide else 1
            picture_id = int.from_bytes(payload[position : position + size], "big")
            picture_id &= PICTURE_ID_MASK if wide else 0x7F
            position += size
        position += bool(flags & 0x40) + bool(flags & 0x30)  # TL0PICIDX; TID, Y and KEYIDX share a byte
    data = payload[position:]
    if not data:
        return None
    start = bool(first & 0x10) and not first & 0x07
    return Vp8Payload(start, start and vp8_frame_is_key(data), picture_id, data)


# --- Opus --------------------------------------------------------------------------------------------------


def opus_frame_count(packet: bytes) -> int:
    """Return the number of frames in an Opus packet (RFC 6716 section 3.2); 0 when malformed."""
    if not packet:
        return 0
    code = packet[0] & 3
    if code == 0:
        return 1
    if code == 3:
        return packet[1] & 0x3F if len(packet) > 1 else 0
    # Code 1 has two frames of equal size.
    return 2 if code == 2 or len(packet) % 2 else 0


def opus_before_stamp(packet: bytes) -> bytes:
    """Return an Opus packet of one frame as one with padding of STAMP's size (RFC 6716 section 3.2.5), without that.

    Decoders skip padding, so whoever sends the result plus a stamp sends the same sound.
    """
    if not packet or packet[0] & 3:
        raise ValueError("only an Opus packet with one frame (code 0) can be stamped")
    return bytes([packet[0] | 3, 0x41, STAMP.size]) + packet[1:]


def opus_stamp(payload: bytes) -> float | None:
    """Return the send time in a stamped Opus packet, None when there is none."""
    if len(payload) < 3 + STAMP.size or payload[0] & 3 != 3 or payload[1] != 0x41 or payload[2] != STAMP.size:
        return None
    (seconds,) = STAMP.unpack_from(payload, len(payload) - STAMP.size)
    return float(seconds)


# --- RTCP --------------------------------------------------------------------------------------------------


def ntp_time(unix: float) -> tuple[int, int]:
    """Return a Unix time in seconds as NTP (seconds, fraction)."""
    whole = int(unix)
    return (whole + _NTP_EPOCH) & 0xFFFFFFFF, int((unix - whole) * (1 << 32))


def sender_report(ssrc: int, unix: float, timestamp: int, packets: int, payload_bytes: int) -> bytes:
    """Build an SR without report blocks: `timestamp` is the RTP time at the Unix time `unix`."""
    seconds, fraction = ntp_time(unix)
    counts = (packets & 0xFFFFFFFF, payload_bytes & 0xFFFFFFFF)
    return struct.pack(
        ">BBHIIIIII", 0x80, PacketType.SENDER_REPORT, 6, ssrc, seconds, fraction, timestamp, *counts
    )


def receiver_report(ssrc: int, blocks: list[ReceiverBlock]) -> bytes:
    """Build an RR with at most 31 blocks."""
    body = b"".join(
        struct.pack(
            ">IIIIII",
            block.ssrc,
            (block.fraction_lost << 24) | (block.lost & 0xFFFFFF),
            block.highest_sequence,
            block.jitter,
            block.last_sender_report,
            block.delay_since_last_sender_report,
        )
        for block in blocks
    )
    return _rtcp(PacketType.RECEIVER_REPORT, len(blocks), struct.pack(">I", ssrc) + body)


def source_description(ssrc: int, cname: str) -> bytes:
    """Build an SDES with a CNAME, as every compound packet carries one (RFC 3550 section 6.1)."""
    name = cname.encode()[:255]
    chunk = struct.pack(">IBB", ssrc, 1, len(name)) + name + b"\0"
    return _rtcp(PacketType.SOURCE_DESCRIPTION, 1, chunk + bytes(-len(chunk) % 4))


def picture_loss(sender: int, ssrc: int) -> bytes:
    """Build a PLI: `sender` asks the source `ssrc` for a keyframe (RFC 4585 section 6.3.1)."""
    return _rtcp(PacketType.PAYLOAD_FEEDBACK, 1, struct.pack(">II", sender, ssrc))


def negative_acknowledgement(sender: int, ssrc: int, sequences: list[int]) -> bytes:
    """Build a generic NACK that names `sequences` of the source `ssrc` (RFC 4585 section 6.2.1)."""
    entries: list[list[int]] = []
    for sequence in sequences:
        distance = (sequence - entries[-1][0]) & 0xFFFF if entries else 0
        if entries and 1 <= distance <= 16:
            entries[-1][1] |= 1 << (distance - 1)
        else:
            entries.append([sequence, 0])
    body = b"".join(struct.pack(">HH", *entry) for entry in entries)
    return _rtcp(PacketType.TRANSPORT_FEEDBACK, 1, struct.pack(">II", sender, ssrc) + body)


def parse_rtcp(datagram: bytes) -> Feedback:
    """Parse a decrypted compound packet; stops at the first malformed part and returns what came before."""
    keyframes: list[int] = []
    lost: list[tuple[int, int]] = []
    reports: list[tuple[int, int]] = []
    blocks: list[ReceiverBlock] = []
    position = 0
    while position + 8 <= len(datagram):
        count, kind = datagram[position] & 0x1F, datagram[position + 1]
        size = 4 * (int.from_bytes(datagram[position + 2 : position + 4], "big") + 1)
        part = datagram[position : position + size]
        if datagram[position] >> 6 != 2 or len(part) < size or size < 8:
            break
        if kind == PacketType.SENDER_REPORT and size >= 28:
            reports.append((_u32(part, 4), _u32(part, 10)))
            blocks += _report_blocks(part, 28, count)
        elif kind == PacketType.RECEIVER_REPORT:
            blocks += _report_blocks(part, 8, count)
        elif kind == PacketType.PAYLOAD_FEEDBACK and size >= 12:
            if count == 1:
                keyframes.append(_u32(part, 8))
            elif count == 4:  # FIR (RFC 5104 section 4.3.1) names its sources in entries of 8 bytes
                keyframes += [_u32(part, i) for i in range(12, size - 7, 8)]
        elif kind == PacketType.TRANSPORT_FEEDBACK and count == 1 and size >= 12:
            lost += _nacked(part)
        position += size
    return Feedback(tuple(keyframes), tuple(lost), tuple(reports), tuple(blocks))


def _u32(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "big")


def _rtcp(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def _report_blocks(part: bytes, start: int, count: int) -> list[ReceiverBlock]:
    found = []
    for position in range(start, min(start + 24 * count, len(part) - 23), 24):
        ssrc, loss, highest, jitter, last, delay = struct.unpack_from(">IIIIII", part, position)
        found.append(ReceiverBlock(ssrc, loss >> 24, loss & 0xFFFFFF, highest, jitter, last, delay))
    return found


def _nacked(part: bytes) -> list[tuple[int, int]]:
    ssrc = _u32(part, 8)
    found = []
    for position in range(12, len(part) - 3, 4):
        first, mask = struct.unpack_from(">HH", part, position)
        found.append((ssrc, first))
        found += [(ssrc, (first + 1 + bit) & 0xFFFF) for bit in range(16) if mask >> bit & 1]
    return found
