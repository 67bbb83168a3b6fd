# SPDX-License-Identifier: Apache-2.0
"""What the chair does, every member knows at once, however many they are.

Done: `members` are in a meeting and send nothing; nothing happens for `idle_seconds`; then the chair gives one of them
the floor, who gives it back, `acts` times. For each act and member the time from the request to the member's new state
is taken; the generator's own reading of the messages is part of it. Coming in is counted too: what each member was told
while the others came.
Must hold: p95 80 ms and p99 150 ms at most, 40,000 deliveries per CPU second of gateway and media (P5).

A delivery is a message to a member that an act has caused: its new state, or the actor's reply. What gateway and media
use for nothing (keeping connections alive, looking at the clock) is a figure of its own and is taken off what the acts
used, for the time they took. Nobody sends, so the cost of a new picture on the main screens is not in it.
"""

import asyncio
from collections.abc import Callable, Mapping

from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.machine import Watch
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.signalling import MeetingState
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee, GiaobanMeeting, giaoban_meeting

HYPOTHESIS = "What the chair does, every member knows at once"
PARAMETERS = {"members": 60, "acts": 20, "joins_per_second": 20, "idle_seconds": 10}
SECONDS = 240
ACT_SECONDS = 5.0  # in which every member must have heard of an act
PAUSE_SECONDS = 0.3
SETTLE_SECONDS = 2.0  # after the last came in


async def run(context: Context) -> Outcome:
    wanted = context.parameters
    crowd = Crowd(context.local_ip)
    async with giaoban_meeting(
        context.system, wanted["members"] + 1, crowd.media, "floor_fan_out is about Giaoban's own acts"
    ) as meeting:
        rate = float(wanted["joins_per_second"])
        await crowd.enter(meeting, [None] * wanted["members"], per_second=rate, say=context.say)
        members = len(meeting.attendees)
        told_joining = _told(meeting) / members
        await asyncio.sleep(SETTLE_SECONDS)
        quiet = Watch(context.system.processes)
        await asyncio.sleep(wanted["idle_seconds"])
        idle = _shares(quiet.stop())
        watch, told, delays = Watch(context.system.processes), _told(meeting), list[float]()
        for number in range(wanted["acts"]):
            delays += await _act(meeting, meeting.attendees[1], granted=number % 2 == 0)
            await asyncio.sleep(PAUSE_SECONDS)
        watched, delivered = watch.stop(), _told(meeting) - told
    figures = [
        Figure("P5", "act to member, p50", 1000 * percentile(delays, 0.5), "ms"),
        Figure("P5", "act to member, p95", 1000 * percentile(delays, 0.95), "ms", "<=", 80),
        Figure("P5", "act to member, p99", 1000 * percentile(delays, 0.99), "ms", "<=", 150),
        Figure("P5", "members", members, ""),
        Figure("P5", "messages per member while all came in", told_joining, ""),
    ]
    if idle:  # not against a deployed cluster
        seconds = float(watched["seconds"])  # type: ignore[arg-type]
        used = {name: seconds * (share - idle[name]) for name, share in _shares(watched).items()}
        if sum(used.values()) <= 0:
            raise SystemFailedError("the acts cost less than what varies without them: ask for more acts")
        figures += [
            Figure(
                "P5",
                "deliveries per CPU second, gateway and media",
                delivered / sum(used.values()),
                "1/s",
                ">=",
                40_000,
            ),
            *(Figure("P5", f"CPU per delivery, {name}", 1e6 * used[name] / delivered, "µs") for name in used),
            *(Figure("P5", f"CPU of {name} when idle", 100 * idle[name], "% of a core") for name in idle),
        ]
    return Outcome(figures, watched, {"act to member": delays})


def _shares(watched: Mapping[str, object]) -> dict[str, float]:
    """What the two parts used that fan out, in shares of a core."""
    cpu: Mapping[str, float] = watched["system_cpu"]  # type: ignore[assignment]
    return {name: cpu[name] for name in ("gateway", "media") if name in cpu}


def _told(meeting: GiaobanMeeting) -> int:
    return sum(each.participant.messages for each in meeting.attendees)


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
