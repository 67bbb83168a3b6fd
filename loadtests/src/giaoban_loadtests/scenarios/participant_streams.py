# SPDX-License-Identifier: Apache-2.0
"""What a member says costs the parts between it and its seat next to nothing.

Done: `members` are in a meeting and each sends `messages` view messages over its WebSocket, ten a second, which the
gateway passes on over the member's stream to media; each ends with an act (its devices are as they were), whose reply
comes after all of them were read. What gateway and media used for it, less what they use when nobody says anything, is
shared out to the messages. Beside it one call after the other, `calls` of them, goes to identity as the gateway's do: an
empty one (gRPC health), which has nothing but the way.
Must hold: 12,000 messages per CPU second of gateway and media; an empty call takes 1.5 ms at p50 (P7).

The views are what the members see already: their price is that of the message, not of what changes.
"""

import asyncio
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.machine import Watch, tree_cpu_seconds
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.signalling import View
from giaoban_loadtests.stack import IDENTITY_TARGET
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, giaoban_meeting

HYPOTHESIS = "What members say costs next to nothing on its way"
PARAMETERS = {"members": 100, "messages": 100, "calls": 500}
SECONDS = 300
PARTS_MEASURED = ("gateway", "media")
JOINS_PER_SECOND = 10.0
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 5.0
PAUSE_SECONDS = 0.1  # the gateway takes twenty messages a second from a connection


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("participant_streams calls a service directly"), context.parameters
    if not all(wanted.values()):
        raise SystemFailedError("members, messages and calls: at least 1 each")
    pids = {name: stack.processes()[name] for name in PARTS_MEASURED}
    crowd = Crowd(context.local_ip)
    async with giaoban_meeting(
        *(context.system, wanted["members"] + 1, crowd.media),
        "participant_streams is about Giaoban's own protocol",
    ) as meeting:
        await crowd.enter(meeting, [None] * wanted["members"], per_second=JOINS_PER_SECOND)
        members = [each for each in meeting.attendees if each is not meeting.chair]
        await asyncio.sleep(SETTLE_SECONDS)
        before = _used(pids)
        await asyncio.sleep(IDLE_SECONDS)
        idle = {name: (used - before[name]) / IDLE_SECONDS for name, used in _used(pids).items()}
        watch, before, began = Watch(context.system.processes), _used(pids), time.monotonic()
        await asyncio.gather(*(_speak(each, wanted["messages"]) for each in members))
        took = time.monotonic() - began
        used = {name: each - before[name] - took * idle[name] for name, each in _used(pids).items()}
        watched = watch.stop()
    count = wanted["members"] * wanted["messages"]
    calls = await _calls(wanted["calls"])
    return Outcome(
        [
            Figure(
                "P7",
                "messages per CPU second, gateway and media",
                count / sum(used.values()),
                "1/s",
                ">=",
                12_000,
            ),
            *(
                Figure("P7", f"CPU per message, {name}", 1e6 * each / count, "µs")
                for name, each in used.items()
            ),
            Figure("P7", "an empty call, p50", 1000 * percentile(calls, 0.5), "ms", "<=", 1.5),
            Figure("P7", "an empty call, p95", 1000 * percentile(calls, 0.95), "ms"),
        ],
        watched,
        {"an empty call": calls},
    )


def _used(pids: dict[str, int]) -> dict[str, float]:
    return {name: tree_cpu_seconds(pid) for name, pid in pids.items()}


async def _speak(member: GiaobanAttendee, messages: int) -> None:
    for _ in range(messages):
        await member.participant.set_view(View())
        await asyncio.sleep(PAUSE_SECONDS)
    await member.participant.command("set_own_devices", microphone_off=False, camera_off=False)


async def _calls(count: int) -> list[float]:
    took = []
    async with grpc.aio.insecure_channel(IDENTITY_TARGET) as channel:
        stub, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
        for _ in range(count):
            began = time.monotonic()
            await stub.Check(request, timeout=5)
            took.append(time.monotonic() - began)
    return took
