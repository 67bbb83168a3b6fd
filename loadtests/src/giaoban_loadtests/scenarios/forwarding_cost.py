# SPDX-License-Identifier: Apache-2.0
"""What forwarding a packet costs the media node: beside a LiveKit server, and with four times the receivers.

Done: three shapes of meeting. `picture`: one sends 720p, 360p, 180p, `viewers` receive 180p. `tiles`: `tiles` endpoints
send a 180p picture and all receive each other's, with the sound of up to four. `sound`: up to four have the floor,
`listeners` hear them, and one picture of 180p. With --livekit each shape runs in `blocks` blocks A B B A of `seconds`,
A through Giaoban, B through LiveKit: the same endpoints, clips, arithmetic and lowest layer, beginning when LiveKit's
dynacast has stopped the layers that nobody receives. Without it, A only. Then
`picture` once more for `few` receivers and for four times as many.
Must hold: the 95 % interval of the ratio of CPU per forwarded packet to LiveKit ends at 0.8 at most in every shape; four
times the receivers change the CPU per packet by 15 % at most (P2).
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from giaoban_loadtests.blocks import Block, Shape, measure
from giaoban_loadtests.clips import Clip, clips_for, layered_clip
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.statistics import block_order, block_ratios, bootstrap, percentile
from giaoban_loadtests.systems import SystemFailedError

HYPOTHESIS = (
    "Forwarding a packet costs at most 0.8 of what it costs LiveKit, and no more when more receive it"
)
PARAMETERS = {"blocks": 4, "viewers": 12, "tiles": 4, "listeners": 12, "few": 6, "seconds": 3}
SECONDS = 1_800
MAX_SPEAKERS = 4
SAME_TRAFFIC = 0.15  # by so much may the packets of two blocks differ
MORE = 4  # times the receivers
RATIO, DEVIATION = 0.8, 0.15
SETTLE_SECONDS = 6.5  # LiveKit stops layers that nobody receives after 5 s: measured is what comes then


async def run(context: Context) -> Outcome:
    wanted, watch = context.parameters, Watch(_processes(context))
    layered = await asyncio.to_thread(layered_clip)
    small = next(iter((await asyncio.to_thread(clips_for, ["Load test"])).values()))
    figures, blocks = list[Figure](), dict[str, list[Block]]()
    for name, shape in _shapes(wanted, layered, small).items():
        blocks[name] = await _blocks(context, name, shape)
        refuse_other_traffic(name, blocks[name])
        figures += _figures(name, blocks[name], compared=context.beside is not None)
    prices = {}
    for count in (wanted["few"], MORE * wanted["few"]):
        shape = Shape([layered], count, speakers=0, settle=SETTLE_SECONDS)
        prices[count] = await measure("A", context.system, context.local_ip, shape, wanted["seconds"])
        context.say(f"{count} receivers: {prices[count].microseconds_per_packet:.1f} µs per packet")
    few, many = (block.microseconds_per_packet for block in prices.values())
    figures.append(Figure("P2", f"CPU per packet, {MORE} times the receivers, ratio", many / few, ""))
    figures.append(
        Figure("P2", "CPU per packet, deviation from linear", abs(many / few - 1), "", "<=", DEVIATION)
    )
    every = [block for found in (*blocks.values(), list(prices.values())) for block in found]
    figures.append(Figure("P1", "loss, worst block", max(each.loss for each in every), "", "<", 0.001))
    return Outcome(
        figures,
        {
            **watch.stop(),
            "blocks": {name: [asdict(each) for each in found] for name, found in blocks.items()},
            "receivers": {count: asdict(block) for count, block in prices.items()},
        },
        {
            f"first picture, {name}, {side}": [each.first_picture for each in found if each.side == side]
            for name, found in blocks.items()
            for side in sorted({each.side for each in found})
        },
    )


def _processes(context: Context) -> dict[str, int]:
    return {**context.system.processes, **(context.beside.processes if context.beside else {})}


def _shapes(wanted: Mapping[str, int], layered: Clip, small: Clip) -> dict[str, Shape]:
    speakers = min(MAX_SPEAKERS, wanted["tiles"])
    return {
        "picture": Shape([layered], wanted["viewers"], speakers=0, settle=SETTLE_SECONDS),
        "tiles": Shape([small] * wanted["tiles"], 0, speakers=speakers, all_seen=True, settle=SETTLE_SECONDS),
        "sound": Shape(
            [small] * MAX_SPEAKERS, wanted["listeners"], speakers=MAX_SPEAKERS, settle=SETTLE_SECONDS
        ),
    }


async def _blocks(context: Context, name: str, shape: Shape) -> list[Block]:
    systems, found = {"A": context.system, "B": context.beside}, list[Block]()
    for side in block_order(context.parameters["blocks"]):
        system = systems[side]
        if system is None:
            continue
        block = await measure(side, system, context.local_ip, shape, context.parameters["seconds"])
        context.say(
            f"{name}, {system.name}: {block.microseconds_per_packet:.1f} µs per packet of {block.packets}, "
            f"first picture after {1000 * block.first_picture:.0f} ms"
        )
        found.append(block)
    return found


def refuse_other_traffic(name: str, blocks: Sequence[Block]) -> None:
    """Raise SystemFailedError when the blocks of a shape did not forward about as many packets as each other."""
    counts = [each.packets for each in blocks]
    if max(counts) > (1 + SAME_TRAFFIC) * min(counts):
        raise SystemFailedError(
            f"{name}: {min(counts)} to {max(counts)} packets in a block, that is not the same traffic; "
            "what a packet costs cannot be compared"
        )


def _figures(name: str, blocks: list[Block], *, compared: bool) -> list[Figure]:
    ours = [each.microseconds_per_packet for each in blocks if each.side == "A"]
    figures = [Figure("P2", f"{name}: media node CPU per packet, median", percentile(ours, 0.5), "µs")]
    if not compared:
        return figures
    order = [each.side for each in blocks]
    cpu = bootstrap(block_ratios(order, [each.microseconds_per_packet for each in blocks]))
    first = bootstrap(block_ratios(order, [each.first_picture for each in blocks]))
    theirs = [each.microseconds_per_packet for each in blocks if each.side == "B"]
    return [
        *figures,
        Figure("P2", f"{name}: LiveKit's CPU per packet, median", percentile(theirs, 0.5), "µs"),
        Figure("P2", f"{name}: CPU per packet, ratio to LiveKit, median", cpu.median, ""),
        Figure("P2", f"{name}: CPU per packet, ratio to LiveKit, start of interval", cpu.low, ""),
        Figure("P2", f"{name}: CPU per packet, ratio to LiveKit, end of interval", cpu.high, "", "<=", RATIO),
        Figure("P4", f"{name}: first picture, ratio to LiveKit, median", first.median, ""),
    ]
