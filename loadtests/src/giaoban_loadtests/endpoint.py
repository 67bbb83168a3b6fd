# SPDX-License-Identifier: Apache-2.0
"""Owns the simulated peer connection: one UDP socket with ICE, DTLS, SRTP, RTP and RTCP, and nothing of signalling.

A publisher offers one Opus and one VP8 track and sends a shared clip; a receiver answers offers and counts. Nothing
is encoded or decoded at run time. Datagrams are hostile: whatever comes is counted or dropped, never raised.
"""

import asyncio
import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from giaoban_loadtests import rtp, sdp, stun
from giaoban_loadtests.clips import Clip
from giaoban_loadtests.dtls import SRTP_PROFILES, DtlsError, DtlsSession, Role, own_fingerprint
from giaoban_loadtests.ice import Address, IceAgent
from giaoban_loadtests.inbound import Inbound
from giaoban_loadtests.publish import FRAME_SECONDS, Pacer, Publisher
from giaoban_loadtests.reactor import reactor
from giaoban_loadtests.receive import ReceivedStream
from giaoban_loadtests.srtp import SrtpPair, srtp_pair

State = Literal["new", "connecting", "connected", "closed"]

CONNECT_TIMEOUT = 15.0  # seconds from the first check to SRTP keys
DTLS_TIMER = 0.1
# A ClientHello that comes with the first check answer is dropped by Janus and costs a second (measured).
CLIENT_HELLO_DELAY = 0.04
REPORT_INTERVAL = 1.0
MAX_DATAGRAM_BYTES = 2048
RECEIVE_BUFFER_BYTES = 1 << 20
# Counters of one socket (linux/sock_diag.h); Python has no name for the option.
SO_MEMINFO, _MEMINFO_FIELDS, _MEMINFO_DROPS = 55, 9, 8
RIDS = ("l", "m", "h")  # of simulcast layers, as the web client names them, smallest first


class ConnectionFailedError(Exception):
    """The connection could not be made; the message says what failed."""


@dataclass(frozen=True)
class ConnectionStats:
    """What one connection did so far; rows of `streams` are live counters, one per received SSRC."""

    state: State
    streams: tuple[ReceivedStream, ...]
    received_packets: int
    received_bytes: int
    lost_packets: int
    undecryptable: int
    malformed: int
    send_errors: int
    sent_packets: int
    keyframe_requests: int
    keyframes_sent: int
    retransmitted: int
    kernel_drops: int  # datagrams that the socket's receive buffer had no room for
    remote_loss: float  # the worst fraction that the other side reported about us last


