# SPDX-License-Identifier: Apache-2.0
"""The arithmetic behind every figure."""

import random

import pytest
from giaoban_loadtests.statistics import block_order, block_ratios, bootstrap, percentile, slope, summary
from hypothesis import given
from hypothesis import strategies as st


def test_percentiles_lie_between_the_closest_ranks() -> None:
    """Known values, by linear interpolation."""
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert percentile(values, 0) == 15
    assert percentile(values, 0.5) == 35
    assert percentile(values, 0.4) == pytest.approx(29)
    assert percentile(values, 1) == 50


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0, 1), st.floats(0, 1))
def test_percentiles_grow_with_their_share(values: list[float], one: float, other: float) -> None:
    """A larger share never gives a smaller value, and none leaves the range."""
    low, high = sorted((one, other))
    assert min(values) <= percentile(values, low) <= percentile(values, high) + 1e-6 <= max(values) + 2e-6


def test_nothing_has_no_percentile() -> None:
    """Empty data are refused where a number is asked for, and counted where a summary is."""
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        percentile([1.0], 50)
    assert summary([]) == {"count": 0}
    assert summary([2.0, 4.0])["p50"] == 3.0


def test_blocks_come_as_a_b_b_a() -> None:
    """The order is balanced, and odd numbers are refused."""
    assert "".join(block_order(10)) == "ABBAABBAAB"
    for wrong in (0, 1, 7):
        with pytest.raises(ValueError, match="even"):
            block_order(wrong)


def test_ratios_are_made_within_pairs() -> None:
    """A drift that doubles every value over the run leaves the ratio as it is."""
    order = block_order(8)
    values = [(2.0 if side == "A" else 1.0) * (1 + at // 2) for at, side in enumerate(order)]
    assert block_ratios(order, values) == [2.0] * 4
    with pytest.raises(ValueError, match="one A and one B"):
        block_ratios(["A", "A"], [1.0, 1.0])
    with pytest.raises(ValueError, match="no ratio"):
        block_ratios(["A", "B"], [1.0, 0.0])
    with pytest.raises(ValueError, match="one value"):
        block_ratios(["A", "B"], [1.0])


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Over many draws of known data the interval holds the true median about 19 times in 20."""
    chance = random.Random(7)
    held = 0
    for _ in range(60):
        found = bootstrap([chance.gauss(10, 2) for _ in range(30)])
        held += found.low <= 10 <= found.high
    assert 50 <= held <= 60


def test_the_interval_is_the_same_for_the_same_data() -> None:
    """Nothing in a report depends on when it was made."""
    data = [1.0, 2.0, 3.0, 5.0, 8.0]
    assert bootstrap(data) == bootstrap(data)
    assert bootstrap(data).median == 3.0
    assert bootstrap([4.0]) == type(bootstrap([4.0]))(4.0, 4.0, 4.0, 1)
    with pytest.raises(ValueError, match="nothing"):
        bootstrap([])


def test_the_slope_is_that_of_the_line_through_the_points() -> None:
    """Noise around a line evens out; points at one place have none."""
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(0, 1), (1, -1), (2, 1), (3, -1), (4, 1)]) == pytest.approx(0)
    for points in ([], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]):
        with pytest.raises(ValueError, match="two different places"):
            slope(points)
