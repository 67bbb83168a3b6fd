# SPDX-License-Identifier: Apache-2.0
"""Owns one child process: its start, readiness, log file, orderly stop, and its end when we end."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from giaoban_dev.infra.errors import InfraError, PortTakenError

START_SECONDS = 20.0
STOP_SECONDS = 10.0
PROBE_INTERVAL_SECONDS = 0.05
LOG_TAIL_LINES = 15
LOG_MAX_BYTES = 20 * 1024 * 1024

Probe = Callable[[], Awaitable[bool]]


@dataclass
class Process:
    """A child process in its own session, so that a terminal's Ctrl-C reaches only the supervisor.

    `parent_death_signal` is what the kernel sends it when we die, however we die (prctl(2)).
    With `info_pipe` the command is bubblewrap, which reports the pid of the process inside; signals go there.
    """

    name: str
    argv: Sequence[str]
    log_file: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    parent_death_signal: str = "KILL"
    stop_signal: signal.Signals = signal.SIGTERM
    info_pipe: bool = False
    _process: asyncio.subprocess.Process | None = field(default=None, init=False, repr=False)
    _inner_pid: int | None = field(default=None, init=False, repr=False)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        return self._process.returncode if self._process else None

    @property
    def pid(self) -> int:
        """The pid to signal: the process itself, inside its sandbox if it has one."""
        if self._process is None:
            raise InfraError(f"{self.name} has not been started")
        return self._inner_pid or self._process.pid

    async def start(self) -> None:
        """Start the process; raises InfraError when the program is missing."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        argv = ["setpriv", "--pdeathsig", self.parent_death_signal, "--", *self.argv]
        with _open_log(self.log_file) as log:
            if self.info_pipe:
                await self._start_sandboxed(argv, log)
            else:
                self._process = await self._spawn(argv, log, ())

    async def _spawn(
        self, argv: Sequence[str], log: IO[bytes], fds: Sequence[int]
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
                pass_fds=fds,
            )
        except FileNotFoundError as error:
            raise InfraError(f"{self.name}: {error.filename} is missing; run bin/setup") from error

    async def _start_sandboxed(self, argv: Sequence[str], log: IO[bytes]) -> None:
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as report:
            try:
                at = argv.index("bwrap") + 1
                argv = [*argv[:at], "--info-fd", str(write_end), *argv[at:]]
                self._process = await self._spawn(argv, log, (write_end,))
            finally:
                os.close(write_end)
            text = await asyncio.to_thread(report.read)
        if not text:
            await self._process.wait()
            raise InfraError(f"{self.name}: the sandbox did not start\n{self.log_tail()}")
        self._inner_pid = int(json.loads(text)["child-pid"])

    async def wait_ready(self, probe: Probe, seconds: float = START_SECONDS) -> None:
        """Wait until `probe` is true; raises InfraError with the end of the log if it ends or takes too long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            if not self.running:
                raise InfraError(
                    f"{self.name} stopped while starting (exit {self.returncode}). End of {self.log_file}:\n{self.log_tail()}"
                )
            with contextlib.suppress(OSError, TimeoutError):
                # asyncio.timeout, never wait_for: before Python 3.12 that one can swallow our own cancellation.
                async with asyncio.timeout(2):
                    if await probe():
                        return
            if asyncio.get_running_loop().time() > deadline:
                raise InfraError(
                    f"{self.name} was not ready after {seconds:.0f} s. End of {self.log_file}:\n{self.log_tail()}"
                )
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit status."""
        if self._process is None:
            raise InfraError(f"{self.name} has not been started")
        return await self._process.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process (inside its sandbox); no error when it has ended already."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the process to stop, kill it after `seconds`; returns when it is gone."""
        if self._process is None or self._process.returncode is not None:
            return
        self.send_signal(self.stop_signal)
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the process without warning, as a crash would."""
        self.send_signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def log_tail(self) -> str:
        """Return the last lines of the log, for an error message."""
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(f"  | {line}" for line in lines[-LOG_TAIL_LINES:])


def _open_log(file: Path) -> IO[bytes]:
    # One older generation is kept, so that a long-lived stack cannot fill the disk over many starts.
    if file.exists() and file.stat().st_size > LOG_MAX_BYTES:
        file.replace(file.with_suffix(file.suffix + ".1"))
    return file.open("ab", buffering=0)


def raise_open_files_limit() -> None:
    """Raise the soft limit of open files to the hard one: a media node needs 2-3 per viewer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port nobody listens on now; for tests inside their own network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def ensure_port_free(host: str, port: int, *, what: str, key: str) -> None:
    """Raise PortTakenError, naming the holder when it can be seen, if `what` cannot listen on host:port.

    `key` is the environment variable that moves `what` to another port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError:
            raise InfraError(
                f"{what}: no permission to listen on port {port}; set {key} to one above 1023"
            ) from None
        except OSError as error:
            holder = _holder(port)
            raise PortTakenError(
                f"{what} cannot listen on {host}:{port}: {error.strerror}"
                + (f" (held by {holder})" if holder else "")
                + f". Stop that program, or set {key} to a free port."
            ) from None


def _holder(port: int) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False, timeout=5
        )
        if 'users:(("' in found.stdout:
            name, _, rest = found.stdout.split('users:(("', 1)[1].partition('"')
            return f"{name}, pid {rest.split('pid=', 1)[1].split(',', 1)[0]}" if "pid=" in rest else name
    return ""
