# SPDX-License-Identifier: Apache-2.0
"""Owns SDP: the offer of a publisher, offer and answer of a subscriber, and what is read from the other side's (RFC 8866,
RFC 8829). Only bundled, rtcp-muxed sessions, as every WebRTC peer makes them.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from giaoban_loadtests.dtls import Fingerprint, Role

AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL_ID = 1
MID_ID = 4
RID_ID = 10
OPUS_PAYLOAD_TYPE = 111
VP8_PAYLOAD_TYPE = 96
MAX_SDP_BYTES = 256 * 1024
MAX_CANDIDATES = 16
_UNDERSTOOD_EXTENSIONS = (AUDIO_LEVEL, MID)
_UNDERSTOOD_FEEDBACK = ("nack pli", "ccm fir")
_ANSWERED = {"sendonly": "recvonly", "sendrecv": "recvonly", "recvonly": "inactive", "inactive": "inactive"}


class SdpError(ValueError):
    """A session description that cannot be used; the message names the line that is missing or wrong."""


@dataclass
class Section:
    """One m-line as the other side wrote it. `ssrcs` in order of appearance, `codecs` payload type → name."""

    kind: str
    port: int
    protocol: str
    payload_types: list[str]
    mid: str = ""
    direction: str = "sendrecv"
    ssrcs: list[int] = field(default_factory=list)
    codecs: dict[int, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether this is media that we can take part in (no data channel, not rejected)."""
        return self.kind in {"audio", "video"} and self.port != 0


@dataclass(frozen=True)
class Remote:
    """What the other side said: its ICE credentials and UDP candidates, DTLS fingerprint and setup, m-lines."""

    ufrag: str
    password: str
    fingerprint: Fingerprint
    setup: str
    candidates: tuple[tuple[str, int], ...]  # IPv4 address and port, best first
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Local:
    """Our side of the transport: ICE credentials and DTLS fingerprint."""

    ufrag: str
    password: str
    fingerprint: Fingerprint


@dataclass(frozen=True)
class PublishedTracks:
    """What a publisher offers: one Opus and one VP8 track with their sources; mids `0` and `1`.

    `upper` are the RIDs and sources of the larger simulcast layers, smallest first; `rid` is the smallest's.
    """

    audio_ssrc: int
    video_ssrc: int
    cname: str
    audio_mid: str = "0"
    video_mid: str = "1"
    rid: str | None = None
    upper: tuple[tuple[str, int], ...] = ()

    @property
    def video_layers(self) -> tuple[tuple[str | None, int], ...]:
        """RID (none without simulcast) and source of every video stream, smallest picture first."""
        return ((self.rid, self.video_ssrc), *self.upper)


def publish_offer(local: Local, tracks: PublishedTracks, *, version: int = 1) -> str:
    """Return an offer that sends one Opus and one VP8 track."""
    audio = [
        f"a=rtpmap:{OPUS_PAYLOAD_TYPE} opus/48000/2",
        f"a=fmtp:{OPUS_PAYLOAD_TYPE} minptime=10;useinbandfec=1",
        f"a=extmap:{AUDIO_LEVEL_ID} {AUDIO_LEVEL}",
    ]
    video = [
        f"a=rtpmap:{VP8_PAYLOAD_TYPE} VP8/90000",
        *(f"a=rtcp-fb:{VP8_PAYLOAD_TYPE} {kind}" for kind in ("ccm fir", "nack", "nack pli", "goog-remb")),
    ]
    rids = [rid for rid, _ in reversed(tracks.video_layers) if rid is not None]
    if rids:
        # As browsers write it: the best layer first, and no a=ssrc, which the RIDs replace (RFC 8853, RFC 8851).
        video += [f"a=extmap:{RID_ID} {RID}", *(f"a=rid:{rid} send" for rid in rids)]
        video.append(f"a=simulcast:send {';'.join(rids)}")
    lines = _preamble(version, [tracks.audio_mid, tracks.video_mid])
    for kind, payload_type, mid, ssrc, specific in (
        ("audio", OPUS_PAYLOAD_TYPE, tracks.audio_mid, tracks.audio_ssrc, audio),
        ("video", VP8_PAYLOAD_TYPE, tracks.video_mid, tracks.video_ssrc, video),
    ):
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {payload_type}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            f"a=msid:{tracks.cname} {tracks.cname}-{kind}",
            "a=sendonly",
            "a=rtcp-mux",
            *_transport(local, "actpass"),
            f"a=extmap:{MID_ID} {MID}",
            *specific,
        ]
        if kind == "audio" or not rids:
            lines.append(f"a=ssrc:{ssrc} cname:{tracks.cname}")
            lines.append(f"a=ssrc:{ssrc} msid:{tracks.cname} {tracks.cname}-{kind}")
    return _join(lines)


def receive_offer(local: Local, kinds: Sequence[str], *, version: int = 1) -> str:
    """Return an offer to receive one Opus (`audio`) or VP8 (`video`) track per kind; mids count from 0."""
    lines = _preamble(version, [str(mid) for mid in range(len(kinds))])
    for mid, kind in enumerate(kinds):
        payload_type = OPUS_PAYLOAD_TYPE if kind == "audio" else VP8_PAYLOAD_TYPE
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {payload_type}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            "a=recvonly",
            "a=rtcp-mux",
            *_transport(local, "actpass"),
            f"a=extmap:{MID_ID} {MID}",
        ]
        if kind == "audio":
            lines += [
                f"a=rtpmap:{payload_type} opus/48000/2",
                f"a=fmtp:{payload_type} minptime=10;useinbandfec=1",
                f"a=extmap:{AUDIO_LEVEL_ID} {AUDIO_LEVEL}",
            ]
        else:
            lines.append(f"a=rtpmap:{payload_type} VP8/90000")
            lines += [f"a=rtcp-fb:{payload_type} {kind}" for kind in _UNDERSTOOD_FEEDBACK]
    return _join(lines)


