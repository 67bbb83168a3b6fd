# SPDX-License-Identifier: Apache-2.0
"""Results: what passes, what is refused, what is read back."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest
from giaoban_loadtests import machine
from giaoban_loadtests.results import (
    Figure,
    Generator,
    Result,
    SpoiledError,
    newest,
    read,
    refuse_if_spoiled,
    table,
)

CLEAN = Generator(0, 0, 0, 0, late_ticks=10, ticks=1000)


def result(
    scenario: str = "x", *figures: Figure, refused: str = "", date: str = "2020-01-01T00:00:00+00:00"
) -> Result:
    return Result(scenario, "it holds", figures, {}, {}, "cmd", "abc", date=date, refused=refused)


@pytest.mark.parametrize(
    ("relation", "value", "passed"),
    [
        ("<=", 5, True),
        ("<=", 5.1, False),
        ("<", 5, False),
        ("<", 4.9, True),
        (">=", 5, True),
        (">=", 4.9, False),
    ],
)
def test_limits_are_exact(relation: str, value: float, passed: bool) -> None:
    """Equal is enough where the goal says so, and only there."""
    assert Figure("P1", "n", value, "s", relation, 5).passed is passed  # type: ignore[arg-type]
    assert Figure("P1", "n", value, "s").passed is None


def test_a_clean_generator_reports() -> None:
    """Late in one tick of a hundred is still clean: nothing was lost by it."""
    refuse_if_spoiled(CLEAN)


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("receive_buffer_errors", 1, "receive buffer"),
        ("send_buffer_errors", 1, "send buffer"),
        ("send_errors", 1, "could not be sent"),
        ("skipped_ticks", 1, "not sent at all"),
        ("late_ticks", 201, "20 ms late"),
    ],
)
def test_a_spoiled_run_is_refused(field: str, value: int, cause: str) -> None:
    """Each way in which the generator can lose packets is enough, and is named."""
    with pytest.raises(SpoiledError, match=cause):
        refuse_if_spoiled(dataclasses.replace(CLEAN, **{field: value}))


def test_a_refused_run_never_passes() -> None:
    """Not even with figures that would."""
    good = Figure("P1", "loss", 0, "", "<", 0.001)
    assert result("x", good).passed
    assert not result("x", good, refused="spoiled").passed
    assert not result("x", good, Figure("P1", "delay", 3, "s", "<", 1)).passed
    assert "NO REPORT" in table([result("x", good, refused="spoiled")])


def test_results_are_read_as_written(tmp_path: Path) -> None:
    """The newest of each scenario is found; a foreign file is named."""
    old = result("a", Figure("P1", "loss", 0.5, "", "<", 0.001))
    new = result("a", Figure("P1", "loss", 0.0, "", "<", 0.001), date="2021-01-01T00:00:00+00:00")
    other = result("b", Figure("", "cores", 2, ""))
    for each in (new, old, other):
        file = each.write(tmp_path)
        assert read(file).figures == list(each.figures)
    assert json.loads(file.read_text())["figures"][0]["passed"] is None
    found = newest(tmp_path)
    assert sorted(found) == ["a", "b"]
    assert found["a"].passed
    text = table(list(found.values()))
    assert "pass" in text
    assert "< 0.001" in text
    (tmp_path / "z.json").write_text("{}")
    with pytest.raises(ValueError, match=r"z\.json"):
        newest(tmp_path)


def test_the_machine_is_described_without_its_name() -> None:
    """A result tells processor, cores and kernel, and not whose machine it was."""
    told = machine.description()
    assert int(told["cores"]) >= 1
    assert told["kernel"] == os.uname().release
    assert os.uname().nodename not in (told["cpu"], told["python"])


def test_a_watch_sees_work() -> None:
    """CPU time of this process is seen, and errors are differences, not totals."""
    watch = machine.Watch({"self": os.getpid(), "gone": 2**22 + 1})
    sum(i * i for i in range(300_000))
    seen = watch.stop()
    assert seen["generator_cpu"] > 0.1  # type: ignore[operator]
    assert set(seen["system_bytes"]) == {"self"}  # type: ignore[call-overload]
    assert all(count >= 0 for count in seen["udp_errors"].values())  # type: ignore[attr-defined]


def test_a_footprint_counts_the_processes_below() -> None:
    """Memory, files and threads of a child are its parent's too; what is gone holds nothing."""
    before = machine.footprint(os.getpid())
    with subprocess.Popen(["sleep", "30"]) as child:
        try:
            assert machine.footprint(child.pid).threads == 1
            after = machine.footprint(os.getpid())
        finally:
            child.kill()
    assert after.threads > before.threads
    assert after.files > before.files
    assert before.memory_bytes > 1_000_000
    assert machine.footprint(2**22 + 1) == machine.Footprint(0, 0, 0)
