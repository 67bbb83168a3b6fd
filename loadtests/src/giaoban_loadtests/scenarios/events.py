# SPDX-License-Identifier: Apache-2.0
"""What was committed is known to those whom it concerns before anybody could ask.

Done: once what the stack began with is over, nothing for `idle_seconds`; then events "a meeting was called" are committed to scheduling's outbox, one
transaction each, `rate` a second for `seconds`, and followed through relay and JetStream into notifications' durable
consumer, whose effect (the invitation in the person's inbox, committed) is looked for every 5 ms. Then `burst` events
are committed at once, and the relay is timed until all of them lie in the stream, while those who listen to it stand
still: on two cores they would take from it what is timed.
Must hold: commit to effect p99 60 ms at 500/s, 5,000/s into the stream, idle CPU of both services below 1 % (P8).

When the consumer is slower than `rate` the queue grows, and so do the times: then the figure that tells is how many
events it has done in a second.
"""

import asyncio

from giaoban_kit.ids import new_id

from giaoban_loadtests.business_events import POOL, Events, business_events, meeting_scheduled
from giaoban_loadtests.machine import Watch, tree_cpu_seconds
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError

HYPOTHESIS = "Events are where they belong before anybody asks"
PARAMETERS = {"rate": 500, "seconds": 4, "burst": 3_000, "idle_seconds": 10}
SECONDS = 400
SERVICES = ("scheduling", "notifications")
LISTENERS = ("notifications", "media")
DRAIN_SECONDS = 200.0
BURST_TRANSACTION = 500
LOOK_SECONDS = 0.05
WARM_UP = 20
SETTLE_SECONDS = 60.0  # for the meetings of the demonstration, with which the stack begins
MAIL_SECONDS = 5.0  # until their mails are sent


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("events commits to a database"), context.parameters
    organisation_id, user_id = stack.invitee()
    pids = {name: stack.processes()[name] for name in (*SERVICES, "identity", "nats", "postgres")}
    async with business_events(stack) as events:
        if not await events.all_done(SETTLE_SECONDS):
            raise SystemFailedError("what the stack began with had no effect yet: nothing is idle")
        await asyncio.sleep(MAIL_SECONDS)
        quiet = await _idle(pids, wanted["idle_seconds"])
        seen, committed = dict[str, float](), dict[str, float]()
        watching = asyncio.create_task(events.watch(seen))
        try:
            await _offer(events, organisation_id, user_id, WARM_UP, WARM_UP, committed)
            await _until_seen(seen, committed)
            seen.clear()
            committed.clear()
            watch, before = Watch(context.system.processes), {n: tree_cpu_seconds(p) for n, p in pids.items()}
            count = wanted["rate"] * wanted["seconds"]
            began = asyncio.get_running_loop().time()
            await _offer(events, organisation_id, user_id, wanted["rate"], count, committed)
            offered = count / (asyncio.get_running_loop().time() - began)
            context.say(f"{count} events committed, {offered:.0f}/s; {len(seen)} had their effect by then")
            await _until_seen(seen, committed)
            used = {name: tree_cpu_seconds(pid) - before[name] for name, pid in pids.items()}
            watched = watch.stop()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        relayed = await _burst(events, stack, organisation_id, user_id, wanted["burst"])
    delays = [seen[each] - at for each, at in committed.items()]
    done = count / (max(seen.values()) - began)
    return Outcome(
        [
            Figure("P8", "commit to effect, p50", 1000 * percentile(delays, 0.5), "ms"),
            Figure("P8", "commit to effect, p99", 1000 * percentile(delays, 0.99), "ms", "<=", 60),
            Figure("P8", "events committed", offered, "1/s", ">=", min(500, 0.98 * wanted["rate"])),
            Figure("P8", "events notifications has done", done, "1/s"),
            Figure("P8", "events into the stream", relayed, "1/s", ">=", 5_000),
            *(
                Figure("P8", f"idle CPU of {name}", 100 * quiet[name], "% of a core", "<", 1.0)
                for name in SERVICES
            ),
            *(
                Figure("P8", f"CPU per event, {name}", 1e6 * each / count, "µs")
                for name, each in used.items()
            ),
        ],
        watched,
        {"commit to effect": delays},
    )


async def _idle(pids: dict[str, int], seconds: int) -> dict[str, float]:
    before = {name: tree_cpu_seconds(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    return {name: (tree_cpu_seconds(pid) - before[name]) / max(1, seconds) for name, pid in pids.items()}


async def _offer(
    events: Events, organisation_id: str, user_id: str, rate: int, count: int, committed: dict[str, float]
) -> None:
    """Commit `count` events at a steady rate; note when each was committed."""
    loop, at_once = asyncio.get_running_loop(), asyncio.Semaphore(POOL)

    async def one() -> None:
        async with at_once:
            event = meeting_scheduled(organisation_id, user_id, new_id())
            await events.commit(event)
            committed[event.id] = loop.time()

    start = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(start + number / rate - loop.time())
            group.create_task(one())


async def _until_seen(seen: dict[str, float], committed: dict[str, float]) -> None:
    deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
    while missing := committed.keys() - seen.keys():
        if asyncio.get_running_loop().time() > deadline:
            raise SystemFailedError(
                f"{len(missing)} of {len(committed)} events had no effect {DRAIN_SECONDS:g} s after the last commit"
            )
        await asyncio.sleep(0.1)


async def _burst(events: Events, stack: LocalStack, organisation_id: str, user_id: str, count: int) -> float:
    """Commit many events while the relay stands still; return how many it publishes in a second then."""
    stack.pause("scheduling")
    try:
        for at in range(0, count, BURST_TRANSACTION):
            size = min(BURST_TRANSACTION, count - at)
            await events.commit_all(
                [meeting_scheduled(organisation_id, user_id, new_id()) for _ in range(size)]
            )
        for name in LISTENERS:
            stack.pause(name)
    finally:
        stack.go_on("scheduling")
    try:
        loop = asyncio.get_running_loop()
        start, first = loop.time(), await events.unpublished()
        while await events.unpublished():
            if loop.time() - start > DRAIN_SECONDS:
                raise SystemFailedError(
                    f"the relay has not published {count} events within {DRAIN_SECONDS:g} s"
                )
            await asyncio.sleep(LOOK_SECONDS)
        return first / (loop.time() - start)
    finally:
        for name in LISTENERS:
            stack.go_on(name)
