# SPDX-License-Identifier: Apache-2.0
"""Owns the receiving side of one connection: which stream a packet belongs to, and what the peer reports in RTCP.

Datagrams are hostile: whatever comes is counted or dropped, never raised.
"""

from collections.abc import Callable

from giaoban_loadtests import rtp, sdp
from giaoban_loadtests.receive import ReceivedStream
from giaoban_loadtests.srtp import SrtpError, Unprotect

MAX_STREAMS = 1024  # SSRCs a peer may make us remember
MAX_BLOCKS = 31  # of one receiver report


class Inbound:
    """Streams by SSRC. `ask_keyframe` is called with the SSRC of a video stream that has shown none yet.

    `on_delay` gets the seconds from sending to receiving of every stamped packet that was looked at.
    """

    def __init__(
        self,
        decrypt_every: int,
        ask_keyframe: Callable[[int], None],
        on_delay: Callable[[float], None] | None,
    ) -> None:
        self.undecryptable = 0
        self.remote_loss = 0.0  # the worst fraction that the peer reported about us last
        self.keys: Unprotect | None = None
        self._streams: dict[bytes, ReceivedStream] = {}
        self._sections: tuple[sdp.Section, ...] = ()
        self._decrypt_every = decrypt_every
        self._ask_keyframe = ask_keyframe
        self._on_delay = on_delay

    @property
    def streams(self) -> tuple[ReceivedStream, ...]:
        """Every stream heard so far."""
        return tuple(self._streams.values())

    def describe(self, sections: tuple[sdp.Section, ...]) -> None:
        """Take the m-lines of the peer's newest description."""
        # A renegotiation may give a known SSRC to another m-line, or name one that was heard before its offer.
        self._sections = sections
        for section in sections:
            for ssrc in section.ssrcs:
                stream = self._streams.get(ssrc.to_bytes(4, "big"))
                if stream is not None:
                    stream.mid = section.mid

    def on_rtp(self, packet: bytes, now: float) -> None:
        """Take one RTP packet of at least 12 bytes."""
        stream = self._streams.get(packet[8:12])
        if stream is not None:
            if stream.count(packet):
                self._look(stream, packet, now)
            return
        # A source is remembered only when its first packet is authentic.
        data = self._unprotect(packet)
        stream = self._new_stream(packet) if data is not None else None
        if stream is not None and data is not None:
            stream.count(packet)
            self._inspect(stream, data, now)

    def on_rtcp(self, datagram: bytes, now: float) -> rtp.Feedback:
        """Take one RTCP datagram; return what it says, for the sending side."""
        if self.keys is None:
            return rtp.Feedback()
        try:
            feedback = rtp.parse_rtcp(self.keys.unprotect_rtcp(datagram))
        except (SrtpError, ValueError):
            self.undecryptable += 1
            return rtp.Feedback()
        for ssrc, report in feedback.sender_reports:
            stream = self._streams.get(ssrc.to_bytes(4, "big"))
            if stream is not None:
                stream.last_sender_report, stream.sender_report_time = report, now
        if feedback.blocks:
            self.remote_loss = max(block.fraction_lost for block in feedback.blocks) / 256
        return feedback

    def reports(self, ssrc: int, now: float) -> list[bytes]:
        """Return the receiver reports that are due, as coming from `ssrc`."""
        streams = self.streams
        return [
            rtp.receiver_report(ssrc, [stream.block(now) for stream in streams[start : start + MAX_BLOCKS]])
            for start in range(0, len(streams), MAX_BLOCKS)
        ]

    def _look(self, stream: ReceivedStream, packet: bytes, now: float) -> None:
        data = self._unprotect(packet)
        if data is None:
            stream.undecryptable += 1
        else:
            self._inspect(stream, data, now)

    def _inspect(self, stream: ReceivedStream, packet: bytes, now: float) -> None:
        stream.inspect(packet, now)
        if stream.stamp is not None and self._on_delay is not None:
            self._on_delay(now - stream.stamp)
        if stream.needs_keyframe(now):
            self._ask_keyframe(stream.ssrc)

    def _unprotect(self, packet: bytes) -> bytes | None:
        if self.keys is None:
            return None
        try:
            return self.keys.unprotect(packet)
        except (SrtpError, ValueError):
            self.undecryptable += 1
            return None

    def _new_stream(self, packet: bytes) -> ReceivedStream | None:
        if len(self._streams) >= MAX_STREAMS:
            return None
        ssrc, payload_type = int.from_bytes(packet[8:12], "big"), packet[1] & 0x7F
        sections = [s for s in self._sections if s.usable]
        named = next((s for s in sections if ssrc in s.ssrcs), None)
        section = named or next((s for s in sections if payload_type in s.codecs), None)
        if section is None:
            return None
        stream = ReceivedStream(
            ssrc,
            mid=section.mid if named else "",  # unknown until an offer names the source
            kind=section.kind,
            codec=section.codecs.get(payload_type, ""),
            every=self._decrypt_every,
        )
        self._streams[packet[8:12]] = stream
        return stream
