# SPDX-License-Identifier: Apache-2.0
"""Giaoban's services take nothing from the media path: it forwards as cheaply as a bare Janus does.

Done: blocks A B B A, A through Giaoban, B on a Janus node of the same stack signalled directly. In each block one
endpoint sends 720p, 360p, 180p and sound, `viewers` receive 180p and the sound for `seconds`. The endpoints, the clip and the
arithmetic are the same; the ratio A / B is taken block by block.
Must hold: the 95 % interval of the ratio of CPU per forwarded packet ends below 1.1. (The goal of 0.8 is set against
another server, P2.)
"""

import asyncio
from dataclasses import asdict

from giaoban_loadtests.blocks import compare
from giaoban_loadtests.clips import layered_clip
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.janus import Janus

HYPOTHESIS = "Signalling by Giaoban costs the media path nothing"
PARAMETERS = {"blocks": 10, "viewers": 20, "seconds": 4}
SECONDS = 400
NODE = "janus-b"


async def run(context: Context) -> Outcome:
    if context.stack is None:
        raise SystemFailedError("beside_a_bare_janus needs the node of a private stack: leave --target away")
    wanted, watch = context.parameters, Watch(context.system.processes)
    bare = Janus(context.stack.janus(NODE), {NODE: context.system.processes[NODE]})
    found = await compare(
        {"A": context.system, "B": bare},
        context.local_ip,
        await asyncio.to_thread(layered_clip),
        blocks=wanted["blocks"],
        viewers=wanted["viewers"],
        seconds=wanted["seconds"],
        say=context.say,
    )
    return Outcome(
        [
            Figure("P2", "CPU per packet, ratio to bare Janus, median", found.cpu.median, ""),
            Figure(
                "P2", "CPU per packet, ratio to bare Janus, end of interval", found.cpu.high, "", "<=", 1.1
            ),
            Figure("P2", "CPU per packet, ratio to bare Janus, start of interval", found.cpu.low, ""),
            Figure("P4", "first picture, ratio to bare Janus, median", found.first_picture.median, ""),
            Figure("P1", "latency of sound p95, ratio to bare Janus, median", found.latency.median, ""),
            Figure("P1", "loss, worst block", max(each.loss for each in found.blocks), "", "<", 0.001),
        ],
        {**watch.stop(), "blocks": [asdict(each) for each in found.blocks]},
        {
            f"first picture, {name}": [each.first_picture for each in found.blocks if each.side == side]
            for side, name in (("A", "giaoban"), ("B", "janus"))
        },
    )
