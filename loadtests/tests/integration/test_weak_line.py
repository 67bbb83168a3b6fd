# SPDX-License-Identifier: Apache-2.0
"""A weak line between two real namespaces."""

import asyncio
import os
import time
from pathlib import Path
from typing import cast

import pytest
from giaoban_loadtests.weak_line import NEAR, LineError, Quality, WeakLine

pytestmark = pytest.mark.skipif(
    not Path("/dev/net/tun").exists(), reason="explained: this machine's kernel has no TAP devices"
)


class Echo(asyncio.DatagramProtocol):
    """Sends every datagram back; keeps those that came."""

    def __init__(self) -> None:
        self.came: list[tuple[bytes, tuple[str, int]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came.append((data, addr))
        self.transport.sendto(data, addr)


class Count(asyncio.DatagramProtocol):
    """Counts what came back."""

    count = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.count += 1


async def test_datagrams_are_late_and_lost_and_streams_are_whole() -> None:
    """UDP loses what the line loses, there and back; TCP repeats it; nothing passes while the line is cut."""
    near = asyncio.get_running_loop()
    transport, echo = await near.create_datagram_endpoint(Echo, local_addr=(NEAR, 9))
    body = os.urandom(200_000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(body)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 8080)
    line = WeakLine(Quality(delay=0.03, loss=0.1, rate=20e6), 2, 8080)

    async def far() -> tuple[int, float, bytes, int]:
        loop = asyncio.get_running_loop()
        sender, counted = await loop.create_datagram_endpoint(
            Count, remote_addr=(NEAR, 9), local_addr=(line.far[1], 0)
        )
        for _ in range(500):
            sender.sendto(b"x" * 200)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)
        back = counted.count
        line.cut(0.5)
        for _ in range(20):
            sender.sendto(b"y" * 200)
        await asyncio.sleep(0.7)
        through = counted.count - back
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(NEAR, 8080)
        took = time.monotonic() - started
        writer.write(body)
        got = await reader.readexactly(len(body))
        writer.close()
        sender.close()
        await asyncio.sleep(0.1)  # until both are
        return back, took, got, through

    async with line:
        back, took, got, through = await line.run(far)
    transport.close()
    server.close()
    assert {address for _, (address, _) in echo.came} == {line.far[1]}
    assert 350 < back < 460  # 0.9 x 0.9 of 500
    assert through == 0
    assert took > 0.06
    assert got == body


async def test_what_fails_at_the_far_end_fails_here() -> None:
    """An error over there is the caller's, and the line can be built again after it."""

    async def fails() -> None:
        raise LineError("no way")

    for _ in range(2):
        async with WeakLine(Quality(delay=0, loss=0, rate=1e9), 1, 8081) as line:
            with pytest.raises(LineError, match="no way"):
                await line.run(fails)
