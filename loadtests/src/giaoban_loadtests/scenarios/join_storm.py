# SPDX-License-Identifier: Apache-2.0
"""At the full hour everybody comes in at once, and sees the chair's picture within a second or two.

Done: one endpoint sends picture and sound. `singles` endpoints come in one after the other; then `endpoints` within
`storm_milliseconds`. For each the time from asking for a ticket to the first whole, decrypted keyframe is taken.
Must hold: singly p50 250 ms and p95 700 ms at most, in the storm p95 1.5 s at most (P4).
"""

import asyncio

from giaoban_loadtests.clips import layered_clip
from giaoban_loadtests.crowd import Crowd, first_pictures
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.statistics import percentile

HYPOTHESIS = "Coming in is quick, also when everybody does it at once"
PARAMETERS = {"singles": 20, "endpoints": 45, "storm_milliseconds": 2_000}
SECONDS = 120
# A media node asks a sender for one keyframe a second at most: who follows sooner waits for the next one.
PAUSE_SECONDS = 1.2


async def run(context: Context) -> Outcome:
    wanted = context.parameters
    crowd = Crowd(context.local_ip)
    clip = await asyncio.to_thread(layered_clip)
    size = 2 + wanted["singles"] + wanted["endpoints"]
    async with context.system.meeting(size, crowd.media) as meeting:
        senders = await crowd.enter(meeting, [clip], per_second=1)
        await meeting.arrange(senders, senders[0], [])
        watch, before = Watch(context.system.processes), crowd.totals()
        singly = []
        for _ in range(wanted["singles"]):
            singly += await first_pictures(await crowd.enter(meeting, [None], per_second=1))
            await asyncio.sleep(PAUSE_SECONDS)
        context.say(f"{len(singly)} came in one by one; now {wanted['endpoints']} at once")
        rate = 1000 * wanted["endpoints"] / wanted["storm_milliseconds"]
        storm = await first_pictures(
            await crowd.enter(meeting, [None] * wanted["endpoints"], per_second=rate)
        )
        measured, watched = crowd.totals().since(before), watch.stop()
    refuse_if_spoiled(measured.generator())
    return Outcome(
        [
            Figure("P4", "singly, p50", 1000 * percentile(singly, 0.5), "ms", "<=", 250),
            Figure("P4", "singly, p95", 1000 * percentile(singly, 0.95), "ms", "<=", 700),
            Figure("P4", "in the storm, p95", 1000 * percentile(storm, 0.95), "ms", "<=", 1500),
            Figure("P4", "in the storm, p50", 1000 * percentile(storm, 0.5), "ms"),
            Figure("P4", "in the storm, endpoints", len(storm), ""),
            measured.lateness,
        ],
        watched,
        {"first picture, one by one": singly, "first picture, in the storm": storm},
    )
