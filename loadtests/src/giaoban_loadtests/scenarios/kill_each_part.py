# SPDX-License-Identifier: Apache-2.0
"""Whatever part is killed in a running meeting, nobody is dropped, and everybody is back by themselves.

Done: `endpoints` are in a meeting, three of them send. Each part is killed with SIGKILL `trials` times, the media node
that carries the meeting included; the stack's own supervisor starts it again. Every 20 ms each endpoint is asked
whether sound came; the longest silence of an endpoint is its gap. A WebSocket that was cut is timed until it resumed.
Must hold: after the media node gap p95 3 s and max 6 s (R1); after any other part no packet lost beyond 0.1 % and
nobody dropped, resumed p95 within 1 s (R2).
"""

import asyncio
from dataclasses import dataclass, field

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, GiaobanMeeting

HYPOTHESIS = "Whatever part dies, the meeting goes on"
PARAMETERS = {"endpoints": 6, "trials": 1, "nodes": 1}
SECONDS = 3_600
PARTS = ("gateway", "identity", "scheduling", "media", "recording", "nats", "postgres")
PUBLISHERS = 3
STEP_SECONDS = 0.02
AFTERWARDS_SECONDS = 3.0  # watched beyond the part's return
BACK_SECONDS = 20.0  # within which everybody must hear again
AGAIN_SECONDS = 40.0


