# SPDX-License-Identifier: Apache-2.0
"""The settings of a media node are the cheapest: each is measured beside the other values it could have.

Done: one part after the other. Both nodes of the stack start anew, `janus-a` with our settings, `janus-b` with one of
them changed; then blocks A B B A on the two, signalled directly. In each block one endpoint sends 720p, 360p, 180p and
sound, `viewers` receive 180p and the sound for `seconds`. `ours` changes nothing: its ratio shows what the machine's
noise makes of two equal nodes. SRTP profiles and the helper threads of a room are no settings of the node: the
endpoints offer one profile, the room is created with threads.
Must hold: no other value forwards a packet for less than 0.9 of what ours takes, by the upper end of the 95 % interval.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from giaoban_loadtests.blocks import Comparison, compare
from giaoban_loadtests.clips import Clip, layered_clip
from giaoban_loadtests.machine import Watch, footprint
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.systems.janus import Janus

HYPOTHESIS = "No other setting of a media node makes forwarding a packet cheaper"
PARAMETERS = {"blocks": 6, "viewers": 40, "seconds": 4}
SECONDS = 3_600
OURS, OTHER = "janus-a", "janus-b"
CHEAPER = 0.9


@dataclass(frozen=True)
class _Choice:
    """What differs from our node: sections of janus.jcfg, arguments of the adapter."""

    settings: Mapping[str, Mapping[str, int | bool]] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)


CHOICES: Mapping[str, _Choice] = {
    "ours": _Choice(),
    "thread_for_each_connection": _Choice({"general": {"event_loops": 0}}),
    "one_event_loop": _Choice({"general": {"event_loops": 1}}),
    "four_event_loops": _Choice({"general": {"event_loops": 4}}),
    "two_helper_threads": _Choice(adapter={"helpers": 2}),
    "nack_queue_of_0_ms": _Choice({"media": {"min_nack_queue": 0}}),
    "nack_queue_of_2_s": _Choice({"media": {"min_nack_queue": 2_000}}),
    "transport_feedback_each_s": _Choice({"media": {"twcc_period": 1_000}}),
    "no_tcp_candidates": _Choice({"nat": {"ice_tcp": False}}),
    "no_consent_freshness": _Choice({"nat": {"ice_consent_freshness": False}}),
    "statistics_each_s": _Choice({"events": {"stats_period": 1}}),
    "no_events": _Choice({"events": {"broadcast": False}}),
    "srtp_aead_aes_128_gcm": _Choice(adapter={"srtp_profiles": ["SRTP_AEAD_AES_128_GCM"]}),
    "srtp_aes_cm_128_hmac_sha1": _Choice(adapter={"srtp_profiles": ["SRTP_AES128_CM_SHA1_80"]}),
}
PARTS = tuple(CHOICES)


async def run(context: Context) -> Outcome:
    stack, watch = context.private_stack("node_settings starts nodes anew"), Watch(context.system.processes)
    clip = await asyncio.to_thread(layered_clip)
    figures, blocks = list[Figure](), dict[str, list[dict[str, Any]]]()
    for name in context.parts:
        context.say(name)
        found, memory = await _compare(context, stack, clip, CHOICES[name])
        blocks[name] = [asdict(each) for each in found.blocks]
        figures += [
            Figure("P2", f"{name}: CPU per packet, ratio to ours, median", found.cpu.median, ""),
            Figure("P2", f"{name}: start of interval", found.cpu.low, ""),
            Figure("P2", f"{name}: end of interval", found.cpu.high, "", ">=", CHEAPER),
            Figure("P2", f"{name}: memory of the node afterwards, ratio to ours", memory, ""),
            Figure("P1", f"{name}: latency of sound p95, ratio to ours, median", found.latency.median, ""),
            Figure("P4", f"{name}: first picture, ratio to ours, median", found.first_picture.median, ""),
            Figure(
                "P1", f"{name}: loss, worst block", max(each.loss for each in found.blocks), "", "<", 0.001
            ),
        ]
    return Outcome(figures, {**watch.stop(), "blocks": blocks})


async def _compare(
    context: Context, stack: LocalStack, clip: Clip, choice: _Choice
) -> tuple[Comparison, float]:
    """Return A (the other value) against B (ours), and the ratio of the nodes' memory after it."""
    await stack.try_settings(OURS, {})
    await stack.try_settings(OTHER, choice.settings)
    pids = stack.processes()
    wanted = context.parameters
    found = await compare(
        {
            "A": Janus(stack.janus(OTHER), {OTHER: pids[OTHER]}, **choice.adapter),
            "B": Janus(stack.janus(OURS), {OURS: pids[OURS]}),
        },
        context.local_ip,
        clip,
        blocks=wanted["blocks"],
        viewers=wanted["viewers"],
        seconds=wanted["seconds"],
        say=context.say,
    )
    return found, footprint(pids[OTHER]).memory_bytes / footprint(pids[OURS]).memory_bytes
