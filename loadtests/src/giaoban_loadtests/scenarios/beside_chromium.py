# SPDX-License-Identifier: Apache-2.0
"""A simulated endpoint sees what a browser sees: the same loss, its first picture after the same time.

Done: one endpoint sends picture and sound. Then, in the order A B B A, a simulated endpoint (A) and a Chromium with its
own WebRTC stack (B) come in, watch for `seconds` and leave; both are timed from asking for a ticket to the first
picture, which Chromium also decodes and shows.
Must hold: losses differ by 0.1 % at most, the median times by 150 ms at most.
"""

import asyncio

from giaoban_loadtests.browser import Watched, chromium, watch
from giaoban_loadtests.clips import layered_clip
from giaoban_loadtests.crowd import Crowd, first_pictures
from giaoban_loadtests.gateway_api import GatewayApi
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.statistics import block_order, block_ratios, bootstrap, percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import Giaoban, GiaobanMeeting

HYPOTHESIS = "A simulated endpoint sees what a browser sees"
PARAMETERS = {"blocks": 10, "seconds": 3}
SECONDS = 300


async def run(context: Context) -> Outcome:
    if not isinstance(context.system, Giaoban):
        raise SystemFailedError("beside_chromium speaks Giaoban's protocol: leave --system away")
    wanted, crowd = context.parameters, Crowd(context.local_ip)
    order = block_order(wanted["blocks"])
    clip, watched = await asyncio.to_thread(layered_clip), Watch(context.system.processes)
    seen: dict[str, list[Watched]] = {"A": [], "B": []}
    async with chromium() as browser, context.system.meeting(wanted["blocks"] + 2, crowd.media) as meeting:
        senders = await crowd.enter(meeting, [clip], per_second=1)
        await meeting.arrange(senders, senders[0], [])
        start = crowd.totals()
        for side in order:
            if side == "A":
                seen["A"].append(await _simulated(crowd, meeting, wanted["seconds"]))
            else:
                identity = meeting.spare_site()
                async with GatewayApi(context.system.base_url) as api:
                    token = await api.sign_in(identity)
                seen["B"].append(
                    await watch(browser, context.system.base_url, meeting.id, token, wanted["seconds"])
                )
            context.say(
                f"{'simulated' if side == 'A' else 'Chromium'}: first picture after "
                f"{1000 * seen[side][-1].first_picture:.0f} ms, {seen[side][-1].lost} lost"
            )
        measured = crowd.totals().since(start)
    refuse_if_spoiled(measured.generator())
    times = {side: [each.first_picture for each in visits] for side, visits in seen.items()}
    queues = {side: iter(values) for side, values in times.items()}
    ratio = bootstrap(block_ratios(order, [next(queues[side]) for side in order]))
    apart = abs(percentile(times["A"], 0.5) - percentile(times["B"], 0.5))
    losses = {side: _loss(visits) for side, visits in seen.items()}
    return Outcome(
        [
            Figure("P4", "median first picture, simulated and Chromium apart", 1000 * apart, "ms", "<=", 150),
            Figure("", "loss, simulated and Chromium apart", abs(losses["A"] - losses["B"]), "", "<=", 0.001),
            Figure(
                "P4", "first picture in Chromium, p50", 1000 * percentile(times["B"], 0.5), "ms", "<=", 250
            ),
            Figure(
                "P4", "first picture in Chromium, p95", 1000 * percentile(times["B"], 0.95), "ms", "<=", 700
            ),
            Figure("", "first picture simulated, p50", 1000 * percentile(times["A"], 0.5), "ms"),
            Figure("", "first picture, ratio simulated to Chromium, median", ratio.median, ""),
            Figure("", "the ratio's interval begins", ratio.low, ""),
            Figure("", "the ratio's interval ends", ratio.high, ""),
            measured.lateness,
        ],
        watched.stop(),
        {"first picture, simulated": times["A"], "first picture, Chromium": times["B"]},
    )


async def _simulated(crowd: Crowd, meeting: GiaobanMeeting, seconds: int) -> Watched:
    (attendee,) = await crowd.enter(meeting, [None], per_second=1)
    (first,) = await first_pictures([attendee])
    await asyncio.sleep(seconds)
    if attendee.receiver is None:
        raise SystemFailedError(f"{attendee.name} lost its connection: {attendee.problem}")
    stats = attendee.receiver.stats()
    await attendee.leave()
    return Watched(first, stats.received_packets, stats.lost_packets)


def _loss(visits: list[Watched]) -> float:
    lost, received = sum(max(0, each.lost) for each in visits), sum(each.received for each in visits)
    return lost / max(1, lost + received)
