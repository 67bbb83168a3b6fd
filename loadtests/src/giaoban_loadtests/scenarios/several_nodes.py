# SPDX-License-Identifier: Apache-2.0
"""A meeting that outgrows a media node is one meeting all the same.

Done: each node of a private stack of its own may send NODE_BUDGET packets/s, room for eleven of this meeting. Six
endpoints send 720p, 360p and 180p simulcast and sound, `viewers` only receive; who finds no room on the meeting's node
sits on the other one. Everybody receives the stage and three tiles in 180p and the sound of three speakers, all of whom
send on the first node. Held for `seconds`, then the further node is killed.
Must hold: nothing is lost on either node beyond 0.1 %, sound is at most 20 ms later on the further node (P1); after the
kill those on it hear again, p95 3 s, max 6 s (R1), and the others hear on.
"""

import asyncio
from collections.abc import Sequence

from giaoban_loadtests.clips import layered_clip
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.faults import Silences, all_back, carrying_node
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import Attendee, SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, giaoban_meeting

HYPOTHESIS = "A meeting on two media nodes is one meeting"
PARAMETERS = {"viewers": 14, "seconds": 20}
SECONDS = 180
NODE_BUDGET = 3000
STACK = {"GIAOBAN_NODE_BUDGET": str(NODE_BUDGET)}
ROOMS, SPEAKERS = 6, 3
ON_FIRST = 10  # beside the chair: 254 packets/s each (docs/adr/0011-placement.md)
MAX_VIEWERS = 2 * ON_FIRST + 1 - ROOMS
JOINS_PER_SECOND = 4
BACK_SECONDS = 20.0
AGAIN_SECONDS = 40.0
AFTERWARDS_SECONDS = 3.0


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("several_nodes kills a media node"), context.parameters
    if not ON_FIRST - ROOMS < wanted["viewers"] <= MAX_VIEWERS:
        raise SystemFailedError(
            f"viewers: from {ON_FIRST - ROOMS + 1} to {MAX_VIEWERS}, or the nodes do not fit"
        )
    near, far = Crowd(context.local_ip), Crowd(context.local_ip)
    clip = await asyncio.to_thread(layered_clip)
    async with giaoban_meeting(
        context.system,
        ROOMS + wanted["viewers"] + 1,
        near.media,
        "several_nodes is about Giaoban's own media",
    ) as meeting:
        rooms = await near.enter(meeting, [clip] * ROOMS, per_second=JOINS_PER_SECOND)
        await meeting.arrange(rooms[:SPEAKERS], rooms[0], rooms[: SPEAKERS + 1])
        here = [None] * (ON_FIRST - ROOMS)
        await near.enter(meeting, here, per_second=JOINS_PER_SECOND)
        meeting.receive_with(far.media)
        there = [None] * (wanted["viewers"] - len(here))
        others = await far.enter(meeting, there, per_second=JOINS_PER_SECOND)
        if not await all_back(meeting.attendees, BACK_SECONDS):
            raise SystemFailedError("not everybody came to hear something")
        first, further = _split(meeting.attendees, others)
        context.say(
            f"{first} carries {1 + ON_FIRST}, {further} {len(others)}; held for {wanted['seconds']} s"
        )
        near.delays.clear()
        far.delays.clear()
        watch, before = Watch(context.system.processes), (near.totals(), far.totals())
        await asyncio.sleep(wanted["seconds"])
        watched = watch.stop()
        totals = near.totals().since(before[0]), far.totals().since(before[1])
        for each in totals:
            refuse_if_spoiled(each.generator())
        silent_far, silent_near = await _kill(stack, further, meeting.attendees, others)
    late = [1000 * percentile(crowd.delays, 0.95) for crowd in (near, far)]
    cpu: dict[str, float] = watched["system_cpu"]  # type: ignore[assignment]
    return Outcome(
        [
            Figure("P1", "endpoints on the meeting's node", 1 + ON_FIRST, ""),
            Figure("P1", "endpoints on the further node", len(others), ""),
            Figure("P1", "loss on the meeting's node", totals[0].loss, "", "<", 0.001),
            Figure("P1", "loss on the further node", totals[1].loss, "", "<", 0.001),
            Figure("P1", "forward latency, meeting's node, p95", late[0], "ms"),
            Figure("P1", "forward latency, further node, p95", late[1], "ms"),
            Figure("P1", "added by the further node", late[1] - late[0], "ms", "<=", 20),
            *(Figure("", f"CPU of {name}", cpu.get(name, 0.0), "cores") for name in (first, further)),
            Figure("R1", "silence on the killed node, p95", percentile(silent_far, 0.95), "s", "<=", 3),
            Figure("R1", "silence on the killed node, max", max(silent_far), "s", "<=", 6),
            Figure("R2", "silence of the others, max", max(silent_near), "s", "<=", 0.5),
        ],
        watched,
        {"forward latency, near": near.delays, "forward latency, far": far.delays, "silence": silent_far},
    )


async def _kill(
    stack: LocalStack, node: str, everybody: list[GiaobanAttendee], on_it: Sequence[Attendee]
) -> tuple[list[float], list[float]]:
    """Kill a node; return the longest silence of each who was on it, and of each other."""
    silences = Silences(everybody)
    try:
        await stack.kill_and_wait(node, AGAIN_SECONDS)
        await asyncio.sleep(AFTERWARDS_SECONDS)
        missing = await silences.heard_by(everybody, BACK_SECONDS)
    finally:
        gaps = dict(zip(everybody, await silences.stop(), strict=True))
    if missing:
        raise SystemFailedError(f"{len(missing)} do not hear {BACK_SECONDS:g} s after {node} died")
    there = [each in on_it for each in everybody]
    return (
        [gaps[each] for each, dead in zip(everybody, there, strict=True) if dead],
        [gaps[each] for each, dead in zip(everybody, there, strict=True) if not dead],
    )


def _split(everybody: list[GiaobanAttendee], others: Sequence[Attendee]) -> tuple[str, str]:
    """Return the two nodes; raises SystemFailedError when the endpoints are not on them as planned."""
    where = {each: carrying_node(each) for each in everybody}
    first = {where[each] for each in everybody if each not in others}
    further = {where[each] for each in everybody if each in others}
    if len(first) != 1 or len(further) != 1 or first == further:
        raise SystemFailedError(f"expected one node each: {sorted(first)} and {sorted(further)}")
    return first.pop(), further.pop()
