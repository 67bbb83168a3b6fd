# SPDX-License-Identifier: Apache-2.0
"""Owns the fair comparison of two systems: the same endpoints and clips, in blocks A B B A, one meeting each."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from giaoban_loadtests.clips import Clip
from giaoban_loadtests.crowd import Crowd, first_pictures
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import refuse_if_spoiled
from giaoban_loadtests.statistics import Interval, block_order, block_ratios, bootstrap, percentile
from giaoban_loadtests.systems import System, SystemFailedError

JOINS_PER_SECOND = 10.0
SETTLE_SECONDS = 1.5


@dataclass(frozen=True)
class Block:
    """What one system did in one block: media CPU per forwarded packet (µs), time to the first picture (s, p50)."""

    side: str
    microseconds_per_packet: float
    first_picture: float
    latency: float  # of sound, seconds, p95; 0 without sound
    loss: float
    packets: int  # that reached receivers
    streams: int  # that were received


@dataclass(frozen=True)
class Shape:
    """Who sends and receives: one endpoint a clip, `receivers` that only receive, the first `speakers` heard.

    With `all_seen` the pictures of all senders are received, else that of the first.
    """

    clips: Sequence[Clip]
    receivers: int
    speakers: int = 1
    all_seen: bool = False
    settle: float = SETTLE_SECONDS  # seconds from the first pictures to the measuring


@dataclass(frozen=True)
class Comparison:
    """A against B: intervals of the ratio A / B, below one when A is better, and every block behind them."""

    cpu: Interval
    first_picture: Interval
    latency: Interval
    blocks: tuple[Block, ...]


async def compare(
    systems: dict[str, System],
    local_ip: str,
    clip: Clip,
    *,
    blocks: int,
    viewers: int,
    seconds: int,
    say: Callable[[str], None],
) -> Comparison:
    """Compare `systems["A"]` with `systems["B"]`; raises SystemFailedError, SpoiledError, ValueError."""
    order, measured = block_order(blocks), list[Block]()
    for number, side in enumerate(order):
        block = await measure(side, systems[side], local_ip, Shape([clip], viewers), seconds)
        measured.append(block)
        say(
            f"block {number + 1} of {blocks}, {systems[side].name}: {block.microseconds_per_packet:.1f} µs per packet, "
            f"first picture after {1000 * block.first_picture:.0f} ms"
        )
    return Comparison(
        bootstrap(block_ratios(order, [each.microseconds_per_packet for each in measured])),
        bootstrap(block_ratios(order, [each.first_picture for each in measured])),
        bootstrap(block_ratios(order, [each.latency for each in measured])),
        tuple(measured),
    )


async def measure(side: str, system: System, local_ip: str, shape: Shape, seconds: int) -> Block:
    """Hold one meeting of a shape and return what it cost; raises SystemFailedError, SpoiledError."""
    crowd = Crowd(local_ip)
    async with system.meeting(len(shape.clips) + shape.receivers + 1, crowd.media) as meeting:
        senders = await crowd.enter(meeting, shape.clips, per_second=JOINS_PER_SECOND)
        await meeting.arrange(senders[: shape.speakers], senders[0], senders[1:] if shape.all_seen else [])
        receiving = await crowd.enter(meeting, [None] * shape.receivers, per_second=JOINS_PER_SECOND)
        pictures = await first_pictures(receiving or senders)
        await asyncio.sleep(shape.settle)
        crowd.delays.clear()
        watch, before = Watch(system.processes), crowd.totals()
        await asyncio.sleep(seconds)
        measured, watched = crowd.totals().since(before), watch.stop()
        received = _streams(crowd)
    refuse_if_spoiled(measured.generator())
    measured_seconds = float(watched["seconds"])  # type: ignore[arg-type]
    cpu: dict[str, float] = watched["system_cpu"]  # type: ignore[assignment]
    used = sum(cpu.get(name, 0.0) for name in system.media_processes) * measured_seconds
    if not measured.received or (shape.speakers and not crowd.delays):
        raise SystemFailedError(f"{system.name} forwarded nothing")
    return Block(
        side,
        1e6 * used / measured.received,
        percentile(pictures, 0.5),
        percentile(crowd.delays, 0.95) if crowd.delays else 0.0,
        measured.loss,
        measured.received,
        received,
    )


def _streams(crowd: Crowd) -> int:
    return sum(len(peer.stats().streams) for peer in crowd.connections())
