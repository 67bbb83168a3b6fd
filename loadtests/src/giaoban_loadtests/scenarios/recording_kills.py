# SPDX-License-Identifier: Apache-2.0
"""Whatever dies while a meeting is recorded, the recording can be played, and at most a second of it is lost.

Done: `trials` times for each part, a meeting of three senders is recorded for `seconds`. Each sounds a tone for 2.5 s of every 4; they
come in a third of that apart, so that one of them always sounds. One of the parts is killed with SIGKILL at a random
moment: `node` (the media node that carries the meeting) and `shipper` (of that node) while it is recorded, `composer`
shortly after it was stopped. Nobody does anything about it. When the file is ready, it is fetched as a person does it,
and FFmpeg looks for silence in it. Lost is the longest silence in the file beyond the longest that a member heard:
what nobody heard, nobody could record.
Must hold: every recording becomes ready, at most 1 s lost (R4).
"""

import asyncio
import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from giaoban_loadtests.clips import Clip, clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.faults import TRIAL_FAILURES, Silences, all_back, carrying_node
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import giaoban_meeting

HYPOTHESIS = "A recording outlives whatever makes it"
PARAMETERS = {"trials": 1, "seconds": 15}
SECONDS = 5 * 3_600
PARTS = ("node", "shipper", "composer")
SENDERS = 3
JOINS_PER_SECOND = 0.75
EDGE_SECONDS = 3.0  # before and after a kill at least
AGAIN_SECONDS = 60.0
BACK_SECONDS = 30.0
READY_SECONDS = 240.0
POLL_SECONDS = 0.5
SILENCE_DB, SILENCE_SECONDS = -60, 0.2  # the tones are at -38 dBov
_SILENCE = re.compile(r"silence_duration: ([0-9.]+)")


@dataclass(frozen=True)
class Trial:
    """What became of one recording; seconds."""

    ready_after: float | None  # from stopping; None when it did not become ready
    heard_silence: float = 0.0
    lost: float = 0.0
    problem: str = ""


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("recording_kills kills processes"), context.parameters
    if wanted["seconds"] < 2 * EDGE_SECONDS or not wanted["trials"]:
        raise SystemFailedError(f"seconds: at least {2 * EDGE_SECONDS:g}; trials: at least 1")
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    watch, chance = Watch({}), random.Random()
    trials: dict[str, list[Trial]] = {part: [] for part in context.parts}
    for number in range(wanted["trials"]):
        if number and context.enough.is_set():
            break
        for part in context.parts:
            try:
                trial = await _trial(context, stack, clip, part, chance)
            except TRIAL_FAILURES as error:
                trial = Trial(None, problem=f"{type(error).__name__}: {error}")
            trials[part].append(trial)
            told = trial.problem or f"ready after {trial.ready_after:.1f} s, {trial.lost:.2f} s lost"
            context.say(f"{number + 1}/{wanted['trials']} {part}: {told}")
    return Outcome([f for part in context.parts for f in _figures(part, trials[part])], watch.stop())


def _figures(part: str, trials: list[Trial]) -> list[Figure]:
    ready = [trial for trial in trials if trial.ready_after is not None]
    found = [
        Figure("R4", f"{part}: kills", len(trials), ""),
        Figure("R4", f"{part}: recordings not recovered", len(trials) - len(ready), "", "<=", 0),
    ]
    if ready:
        found += [
            Figure("R4", f"{part}: lost, max", max(trial.lost for trial in ready), "s", "<=", 1),
            Figure(
                "", f"{part}: ready after, p95", percentile([t.ready_after or 0 for t in ready], 0.95), "s"
            ),
            Figure("", f"{part}: longest silence a member heard", max(t.heard_silence for t in ready), "s"),
        ]
    return found


async def _trial(context: Context, stack: LocalStack, clip: Clip, part: str, chance: random.Random) -> Trial:
    loop, seconds = asyncio.get_running_loop(), context.parameters["seconds"]
    crowd = Crowd(context.local_ip)
    async with giaoban_meeting(
        context.system, SENDERS + 1, crowd.media, "recording_kills is about Giaoban's own recordings"
    ) as meeting:
        members = await crowd.enter(meeting, [clip] * SENDERS, per_second=JOINS_PER_SECOND)
        await meeting.arrange(members, members[0], [])
        if not await all_back(meeting.attendees, BACK_SECONDS):
            raise SystemFailedError("the meeting did not come to sound")
        recording_id = await meeting.record()
        start, silences = loop.time(), Silences(meeting.attendees)
        node = carrying_node(*meeting.attendees)
        if part != "composer":
            name = node if part == "node" else node.replace("janus", "shipper")
            await asyncio.sleep(chance.uniform(EDGE_SECONDS, seconds - EDGE_SECONDS))
            await stack.kill_and_wait(name, AGAIN_SECONDS)
            if not await all_back(meeting.attendees, BACK_SECONDS):
                raise SystemFailedError("not everybody came back")
            await asyncio.sleep(EDGE_SECONDS)
        await asyncio.sleep(max(0.0, start + seconds - loop.time()))
        heard = max(await silences.stop())
        await meeting.post(f"/v1/recordings/{recording_id}:stop")
        stopped = loop.time()
        if part == "composer":
            await asyncio.sleep(chance.uniform(0, EDGE_SECONDS))
            await stack.kill_and_wait("composer", AGAIN_SECONDS)
        state = ""
        while loop.time() < stopped + READY_SECONDS:
            recording = await meeting.get_json(f"/v1/recordings/{recording_id}")
            state = recording["state"]
            if state in {"ready", "failed"}:
                break
            await asyncio.sleep(POLL_SECONDS)
        if state != "ready":
            raise SystemFailedError(f"{READY_SECONDS:g} s after its stop the recording is {state}")
        ready = loop.time() - stopped
        content = await meeting.get(f"/v1/recordings/{recording_id}/content")
    silence = await _longest_silence(content)
    return Trial(ready, heard, max(0.0, silence - heard))


async def _longest_silence(content: bytes) -> float:
    with tempfile.TemporaryDirectory(prefix="gb-load-") as folder:
        file = Path(folder) / "recording.mp4"
        await asyncio.to_thread(file.write_bytes, content)
        process = await asyncio.create_subprocess_exec(
            *("ffmpeg", "-hide_banner", "-nostdin", "-i", str(file), "-vn"),
            *("-af", f"silencedetect=noise={SILENCE_DB}dB:d={SILENCE_SECONDS}", "-f", "null", "-"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await process.communicate()
    if process.returncode:
        raise SystemFailedError(f"the recording cannot be played: {told.decode(errors='replace')[-500:]}")
    return max(map(float, _SILENCE.findall(told.decode(errors="replace"))), default=0.0)
