# SPDX-License-Identifier: Apache-2.0
"""What the chair does, every member knows at once, however many they are.

Done: `members` are in a meeting with sound only; the chair gives one of them the floor and takes it back, `acts` times.
For each act and member the time from the chair's request to the member's new state is taken; the generator's own
reading of the messages is part of it. Coming in is counted too: what each member was told while the others came.
Must hold: p95 80 ms and p99 150 ms at most, 40,000 deliveries per CPU second of gateway and media (P5).
"""

import asyncio
from collections.abc import Callable

from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.signalling import MeetingState
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, GiaobanMeeting

HYPOTHESIS = "What the chair does, every member knows at once"
PARAMETERS = {"members": 60, "acts": 20, "joins_per_second": 20}
SECONDS = 180
ACT_SECONDS = 5.0  # in which every member must have heard of an act
PAUSE_SECONDS = 0.3


async def run(context: Context) -> Outcome:
    wanted = context.parameters
    crowd = Crowd(context.local_ip)
    async with context.system.meeting(wanted["members"] + 1, crowd.media) as meeting:
        if not isinstance(meeting, GiaobanMeeting):
            raise SystemFailedError("floor_fan_out is about Giaoban's own acts: leave --system away")
        rate = float(wanted["joins_per_second"])
        await crowd.enter(meeting, [None] * wanted["members"], per_second=rate, say=context.say)
        members = [each.participant for each in meeting.attendees]
        told_joining = sum(each.messages for each in members) / len(members)
        await asyncio.sleep(1)
        watch, told = Watch(context.system.processes), sum(each.messages for each in members)
        delays = []
        for number in range(wanted["acts"]):
            act = "return_floor" if number % 2 else "grant_floor"
            delays += await _act(meeting, meeting.attendees[1], granted=act == "grant_floor")
            await asyncio.sleep(PAUSE_SECONDS)
        watched = watch.stop()
        delivered = sum(each.messages for each in members) - told
    cpu: dict[str, float] = watched["system_cpu"]  # type: ignore[assignment]
    used = (cpu.get("gateway", 0) + cpu.get("media", 0)) * float(watched["seconds"])  # type: ignore[arg-type]
    return Outcome(
        [
            Figure("P5", "act to member, p95", 1000 * percentile(delays, 0.95), "ms", "<=", 80),
            Figure("P5", "act to member, p99", 1000 * percentile(delays, 0.99), "ms", "<=", 150),
            Figure("P5", "members", len(members), ""),
            Figure("P5", "messages per member while all came in", told_joining, ""),
            *(
                [
                    Figure(
                        "P5",
                        "deliveries per CPU second, gateway and media",
                        delivered / used,
                        "1/s",
                        ">=",
                        40_000,
                    )
                ]
                if used
                else []
            ),
        ],
        watched,
        {"act to member": delays},
    )


async def _act(meeting: GiaobanMeeting, speaker: GiaobanAttendee, *, granted: bool) -> list[float]:
    """Give the floor to `speaker` or take it back; return the seconds until each member knew."""
    loop, who = asyncio.get_running_loop(), speaker.participant.participant_id
    heard: dict[int, float] = {}
    everyone = loop.create_future()

    def watching(number: int) -> Callable[[MeetingState], None]:
        def on_state(state: MeetingState) -> None:
            holders = {each["participant_id"] for each in state.floor.get("holders", [])}
            if (who in holders) == granted and number not in heard:
                heard[number] = loop.time()
                if len(heard) == len(meeting.attendees) and not everyone.done():
                    everyone.set_result(None)

        return on_state

    for number, member in enumerate(meeting.attendees):
        member.participant.on_state = watching(number)
    start = loop.time()
    actor = meeting.chair if granted else speaker
    fields = {"participant_id": who} if granted else {}
    await actor.participant.command("grant_floor" if granted else "return_floor", **fields)
    try:
        await asyncio.wait_for(everyone, ACT_SECONDS)
    except TimeoutError:
        missing = len(meeting.attendees) - len(heard)
        raise SystemFailedError(
            f"{missing} members did not hear of an act within {ACT_SECONDS:g} s"
        ) from None
    finally:
        for member in meeting.attendees:
            member.participant.on_state = None
    return [at - start for at in heard.values()]
