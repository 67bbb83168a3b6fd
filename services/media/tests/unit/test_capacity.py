# SPDX-License-Identifier: Apache-2.0
"""Where a room goes, what a meeting is expected to cost, and what the nodes were measured to carry."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

from giaoban_media.capacity import MEASURE_HOLDS, Meter, Occupancy
from giaoban_media.domain import NodeHealth, NodeStatus, demand, place, room_for, seat_on, spare
from giaoban_media.janus.events import Packets, parse


def node(name: str, health: NodeHealth = NodeHealth.UP, *, sent: int = 0, budget: int = 1000) -> NodeStatus:
    """A node with this load."""
    return NodeStatus(name, health, sent=sent, budget=budget)


class TestPlace:
    def test_most_left_of_the_budget_wins(self) -> None:
        """A node that sends more may have more left, if its budget is larger."""
        assert place([node("a", sent=100, budget=300), node("b", sent=500, budget=5000)], {}) == "b"

    def test_what_is_expected_counts_before_it_is_measured(self) -> None:
        """A meeting that has just come sends nothing yet."""
        assert place([node("a"), node("b", sent=200)], {"a": 600}) == "b"

    def test_what_is_measured_and_expected_counts_once(self) -> None:
        """The expected packets are among those measured."""
        assert spare(node("a", sent=300), 200) == 700

    def test_nothing_left_still_gives_the_best(self) -> None:
        """Those who were let in are carried."""
        assert place([node("a", sent=3000), node("b", sent=2000)], {}) == "b"

    def test_only_nodes_that_are_up(self) -> None:
        """Neither one that is being emptied nor one that is down."""
        assert place([node("a", NodeHealth.DRAINING), node("b", NodeHealth.DOWN)], {}) is None

    def test_never_a_node_with_less_left_than_another(self) -> None:
        """For any loads, in any order."""
        random = Random(11)
        for _ in range(300):
            nodes = [
                node(str(each), random.choice(list(NodeHealth)), sent=random.randrange(900), budget=1000)
                for each in range(random.randrange(1, 6))
            ]
            expected = {each.id: random.randrange(1500) for each in nodes}
            up = [each for each in nodes if each.health is NodeHealth.UP]
            chosen = place(nodes, expected)
            assert chosen == place(reversed(nodes), expected)
            assert (chosen is None) == (not up)
            if chosen is not None:
                left = {each.id: spare(each, expected[each.id]) for each in up}
                assert left[chosen] == max(left.values())


class TestSeatOn:
    NODES = (node("a", sent=900), node("b", sent=500), node("c"))

    def test_the_rooms_own_node_while_it_has_room(self) -> None:
        """However much more is left elsewhere."""
        assert seat_on(self.NODES, {}, {"a": 100}, home="a", there={"b"}) == "a"

    def test_then_where_others_of_the_meeting_are(self) -> None:
        """What is sent in the meeting is there already."""
        assert seat_on(self.NODES, {}, {"a": 101, "b": 500}, home="a", there={"a", "b"}) == "b"

    def test_then_the_emptiest(self) -> None:
        """Which gets what is sent in the meeting once more."""
        assert seat_on(self.NODES, {"b": 100}, {"a": 101, "b": 501}, home="a", there={"a", "b"}) == "c"

    def test_full_everywhere(self) -> None:
        """Newcomers are refused; a node that is being emptied has no room."""
        growth = dict.fromkeys("abcd", 1001)
        draining = node("d", NodeHealth.DRAINING, budget=5000)
        assert seat_on((*self.NODES, draining), {}, growth, home="d", there={"d"}) is None


def test_as_many_find_room_as_was_said() -> None:
    """However full the nodes are and however small the meeting is; where nobody fits, for nobody."""
    random, said = Random(7), Counter[bool]()
    for _ in range(100):
        nodes = [
            node(each, random.choice((NodeHealth.UP, NodeHealth.UP, NodeHealth.DRAINING)), budget=9000)
            for each in "abc"
        ]
        busy = {each.id: random.randrange(11_000) for each in nodes}
        held, occupancy = random.randrange(3000), Occupancy()

        def expected() -> dict[str, int]:
            return {each.id: busy[each.id] + occupancy.expected(each.id) for each in nodes}  # noqa: B023

        more = room_for(nodes, expected(), held=held)
        said[bool(more)] += 1
        for number in range(more):
            growth = {each.id: occupancy.growth(each.id, "m") for each in nodes}
            found = seat_on(nodes, expected(), growth, home="a", there=(), held=held)
            assert found is not None
            occupancy.seen(("m", str(number)), found)
    assert min(said.values()) > 10


def test_demand_grows_with_every_participant() -> None:
    """Nobody comes in for nothing, nor does the first; a large meeting costs 254 packets/s each."""
    assert demand(0, 0) == 0
    assert all(demand(n, n) < demand(n + 1, n + 1) for n in range(500))
    assert demand(500, 500) == 500 * (3 * 50 + 4 * 26)


def test_demand_of_a_node_is_that_of_those_who_are_on_it() -> None:
    """They receive from the whole meeting, wherever it is sent."""
    assert demand(200, 500) + demand(300, 500) == demand(500, 500)


class TestOccupancy:
    def test_who_comes_in_counts_once(self) -> None:
        """While it joins, and when the journal has it as well."""
        occupancy = Occupancy()
        with occupancy.coming(("m", "p"), "a"):
            assert occupancy.expected("a") == demand(1, 1)
            assert occupancy.where(("m", "p")) == ""
            occupancy.seen(("m", "p"), "a")
            assert occupancy.expected("a") == demand(1, 1)
        assert occupancy.expected("a") == demand(1, 1)
        assert occupancy.where(("m", "p")) == "a"

    def test_who_was_refused_later_leaves_nothing(self) -> None:
        """A join that failed holds no place."""
        occupancy = Occupancy()
        with occupancy.coming(("m", "p"), "a"):
            pass
        assert occupancy.expected("a") == 0

    def test_a_move_takes_the_demand_along(self) -> None:
        """From node to node, and to nowhere at the end."""
        occupancy = Occupancy()
        for who in ("p", "q"):
            occupancy.seen(("m", who), "a")
        occupancy.seen(("m", "q"), "b")
        assert (occupancy.expected("a"), occupancy.expected("b")) == (demand(1, 2), demand(1, 2))
        assert occupancy.growth("b", "m") == demand(2, 3) - demand(1, 2)
        assert occupancy.growth("b", "another") == demand(1, 1)
        occupancy.forget()
        assert (occupancy.expected("a"), occupancy.expected("b")) == (0, 0)


class TestMeter:
    def test_counters_become_packets_per_second(self) -> None:
        """Over all connections of the node, by the node's own clock."""
        meter = Meter(lambda: 0.0)
        for handle in (1, 2):
            meter.counted("a", handle, timestamp=1_000_000, received=100, sent=0)
            meter.counted("a", handle, timestamp=6_000_000, received=600, sent=50)
        assert meter.rates("a") == (200, 20)
        assert meter.rates("b") == (0, 0)

    def test_a_connection_made_anew_counts_from_zero(self) -> None:
        """Never a negative rate."""
        meter = Meter(lambda: 0.0)
        meter.counted("a", 1, timestamp=1_000_000, received=100, sent=100)
        meter.counted("a", 1, timestamp=2_000_000, received=10, sent=10)
        assert meter.rates("a") == (0, 0)

    def test_who_tells_nothing_any_more_is_gone(self) -> None:
        """A connection that ended sends no last statistics."""
        now = [0.0]
        meter = Meter(lambda: now[0])
        meter.counted("a", 1, timestamp=1_000_000, received=0, sent=0)
        meter.counted("a", 1, timestamp=2_000_000, received=10, sent=10)
        now[0] = MEASURE_HOLDS + 1
        assert meter.rates("a") == (0, 0)


def test_statistics_of_a_connection_are_summed_over_its_streams() -> None:
    """As Janus 1.4.1 sends them with combine_media_stats; other media events are not statistics."""
    streams = [
        {"mid": "0", "packets-received": 5, "packets-sent": 7},
        {"mid": "1", "packets-received": 1, "packets-sent": 2},
    ]
    message = {"type": 32, "subtype": 3, "handle_id": 42, "timestamp": 9, "event": streams}
    assert parse("janus.a.media", json.dumps(message).encode()) == [Packets("a", 42, 9, 6, 9)]
    slow = {"type": 32, "subtype": 2, "handle_id": 42, "event": {"slow_link": "uplink"}}
    assert parse("janus.a.media", json.dumps(slow).encode()) == []
