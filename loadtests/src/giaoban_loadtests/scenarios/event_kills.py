# SPDX-License-Identifier: Apache-2.0
"""Whatever dies between a commit and its effect, every event has its effect once, in the order of its meeting.

Done: events of `meetings` meetings are committed to scheduling's outbox, `rate` a second, one after the other in each
meeting. Meanwhile one of the parts is killed with SIGKILL at a random moment (`scheduling` runs the relay; `nats_store` is
NATS that comes back with an empty store) and started again by the stack's own supervisor, `trials` times each. A second after it is ready nothing more is committed, and all
that is in the outbox then must come to its effect within 90 s: the invitation in a person's inbox.
Must hold: none lost, none applied twice, order kept in each meeting (R5).

The truth is the outbox: a commit whose answer was lost counts as committed if its row is there, and one that was
acknowledged must be there. That nothing is applied twice rests on notifications' inbox table and its unique keys; how
often events were committed, but not acknowledged, is a figure beside.
"""

import asyncio
import random

import asyncpg
from giaoban_kit.errors import GiaobanError
from giaoban_kit.ids import new_id
from sqlalchemy.exc import SQLAlchemyError

from giaoban_loadtests.business_events import Events, business_events, meeting_scheduled
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError

HYPOTHESIS = "No event is lost or doubled, whatever dies"
PARAMETERS = {"meetings": 4, "rate": 20, "trials": 1}
SECONDS = 5 * 3_600
PARTS = ("notifications", "scheduling", "nats", "nats_store", "postgres")
BEFORE_SECONDS = (0.3, 1.3)  # the kill comes at a random moment between them
AFTER_SECONDS = 1.0
AGAIN_SECONDS = 60.0
EFFECT_SECONDS = 90.0
RETRY_SECONDS = 0.1
COMMIT_FAILURES = (GiaobanError, SQLAlchemyError, asyncpg.PostgresError, OSError, TimeoutError)


class _Load:
    """Commits events of each meeting in their order, and knows which were acknowledged."""

    def __init__(self, events: Events, invitee: tuple[str, str], meetings: int) -> None:
        self._events, self._invitee = events, invitee
        self.meetings = [new_id() for _ in range(meetings)]
        self._number = 0
        self.acknowledged = set[str]()
        self.unanswered = 0

    async def commit(self, rate: int, until: asyncio.Event) -> None:
        """Commit until told to stop, each meeting at its share of the rate."""
        await asyncio.gather(
            *(self._commit(meeting, rate / len(self.meetings), until) for meeting in self.meetings)
        )

    async def _commit(self, meeting_id: str, rate: float, until: asyncio.Event) -> None:
        while not until.is_set():
            self._number += 1
            event = meeting_scheduled(*self._invitee, meeting_id, self._number)
            try:
                await self._events.commit(event)
                self.acknowledged.add(event.id)
            except COMMIT_FAILURES:
                self.unanswered += 1
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(1 / rate)


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("event_kills kills processes"), context.parameters
    if not all(wanted.values()):
        raise SystemFailedError("meetings, rate and trials: at least 1 each")
    watch, chance = Watch({}), random.Random()
    effects: dict[str, list[float]] = {part: [] for part in context.parts}
    never = 0
    async with business_events(stack) as events:
        load = _Load(events, stack.invitee(), wanted["meetings"])
        for number in range(wanted["trials"]):
            if number and context.enough.is_set():
                break
            for part in context.parts:
                try:
                    took = await _kill(stack, events, load, part, wanted["rate"], chance)
                except (SystemFailedError, *COMMIT_FAILURES) as error:
                    # One part that does not come back is no reason to throw hours of trials away.
                    context.say(f"{type(error).__name__}: {error}")
                    took = None
                if took is None:
                    never += 1
                else:
                    effects[part].append(took)
                told = (
                    "NOT ALL CAME TO THEIR EFFECT"
                    if took is None
                    else f"all done {took:.1f} s after it was ready"
                )
                context.say(f"{number + 1}/{wanted['trials']} {part}: {told}")
        every, done = await events.committed(), await events.effects()
    committed = [(event_id, meeting_id) for event_id, meeting_id in every if meeting_id in load.meetings]
    order: dict[str, list[str]] = {}
    for event_id, meeting_id in committed:
        order.setdefault(meeting_id, []).append(event_id)
    ids = {event_id for event_id, _ in committed}
    written = [event_id for meeting_id in order for event_id in done.entries.get(meeting_id, [])]
    disordered = sum(
        done.entries.get(meeting_id, []) != wanted_order for meeting_id, wanted_order in order.items()
    )
    return Outcome(
        [
            Figure("R5", "kills", never + sum(map(len, effects.values())), ""),
            Figure("R5", "events committed", len(ids), ""),
            Figure("R5", "acknowledged commits that are gone", len(load.acknowledged - ids), "", "<=", 0),
            Figure("R5", "events lost", len(ids - set(written)), "", "<=", 0),
            Figure("R5", "events applied twice", len(written) - len(set(written)), "", "<=", 0),
            Figure("R5", "meetings whose order was not kept", disordered, "", "<=", 0),
            Figure("R5", "kills after which it took longer than 90 s", never, "", "<=", 0),
            Figure("R5", "commits without an answer", load.unanswered, ""),
            *(
                Figure(
                    "R5", f"{part}: from ready until all had their effect, max", percentile(times, 1.0), "s"
                )
                for part, times in effects.items()
                if times
            ),
        ],
        watch.stop(),
        {f"until all had their effect, {part}": times for part, times in effects.items() if times},
    )


async def _kill(
    stack: LocalStack, events: Events, load: _Load, part: str, rate: int, chance: random.Random
) -> float | None:
    """Kill a part while events are committed; return the seconds from its return to the last effect."""
    loop, enough = asyncio.get_running_loop(), asyncio.Event()
    committing = asyncio.create_task(load.commit(rate, enough))
    try:
        await asyncio.sleep(chance.uniform(*BEFORE_SECONDS))
        if part == "nats_store":
            stack.lose_store()
        await stack.kill_and_wait(part.removesuffix("_store"), AGAIN_SECONDS)
        ready = loop.time()
        await asyncio.sleep(AFTER_SECONDS)
    finally:
        enough.set()
        await committing
    done = await events.all_done(ready + EFFECT_SECONDS - loop.time())
    return loop.time() - ready if done else None
