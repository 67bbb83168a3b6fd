# SPDX-License-Identifier: Apache-2.0
"""Recording costs a meeting next to nothing, and its file is there when people look for it.

Done: `meetings` run at once, three endpoints send in each. Blocks of `seconds` without recording, with it, with it, and
without it again (A B B A): what media nodes, shippers and recording use more in the second and third, shared out to those
who send, is the price of recording. Then every recording is waited for, fetched as a person does it, and looked into by
ffprobe: a picture, sound, and as long as it was recorded.
Must hold: 0.02 of a core for each recorded sender; every recording can be played; the first within 30 s of its stop; all
of them composed at four times their length (P9, on 2 cores that do nothing else: the sum of their lengths, by the time
from the stop until the last is ready).

Sends 180p and sound; everybody gets the picture on the stage and the sound of those who have the floor.
"""

import asyncio
import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.faults import all_back
from giaoban_loadtests.machine import Watch, tree_cpu_seconds
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import NODE_PORTS, SHIPPERS
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanMeeting, giaoban_meeting

HYPOTHESIS = "Recording costs a meeting next to nothing"
PARAMETERS = {"meetings": 20, "seconds": 10}
SECONDS = 3_000
SENDERS = 3
JOINS_PER_SECOND = 10.0
BACK_SECONDS = 20.0
SETTLE_SECONDS = 2.0
READY_SECONDS = 1_800.0
POLL_SECONDS = 0.5
SHORTER_SECONDS = 1.5  # by which a file may differ from the time between start and stop, as we saw them
MEASURED = (*NODE_PORTS, *SHIPPERS, "recording")


async def run(context: Context) -> Outcome:
    stack, wanted = (
        context.private_stack("recording_twenty_meetings looks into processes"),
        context.parameters,
    )
    if not wanted["meetings"] or not wanted["seconds"]:
        raise SystemFailedError("meetings and seconds: at least 1")
    crowd = Crowd(context.local_ip)
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    pids = stack.processes()
    loop, blocks = asyncio.get_running_loop(), dict[str, float]()
    async with AsyncExitStack() as meetings:
        held = [
            await meetings.enter_async_context(
                giaoban_meeting(
                    *(context.system, SENDERS + 1, crowd.media),
                    "recording_twenty_meetings is about Giaoban's own recordings",
                )
            )
            for _ in range(wanted["meetings"])
        ]
        for meeting in held:
            members = await crowd.enter(meeting, [clip] * SENDERS, per_second=JOINS_PER_SECOND)
            await meeting.arrange(members, members[0], [])
        if not await all_back([each for meeting in held for each in meeting.attendees], BACK_SECONDS):
            raise SystemFailedError("not every meeting came to sound")
        watch, before = Watch(context.system.processes), crowd.totals()

        async def block() -> float:
            await asyncio.sleep(SETTLE_SECONDS)
            used, began = sum(tree_cpu_seconds(pids[name]) for name in MEASURED), loop.time()
            await asyncio.sleep(wanted["seconds"])
            return (sum(tree_cpu_seconds(pids[name]) for name in MEASURED) - used) / (loop.time() - began)

        blocks["without, before"] = await block()
        recordings, start = [await each.record() for each in held], loop.time()
        blocks["with, first"], blocks["with, second"] = await block(), await block()
        for meeting, recording in zip(held, recordings, strict=True):
            await meeting.post(f"/v1/recordings/{recording}:stop")
        stopped = loop.time()
        blocks["without, after"] = await block()
        refuse_if_spoiled(crowd.totals().since(before).generator())
        for name, used in blocks.items():
            context.say(f"{name}: {used:.3f} cores of nodes, shippers and recording")
        ready = await _ready(held, recordings, stopped)
        context.say(
            f"{len(ready)} of {len(held)} recordings are ready, the last {max(ready):.1f} s after the stop"
        )
        lengths = [await _length(each, recording) for each, recording in zip(held, recordings, strict=True)]
        watched = watch.stop()
    price = (blocks["with, first"] + blocks["with, second"]) - (
        blocks["without, before"] + blocks["without, after"]
    )
    asked = stopped - start
    senders = SENDERS * len(held)
    return Outcome(
        [
            Figure("P9", "recorded senders", senders, ""),
            Figure("P9", "cores for each recorded sender", price / 2 / senders, "cores", "<=", 0.02),
            Figure("P9", "recordings that cannot be played whole", _cut(lengths, asked), "", "<=", 0),
            Figure("P9", "first playable after its stop", min(ready), "s", "<=", 30),
            Figure("P9", "last playable after its stop", max(ready), "s"),
            Figure("P9", "composed, times real time", sum(lengths) / max(ready), "times", ">=", 4),
            *(
                Figure("", f"cores of nodes, shippers and recording {name}", used, "cores")
                for name, used in blocks.items()
            ),
        ],
        watched,
        {"from stop to playable": ready},
    )


def _cut(lengths: list[float], asked: float) -> int:
    return sum(length < asked - SHORTER_SECONDS for length in lengths)


async def _ready(held: list[GiaobanMeeting], recordings: list[str], stopped: float) -> list[float]:
    """Wait for all recordings; return the seconds it took each. Raises SystemFailedError."""
    loop, took = asyncio.get_running_loop(), dict[str, float]()
    while len(took) < len(recordings):
        for meeting, recording in zip(held, recordings, strict=True):
            if recording in took:
                continue
            state = (await meeting.get_json(f"/v1/recordings/{recording}"))["state"]
            if state == "failed" or loop.time() - stopped > READY_SECONDS:
                raise SystemFailedError(
                    f"a recording is {state} {loop.time() - stopped:.0f} s after its stop"
                )
            if state == "ready":
                took[recording] = loop.time() - stopped
        await asyncio.sleep(POLL_SECONDS)
    return list(took.values())


async def _length(meeting: GiaobanMeeting, recording: str) -> float:
    """Return the seconds of a recording that has a picture and sound; raises SystemFailedError."""
    with tempfile.TemporaryDirectory(prefix="gb-load-") as folder:
        file = Path(folder) / "recording.mp4"
        await asyncio.to_thread(file.write_bytes, await meeting.get(f"/v1/recordings/{recording}/content"))
        process = await asyncio.create_subprocess_exec(
            *("ffprobe", "-v", "error", "-of", "json"),
            *("-show_entries", "format=duration:stream=codec_type", str(file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, wrong = await process.communicate()
    if process.returncode:
        raise SystemFailedError(f"a recording cannot be played: {wrong.decode(errors='replace')[-500:]}")
    found = json.loads(told)
    if {each["codec_type"] for each in found["streams"]} != {"video", "audio"}:
        raise SystemFailedError(f"a recording has {found['streams']}, expected a picture and sound")
    return float(found["format"]["duration"])
