# SPDX-License-Identifier: Apache-2.0
"""A media node with running meetings is emptied for maintenance, and hardly anybody notices.

Done: `meetings` meetings with `endpoints` endpoints each (beside their chairs), three of each send. Then the node that
carries most of them is told to take no new sessions, as Kubernetes does before it stops a node; the endpoints of its
meetings are timed until all their media is on another node. Every 20 ms each is asked whether sound came; the longest
silence of an endpoint is its gap.
Must hold: all moved within 60 s, scaled to 100 endpoints; gap p95 400 ms at most; nobody disconnected (R3).

Sends 180p and sound; everybody gets the picture on the stage and the sound of two who have the floor.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.faults import STEP_SECONDS, Silences, all_back, carrying_node, is_back, nodes_of
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, giaoban_meeting

HYPOTHESIS = "A media node is emptied without anybody leaving"
PARAMETERS = {"meetings": 4, "endpoints": 6}
SECONDS = 400
GOAL_ENDPOINTS, GOAL_SECONDS = 100, 60.0
PUBLISHERS = 3
SPEAKERS = 2  # so that they hear each other
JOINS_PER_SECOND = 10.0
READY_SECONDS = 20.0
MOVE_SECONDS = 120.0
AFTERWARDS_SECONDS = 4.0  # until what was kept of the former connections is gone


async def run(context: Context) -> Outcome:
    node_stack, wanted = context.private_stack("drain_a_node speaks to a media node"), context.parameters
    if wanted["endpoints"] < PUBLISHERS:
        raise SystemFailedError(f"endpoints: at least {PUBLISHERS} in a meeting")
    crowd = Crowd(context.local_ip)
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    async with AsyncExitStack() as stack:
        everyone = list[GiaobanAttendee]()
        for _ in range(wanted["meetings"]):
            meeting = await stack.enter_async_context(
                giaoban_meeting(
                    context.system,
                    wanted["endpoints"] + 1,
                    crowd.media,
                    "drain_a_node is about Giaoban's own media",
                )
            )
            clips = [clip] * PUBLISHERS + [None] * (wanted["endpoints"] - PUBLISHERS)
            members = await crowd.enter(meeting, clips, per_second=JOINS_PER_SECOND)
            await meeting.arrange(members[:SPEAKERS], members[0], [])
            everyone += meeting.attendees
        if not await all_back(everyone, READY_SECONDS):
            raise SystemFailedError("not everybody came to hear something before the node was to be emptied")
        used, count = Counter(carrying_node(each) for each in everyone).most_common(1)[0]
        moving = [each for each in everyone if carrying_node(each) == used]
        context.say(f"{used} carries {count} of {len(everyone)} endpoints and is emptied now")
        counts = [each.participant.counts for each in moving]
        joins, failures = sum(c.joins for c in counts), sum(c.failures for c in counts)
        watch, silences, before = Watch(context.system.processes), Silences(moving), crowd.totals()
        await node_stack.accept_new_sessions(used, accept=False)
        try:
            moved = await _moved(moving, used)
            await asyncio.sleep(AFTERWARDS_SECONDS)
            gaps, watched = await silences.stop(), watch.stop()
        finally:
            await node_stack.accept_new_sessions(used, accept=True)
        generator = crowd.totals().since(before)
        missing = sum(not is_back(each) for each in moving)
    refuse_if_spoiled(generator.generator())
    seconds = max(moved)
    return Outcome(
        [
            Figure("R3", "endpoints moved", len(moved) - missing, "", ">=", count),
            Figure("R3", "until all were moved", seconds, "s"),
            Figure(
                "R3",
                f"until {GOAL_ENDPOINTS} are moved, from this run's rate",
                seconds * GOAL_ENDPOINTS / count,
                "s",
                "<=",
                GOAL_SECONDS,
            ),
            Figure("R3", "gap, p50", 1000 * percentile(gaps, 0.5), "ms"),
            Figure("R3", "gap, p95", 1000 * percentile(gaps, 0.95), "ms", "<=", 400),
            Figure("R3", "gap, max", 1000 * max(gaps), "ms"),
            Figure("R3", "connections lost", sum(c.failures for c in counts) - failures, "", "<=", 0),
            Figure("R3", "joined as if new", sum(c.joins for c in counts) - joins, "", "<=", 0),
            generator.lateness,
        ],
        watched,
        {"gap": gaps, "until moved": moved},
    )


async def _moved(moving: list[GiaobanAttendee], former: str) -> list[float]:
    """Wait until everybody's media is elsewhere; return the seconds each took. Raises SystemFailedError."""
    loop = asyncio.get_running_loop()
    start, took = loop.time(), dict[GiaobanAttendee, float]()
    while len(took) < len(moving):
        await asyncio.sleep(STEP_SECONDS)
        for each in moving:
            if each not in took and is_back(each) and nodes_of(each).isdisjoint({former}):
                took[each] = loop.time() - start
        if loop.time() - start > MOVE_SECONDS:
            raise SystemFailedError(
                f"{len(moving) - len(took)} of {len(moving)} are still on {former} after {MOVE_SECONDS:g} s"
            )
    return list(took.values())