class PeerConnection:
    """One simulated peer connection; make it inside a running event loop.

    `connected` resolves when SRTP keys are there and fails with ConnectionFailedError; `ended` resolves with the
    reason when the connection is over, however that came. `decrypt_every` 1 decrypts all packets, n one in n
    (and video until its first keyframe). A `clip` and a `pacer` make it a publisher, one with simulcast when the
    clip has layers. `stamped` writes the send time into sound, `on_delay` gets the age of stamped sound received. `rids` name the layers, smallest first.
    `sounding_since` is when the clip's sound began, on the monotonic clock: by default with the connection.
    """

    def __init__(
        self,
        *,
        clip: Clip | None = None,
        pacer: Pacer | None = None,
        local_ip: str = "0.0.0.0",  # noqa: S104 a client's socket: it is connected to one peer before media flows
        decrypt_every: int = 1,
        stamped: bool = False,
        on_delay: Callable[[float], None] | None = None,
        rids: Sequence[str] = RIDS,
        sounding_since: float | None = None,
        srtp_profiles: Sequence[str] = tuple(SRTP_PROFILES),
    ) -> None:
        self._srtp_profiles = srtp_profiles
        self._sounding_since = sounding_since
        if (clip is None) != (pacer is None):
            raise ValueError("clip and pacer go together: a publisher needs both, a receiver neither")
        if decrypt_every < 1:
            raise ValueError(f"decrypt_every is {decrypt_every}: use 1 for all packets, n for one in n")
        self._loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[None] = self._loop.create_future()
        # Whoever does not wait for it learns of the failure from `ended`.
        self.connected.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self.state: State = "new"
        self._clip, self._pacer = clip, pacer
        self._stamped = stamped
        self._inbound = Inbound(decrypt_every, self.request_keyframe, on_delay)
        self._ice = IceAgent()
        self._dtls: DtlsSession | None = None
        self._dtls_started = False
        self._role: Role = "client"
        self._srtp: SrtpPair | None = None
        self._publisher: Publisher | None = None
        self._remote: sdp.Remote | None = None
        self._version = 0
        self._malformed = self._send_errors = self._drops = 0
        self._ssrc = random.getrandbits(32)
        layers = rids[: len(clip.layers)] if clip is not None and clip.upper else ()
        self._tracks = sdp.PublishedTracks(
            random.getrandbits(32),
            self._ssrc,
            f"s{random.getrandbits(48):012x}",
            rid=layers[0] if layers else None,
            upper=tuple((rid, random.getrandbits(32)) for rid in layers[1:]),
        )
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket.bind((local_ip, 0))
        self._reactor = reactor()
        self._reactor.add(self._socket, self._on_readable)

    # --- negotiation -----------------------------------------------------------------------------------------

    @property
    def published(self) -> sdp.PublishedTracks:
        """Mids and SSRCs of the offered tracks."""
        return self._tracks

    @property
    def remote_address(self) -> Address | None:
        """Where media goes to; None before ICE has chosen."""
        return self._ice.selected

    @property
    def remote_ufrag(self) -> str:
        """The peer's ICE credentials of this moment, by their public half; empty before there are any."""
        return self._remote.ufrag if self._remote is not None else ""

    def create_offer(self, receiving: Sequence[str] = ()) -> str:
        """Return the SDP offer of a publisher, or of a receiver of these kinds (`audio`, `video`) of tracks.

        A later offer of a receiver begins with the kinds of the one before.
        """
        if (self._clip is None) != bool(receiving):
            raise ValueError("a publisher offers what it sends, a receiver at least one kind of track")
        self._version += 1
        if receiving:
            return sdp.receive_offer(self._local(), receiving, version=self._version)
        return sdp.publish_offer(self._local(), self._tracks, version=self._version)

    def set_answer(self, text: str) -> None:
        """Take the answer to the offer and begin to connect; raises SdpError."""
        remote = sdp.parse(text)
        role = sdp.role_as_offerer(remote.setup)
        self._set_remote(remote, role)

    def answer(self, offer: str) -> str:
        """Take an offer (the first, or one that changes the session) and return the answer; raises SdpError.

        New ICE credentials in the offer restart ICE; DTLS and SRTP go on.
        """
        remote = sdp.parse(offer)
        if self._remote is not None and remote.ufrag != self._remote.ufrag:
            self._ice.renew_credentials()
        if self._remote is None:
            self._role = "server" if remote.setup == "active" else "client"
        self._version += 1
        setup = "active" if self._role == "client" else "passive"
        answer = sdp.receive_answer(self._local(), remote, setup=setup, version=self._version)
        self._set_remote(remote, self._role)
        return answer

    def add_candidate(self, candidate: str) -> None:
        """Take a trickled candidate; those that cannot be used (TCP, IPv6, host names) are ignored."""
        parsed = sdp.parse_candidate(candidate)
        if parsed is not None and self.state != "closed":
            self._ice.add_candidate(parsed[1:])

    def _local(self) -> sdp.Local:
        return sdp.Local(self._ice.ufrag, self._ice.password, own_fingerprint())

    def _set_remote(self, remote: sdp.Remote, role: Role) -> None:
        if self.state == "closed":
            raise ValueError("the connection is closed; make a new one")
        before, self._remote = self._remote, remote
        self._inbound.describe(remote.sections)
        if before is not None and before.ufrag == remote.ufrag:
            return
        self._ice.set_remote(remote.ufrag, remote.password, remote.candidates)
        if before is None:
            self.state, self._role = "connecting", role
            self._dtls = DtlsSession(role, remote.fingerprint, self._srtp_profiles)
            self._after("connect", CONNECT_TIMEOUT, self._on_connect_timeout)
        self._check()

    # --- observation -----------------------------------------------------------------------------------------

    def stats(self) -> ConnectionStats:
        """Return the counters of this moment."""
        sent, inbound = self._publisher, self._inbound
        streams = inbound.streams
        return ConnectionStats(
            state=self.state,
            streams=streams,
            received_packets=sum(stream.packets for stream in streams),
            received_bytes=sum(stream.bytes for stream in streams),
            lost_packets=sum(stream.lost for stream in streams),
            undecryptable=inbound.undecryptable,
            malformed=self._malformed + self._ice.rejected,
            send_errors=self._send_errors,
            sent_packets=sent.packets if sent else 0,
            keyframe_requests=sent.keyframe_requests if sent else 0,
            keyframes_sent=sent.keyframes if sent else 0,
            retransmitted=sent.retransmitted if sent else 0,
            kernel_drops=self._kernel_drops(),
            remote_loss=inbound.remote_loss,
        )

    def _kernel_drops(self) -> int:
        if self.state != "closed":
            info = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * _MEMINFO_FIELDS)
            (self._drops,) = struct.unpack_from("=I", info, 4 * _MEMINFO_DROPS)
        return self._drops

    def streams_of(self, mid: str) -> list[ReceivedStream]:
        """Return what was received on one m-line."""
        return [stream for stream in self._inbound.streams if stream.mid == mid]

    def request_keyframe(self, ssrc: int) -> None:
        """Send a PLI for a received video stream."""
        self._send_rtcp(rtp.picture_loss(self._ssrc, ssrc))

    def send_layers(self, wanted: Sequence[bool]) -> None:
        """Send only these video layers from now on, smallest first; does nothing before there are keys."""
        if self._publisher is not None:
            self._publisher.send_layers(wanted)

    def close(self, reason: str = "closed") -> None:
        """End the connection and free its socket; may be called again."""
        if self.state == "closed":
            return
        self.state = "closed"
        if self._publisher is not None and self._pacer is not None:
            self._pacer.remove(self._publisher)
        if self._dtls is not None:
            self._dtls.close()
            self._flush_dtls()
        for timer in self._timers.values():
            timer.cancel()
        self._reactor.remove(self._socket)
        self._socket.close()
        if not self.connected.done():
            self.connected.set_exception(ConnectionFailedError(reason))
        if not self.ended.done():
            self.ended.set_result(reason)

    # --- datagrams -------------------------------------------------------------------------------------------

    def _on_readable(self, now: float) -> None:
        # One datagram a call: asking until the kernel says "no more" costs as much as two datagrams (measured).
        try:
            if self._srtp is not None:
                datagram, source = self._socket.recv(MAX_DATAGRAM_BYTES), None
            else:
                datagram, source = self._socket.recvfrom(MAX_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # ICMP told that nobody listens there: consent decides whether that is the end.
            self._send_errors += 1
            return
        self._on_datagram(datagram, source, now)

    def _on_datagram(self, datagram: bytes, source: Address | None, now: float) -> None:
        """Handle one datagram by its first byte (RFC 7983)."""
        first = datagram[0] if datagram else 255
        if 128 <= first < 192 and len(datagram) >= rtp.HEADER_BYTES:
            if not 192 <= datagram[1] <= 223:  # RTP: RTCP's packet types lie there (RFC 5761 section 4)
                self._inbound.on_rtp(datagram, now)
            else:
                self._on_rtcp(datagram, now)
        elif stun.is_stun(datagram):
            self._on_stun(datagram, source or self._ice.selected or ("0.0.0.0", 0), now)  # noqa: S104 no peer yet
        elif 20 <= first < 64 and self._dtls is not None:
            self._dtls_started = True
            self._drive_dtls(datagram)
        else:
            self._malformed += 1

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError:
            self._send_errors += 1

    # --- ICE -------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._ice.selected is not None and self._loop.time() > self._ice.consent_until:
            self.close("the peer no longer answers (ICE consent expired)")
            return
        checks, interval = self._ice.next_checks()
        self._send_stun(checks)
        self._after("ice", interval, self._check)

    def _on_stun(self, datagram: bytes, source: Address, now: float) -> None:
        had_path = self._ice.selected is not None
        self._send_stun(self._ice.receive(datagram, source, now))
        if self._ice.selected is None or had_path:
            return
        try:
            # From now on the kernel passes only this peer's datagrams.
            self._socket.connect(self._ice.selected)
        except OSError as error:
            self.close(f"no route to {self._ice.selected[0]}: {error.strerror}")
            return
        if self._srtp is None and self._dtls is not None:
            delay = CLIENT_HELLO_DELAY if self._role == "client" else DTLS_TIMER
            self._after("dtls", delay, self._on_dtls_timer)
            self._flush_dtls()

    def _send_stun(self, datagrams: list[tuple[bytes, Address]]) -> None:
        for datagram, address in datagrams:
            try:
                self._socket.sendto(datagram, address)
            except OSError:
                self._send_errors += 1

    # --- DTLS ------------------------------------------------------------------------------------------------

    def _on_dtls_timer(self) -> None:
        self._drive_dtls(None)
        if self._srtp is None and self.state == "connecting":
            self._after("dtls", DTLS_TIMER, self._on_dtls_timer)

    def _drive_dtls(self, datagram: bytes | None) -> None:
        dtls = self._dtls
        if dtls is None:
            return
        try:
            if datagram is not None:
                dtls.feed(datagram)
            elif self._dtls_started:
                dtls.on_timer()
            elif self._role == "client":
                self._dtls_started = True
                dtls.start()
        except DtlsError as error:
            self._flush_dtls()
            self.close(str(error))
            return
        self._flush_dtls()
        if dtls.keys is not None and self._srtp is None:
            self._srtp = srtp_pair(dtls.keys)
            self._inbound.keys = self._srtp.inbound
            self._on_connected()

    def _flush_dtls(self) -> None:
        # Before a path is chosen there is nowhere to send; the handshake's own timer repeats what is needed.
        if self._dtls is not None and self._ice.selected is not None:
            for datagram in self._dtls.outgoing():
                self._send(datagram)

    def _on_connected(self) -> None:
        self.state = "connected"
        self._timers.pop("connect").cancel()
        self.connected.set_result(None)
        if self._clip is not None and self._pacer is not None and self._srtp is not None:
            sounding = 0.0 if self._sounding_since is None else time.monotonic() - self._sounding_since
            self._publisher = Publisher(
                *(self._clip, self._tracks, self._srtp.outbound, self._send),
                stamped=self._stamped,
                first=int(sounding / FRAME_SECONDS),
            )
            self._pacer.add(self._publisher)
        self._after("report", random.uniform(0.5, 1.5) * REPORT_INTERVAL, self._report)

    def _on_connect_timeout(self) -> None:
        step = (
            "ICE: no candidate answered" if self._ice.selected is None else "DTLS: the handshake did not end"
        )
        self.close(f"not connected after {CONNECT_TIMEOUT:g} s ({step})")

    # --- RTCP ------------------------------------------------------------------------------------------------

    def _on_rtcp(self, datagram: bytes, now: float) -> None:
        feedback, publisher = self._inbound.on_rtcp(datagram, now), self._publisher
        if publisher is not None:
            for ssrc in feedback.keyframe_requests:
                publisher.request_keyframe(ssrc)
            for ssrc, sequence in feedback.lost:
                publisher.retransmit(ssrc, sequence)

    def _report(self) -> None:
        name = rtp.source_description(self._ssrc, self._tracks.cname)
        for report in self._inbound.reports(self._ssrc, self._loop.time()):
            self._send_rtcp(report + name)
        self._after("report", random.uniform(0.5, 1.5) * REPORT_INTERVAL, self._report)

    def _send_rtcp(self, packet: bytes) -> None:
        if self._srtp is not None and self.state == "connected":
            self._send(self._srtp.outbound.protect_rtcp(packet))

    def _after(self, name: str, delay: float, call: Callable[[], None]) -> None:
        timer = self._timers.get(name)
        if timer is not None:
            timer.cancel()
        self._timers[name] = self._loop.call_later(delay, call)
