# SPDX-License-Identifier: Apache-2.0
"""Owns a weak line: a network namespace whose only way out is slow, late and loses packets, and can be cut.

This process passes Ethernet frames between a TAP device over there and the other end of bin/in-netns's veth pair: the
kernel's own netem (tc-netem(8)) is missing on many machines, and Janus hears only what comes through its own interface.
Loss is independent; the queue, one per address and direction, drops what does not fit.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import random
import socket
import struct
import subprocess
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

NEAR, NEAR_DEVICE, FAR_DEVICE = "10.77.0.50", "gb-other", "gb-far"  # the first two are made by bin/in-netns
FIRST_FAR, MAX_FAR = 100, 100  # addresses 10.77.0.<number>
QUEUE_SECONDS = 0.5  # what waits longer is dropped, as by a router that buffers too much
MAX_FRAME = 66_000  # the kernel hands over segments that are yet to be cut (virtio_net.h)
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000  # linux/if_tun.h
_SOL_PACKET, _PACKET_VNET_HDR, _ETH_P_ALL, _OUTGOING = 263, 15, 0x0003, 4  # linux/if_packet.h, if_ether.h
# Every frame begins with ten bytes of virtio_net_hdr, which carry checksums that are yet to be made.
_TYPE, _SOURCE, _DESTINATION = slice(22, 24), slice(36, 40), slice(40, 44)  # IEEE 802.3; RFC 791, section 3.1
_IPV4, _ARP = b"\x08\x00", b"\x08\x06"

T = TypeVar("T")


class LineError(Exception):
    """The line cannot be built here; the message says what is missing."""


@dataclass(frozen=True)
class Quality:
    """One way of a line: delay in seconds, lost share of packets, bits per second of each address."""

    delay: float
    loss: float
    rate: float


class Way:
    """One direction: when each packet arrives, if it does. Times are seconds of one clock."""

    def __init__(self, quality: Quality, chance: Callable[[], float] = random.random) -> None:
        self._quality = quality
        self._chance = chance
        self._free: dict[bytes, float] = defaultdict(float)
        self.cut_until = 0.0

    def arrival(self, now: float, address: bytes, size: int) -> float | None:
        """Return when a packet of `size` bytes to or from `address` arrives; None when it is lost."""
        start = max(now, self._free[address])
        if now < self.cut_until or self._chance() < self._quality.loss or start - now > QUEUE_SECONDS:
            return None
        self._free[address] = start + 8 * size / self._quality.rate
        return self._free[address] + self._quality.delay


class WeakLine:
    """A line to a namespace of its own; an asynchronous context manager. `far` are the addresses at its other end.

    What listens on this machine's loopback at the TCP port `port` is found at NEAR and the same port. Needs bin/in-netns,
    as root. Raises LineError.
    """

    def __init__(self, quality: Quality, count: int, port: int) -> None:
        if not 0 < count <= MAX_FAR:
            raise ValueError(f"{count} addresses: from 1 to {MAX_FAR}")
        self.far = [f"10.77.0.{FIRST_FAR + number}" for number in range(count)]
        self._up, self._down = Way(quality), Way(quality)
        self._port = port
        self._device = -1
        self._streams = set[asyncio.StreamWriter]()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            self._near = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._near.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            self._near.bind((NEAR_DEVICE, 0))
        except OSError as error:
            raise LineError(f"no way to {NEAR_DEVICE} for the weak line: {error.strerror}") from error
        self._near.setblocking(False)
        self._server = await asyncio.start_server(self._forward, NEAR, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for stream in self._streams:
            stream.transport.abort()  # the far end is gone and says nothing any more
        self._loop.remove_reader(self._near)
        self._near.close()
        if self._device >= 0:
            self._loop.remove_reader(self._device)
            os.close(self._device)  # takes the device with it
            self._device = -1

    def cut(self, seconds: float) -> None:
        """Let nothing through for so long; may be called from any thread."""
        until = self._loop.time() + seconds
        self._up.cut_until = self._down.cut_until = until

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` at the far end: in a thread with a namespace and an event loop of its own."""
        opened: asyncio.Future[int] = self._loop.create_future()

        def far() -> T:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):  # of this thread alone (unshare(2))
                raise LineError(f"no namespace for the weak line: {os.strerror(ctypes.get_errno())}")
            device = _device(self.far)
            self._loop.call_soon_threadsafe(opened.set_result, device)
            return asyncio.run(_awaited(work))

        with ThreadPoolExecutor(1) as executor:
            done = self._loop.run_in_executor(executor, far)
            either: set[asyncio.Future[Any]] = {done, opened}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if opened.done():
                self._device = opened.result()
                self._loop.add_reader(self._device, self._upwards)
                self._loop.add_reader(self._near, self._downwards)
            return await done

    def _upwards(self) -> None:
        with contextlib.suppress(BlockingIOError):
            frame = os.read(self._device, MAX_FRAME)
            self._pass(frame, self._up, frame[_SOURCE], self._near.fileno)

    def _downwards(self) -> None:
        with contextlib.suppress(BlockingIOError):
            frame, where = self._near.recvfrom(MAX_FRAME)
            if where[2] != _OUTGOING:  # what we have sent there ourselves
                self._pass(frame, self._down, frame[_DESTINATION], lambda: self._device)

    def _pass(self, frame: bytes, way: Way, address: bytes, sink: Callable[[], int]) -> None:
        when: float | None = None
        if frame[_TYPE] == _ARP:
            when = self._loop.time()
        elif frame[_TYPE] == _IPV4:  # nobody but the kernel speaks anything else here
            when = way.arrival(self._loop.time(), address, len(frame))
        if when is not None:
            self._loop.call_at(when, self._deliver, frame, sink)

    def _deliver(self, frame: bytes, sink: Callable[[], int]) -> None:
        if self._device >= 0:
            with contextlib.suppress(BlockingIOError):  # a full queue of the kernel: lost
                os.write(sink(), frame)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
        self._streams |= {outer, writer}
        await asyncio.gather(_pipe(reader, outer), _pipe(inner, writer))
        self._streams -= {outer, writer}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # either side may be gone
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _device(addresses: list[str]) -> int:
    """Make a TAP device in the namespace of this thread (Documentation/networking/tuntap); raises LineError."""
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", FAR_DEVICE.encode(), flags))
    except OSError as error:
        raise LineError(f"no TAP device for the weak line (/dev/net/tun): {error.strerror}") from error
    _ip("link", "set", "lo", "up")
    for address in addresses:
        _ip("address", "add", f"{address}/24", "dev", FAR_DEVICE)
    _ip("link", "set", FAR_DEVICE, "up")
    return device


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LineError(f"ip {' '.join(words)}: {done.stderr.strip()}")
