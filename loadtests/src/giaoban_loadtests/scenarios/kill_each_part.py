# SPDX-License-Identifier: Apache-2.0
"""Whatever part is killed in a running meeting, nobody is dropped, and everybody is back by themselves.

Done: `endpoints` are in a meeting that is recorded, three of them send. Each of the parts is killed with SIGKILL
`trials` times (`node`: the media node that carries the meeting; `gateway`: of two that share the address, as in a
cluster, the one that has the clients; `nats_store`: NATS, which comes back with an empty store); the stack's own
supervisor starts it again. Then the chair puts somebody on the stage. Every 20 ms each endpoint is asked whether sound came; the longest silence of an endpoint is its gap. A WebSocket that was cut
is timed from the kill until it resumed. A trial after which somebody is not back within 20 s counts as such, and the
next ones go on in a new meeting. One in which the generator itself lost packets or fell behind counts for nothing.
Must hold: after the media node gap p95 3 s and max 6 s (R1); after any other part no packet lost beyond 0.1 %, nobody
dropped, the recording goes on, resumed p95 within 1 s, and all members show the same meeting afterwards (R2).

Sends 180p and sound; everybody gets the picture on the stage and the sound of those who have the floor.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from giaoban_loadtests.clips import Clip, clips_for
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.faults import (
    STEP_SECONDS,
    TRIAL_FAILURES,
    Silences,
    all_agree,
    all_back,
    carrying_node,
)
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure, SpoiledError, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.signalling import STABLE_AFTER
from giaoban_loadtests.stack import GATEWAY_METRICS, LocalStack
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, GiaobanMeeting, giaoban_meeting

HYPOTHESIS = "Whatever part dies, the meeting goes on"
PARAMETERS = {"endpoints": 6, "trials": 1}
SECONDS = 5 * 3_600  # 50 trials of every part; one takes 5 to 12 s when all is well
PARTS = ("gateway", "identity", "scheduling", "media", "recording", "nats", "nats_store", "postgres", "node")
STACK = {"GIAOBAN_GATEWAYS": "2"}
PUBLISHERS = 3
AFTERWARDS_SECONDS = 3.0  # watched beyond the part's return
BACK_SECONDS = 20.0  # within which everybody must hear again
AGREE_SECONDS = 3.0
AGAIN_SECONDS = 40.0
RECORDING_SECONDS = 10.0
MEETING_SECONDS = 3_000.0  # then a new one, before the planned hour is over
MAX_FAILED_MEETINGS = 3  # in a row


@dataclass
class Trial:
    """What one kill did, in seconds: the longest silence of every endpoint, the time of each that had to resume."""

    gaps: list[float] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)
    again: float = 0.0  # until the stack said that the part was ready
    lost: int = 0
    received: int = 0
    rejoins: int = 0
    joins: int = 0  # as if new: media had been given up
    missing: int = 0
    differing: int = 0
    recording_stopped: bool = False
    spoiled: str = ""
    failed: str = ""  # why it did not come to an end, as when the part was not started again


@dataclass
class _Matrix:
    context: Context
    stack: LocalStack
    clip: Clip
    left: list[tuple[int, str]]
    trials: dict[str, list[Trial]]
    back_time: float = 0.0  # by when the clients of a killed gateway are back, on the monotonic clock

    @property
    def over(self) -> bool:
        """Whether all kills were made, or each part was killed once and that is enough."""
        return not self.left or (self.context.enough.is_set() and all(self.trials.values()))

    async def go_on(self) -> None:
        """Call a meeting and kill parts while it lasts; raises SystemFailedError."""
        endpoints = self.context.parameters["endpoints"]
        crowd = Crowd(self.context.local_ip, decrypt_every=1)
        async with giaoban_meeting(
            self.context.system, endpoints + 1, crowd.media, "kill_each_part is about Giaoban's own parts"
        ) as meeting:
            clips = [self.clip] * PUBLISHERS + [None] * (endpoints - PUBLISHERS)
            members = await crowd.enter(meeting, clips, per_second=10)
            await meeting.arrange(members[:PUBLISHERS], members[0], [])
            await meeting.record()
            if not await all_back(meeting.attendees, BACK_SECONDS) or not await _recorded(meeting):
                raise SystemFailedError("a new meeting did not come to sound and recording")
            until = time.monotonic() + MEETING_SECONDS
            while not self.over and time.monotonic() < until:
                number, part = self.left.pop(0)
                if part == "gateway":
                    # A client that was cut a moment ago waits longer before it tries again: not what is asked here.
                    await asyncio.sleep(self.back_time + STABLE_AFTER - time.monotonic())
                    self.back_time = time.monotonic() + AFTERWARDS_SECONDS
                try:
                    trial = await _kill(self.stack, meeting, crowd, part)
                except TRIAL_FAILURES as error:
                    trial = Trial(failed=f"{type(error).__name__}: {error}")
                self.trials[part].append(trial)
                self.context.say(f"{number + 1}/{self.context.parameters['trials']} {part}: {_told(trial)}")
                if trial.failed or trial.missing or trial.recording_stopped:
                    return  # whoever is not back would spoil what comes next


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("kill_each_part kills processes"), context.parameters
    if wanted["endpoints"] < PUBLISHERS or not wanted["trials"]:
        raise SystemFailedError(f"endpoints: at least {PUBLISHERS}; trials: at least 1")
    (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
    left = [(number, part) for number in range(wanted["trials"]) for part in context.parts]
    matrix = _Matrix(context, stack, clip, left, {part: [] for part in context.parts})
    watch, failed, meetings = Watch({}), 0, 0
    while not matrix.over:
        before = len(matrix.left)
        try:
            await matrix.go_on()
            meetings += 1
        except TRIAL_FAILURES as error:
            # What is wrong with one meeting or one kill is no reason to throw hours of trials away.
            context.say(f"meeting given up: {type(error).__name__}: {error}")
        failed = failed + 1 if len(matrix.left) == before else 0
        if failed == MAX_FAILED_MEETINGS:
            raise SystemFailedError(f"{failed} new meetings in a row did not come to a kill")
    figures = [figure for part in context.parts for figure in _figures(part, matrix.trials[part])]
    if all(trial.spoiled for trials in matrix.trials.values() for trial in trials):
        raise SpoiledError("no report, the generator spoiled every trial. Use a quieter machine")
    figures.append(Figure("", "meetings needed", meetings, ""))
    gaps = {
        f"silence after {part}": [g for t in matrix.trials[part] for g in t.gaps] for part in context.parts
    }
    return Outcome(figures, watch.stop(), {name: each for name, each in gaps.items() if each})


def _told(trial: Trial) -> str:
    if trial.spoiled or trial.failed:
        return trial.failed or trial.spoiled
    resumed = f"resumed after {max(trial.resumes):.2f} s" if trial.resumes else "nobody cut"
    return (
        f"ready after {trial.again:.2f} s, longest silence {max(trial.gaps):.2f} s, {trial.lost} of {trial.lost + trial.received} lost, {resumed}, "
        f"{trial.rejoins} rejoins, {trial.joins} fresh joins, {trial.missing} missing, {trial.differing} differing"
        f"{', RECORDING STOPPED' if trial.recording_stopped else ''}"
    )


def _figures(part: str, every: list[Trial]) -> list[Figure]:
    failed = [trial for trial in every if trial.failed]
    broken = Figure(
        "R1" if part == "node" else "R2", f"{part}: kills without an end", len(failed), "", "<=", 0
    )
    trials = [trial for trial in every if not trial.spoiled and not trial.failed]
    spoiled = Figure("", f"{part}: kills that do not count", sum(bool(t.spoiled) for t in every), "")
    if not trials:
        return [broken, spoiled]
    gaps = [gap for trial in trials for gap in trial.gaps]
    resumes = [seconds for trial in trials for seconds in trial.resumes]
    goal = "R1" if part == "node" else "R2"
    silence = f"{part}: longest silence of an endpoint"
    lost, received = sum(trial.lost for trial in trials), sum(trial.received for trial in trials)
    found = [
        Figure(goal, f"{part}: kills", len(trials), ""),
        broken,
        spoiled,
        Figure(goal, f"{part}: endpoints not back", sum(t.missing for t in trials), "", "<=", 0),
        Figure(
            goal, f"{part}: members who show another meeting", sum(t.differing for t in trials), "", "<=", 0
        ),
        Figure(goal, f"{part}: recordings stopped", sum(t.recording_stopped for t in trials), "", "<=", 0),
    ]
    found.append(Figure("", f"{part}: ready again, p95", percentile([t.again for t in trials], 0.95), "s"))
    if part == "node":
        return [
            *found,
            Figure(goal, f"{silence}, p95", percentile(gaps, 0.95), "s", "<=", 3),
            Figure(goal, f"{silence}, max", max(gaps), "s", "<=", 6),
        ]
    found += [
        Figure(goal, f"{part}: packets lost", lost / max(1, received + lost), "", "<=", 0.001),
        Figure(goal, silence, max(gaps), "s"),
        Figure(goal, f"{part}: media built anew", sum(t.rejoins + t.joins for t in trials), "", "<=", 0),
    ]
    if resumes:
        found += [
            Figure(goal, f"{part}: resumed, p95", percentile(resumes, 0.95), "s", "<=", 1),
            Figure(goal, f"{part}: resumed, max", max(resumes), "s"),
        ]
    return found


async def _kill(stack: LocalStack, meeting: GiaobanMeeting, crowd: Crowd, part: str) -> Trial:
    members = list(meeting.attendees)
    name = _victim(stack, members, part)
    counts = [each.participant.counts for each in members]
    rejoins, joins = sum(c.rejoins for c in counts), sum(c.joins for c in counts)
    resumes = {each: each.participant.counts.resumes for each in members}
    trial, loop = Trial(), asyncio.get_running_loop()
    before, again = crowd.totals(), stack.times_again(name)
    silences = Silences(members)
    stack.kill(name)
    start, cut = loop.time(), set[GiaobanAttendee]()
    back = asyncio.create_task(stack.runs_again(name, again, AGAIN_SECONDS))
    try:
        until = None
        while until is None or loop.time() < until:
            await asyncio.sleep(STEP_SECONDS)
            for each in members:
                if not each.participant.joined.is_set():
                    cut.add(each)
                elif each in cut and each.participant.counts.resumes > resumes[each]:
                    cut.discard(each)
                    trial.resumes.append(loop.time() - start)
            if until is None and back.done():
                trial.again = loop.time() - start
                until = loop.time() + AFTERWARDS_SECONDS
        await back
        trial.missing = len(await silences.heard_by(members, BACK_SECONDS))
    finally:
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)
        trial.gaps = await silences.stop()
    if not trial.missing:
        await _lead_on(meeting)
        trial.differing = await all_agree(members, AGREE_SECONDS)
    trial.rejoins = sum(c.rejoins for c in counts) - rejoins
    trial.joins = sum(c.joins for c in counts) - joins
    trial.recording_stopped = not await _recorded(meeting)
    after = crowd.totals().since(before)
    trial.lost, trial.received = max(0, after.lost), max(0, after.received)
    found = (
        after.generator()
    )  # less than nothing where connections were replaced: their counters went with them
    generator = replace(
        found,
        receive_buffer_errors=max(0, found.receive_buffer_errors),
        # Nobody listens where a dead node was: that is told as errors of sending.
        send_errors=0 if part == "node" else max(0, found.send_errors),
    )
    try:
        refuse_if_spoiled(generator)
    except SpoiledError as error:
        trial.spoiled = str(error)
    return trial


def _victim(stack: LocalStack, members: Sequence[GiaobanAttendee], part: str) -> str:
    """Return the process to kill for a part."""
    if part == "node":
        return carrying_node(*members)
    if part == "gateway":
        # Whoever was killed last has nobody any more: all have gone to the other.
        return min(GATEWAY_METRICS, key=stack.times_again)
    if part == "nats_store":
        stack.lose_store()
        return "nats"
    return part


async def _lead_on(meeting: GiaobanMeeting) -> None:
    """Put one of those who send on the stage, as the chair; raises SignallingError."""
    senders = [each.participant.participant_id for each in meeting.attendees if each.publisher is not None]
    await meeting.chair.participant.command("set_stage", participant_id=random.choice(senders))


async def _recorded(meeting: GiaobanMeeting) -> bool:
    for _ in range(int(RECORDING_SECONDS / STEP_SECONDS)):
        if meeting.chair.participant.state.room.get("recording"):
            return True
        await asyncio.sleep(STEP_SECONDS)
    return False
