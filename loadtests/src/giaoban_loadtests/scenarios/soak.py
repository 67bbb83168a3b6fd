# SPDX-License-Identifier: Apache-2.0
"""Hours of meetings with people who come and go leave nothing behind.

Done: for `seconds`, one meeting after the other, of at most `meeting_seconds`. In each, `steady` endpoints stay, three of
them send, and `comings` a minute come for some seconds; every third of them is gone without a word. The floor goes from
one to the other. Every five seconds the memory (PSS without mapped files), open files and threads of every part are
read, with all processes below it; the slope is fitted by least squares to what came after `warm_up` seconds.
Must hold: nobody is refused, those who stay lose at most 0.1 %; and when an hour or more was measured: the memory of
every part grows less than 1 % in an hour (R6), and none ends with many more files or threads than it had.

Sends 180p and sound; everybody gets the picture on the stage and the sound of those who have the floor. Bounded by
`seconds`.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.crowd import Crowd, Totals
from giaoban_loadtests.faults import all_back
from giaoban_loadtests.machine import Footprint, Watch, footprint
from giaoban_loadtests.results import Figure, refuse_if_spoiled
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.statistics import slope
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, GiaobanMeeting, giaoban_meeting

HYPOTHESIS = "Hours of meetings leave nothing behind"
PARAMETERS = {"seconds": 120, "warm_up": 30, "steady": 5, "comings": 20, "meeting_seconds": 60}
SECONDS = 3 * 3_600
PUBLISHERS = 3
GUESTS = 20
MAX_COMINGS = 60  # a minute; GUESTS that stay for STAY_SECONDS suffice
STAY_SECONDS = (3.0, 12.0)
SAMPLE_SECONDS = 5.0
FLOOR_SECONDS = 7.0
BACK_SECONDS = 20.0
HEARS_SECONDS = 10.0  # until somebody who came hears something
JUDGED_SECONDS = 3_500.0  # of measuring from which on the slope is judged, an hour less what a sample takes
MAX_MORE = 20  # open files or threads by which parts may differ between the ends of a run


@dataclass
class _Run:
    context: Context
    pids: dict[str, int]
    watch: Watch
    began: float = field(default_factory=time.monotonic)
    held: dict[str, list[tuple[float, Footprint]]] = field(default_factory=lambda: defaultdict(list))
    came: int = 0
    refused: list[str] = field(default_factory=list)
    meetings: int = 0
    received: int = 0
    lost: int = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    async def sample(self) -> None:
        while True:
            for name, pid in self.pids.items():
                self.held[name].append((self.elapsed, await asyncio.to_thread(footprint, pid)))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def hold_meeting(self, until: float) -> Totals:
        """Call a meeting and end it again; return what those who stayed received and lost."""
        stay = Crowd(self.context.local_ip)
        wanted = self.context.parameters
        async with giaoban_meeting(
            self.context.system,
            wanted["steady"] + GUESTS + 1,
            stay.media,
            "soak is about Giaoban's own parts",
        ) as meeting:
            (clip,) = (await asyncio.to_thread(clips_for, ["Load test"])).values()
            steady = await stay.enter(
                meeting, [clip] * PUBLISHERS + [None] * (wanted["steady"] - PUBLISHERS), per_second=5
            )
            await meeting.arrange(steady[:PUBLISHERS], steady[0], [])
            if not await all_back(meeting.attendees, BACK_SECONDS):
                raise SystemFailedError("a new meeting did not come to sound")
            others = Crowd(self.context.local_ip)
            meeting.receive_with(others.media)
            guests = [meeting.attendee(None) for _ in range(GUESTS)]
            before = stay.totals()
            senders = [each for each in meeting.attendees if each in steady][:PUBLISHERS]
            acts = asyncio.create_task(_pass_the_floor(meeting, senders))
            try:
                await self._come_and_go(guests, until)
            finally:
                acts.cancel()
                await asyncio.gather(acts, return_exceptions=True)
            return stay.totals().since(before)

    async def _come_and_go(self, guests: Sequence[GiaobanAttendee], until: float) -> None:
        visits = set[asyncio.Task[None]]()
        away = list(guests)
        while self.elapsed < until:
            if away:
                visit = asyncio.create_task(self._visit(away.pop(0), away))
                visits.add(visit)
                visit.add_done_callback(visits.discard)
            await asyncio.sleep(60 / self.context.parameters["comings"])
        await asyncio.gather(*visits)

    async def _visit(self, guest: GiaobanAttendee, away: list[GiaobanAttendee]) -> None:
        self.came += 1
        number = self.came
        try:
            await guest.enter()
            if not await all_back([guest], HEARS_SECONDS):
                self.refused.append(f"{guest.name} heard nothing; last problem: {guest.problem or 'none'}")
            await asyncio.sleep(random.uniform(*STAY_SECONDS))
        except SystemFailedError as error:
            self.refused.append(str(error))
        if number % 3:
            await guest.leave()
        else:
            await guest.vanish()
        away.append(guest)


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("soak looks into the processes of the system"), context.parameters
    if wanted["steady"] < PUBLISHERS or not 0 < wanted["comings"] <= MAX_COMINGS:
        raise SystemFailedError(f"steady: at least {PUBLISHERS}; comings: from 1 to {MAX_COMINGS} a minute")
    if wanted["seconds"] < wanted["warm_up"] + 4 * SAMPLE_SECONDS or not wanted["meeting_seconds"]:
        raise SystemFailedError("seconds: longer than warm_up, by four samples; meeting_seconds: at least 1")
    pids = stack.processes()
    run = _Run(context, pids, Watch(pids))
    sampling = asyncio.create_task(run.sample())
    try:
        while run.elapsed < wanted["seconds"] and not (run.meetings and context.enough.is_set()):
            measured = await run.hold_meeting(
                min(run.elapsed + wanted["meeting_seconds"], float(wanted["seconds"]))
            )
            refuse_if_spoiled(measured.generator())
            run.received += measured.received
            run.lost += max(0, measured.lost)
            run.meetings += 1
            largest = max(_grown(run, wanted["warm_up"]).items(), key=lambda each: each[1], default=("", 0.0))
            context.say(
                f"{run.meetings} meetings, {run.came} came, {len(run.refused)} of them in vain, "
                f"most growth: {largest[0]} {100 * largest[1]:+.1f} % in an hour"
            )
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    for each in run.refused[:10]:
        context.say(f"in vain: {each}")
    return Outcome(
        _figures(run, wanted["warm_up"]),
        run.watch.stop(),
        timelines={
            f"memory of {name}, MiB": [(at, held.memory_bytes / 2**20) for at, held in samples]
            for name, samples in run.held.items()
        },
    )


def _after(run: _Run, name: str, warm_up: float) -> list[tuple[float, Footprint]]:
    return [(at, held) for at, held in run.held[name] if at >= warm_up and held.memory_bytes]


def _grown(run: _Run, warm_up: float) -> dict[str, float]:
    """Return by which share of itself each part's memory grows in an hour."""
    grown = {}
    for name in run.pids:
        points = [(at, float(held.memory_bytes)) for at, held in _after(run, name, warm_up)]
        if len(points) > 2:
            grown[name] = 3_600 * slope(points) / points[0][1]
    return grown