class _Silences:
    """Watches how long each endpoint hears nothing."""

    def __init__(self, listeners: list[GiaobanAttendee]) -> None:
        self._listeners = listeners
        now = asyncio.get_running_loop().time()
        self._heard = {each: (_packets(each), now) for each in listeners}
        self._longest = dict.fromkeys(listeners, 0.0)
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for each in self._listeners:
                packets, since = _packets(each), self._heard[each]
                if packets != since[0]:
                    self._heard[each] = (packets, now)
                else:
                    self._longest[each] = max(self._longest[each], now - since[1])
            await asyncio.sleep(STEP_SECONDS)

    async def stop(self) -> list[float]:
        """Return the longest silence of every endpoint, in seconds."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return list(self._longest.values())


@dataclass
class Trial:
    """What one kill did, in seconds: the longest silence of every endpoint, the time of each that had to resume."""

    gaps: list[float] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)
    lost: int = 0
    received: int = 0
    rejoins: int = 0
    missing: int = 0


async def run(context: Context) -> Outcome:
    stack, wanted = context.stack, context.parameters
    if stack is None:
        raise SystemFailedError(
            "kill_each_part kills processes: it needs a private stack, leave --target away"
        )
    parts = PARTS + (("node",) if wanted["nodes"] else ())
    trials: dict[str, list[Trial]] = {part: [] for part in parts}
    watch = Watch({})
    crowd = Crowd(context.local_ip, decrypt_every=1)
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    async with context.system.meeting(wanted["endpoints"] + 1, crowd.media) as meeting:
        if not isinstance(meeting, GiaobanMeeting):
            raise SystemFailedError("kill_each_part is about Giaoban's own parts: leave --system away")
        members = await crowd.enter(
            meeting,
            [clip] * PUBLISHERS + [None] * (wanted["endpoints"] - PUBLISHERS),
            per_second=10,
        )
        await meeting.arrange(members[:PUBLISHERS], members[0], [])
        await asyncio.sleep(1)
        for number in range(wanted["trials"]):
            for part in parts:
                trial = await _kill(stack, meeting, crowd, part)
                trials[part].append(trial)
                worst = max(trial.gaps, default=0.0)
                context.say(
                    f"{number + 1}/{wanted['trials']} {part}: longest silence {worst:.2f} s, {trial.lost} lost, "
                    f"{len(trial.resumes)} resumed, {trial.missing} missing"
                )
    figures = [figure for part in parts for figure in _figures(part, trials[part])]
    distributions = {f"silence after {part}": [g for t in trials[part] for g in t.gaps] for part in parts}
    return Outcome(figures, watch.stop(), {name: gaps for name, gaps in distributions.items() if gaps})


def _figures(part: str, trials: list[Trial]) -> list[Figure]:
    gaps = [gap for trial in trials for gap in trial.gaps]
    resumes = [seconds for trial in trials for seconds in trial.resumes]
    missing = sum(trial.missing for trial in trials)
    if part == "node":
        return [
            Figure("R1", "silence after the media node, p95", percentile(gaps, 0.95), "s", "<=", 3),
            Figure("R1", "silence after the media node, max", max(gaps), "s", "<=", 6),
            Figure("R1", "endpoints not back", missing, "", "<=", 0),
            Figure("R1", "kills of the media node", len(trials), ""),
        ]
    lost, received = sum(trial.lost for trial in trials), sum(trial.received for trial in trials)
    found = [
        Figure("R2", f"{part}: packets lost", lost / max(1, received + lost), "", "<=", 0.001),
        Figure("R2", f"{part}: longest silence", max(gaps), "s"),
        Figure("R2", f"{part}: participants dropped", missing, "", "<=", 0),
        Figure("R2", f"{part}: rejoins", sum(trial.rejoins for trial in trials), "", "<=", 0),
        Figure("R2", f"{part}: kills", len(trials), ""),
    ]
    if resumes:
        found.append(Figure("R2", f"{part}: resumed, p95", percentile(resumes, 0.95), "s", "<=", 1))
    return found


async def _kill(stack: LocalStack, meeting: GiaobanMeeting, crowd: Crowd, part: str) -> Trial:
    listeners = list(meeting.attendees)
    if not await _all_back(listeners):
        raise SystemFailedError(
            f"before killing {part}: the meeting has not recovered from the kill before within {BACK_SECONDS:g} s"
        )
    name = _carrying_node(stack, listeners) if part == "node" else part
    before, again = crowd.totals(), stack.times_again(name)
    rejoins = sum(each.participant.counts.rejoins for each in listeners)
    resumes = {each: each.participant.counts.resumes for each in listeners}
    trial, loop = Trial(), asyncio.get_running_loop()
    silences = _Silences(listeners)
    stack.kill(name)
    start, cut = loop.time(), set[GiaobanAttendee]()
    back = asyncio.create_task(stack.runs_again(name, again, AGAIN_SECONDS))
    try:
        until = None
        while until is None or loop.time() < until:
            await asyncio.sleep(STEP_SECONDS)
            for each in listeners:
                if not each.participant.joined.is_set():
                    cut.add(each)
                elif each in cut and each.participant.counts.resumes > resumes[each]:
                    cut.discard(each)
                    trial.resumes.append(loop.time() - start)
            if until is None and back.done():
                until = loop.time() + AFTERWARDS_SECONDS
        await back
        await _all_back(listeners)
    finally:
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)
        trial.gaps = await silences.stop()
    trial.missing = sum(not _is_back(each) for each in listeners)
    trial.rejoins = sum(each.participant.counts.rejoins for each in listeners) - rejoins
    after = crowd.totals().since(before)
    trial.lost, trial.received = max(0, after.lost), max(0, after.received)
    return trial


def _packets(attendee: GiaobanAttendee) -> int:
    receiver = attendee.receiver
    return (
        sum(stream.packets for stream in receiver.stats().streams if stream.kind == "audio")
        if receiver
        else 0
    )


def _is_back(attendee: GiaobanAttendee) -> bool:
    peers = [peer for peer in (attendee.publisher, attendee.receiver) if peer is not None]
    return (
        attendee.participant.joined.is_set()
        and attendee.receiver is not None
        and all(peer.state == "connected" for peer in peers)
        and _packets(attendee) > 0
    )


async def _all_back(listeners: list[GiaobanAttendee]) -> bool:
    for _ in range(int(BACK_SECONDS / STEP_SECONDS)):
        if all(_is_back(each) for each in listeners):
            return True
        await asyncio.sleep(STEP_SECONDS)
    return False


def _carrying_node(stack: LocalStack, listeners: list[GiaobanAttendee]) -> str:
    ports = {
        receiver.remote_address[1]
        for each in listeners
        if (receiver := each.receiver) is not None and receiver.remote_address is not None
    }
    nodes = {stack.node_of(port) for port in ports}
    if len(nodes) != 1:
        raise SystemFailedError(f"the meeting is on {len(nodes)} media nodes, expected one: {sorted(nodes)}")
    return nodes.pop()
