# SPDX-License-Identifier: Apache-2.0
"""Owns what is measured of the machine and its processes, all from /proc: CPU, memory, steal, pressure, UDP errors."""

import os
import platform
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UDP_ERRORS = ("RcvbufErrors", "SndbufErrors", "InCsumErrors", "MemErrors")


def description() -> dict[str, str | int]:
    """Return what a reader must know of the machine: processor, cores, memory, kernel, Python. No host name."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class Usage:
    """CPU seconds (user and system) and resident bytes of a process up to now."""

    cpu_seconds: float
    resident_bytes: int


def usage(pid: int) -> Usage | None:
    """Return the usage of a process with all its threads; None when it is gone (proc(5), stat and statm)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, resident * PAGE_BYTES)


@dataclass(frozen=True)
class Footprint:
    """What a process and all below it hold: bytes (shared ones divided among those who share them), files, threads."""

    memory_bytes: int
    files: int
    threads: int


def footprint(pid: int) -> Footprint:
    """Return what a process tree holds now; nothing of what is gone (proc(5), smaps_rollup, fd, task).

    Without mapped files: a process' share of a library grows when another one that has it too ends.
    """
    folder = Path(f"/proc/{pid}")
    try:
        rollup = _lines(str(folder / "smaps_rollup"))
        shares = [line.split()[1] for line in rollup if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
        files, tasks = len(list((folder / "fd").iterdir())), list((folder / "task").iterdir())
    except OSError:
        return Footprint(0, 0, 0)
    below = [footprint(int(child)) for task in tasks for child in _words(task / "children")]
    return Footprint(
        sum(map(int, shares)) * 1024 + sum(each.memory_bytes for each in below),
        files + sum(each.files for each in below),
        len(tasks) + sum(each.threads for each in below),
    )


def tree_cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and all below it, those included that have ended and were waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0.0
    children = [int(child) for task in tasks for child in _words(task / "children")]
    return sum(map(int, fields[11:15])) / TICKS + sum(map(tree_cpu_seconds, children))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def own_peak_bytes() -> int:
    """Return the largest resident size that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class _Moment:
    clock: float
    own_cpu: float
    total_ticks: int
    steal_ticks: int
    idle_ticks: int
    pressure: Mapping[str, int]  # microseconds in which something waited, from /proc/pressure
    udp: Mapping[str, int]
    processes: Mapping[str, Usage]


class Watch:
    """Compares two moments. `processes` are names and process ids of the system that is measured."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._pids = dict(processes)
        self._start = self._now()

    def stop(self) -> dict[str, object]:
        """Return what happened since the start; shares are of one core, of all time for steal and idle."""
        begin, end = self._start, self._now()
        seconds = end.clock - begin.clock
        ticks = max(1, end.total_ticks - begin.total_ticks)
        return {
            "seconds": seconds,
            "generator_cpu": (end.own_cpu - begin.own_cpu) / seconds,
            "generator_peak_bytes": own_peak_bytes(),
            "system_cpu": {
                name: (end.processes[name].cpu_seconds - used.cpu_seconds) / seconds
                for name, used in begin.processes.items()
                if name in end.processes
            },
            "system_bytes": {name: used.resident_bytes for name, used in end.processes.items()},
            "steal": (end.steal_ticks - begin.steal_ticks) / ticks,
            "idle": (end.idle_ticks - begin.idle_ticks) / ticks,
            "pressure": {
                name: (end.pressure[name] - waited) / 1e6 / seconds for name, waited in begin.pressure.items()
            },
            "udp_errors": {name: end.udp[name] - count for name, count in begin.udp.items()},
            "load": os.getloadavg()[0],
        }

    def _now(self) -> _Moment:
        cpu = [int(field) for field in _lines("/proc/stat")[0].split()[1:9]]
        processes = {name: used for name, pid in self._pids.items() if (used := usage(pid)) is not None}
        return _Moment(
            clock=time.monotonic(),
            own_cpu=time.process_time(),
            total_ticks=sum(cpu),
            steal_ticks=cpu[7],
            idle_ticks=cpu[3],
            pressure=_pressure(),
            udp=udp_errors(),
            processes=processes,
        )


def udp_errors() -> dict[str, int]:
    """Return the UDP error counters of our network namespace (/proc/net/snmp)."""
    rows = [line.split()[1:] for line in _lines("/proc/self/net/snmp") if line.startswith("Udp: ")]
    counters = dict(zip(rows[0], map(int, rows[1]), strict=True))
    return {name: counters.get(name, 0) for name in _UDP_ERRORS}


def _pressure() -> dict[str, int]:
    found = {}
    for kind in ("cpu", "memory", "io"):
        for line in _lines(f"/proc/pressure/{kind}"):
            if line.startswith("some"):
                found[kind] = int(line.rpartition("total=")[2])
    return found


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []
