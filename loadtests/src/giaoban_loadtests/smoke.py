# SPDX-License-Identifier: Apache-2.0
"""Owns the question whether media really flows in a meeting, asked by joining it with a real endpoint."""

import asyncio
from dataclasses import dataclass

import websockets

from giaoban_loadtests.gateway_api import GatewayApi, Identity
from giaoban_loadtests.publish import Pacer
from giaoban_loadtests.signalling import Participant, SignallingError, View

WAIT_SECONDS = 20.0
OPUS_FRAMES = 25  # half a second of sound
MAX_TILES = 12
_POLL = 0.1


class SmokeError(Exception):
    """Media did not flow; the message tells what came and what did not."""


@dataclass(frozen=True)
class Heard:
    """Ids of the participants whose decrypted picture (a whole keyframe) and sound were received."""

    seen: tuple[str, ...]
    heard: tuple[str, ...]
    seconds: float


async def watch_meeting(
    base_url: str,
    meeting_id: str,
    identity: Identity,
    *,
    video_of: int = 2,
    audio_of: int = 2,
    seconds: float = WAIT_SECONDS,
) -> Heard:
    """Join as a viewer and wait for decrypted video and audio of so many others; raises SmokeError.

    Only those who have the floor (or all, where microphones are open) can be heard.
    """
    async with GatewayApi(base_url) as api:
        participant = Participant(api, meeting_id, identity, pacer=Pacer())
        running = asyncio.create_task(participant.run())
        waiting = asyncio.create_task(_wait(participant, video_of, audio_of))
        try:
            await asyncio.wait({running, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            why = (
                f"the meeting ended for us: {running.result()}" if running.done() else f"{seconds:g} s passed"
            )
            now = _received(participant, 0)
            raise SmokeError(
                f"{why}; joined: {participant.joined.is_set()}, {len(participant.state.participants)} participants, "
                f"video of {len(now.seen)} (wanted {video_of}), audio of {len(now.heard)} (wanted {audio_of})"
                + (
                    f"; last problem: {participant.counts.last_problem}"
                    if participant.counts.last_problem
                    else ""
                )
            )
        finally:
            for task in (waiting, running):
                task.cancel()
            await asyncio.gather(waiting, running, return_exceptions=True)


async def _wait(participant: Participant, video_of: int, audio_of: int) -> Heard:
    loop = asyncio.get_running_loop()
    began = loop.time()
    tiles: list[str] = []
    while True:
        await participant.joined.wait()
        others = [
            identifier
            for identifier, other in participant.state.participants.items()
            if identifier != participant.participant_id
            and any(stream["source"] == "camera" for stream in other["streams"])
        ]
        if tiles != others[:MAX_TILES]:
            try:
                await participant.set_view(View(tiles=others[:MAX_TILES]))
                tiles = others[:MAX_TILES]
            except (SignallingError, websockets.WebSocketException):
                pass  # cut off just now: it comes back, and then it asks again
        received = _received(participant, loop.time() - began)
        if len(received.seen) >= video_of and len(received.heard) >= audio_of:
            return received
        await asyncio.sleep(_POLL)


def _received(participant: Participant, seconds: float) -> Heard:
    others = [feed.participant_id for feed in participant.feeds]
    seen = {other for other in others if any(s.keyframes for s in participant.streams_from(other, "camera"))}
    heard = {
        other
        for other in others
        if any(s.opus_frames >= OPUS_FRAMES for s in participant.streams_from(other, "microphone"))
    }
    return Heard(tuple(sorted(seen)), tuple(sorted(heard)), seconds)
