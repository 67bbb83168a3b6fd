# SPDX-License-Identifier: Apache-2.0
"""Owns sending: one pacer per process, and the publishers that loop a pre-encoded clip without any seam in RTP."""

import asyncio
import time
from collections.abc import Callable, Sequence

from giaoban_loadtests import rtp, sdp
from giaoban_loadtests.clips import Clip
from giaoban_loadtests.srtp import Protect
from giaoban_loadtests.tracks import AudioTrack, Track, VideoTrack

FRAME_SECONDS = 0.02  # one Opus packet, the unit of the pacer
PHASES = 4  # publishers are spread over so many ticks of a frame, so that they do not send in one burst
TICK_SECONDS = FRAME_SECONDS / PHASES
TIMER_SECONDS = 0.001  # the shortest wait
MAX_CATCH_UP_TICKS = 200  # one second; a process that stood still longer does not send a second's burst
REPORT_FRAMES = 50  # a sender report per second


class Publisher:
    """Sends one clip as an Opus track and a VP8 track, which has a stream per offered simulcast layer.

    Timestamps follow the pacer's count, never the clip's position. With `stamped` every Opus packet tells when it
    was sent (`rtp.opus_stamp`).
    """

    def __init__(
        self,
        clip: Clip,
        tracks: sdp.PublishedTracks,
        protect: Protect,
        send: Callable[[bytes], None],
        *,
        stamped: bool = False,
        first: int = 0,
    ) -> None:
        self.keyframe_requests = 0
        self.retransmitted = 0
        self._tracks = tracks
        self._protect_rtcp = protect.protect_rtcp
        self._protect, self._send = protect.protect, send
        self._paused: set[int] = set()  # sources of layers that nobody wants
        self._count = 0  # frames of 20 ms since the start
        self._audio = AudioTrack(clip, tracks, stamped=stamped, first=first)
        self._video = {
            ssrc: VideoTrack(frames, clip.video_interval, ssrc, tracks.video_mid, rid)
            for frames, (rid, ssrc) in zip(
                clip.layers[: len(tracks.video_layers)], tracks.video_layers, strict=True
            )
        }

    @property
    def packets(self) -> int:
        """RTP packets sent, without those sent again."""
        return sum(track.packets for track in self._all())

    @property
    def payload_bytes(self) -> int:
        """RTP payload bytes sent."""
        return sum(track.payload_bytes for track in self._all())

    @property
    def keyframes(self) -> int:
        """Keyframes sent, in all layers together."""
        return sum(track.keyframes for track in self._video.values())

    def request_keyframe(self, ssrc: int) -> None:
        """Go on at the next keyframe of the stream's clip as soon as that is allowed; unknown streams are ignored."""
        track = self._video.get(ssrc)
        if track is not None:
            self.keyframe_requests += 1
            track.keyframe_wanted = True

    def send_layers(self, wanted: Sequence[bool]) -> None:
        """Send only these video layers from now on, smallest first; one that comes back begins with a keyframe."""
        for (ssrc, track), send in zip(self._video.items(), wanted, strict=True):
            track.keyframe_wanted |= send and ssrc in self._paused
        self._paused = {ssrc for ssrc, send in zip(self._video, wanted, strict=True) if not send}

    def retransmit(self, ssrc: int, sequence: int) -> None:
        """Send a video packet again, as it was, when it is still kept."""
        track = self._video.get(ssrc)
        kept = track.kept(sequence) if track is not None else None
        if kept is not None:
            self.retransmitted += 1
            self._send(kept)

    def frame(self) -> None:
        """Send what is due in one frame of 20 ms."""
        self._audio.frame(self._count, self._protect, self._send)
        for ssrc, track in self._video.items():
            if ssrc not in self._paused:
                track.frame(self._count, self._protect, self._send)
        if self._count % REPORT_FRAMES == 0:
            self._send_reports()
        self._count += 1

    def _send_reports(self) -> None:
        now = time.time()
        for track in self._all():
            report = rtp.sender_report(
                track.ssrc, now, track.timestamp(self._count), track.packets, track.payload_bytes
            )
            report += rtp.source_description(track.ssrc, self._tracks.cname)
            self._send(self._protect_rtcp(report))

    def _all(self) -> list[Track]:
        return [self._audio, *self._video.values()]


class Pacer:
    """Drives every publisher of the process from one timer; the timer runs only while there is something to send."""

    def __init__(self) -> None:
        self.late_ticks = 0  # sent late by more than a frame: the generator, not the network, is too slow
        self.skipped_ticks = 0
        self.ticks = 0  # run so far
        self._phases: list[list[Publisher]] = [[] for _ in range(PHASES)]
        self._timer: asyncio.TimerHandle | None = None
        self._tick = 0
        self._start = 0.0

    def add(self, publisher: Publisher) -> None:
        """Begin to send."""
        min(self._phases, key=len).append(publisher)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._tick, self._start = 0, loop.time()
            self._timer = loop.call_soon(self._run, loop)  # type: ignore[assignment]

    def remove(self, publisher: Publisher) -> None:
        """Stop sending; unknown publishers are ignored."""
        for phase in self._phases:
            if publisher in phase:
                phase.remove(publisher)
        if self._timer is not None and not any(self._phases):
            self._timer.cancel()
            self._timer = None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        due = int((loop.time() - self._start) / TICK_SECONDS)
        behind = due - self._tick
        if behind > MAX_CATCH_UP_TICKS:
            self.skipped_ticks += behind
            self._tick = due
        elif behind > PHASES:
            self.late_ticks += behind
        while self._tick <= due:
            for publisher in tuple(self._phases[self._tick % PHASES]):
                publisher.frame()
            self._tick += 1
            self.ticks += 1
        if any(self._phases):
            # uvloop's timers have whole milliseconds and may fire early: without a floor that would spin.
            delay = max(self._start + self._tick * TICK_SECONDS - loop.time(), TIMER_SECONDS)
            self._timer = loop.call_later(delay, self._run, loop)
        else:
            self._timer = None
