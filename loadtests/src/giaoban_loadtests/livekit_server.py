# SPDX-License-Identifier: Apache-2.0
"""Owns a LiveKit server for comparisons: a child in our own network namespace, its binary given by the user."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.livekit import LiveKit, LiveKitAccess

API_PORT = 17880
MEDIA_IP = "10.77.0.2"  # one of bin/in-netns
READY_SECONDS, READY_POLL_SECONDS = 20.0, 0.1
STOP_SECONDS = 10.0
TAIL_BYTES = 600
# Defaults where they are not named: a socket for each connection, as Janus has it.
CONFIG = f"""
port: {API_PORT}
bind_addresses: [127.0.0.1]
rtc:
  port_range_start: 30000
  port_range_end: 39999
  tcp_port: 0
  use_external_ip: false
  node_ip: {MEDIA_IP}
  use_ice_lite: true
  ips: {{includes: [{MEDIA_IP}/32]}}
turn: {{enabled: false}}
logging: {{level: warn}}
"""


@asynccontextmanager
async def livekit_server(binary: Path) -> AsyncIterator[LiveKit]:
    """Start a server and wait until it answers; stops it afterwards. Raises SystemFailedError."""
    program = _program(binary)
    if os.environ.get("GIAOBAN_IN_NETNS") != "1":
        raise SystemFailedError("--livekit needs its own network: start this with bin/in-netns")
    access = LiveKitAccess(f"ws://127.0.0.1:{API_PORT}", "loadtest", secrets.token_urlsafe(32))
    environment = {
        **os.environ,
        "LIVEKIT_CONFIG": CONFIG,
        "LIVEKIT_KEYS": f"{access.key}: {access.secret}",  # not on the command line, which others can read
    }
    with tempfile.TemporaryFile() as printed:
        server = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", "--", program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env=environment,
            start_new_session=True,
        )
        try:
            try:
                await _answers(server)
            except TimeoutError:
                printed.seek(0)
                said = printed.read()[-TAIL_BYTES:].decode(errors="replace").strip()
                raise SystemFailedError(
                    f"--livekit {binary}: not ready after {READY_SECONDS:g} s at most; it said: {said}"
                ) from None
            yield LiveKit(access, {"livekit": server.pid})
        finally:
            await _stop(server)


def _program(binary: Path) -> str:
    if not (binary.is_file() and os.access(binary, os.X_OK)):
        raise SystemFailedError(f"--livekit {binary}: no program; give the path of a livekit-server binary")
    return str(binary.resolve())


async def _answers(server: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            if server.returncode is not None:
                raise TimeoutError
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", API_PORT)
                writer.close()
                return
            await asyncio.sleep(READY_POLL_SECONDS)


async def _stop(server: asyncio.subprocess.Process) -> None:
    if server.returncode is None:
        server.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await server.wait()
        except TimeoutError:
            server.kill()
            await server.wait()
