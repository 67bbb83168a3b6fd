# SPDX-License-Identifier: Apache-2.0
"""One generator process on one core carries 600 full-stack endpoints and loses nothing itself.

Done: `endpoints`, signed in before, come in through the gateway at `joins_per_second`, spread over `meetings`
meetings. In each, three send a 180p picture and sound, all receive the picture on the stage and the sound of the one
who has the floor. Held for `seconds`.
Must hold: one core and 1.5 GiB at most, no packet lost by the generator, 20 joins a second (P3).
"""

import asyncio
from contextlib import AsyncExitStack

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome

HYPOTHESIS = "One process on one core carries hundreds of full-stack endpoints"
PARAMETERS = {"endpoints": 60, "meetings": 2, "seconds": 10, "joins_per_second": 20}
SECONDS = 420
GOAL_ENDPOINTS = 600
PUBLISHERS = 3
SETTLE_SECONDS = 3.0


async def run(context: Context) -> Outcome:
    wanted = context.parameters
    crowd = Crowd(context.local_ip)
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    size, rate = wanted["endpoints"] // wanted["meetings"], float(wanted["joins_per_second"])
    async with AsyncExitStack() as stack:
        meetings = [
            await stack.enter_async_context(context.system.meeting(size + 1, crowd.media))
            for _ in range(wanted["meetings"])
        ]
        for meeting in meetings:
            senders = await crowd.enter(meeting, [clip] * PUBLISHERS, per_second=rate)
            await meeting.arrange(senders[:1], senders[0], [])
        coming = []
        for meeting in meetings:
            coming += await crowd.prepare(meeting, [None] * (size - PUBLISHERS))
        context.say(f"{len(coming)} are signed in")
        joining, loop = Watch(context.system.processes), asyncio.get_running_loop()
        start = loop.time()
        await crowd.admit(coming, per_second=rate, say=context.say)
        joins_per_second = len(coming) / (loop.time() - start)
        watched_joining = joining.stop()
        await asyncio.sleep(SETTLE_SECONDS)
        context.say(
            f"{len(crowd.attendees)} are in, {joins_per_second:.1f} joins/s; held for {wanted['seconds']} s"
        )
        watch, before = Watch(context.system.processes), crowd.totals()
        await asyncio.sleep(wanted["seconds"])
        measured, watched = crowd.totals().since(before), watch.stop()
        deaf = crowd.without_media()
    refuse_if_spoiled(measured.generator())
    cpu, memory = float(watched["generator_cpu"]), float(watched["generator_peak_bytes"])  # type: ignore[arg-type]
    packets = (measured.received + measured.sent) / wanted["seconds"]
    carried = len(crowd.attendees) - deaf
    return Outcome(
        [
            Figure("P3", "endpoints with media", carried, "", ">=", wanted["endpoints"]),
            Figure(
                "P3", "endpoints per core, from this run's price", carried / cpu, "", ">=", GOAL_ENDPOINTS
            ),
            Figure("P3", "generator CPU", cpu, "cores", "<=", 1.0),
            Figure("P3", "generator memory", memory / 2**30, "GiB", "<=", 1.5),
            Figure(
                "P3",
                "packets lost by the generator",
                measured.kernel_drops + measured.send_errors,
                "",
                "<=",
                0,
            ),
            Figure("P3", "joins", joins_per_second, "1/s", ">=", 20),
            Figure("P3", "generator CPU per endpoint", 1000 * cpu / carried, "ms/s"),
            Figure("P3", "generator CPU per packet", 1e6 * cpu / packets, "µs"),
            Figure("", "packets sent and received", packets, "packets/s"),
            Figure("", "loss", measured.loss, ""),
            measured.lateness,
            Figure("", "generator CPU while joining", float(watched_joining["generator_cpu"]), "cores"),  # type: ignore[arg-type]
        ],
        {"holding": watched, "joining": watched_joining},
    )
