# SPDX-License-Identifier: Apache-2.0
"""Whoever sits behind a weak line hears the meeting, and harms nobody.

Done: three endpoints that send and `viewers` that watch are in a meeting on good lines; `weak` ones come over a line of
their own that delays `delay_ms` each way, loses `loss_percent` of the packets and carries `kilobits` a second for each
address, signalling and media alike. After `seconds` the line is cut for `outage_seconds`, and comes back.
Must hold: those on good lines lose at most 0.1 % and hear without a pause of half a second all the time. Those on the
weak line hear something within 5 s of asking to come in, lose no more than two points beyond what the line loses, and
hear without a pause of a second; when the line is back they hear again within 3 s, without joining as if new.

Sends 180p and sound; everybody gets the picture on the stage and the sound of those who have the floor. Nothing is asked
for again. The signalling of all weak endpoints shares the line's first address.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.faults import STEP_SECONDS, Silences, all_back, heard, heard_more
from giaoban_loadtests.gateway_api import GatewayApi
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import BASE_URL
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, GiaobanMeeting, giaoban_meeting
from giaoban_loadtests.weak_line import NEAR, LineError, Quality, WeakLine

HYPOTHESIS = "A weak line harms nobody but carries its own"
PARAMETERS = {
    "weak": 4,
    "viewers": 6,
    "delay_ms": 50,
    "loss_percent": 5,
    "kilobits": 500,
    "seconds": 15,
    "outage_seconds": 5,
}
SECONDS = 900
GATEWAY_PORT = urlsplit(BASE_URL).port or 80
PUBLISHERS = 3
BACK_SECONDS = 20.0
AGAIN_SECONDS = 20.0
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class _Weak:
    """What those behind the weak line went through: seconds each, and packets."""

    came: Sequence[float]
    silences: Sequence[float]
    again: Sequence[float]
    received: int
    lost: int
    fresh: int
    rejoins: int


async def run(context: Context) -> Outcome:
    wanted = context.parameters
    context.private_stack("weak_networks builds a line into the network of the system")
    if not wanted["weak"] or not wanted["kilobits"] or wanted["loss_percent"] > 50:
        raise SystemFailedError("weak and kilobits: at least 1; loss_percent: at most 50")
    quality = Quality(wanted["delay_ms"] / 1000, wanted["loss_percent"] / 100, 1000.0 * wanted["kilobits"])
    crowd = Crowd(context.local_ip)
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    count = PUBLISHERS + wanted["viewers"]
    async with giaoban_meeting(
        context.system,
        count + wanted["weak"] + 1,
        crowd.media,
        "weak_networks is about Giaoban's own endpoints",
    ) as meeting:
        clips = [clip] * PUBLISHERS + [None] * wanted["viewers"]
        members = await crowd.enter(meeting, clips, per_second=10)
        await meeting.arrange(members[:PUBLISHERS], members[0], [])
        if not await all_back(meeting.attendees, BACK_SECONDS):
            raise SystemFailedError("the meeting did not come to sound on good lines")
        watch, before, silences = Watch(context.system.processes), crowd.totals(), Silences(meeting.attendees)
        try:
            async with WeakLine(quality, wanted["weak"] + 1, GATEWAY_PORT) as line:
                weak = await line.run(lambda: _weak(context, meeting, line))
        except LineError as error:
            raise SystemFailedError(str(error)) from error
        finally:
            pauses = await silences.stop()
        good, watched = crowd.totals().since(before), watch.stop()
    refuse_if_spoiled(good.generator())
    figures = [
        Figure("P1", "good lines: loss", good.loss, "", "<=", 0.001),
        Figure("P1", "good lines: longest silence", max(pauses), "s", "<=", 0.5),
        Figure("R2", "weak line: from asking to sound, p95", percentile(weak.came, 0.95), "s", "<=", 5),
        Figure(
            *("R2", "weak line: loss", weak.lost / max(1, weak.lost + weak.received), "", "<="),
            quality.loss + 0.02,
        ),
        Figure("R2", "weak line: longest silence", max(weak.silences), "s", "<=", 1),
        Figure("R2", "weak line: heard again after it was cut, max", max(weak.again), "s", "<=", 3),
        Figure("R2", "weak line: joined as if new after it was cut", weak.fresh, "", "<=", 0),
        Figure("R2", "weak line: media built anew after it was cut", weak.rejoins, ""),
    ]
    return Outcome(figures, watched, {"weak line: from asking to sound": weak.came})


async def _weak(context: Context, meeting: GiaobanMeeting, line: WeakLine) -> _Weak:
    """Everything that happens at the far end of the line."""
    wanted, loop = context.parameters, asyncio.get_running_loop()
    crowd = Crowd("")
    async with GatewayApi(f"http://{NEAR}:{GATEWAY_PORT}", origin=BASE_URL) as api:
        guests = [
            meeting.attendee_over(api, replace(crowd.media, local_ip=address)) for address in line.far[1:]
        ]
        try:
            await asyncio.gather(*(each.prepare() for each in guests))
            came = await asyncio.gather(*(_came(each) for each in guests))
            context.say(f"{len(guests)} came in over the weak line, the last after {max(came):.1f} s")
            await asyncio.sleep(SETTLE_SECONDS)
            before = {each: each.receiver.stats() for each in guests if each.receiver is not None}
            silences = Silences(guests)
            await asyncio.sleep(wanted["seconds"])
            pauses = await silences.stop()
            after = {each: each.receiver.stats() for each in before if each.receiver is not None}
            received = sum(after[e].received_packets - before[e].received_packets for e in before)
            lost = sum(after[e].lost_packets - before[e].lost_packets for e in before)
            counts = [each.participant.counts for each in guests]
            joins, rejoins = sum(c.joins for c in counts), sum(c.rejoins for c in counts)
            line.cut(wanted["outage_seconds"])
            context.say(f"the weak line is cut for {wanted['outage_seconds']} s")
            await asyncio.sleep(wanted["outage_seconds"])
            back = loop.time()
            again = await asyncio.gather(*(_again(each, heard(each), back) for each in guests))
            await asyncio.sleep(AGAIN_SECONDS / 4)  # for a connection that only now is found to be cut
            return _Weak(
                came,
                pauses,
                again,
                received,
                lost,
                sum(c.joins for c in counts) - joins,
                sum(c.rejoins for c in counts) - rejoins,
            )
        finally:
            await asyncio.gather(*(each.leave() for each in guests))


async def _came(guest: GiaobanAttendee) -> float:
    began = asyncio.get_running_loop().time()
    await guest.enter()
    if not await all_back([guest], BACK_SECONDS):
        raise SystemFailedError(f"{guest.name} heard nothing over the weak line; {guest.problem}")
    return asyncio.get_running_loop().time() - began


async def _again(guest: GiaobanAttendee, before: Mapping[PeerConnection, int], back: float) -> float:
    loop = asyncio.get_running_loop()
    while loop.time() < back + AGAIN_SECONDS:
        if heard_more(heard(guest), before):
            break
        await asyncio.sleep(STEP_SECONDS)
    return loop.time() - back