def _figures(run: _Run, warm_up: float) -> list[Figure]:
    judged = run.elapsed - warm_up >= JUDGED_SECONDS
    found = [
        Figure("R6", "measured after warming up", run.elapsed - warm_up, "s"),
        Figure("R6", "meetings", run.meetings, ""),
        Figure("R6", "came and went", run.came, ""),
        Figure("R6", "in vain", len(run.refused), "", "<=", 0),
        Figure("R6", "loss of those who stayed", run.lost / max(1, run.lost + run.received), "", "<=", 0.001),
    ]
    for name, share in _grown(run, warm_up).items():
        value = 100 * share
        said = f"memory of {name}, growth in an hour"
        found.append(Figure("R6", said, value, "%", "<", 1.0) if judged else Figure("R6", said, value, "%"))
    for what in ("files", "threads"):
        more = {}
        for name in run.pids:
            counts = [getattr(held, what) for _, held in _after(run, name, warm_up)]
            quarter = max(1, len(counts) // 4)
            if counts:
                more[name] = max(counts[-quarter:]) - max(counts[:quarter])
        name = max(more, key=lambda each: more[each])
        said = f"most {what} more at the end ({name})"
        found.append(
            Figure("R6", said, more[name], "", "<=", MAX_MORE)
            if judged
            else Figure("R6", said, more[name], "")
        )
    return found


async def _pass_the_floor(meeting: GiaobanMeeting, senders: Sequence[GiaobanAttendee]) -> None:
    while True:
        for each in senders:
            who = each.participant.participant_id
            await each.participant.command("return_floor")
            await asyncio.sleep(FLOOR_SECONDS)
            await meeting.chair.participant.command("grant_floor", participant_id=who)
            await meeting.chair.participant.command("set_stage", participant_id=who)
