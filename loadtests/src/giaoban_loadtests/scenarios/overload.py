# SPDX-License-Identifier: Apache-2.0
"""More come than the media nodes carry: whoever is in is unharmed, the others are told to come later, at once.

Done: the two nodes of a private stack of its own may send NODE_BUDGET packets/s each, room for fourteen of this
meeting. `times` as many endpoints ask to come in within a few seconds, and ask again as the protocol says. Three of
them send 180p and sound. While those who are in hear the meeting for `seconds`, somebody else asks for a ticket four
times a second. Then four of those who are in leave.
Must hold: no more are let in than the budget allows; they lose nothing beyond 0.1 % and nobody is silent for half a
second; every refusal is a 503 with MEDIA_CAPACITY and Retry-After, answered in 100 ms (p95); those who wait come in when
there is room (R6).
"""

import asyncio
import time

import httpx

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.faults import Silences, all_back
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import BASE_URL
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, GiaobanMeeting, giaoban_meeting

HYPOTHESIS = "Three times the capacity harms nobody who is in"
PARAMETERS = {"times": 3, "seconds": 20}
SECONDS = 240
NODE_BUDGET = 1900
EACH = 254  # packets/s that one of a large meeting is expected to receive (docs/adr/0011-placement.md)
FITS = 2 * (NODE_BUDGET // EACH)
STACK = {"GIAOBAN_NODE_BUDGET": str(NODE_BUDGET)}
PUBLISHERS = 3
JOINS_PER_SECOND = 10
SETTLE_SECONDS = 5.0
ASKINGS_PER_SECOND = 4
LEAVE = 4
COME_SECONDS = 45.0  # a place is free when what was received there is measured no more


async def run(context: Context) -> Outcome:
    context.private_stack("overload fills media nodes with small budgets")
    wanted = context.parameters
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    crowd = Crowd(context.local_ip, decrypt_every=1)
    count = wanted["times"] * FITS
    async with giaoban_meeting(
        context.system, count + 1, crowd.media, "overload is about Giaoban's own admission"
    ) as meeting:
        senders = await crowd.enter(meeting, [clip] * PUBLISHERS, per_second=JOINS_PER_SECOND)
        await meeting.arrange(senders, senders[0], [])
        waiting = await crowd.prepare(meeting, [None] * (count - PUBLISHERS - 1))
        asked = [asyncio.create_task(each.participant.run()) for each in meeting.attendees if each in waiting]
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            inside = _inside(meeting)
            context.say(f"{len(inside)} of {count} are in, {FITS} fit; held for {wanted['seconds']} s")
            if not await all_back(inside, SETTLE_SECONDS):
                raise SystemFailedError("not everybody who is in came to hear something")
            watch, silences, before = Watch(context.system.processes), Silences(inside), crowd.totals()
            refusals, others = await _ask(meeting, wanted["seconds"])
            gaps, watched, after = await silences.stop(), watch.stop(), crowd.totals().since(before)
            stayed = _inside(meeting)
            came = await _leave_and_come(meeting, stayed[-LEAVE:])
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
    refuse_if_spoiled(after.generator())
    return Outcome(
        [
            Figure("R6", "asked to come in", count, ""),
            Figure("R6", "let in", len(inside), "", "<=", FITS),
            Figure("R6", "of them in all the time", len(set(inside) & set(stayed)), "", ">=", len(inside)),
            Figure("R6", "loss of those who are in", after.loss, "", "<=", 0.001),
            Figure("R6", "their longest silence", max(gaps), "s", "<=", 0.5),
            Figure("R6", "refusals", len(refusals), ""),
            Figure("R6", "other answers", others, "", "<=", 0),
            Figure("R6", "a refusal, p95", 1000 * percentile(refusals, 0.95), "ms", "<=", 100),
            Figure("R6", f"came in after {LEAVE} had left", came, "", ">=", LEAVE),
        ],
        watched,
        {"refusal": refusals, "silence": gaps},
    )


def _inside(meeting: GiaobanMeeting) -> list[GiaobanAttendee]:
    return [each for each in meeting.attendees if each.participant.joined.is_set()]


async def _ask(meeting: GiaobanMeeting, seconds: int) -> tuple[list[float], int]:
    """Ask for a ticket again and again; return how long each proper refusal took, and how many answers were none."""
    token, took, others = await meeting.spare_token(), list[float](), 0
    path = f"/v1/meetings/{meeting.id}/connect-tickets"
    headers = {"Authorization": f"Bearer {token}", "Origin": BASE_URL}
    async with httpx.AsyncClient(base_url=BASE_URL, trust_env=False, headers=headers, timeout=10) as client:
        for _ in range(seconds * ASKINGS_PER_SECOND):
            began = time.monotonic()
            answer = await client.post(path)
            seconds_taken = time.monotonic() - began
            proper = (
                answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
                and answer.json().get("reason") == "MEDIA_CAPACITY"
                and "retry-after" in answer.headers
            )
            if proper:
                took.append(seconds_taken)
            else:
                others += 1
            await asyncio.sleep(max(0.0, 1 / ASKINGS_PER_SECOND - seconds_taken))
    if not took:
        raise SystemFailedError("nobody was refused: the nodes were not full")
    return took, others


async def _leave_and_come(meeting: GiaobanMeeting, leaving: list[GiaobanAttendee]) -> int:
    """Let some leave; return how many others have come in their stead."""
    before = set(_inside(meeting))
    await asyncio.gather(*(each.participant.leave() for each in leaving))
    until = time.monotonic() + COME_SECONDS
    while len(came := set(_inside(meeting)) - before) < len(leaving) and time.monotonic() < until:  # noqa: ASYNC110 nobody tells
        await asyncio.sleep(0.2)
    return len(came)
