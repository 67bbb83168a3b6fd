# SPDX-License-Identifier: Apache-2.0
"""Owns the capacity model: from a measured price per forwarded packet to the media nodes that meetings need.

A model on paper: every assumption is a named number here, and is printed with the answer.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from giaoban_loadtests.results import Result

CPU_SHARE = 0.7  # of a node that forwarding may use; the rest is for joins, failover and noisy neighbours
CORES_PER_NODE = 8
AUDIO_PACKETS = 50.0  # a second and speaker, Opus in 20 ms
TILE_PACKETS = (
    26.0  # a second and picture, 180p at 25 pictures/s and 120 kbit/s in packets of 1,100 bytes at most
)
SPEAKERS, PICTURES = 3, 4
PRICE, PACKETS = "media node CPU per forwarded packet", "packets received"
SITES = (55, 250, 1_000, 5_000, 77_200)


@dataclass(frozen=True)
class Need:
    """What a number of endpoints needs at once."""

    endpoints: int
    packets_per_second: float
    cores: float
    nodes: int


def need(endpoints: int, microseconds_per_packet: float) -> Need:
    """Return what `endpoints` need when each receives the sound of SPEAKERS and PICTURES small pictures."""
    if endpoints < 1 or microseconds_per_packet <= 0:
        raise ValueError("give at least one endpoint and a price above zero")
    packets = endpoints * (SPEAKERS * AUDIO_PACKETS + PICTURES * TILE_PACKETS)
    cores = packets * microseconds_per_packet / 1e6
    return Need(endpoints, packets, cores, math.ceil(cores / (CORES_PER_NODE * CPU_SHARE)))


def describe(results: Mapping[str, Result]) -> str:
    """Return the model as text, from the price that was measured at most packets; says so when there is none.

    With few packets a node's timers and events, which cost the same however much it forwards, are most of the price.
    """
    found = [
        (_value(result, PACKETS), price, result)
        for result in results.values()
        if (price := _value(result, PRICE)) > 0 and not result.refused
    ]
    if not found:
        return "No scenario has measured the price of a forwarded packet yet: run one_big_meeting."
    packets, price, result = max(found, key=lambda each: each[0])
    lines = [
        f"Measured: {price:.1f} µs of a core per forwarded packet, at {packets:,.0f} packets/s",
        f"({result.scenario}, {result.date}).",
        f"Budget: {CPU_SHARE * 1e6 / price:,.0f} packets/s per core at {CPU_SHARE:.0%} use.",
        "",
        "endpoints at once   packets/s     cores   nodes",
    ]
    for endpoints in SITES:
        it = need(endpoints, price)
        lines.append(f"{it.endpoints:>17,}  {it.packets_per_second:>10,.0f}  {it.cores:>8.1f}  {it.nodes:>6}")
    lines += [
        "",
        "Assumptions, none of them measured here:",
        f"- each endpoint receives {SPEAKERS} voices ({AUDIO_PACKETS:g} packets/s each) and {PICTURES} pictures in 180p",
        f"  ({TILE_PACKETS:g} packets/s each); larger pictures cost more packets",
        f"- a node has {CORES_PER_NODE} cores like the measured one, and forwarding scales with cores and packets",
        "- meetings fit on nodes without waste; a meeting over several nodes costs one relayed copy of each publisher",
        "- the network carries it: at 120 kbit/s a picture and 32 kbit/s a voice, 0.6 Mbit/s per endpoint",
    ]
    return "\n".join(lines)


def _value(result: Result, name: str) -> float:
    return next((figure.value for figure in result.figures if figure.name == name), 0.0)
