# SPDX-License-Identifier: Apache-2.0
"""Many meetings at the same time do not disturb each other.

Done: `meetings` meetings of `endpoints` each; three of each send 180p and sound, all receive the stage and the sound
of the one who has the floor. Held for `seconds`.
Must hold: loss below 0.1 % over all of them, the 95th percentile of the forward latency of sound below 20 ms (P1).
"""

import asyncio
from contextlib import AsyncExitStack

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.scenarios.one_big_meeting import figures

HYPOTHESIS = "Many meetings at the same time do not disturb each other"
PARAMETERS = {"meetings": 20, "endpoints": 4, "seconds": 10, "joins_per_second": 10}
SECONDS = 180
PUBLISHERS = 3
SETTLE_SECONDS = 2.0


async def run(context: Context) -> Outcome:
    wanted = context.parameters
    crowd = Crowd(context.local_ip)
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    clips = [clip] * PUBLISHERS + [None] * max(0, wanted["endpoints"] - PUBLISHERS)
    async with AsyncExitStack() as stack:
        for number in range(wanted["meetings"]):
            meeting = await stack.enter_async_context(
                context.system.meeting(wanted["endpoints"] + 1, crowd.media)
            )
            members = await crowd.enter(meeting, clips, per_second=float(wanted["joins_per_second"]))
            await meeting.arrange(members[:1], members[0], [])
            if number % 5 == 4:
                context.say(f"{number + 1} meetings run")
        await asyncio.sleep(SETTLE_SECONDS)
        crowd.delays.clear()
        watch, before = Watch(context.system.processes), crowd.totals()
        await asyncio.sleep(wanted["seconds"])
        measured, watched = crowd.totals().since(before), watch.stop()
        deaf = crowd.without_media()
    refuse_if_spoiled(measured.generator())
    return Outcome(
        [
            *figures(measured, watched, crowd.delays, context),
            Figure("P1", "meetings", wanted["meetings"], ""),
            Figure("P1", "endpoints without media", deaf, "", "<=", 0),
        ],
        watched,
        {"forward latency of sound": crowd.delays[:: max(1, len(crowd.delays) // 20_000)]},
    )
