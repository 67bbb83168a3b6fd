# SPDX-License-Identifier: Apache-2.0
"""One meeting of many rooms and mobile devices runs steadily: nothing is lost, sound arrives at once.

Done: `rooms` endpoints send 720p, 360p and 180p simulcast and sound, `viewers` only receive. Everybody receives the
stage and three tiles in 180p and the sound of three speakers. Held for `seconds` after all are in.
Must hold: loss below 0.1 %, the 95th percentile of the forward latency of sound below 20 ms (P1).
"""

import asyncio

from giaoban_loadtests.clips import layered_clip
from giaoban_loadtests.crowd import Crowd, Totals
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.statistics import percentile

HYPOTHESIS = "One meeting with everyone in it loses nothing and is heard at once"
PARAMETERS = {"rooms": 10, "viewers": 30, "seconds": 20, "joins_per_second": 10}
SECONDS = 180
SPEAKERS = 3
SETTLE_SECONDS = 3.0
STEP_SECONDS = 1.0


async def run(context: Context) -> Outcome:
    wanted = context.parameters
    crowd = Crowd(context.local_ip)
    clip = await asyncio.to_thread(layered_clip)
    async with context.system.meeting(wanted["rooms"] + wanted["viewers"] + 1, crowd.media) as meeting:
        rate = wanted["joins_per_second"]
        rooms = await crowd.enter(meeting, [clip] * wanted["rooms"], per_second=rate, say=context.say)
        await meeting.arrange(rooms[:SPEAKERS], rooms[0], rooms[: SPEAKERS + 1])
        await crowd.enter(meeting, [None] * wanted["viewers"], per_second=rate, say=context.say)
        await asyncio.sleep(SETTLE_SECONDS)
        context.say(f"{len(crowd.attendees)} are in; held for {wanted['seconds']} s")
        crowd.delays.clear()
        watch, before = Watch(context.system.processes), crowd.totals()
        memory = await _hold(crowd, wanted["seconds"], before, context)
        measured, watched = crowd.totals().since(before), watch.stop()
        deaf = crowd.without_media()
    refuse_if_spoiled(measured.generator())
    return Outcome(
        [
            *figures(measured, watched, crowd.delays, context),
            Figure("P1", "endpoints in one meeting", len(crowd.attendees) - deaf, ""),
            Figure("P1", "endpoints without media", deaf, "", "<=", 0),
        ],
        watched,
        {"forward latency of sound": crowd.delays[:: max(1, len(crowd.delays) // 20_000)]},
        {"packets received per second": memory},
    )


async def _hold(crowd: Crowd, seconds: int, before: Totals, context: Context) -> list[tuple[float, float]]:
    loop, last, rates = asyncio.get_running_loop(), before, list[tuple[float, float]]()
    start = loop.time()
    while (elapsed := loop.time() - start) < seconds:
        await asyncio.sleep(min(STEP_SECONDS, seconds - elapsed))
        now = crowd.totals()
        rates.append((loop.time() - start, (now.received - last.received) / STEP_SECONDS))
        last = now
        if len(rates) % 10 == 0:
            so_far = now.since(before)
            context.say(f"{len(rates)} s: {so_far.received} packets received, {so_far.lost} lost")
    return rates


def figures(
    measured: Totals, watched: dict[str, object], delays: list[float], context: Context
) -> list[Figure]:
    """Return the figures of media that flowed for a while."""
    seconds = float(watched["seconds"])  # type: ignore[arg-type]
    system_cpu: dict[str, float] = watched["system_cpu"]  # type: ignore[assignment]
    media_cpu = sum(system_cpu.get(name, 0.0) for name in context.system.media_processes)
    found = [
        Figure("P1", "loss", measured.loss, "", "<", 0.001),
        Figure("P1", "packets received", measured.received / seconds, "packets/s"),
        Figure("P1", "packets sent", measured.sent / seconds, "packets/s"),
        Figure("", "generator CPU", float(watched["generator_cpu"]), "cores"),  # type: ignore[arg-type]
        Figure("", "undecryptable packets", measured.undecryptable, "", "<=", 0),
        measured.lateness,
    ]
    if delays:
        found.append(
            Figure("P1", "forward latency of sound, p95", 1000 * percentile(delays, 0.95), "ms", "<", 20)
        )
    if media_cpu and measured.received:
        per_packet = 1e6 * media_cpu * seconds / measured.received
        found.append(Figure("P2", "media node CPU per forwarded packet", per_packet, "µs"))
        found.append(Figure("", "media node CPU", media_cpu, "cores"))
    return found
