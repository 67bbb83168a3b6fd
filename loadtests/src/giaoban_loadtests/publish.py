# SPDX-License-Identifier: Apache-2.0
"""Owns sending: one pacer per process, and the tracks that loop a pre-encoded clip without any seam in RTP."""

import asyncio
import random
import time
from collections.abc import Callable

from giaoban_loadtests import rtp, sdp
from giaoban_loadtests.clips import Clip
from giaoban_loadtests.srtp import Protect

FRAME_SECONDS = 0.02  # one Opus packet, the unit of the pacer
PHASES = 4  # publishers are spread over so many ticks of a frame, so that they do not send in one burst
TICK_SECONDS = FRAME_SECONDS / PHASES
TIMER_SECONDS = 0.001  # the shortest wait
MAX_CATCH_UP_TICKS = 200  # one second; a process that stood still longer does not send a second's burst
REPORT_FRAMES = 50  # a sender report per second
RETRANSMIT_PACKETS = 64  # video packets kept for NACKs
KEYFRAME_INTERVAL_FRAMES = (
    5  # at most one keyframe on request in 100 ms; a request meanwhile waits, it is not dropped
)


class Publisher:
    """Sends one clip as an Opus and a VP8 track. Timestamps follow the pacer's count, never the clip's position."""

    def __init__(
        self, clip: Clip, tracks: sdp.PublishedTracks, protect: Protect, send: Callable[[bytes], None]
    ) -> None:
        self.packets = 0
        self.payload_bytes = 0
        self.keyframe_requests = 0
        self.keyframes = 0
        self.retransmitted = 0
        self._clip = clip
        self._tracks = tracks
        self._protect = protect
        self._send = send
        self._count = 0  # frames of 20 ms since the start
        self._audio_position = 0
        self._video_position = 0
        self._video_due = random.randrange(clip.video_interval)
        self._audio_sequence = random.getrandbits(15)
        self._video_sequence = random.getrandbits(15)
        self._audio_time = random.getrandbits(32)
        self._video_time = random.getrandbits(32)
        self._picture_id = random.getrandbits(15)
        self._audio_sent = [0, 0]  # packets, payload bytes
        self._video_sent = [0, 0]
        self._keyframe_wanted = False
        self._last_keyframe = -KEYFRAME_INTERVAL_FRAMES
        self._kept: list[tuple[int, bytes] | None] = [None] * RETRANSMIT_PACKETS
        mid = tracks.audio_mid.encode()
        self._audio_extensions = [
            rtp.extension_block([(sdp.AUDIO_LEVEL_ID, bytes([level])), (sdp.MID_ID, mid)])
            for level in clip.levels
        ]
        self._video_extension = rtp.extension_block([(sdp.MID_ID, tracks.video_mid.encode())])

    def request_keyframe(self) -> None:
        """Go on at the clip's next keyframe as soon as that is allowed."""
        self.keyframe_requests += 1
        self._keyframe_wanted = True

    def retransmit(self, sequence: int) -> None:
        """Send a video packet again, as it was, when it is still kept."""
        kept = self._kept[sequence % RETRANSMIT_PACKETS]
        if kept is not None and kept[0] == sequence:
            self.retransmitted += 1
            self._send(kept[1])

    def frame(self) -> None:
        """Send what is due in one frame of 20 ms."""
        self._send_audio()
        if self._keyframe_wanted and self._count - self._last_keyframe >= KEYFRAME_INTERVAL_FRAMES:
            self._video_position = self._clip.keyframe_after(self._video_position)
            self._video_due = 0
        if self._video_due == 0:
            self._send_video()
            self._video_due = self._clip.video_interval
        self._video_due -= 1
        if self._count % REPORT_FRAMES == 0:
            self._send_reports()
        self._count += 1

    def _send_audio(self) -> None:
        position = self._audio_position
        payload = self._clip.audio[position]
        header = rtp.rtp_header(
            sdp.OPUS_PAYLOAD_TYPE,
            self._audio_sequence,
            self._audio_timestamp,
            self._tracks.audio_ssrc,
            marker=False,
            extension=True,
        )
        self._send(self._protect.protect(header + self._audio_extensions[position] + payload))
        self._audio_sequence = (self._audio_sequence + 1) & 0xFFFF
        self._audio_position = (position + 1) % len(self._clip.audio)
        self._account(self._audio_sent, payload)

    def _send_video(self) -> None:
        frame = self._clip.video[self._video_position]
        if frame.key:
            self.keyframes += 1
            self._last_keyframe = self._count
            self._keyframe_wanted = False
        last = len(frame.fragments) - 1
        for index, fragment in enumerate(frame.fragments):
            header = rtp.rtp_header(
                sdp.VP8_PAYLOAD_TYPE,
                self._video_sequence,
                self._video_timestamp,
                self._tracks.video_ssrc,
                marker=index == last,
                extension=True,
            )
            descriptor = rtp.vp8_descriptor(self._picture_id, start=index == 0)
            packet = self._protect.protect(header + self._video_extension + descriptor + fragment)
            self._kept[self._video_sequence % RETRANSMIT_PACKETS] = (self._video_sequence, packet)
            self._send(packet)
            self._video_sequence = (self._video_sequence + 1) & 0xFFFF
            self._account(self._video_sent, fragment)
        self._picture_id = (self._picture_id + 1) & rtp.PICTURE_ID_MASK
        self._video_position = (self._video_position + 1) % len(self._clip.video)

    def _send_reports(self) -> None:
        now = time.time()
        for ssrc, timestamp, sent in (
            (self._tracks.audio_ssrc, self._audio_timestamp, self._audio_sent),
            (self._tracks.video_ssrc, self._video_timestamp, self._video_sent),
        ):
            report = rtp.sender_report(ssrc, now, timestamp, *sent)
            report += rtp.source_description(ssrc, self._tracks.cname)
            self._send(self._protect.protect_rtcp(report))

    @property
    def _audio_timestamp(self) -> int:
        return (self._audio_time + self._count * 960) & 0xFFFFFFFF

    @property
    def _video_timestamp(self) -> int:
        return (self._video_time + self._count * 1800) & 0xFFFFFFFF

    def _account(self, sent: list[int], payload: bytes) -> None:
        sent[0] += 1
        sent[1] += len(payload)
        self.packets += 1
        self.payload_bytes += len(payload)


class Pacer:
    """Drives every publisher of the process from one timer; the timer runs only while there is something to send."""

    def __init__(self) -> None:
        self.late_ticks = 0  # sent late by more than a frame: the generator, not the network, is too slow
        self.skipped_ticks = 0
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
        if any(self._phases):
            # uvloop's timers have whole milliseconds and may fire early: without a floor that would spin.
            delay = max(self._start + self._tick * TICK_SECONDS - loop.time(), TIMER_SECONDS)
            self._timer = loop.call_later(delay, self._run, loop)
        else:
            self._timer = None