def receive_answer(local: Local, remote: Remote, *, setup: str, version: int = 1) -> str:
    """Return the answer to an offer that sends to us: every m-line in its place, data channels refused."""
    lines = _preamble(version, [section.mid for section in remote.sections if section.usable])
    for section in remote.sections:
        port = 9 if section.usable else 0
        lines += [
            f"m={section.kind} {port} {section.protocol} {' '.join(section.payload_types)}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{section.mid}",
        ]
        if not section.usable:
            lines.append("a=inactive")
            continue
        lines += [f"a={_ANSWERED[section.direction]}", "a=rtcp-mux", *_transport(local, setup)]
        lines += [line for line in section.lines if _echoed(line)]
    return _join(lines)


def parse(text: str) -> Remote:
    """Read the other side's description; raises SdpError when something that a session needs is missing."""
    if len(text) > MAX_SDP_BYTES:
        raise SdpError(f"the description has {len(text)} characters, at most {MAX_SDP_BYTES} are read")
    session: list[str] = []
    sections: list[Section] = []
    for line in text.splitlines():
        if line.startswith("m="):
            sections.append(_media_line(line))
        elif sections:
            _section_line(sections[-1], line)
        else:
            session.append(line)
    if not sections:
        raise SdpError("no m= line: the description offers no media")
    carrier = next((section for section in sections if section.port != 0), None)
    if carrier is None:
        raise SdpError("every m= line has port 0: all media is refused")
    lines = [*carrier.lines, *session]
    fingerprint = _value(lines, "fingerprint").split()
    if len(fingerprint) != 2:
        raise SdpError("a=fingerprint: expected `<algorithm> <value>`")
    return Remote(
        ufrag=_value(lines, "ice-ufrag"),
        password=_value(lines, "ice-pwd"),
        fingerprint=Fingerprint(fingerprint[0], fingerprint[1]),
        setup=_value(lines, "setup"),
        candidates=_candidates(line for section in sections for line in section.lines),
        sections=tuple(sections),
    )


def role_as_offerer(setup: str) -> Role:
    """Return our DTLS role when the answer says `setup` (RFC 8842 section 5.3)."""
    if setup == "active":
        return "server"
    if setup == "passive":
        return "client"
    raise SdpError(f"a=setup:{setup} in an answer: must be active or passive")


def parse_candidate(text: str) -> tuple[int, str, int] | None:
    """Return (priority, IPv4 address, port) of a UDP candidate; None for TCP, IPv6, names and malformed ones."""
    fields = text.removeprefix("a=").removeprefix("candidate:").split()
    if len(fields) < 8 or fields[1] != "1" or fields[2].lower() != "udp":
        return None
    try:
        address = str(ipaddress.IPv4Address(fields[4]))
        priority, port = int(fields[3]), int(fields[5])
    except ValueError:
        return None
    return (priority, address, port) if 0 < port < 65536 else None


def _preamble(version: int, mids: list[str]) -> list[str]:
    group = " ".join(["a=group:BUNDLE", *mids])
    return ["v=0", f"o=- 1 {version} IN IP4 127.0.0.1", "s=-", "t=0 0", group, "a=msid-semantic: WMS *"]


def _transport(local: Local, setup: str) -> list[str]:
    return [
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
        f"a=fingerprint:{local.fingerprint.algorithm} {local.fingerprint.value}",
        f"a=setup:{setup}",
    ]


def _join(lines: list[str]) -> str:
    return "\r\n".join(lines) + "\r\n"


def _echoed(line: str) -> bool:
    # Only what we really do: no extension or feedback is agreed to that we would then leave out.
    if line.startswith(("a=rtpmap:", "a=fmtp:")):
        return True
    if line.startswith("a=extmap:"):
        return line.rsplit(maxsplit=1)[-1] in _UNDERSTOOD_EXTENSIONS
    return line.startswith("a=rtcp-fb:") and line.partition(" ")[2].strip() in _UNDERSTOOD_FEEDBACK


def _value(lines: list[str], name: str) -> str:
    prefix = f"a={name}:"
    for line in lines:
        if line.startswith(prefix):
            return line.removeprefix(prefix).strip()
    raise SdpError(f"a={name} is missing")


def _media_line(line: str) -> Section:
    fields = line[2:].split()
    if len(fields) < 4 or not fields[1].isdecimal():
        raise SdpError(f"{line[:80]!r}: expected `m=<kind> <port> <protocol> <formats>`")
    return Section(fields[0], int(fields[1]), fields[2], fields[3:])


def _section_line(section: Section, line: str) -> None:
    section.lines.append(line)
    name, _, value = line.removeprefix("a=").partition(":")
    if name == "mid":
        section.mid = value.strip()
    elif name in _ANSWERED and not value:
        section.direction = name
    elif name == "rtpmap":
        payload_type, _, codec = value.partition(" ")
        if payload_type.isdecimal():
            section.codecs[int(payload_type)] = codec.partition("/")[0].lower()
    elif name == "ssrc":
        number = value.partition(" ")[0]
        if number.isdecimal() and int(number) < 1 << 32 and int(number) not in section.ssrcs:
            section.ssrcs.append(int(number))


def _candidates(lines: Iterable[str]) -> tuple[tuple[str, int], ...]:
    found = {
        candidate: None
        for line in lines
        if line.startswith("a=candidate:") and (candidate := parse_candidate(line)) is not None
    }
    best_first = sorted(found, reverse=True)[:MAX_CANDIDATES]
    return tuple((address, port) for _, address, port in best_first)
