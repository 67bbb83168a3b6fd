# SPDX-License-Identifier: Apache-2.0
"""The supervisor: crashes are mended, a second start is refused, nothing is left behind, however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.process import Process
from giaoban_dev.stack.supervisor import Program, StackLock, Supervisor, run_once


def _sleeper(name: str, directory: Path) -> Program:
    process = Process(name=name, argv=["sleep", "300"], log_file=directory / f"{name}.log")

    async def ready() -> bool:
        return True

    return Program(process, ready)


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


async def _eventually(condition: object, seconds: float = 5) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():  # type: ignore[operator]
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


async def test_a_crashed_part_runs_again_with_backoff(tmp_path: Path) -> None:
    """A killed process is started again, and the person is told what happened and where the log is."""
    said: list[str] = []
    part = _sleeper("frail", tmp_path)
    async with Supervisor(say=said.append) as supervisor:
        await supervisor.run(part)
        for _ in range(2):
            first = part.process.pid
            os.kill(first, signal.SIGKILL)
            await _eventually(lambda before=first: part.process.running and part.process.pid != before)
        last = part.process.pid
    assert _gone(last)
    assert "frail stopped (exit -9); starting it again in 0.5 s" in said[0]
    assert "in 1 s" in said[2]


async def test_waves_stop_in_reverse_order(tmp_path: Path) -> None:
    """What was started in a later wave, and may need those before, stops first."""
    order: list[str] = []
    async with Supervisor(say=order.append) as supervisor:
        for name in ("one", "two", "three"):
            part = _sleeper(name, tmp_path)
            stop = part.stop

            async def noted(name: str = name, stop: object = stop) -> None:
                order.append(name)
                await stop()  # type: ignore[operator]

            part.stop = noted  # type: ignore[method-assign]
            await supervisor.run(part)
            supervisor.next_wave()
    assert order == ["three", "two", "one"]


async def test_a_part_that_ends_while_starting_shows_its_log(tmp_path: Path) -> None:
    """The error of a failed start holds the end of the log."""
    process = Process(
        name="broken", argv=["sh", "-c", "echo no such room; exit 3"], log_file=tmp_path / "log"
    )

    async def never() -> bool:
        return False

    async with Supervisor(say=print) as supervisor:
        with pytest.raises(InfraError, match=r"(?s)broken stopped while starting \(exit 3\).*no such room"):
            await supervisor.run(Program(process, never))


async def test_a_failed_task_is_an_error(tmp_path: Path) -> None:
    """A migration that fails stops the start."""
    with pytest.raises(InfraError, match=r"(?s)migrate failed \(exit 1\).*no table"):
        await run_once(
            Process(name="migrate", argv=["sh", "-c", "echo no table; exit 1"], log_file=tmp_path / "log"),
            seconds=5,
        )


def test_a_second_stack_is_refused(tmp_path: Path) -> None:
    """While one stack runs, another on the same state says which process to stop."""
    with StackLock(tmp_path), pytest.raises(InfraError, match=f"runs already.*kill {os.getpid()}"):
        StackLock(tmp_path).__enter__()
    with StackLock(tmp_path):
        pass


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path, private_network: None) -> None:
    """After kill -9 of the whole stack's supervisor no server is left, and the next start works."""
    environment = {**os.environ, "GIAOBAN_STATE": str(tmp_path / "state"), **_OTHER_PORTS}
    for number in (signal.SIGKILL, signal.SIGINT):
        stack = subprocess.Popen(
            [sys.executable, "-u", "-m", "giaoban_dev", "up", "--servers"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        try:
            assert stack.stdout is not None
            lines = []
            for line in stack.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            assert "Ctrl-C" in lines[-1], "".join(lines)
            children = _descendants(stack.pid)
            names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in children}
            assert {"postgres", "nats-server", "janus"} <= names
            asked = subprocess.run(
                [sys.executable, "-m", "giaoban_dev", "smoke", "--servers"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert asked.returncode == 0, asked.stdout + asked.stderr
            stack.send_signal(number)
            stack.communicate(timeout=20)
            assert stack.returncode == (0 if number == signal.SIGINT else -signal.SIGKILL)
            asyncio.run(_eventually(lambda left=children: all(_gone(pid) for pid in left), 10))
        finally:
            stack.kill()  # whatever failed above: nothing of the test stays


_OTHER_PORTS = {
    f"GIAOBAN_DEV_{name}_PORT": str(port)
    for port, name in enumerate(
        (
            "POSTGRES",
            "NATS",
            "MQTT",
            "NATS_MONITOR",
            "SMTP",
            "MAIL_PAGE",
            "JANUS_A_API",
            "JANUS_A_ADMIN",
            "JANUS_B_API",
            "JANUS_B_ADMIN",
        ),
        start=18000,
    )
} | {"GIAOBAN_DEV_JANUS_A_RTP_PORT": "30000", "GIAOBAN_DEV_JANUS_B_RTP_PORT": "32000"}


def _descendants(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found, queue = [], [pid]
    while queue:
        parent = queue.pop()
        children = [child for child, its in parents if its == parent]
        found += children
        queue += children
    return found


def test_a_command_in_its_own_network_leaves_nothing(tmp_path: Path) -> None:
    """bin/in-netns passes the exit status on and has only the documented addresses."""
    script = textwrap.dedent("""
        import json, subprocess, sys
        from giaoban_dev.infra.addresses import own_addresses
        assert own_addresses() == ["10.77.0.1", "10.77.0.2", "10.77.0.50"], own_addresses()
        sys.exit(7)
    """)
    ran = subprocess.run(
        ["bin/in-netns", sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 7, ran.stderr
