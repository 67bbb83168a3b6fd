# SPDX-License-Identifier: Apache-2.0
"""Owns the arithmetic of results: percentiles, blocks in the order A B B A, the bootstrap interval of their ratios."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

RESAMPLES = 2_000
CONFIDENCE = 0.95
_SEED = 20_201_123  # the same data give the same interval


@dataclass(frozen=True)
class Interval:
    """A median with the bootstrap interval around it."""

    median: float
    low: float
    high: float
    count: int


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile `share` (0..1) by linear interpolation between closest ranks; raises ValueError if empty."""
    if not values:
        raise ValueError("no values: there is no percentile of nothing")
    if not 0 <= share <= 1:
        raise ValueError(f"share {share}: must lie between 0 and 1")
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return count, p50, p95, p99 and max; only the count when there is nothing."""
    if not values:
        return {"count": 0}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {"count": len(values), **{name: percentile(values, share) for name, share in shares.items()}}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope of (x, y) points; raises ValueError unless there are two different x."""
    count = len(points)
    middle_x = sum(x for x, _ in points) / max(1, count)
    middle_y = sum(y for _, y in points) / max(1, count)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("a slope needs points at two different places")
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread


def block_order(blocks: int) -> list[str]:
    """Return the order of `blocks` blocks: A B B A, again and again, so that a slow drift hits both sides alike."""
    if blocks < 2 or blocks % 2:
        raise ValueError(f"blocks {blocks}: give an even number from 2 up, so that every A has its B")
    return ["ABBA"[i % 4] for i in range(blocks)]


def block_ratios(order: Sequence[str], values: Sequence[float]) -> list[float]:
    """Return A / B of each neighbouring pair of blocks; raises ValueError when a pair is none."""
    if len(order) != len(values) or len(order) % 2:
        raise ValueError("every block needs one value, and the blocks come in pairs")
    ratios = []
    for at in range(0, len(order), 2):
        pair = dict(zip(order[at : at + 2], values[at : at + 2], strict=True))
        if set(pair) != {"A", "B"}:
            raise ValueError(
                f"blocks {at + 1} and {at + 2} are {order[at : at + 2]}: expected one A and one B"
            )
        if pair["B"] <= 0:
            raise ValueError(
                f"block {at + 1} or {at + 2}: B measured {pair['B']}, no ratio can be made of it"
            )
        ratios.append(pair["A"] / pair["B"])
    return ratios


def bootstrap(
    values: Sequence[float], statistic: Callable[[Sequence[float]], float] | None = None
) -> Interval:
    """Return the median (or `statistic`) of `values` with its percentile bootstrap interval (Efron 1979)."""
    if not values:
        raise ValueError("no values: there is no interval around nothing")
    of = statistic or (lambda sample: percentile(sample, 0.5))
    chance = random.Random(_SEED)
    resampled = [of(chance.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    return Interval(of(values), percentile(resampled, tail), percentile(resampled, 1 - tail), len(values))
