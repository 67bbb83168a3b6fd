# SPDX-License-Identifier: Apache-2.0
"""Owns the one epoll set over all media sockets of the process, nested in the event loop as a single descriptor.

The event loop then wakes once for a burst of datagrams on many sockets instead of once for each: that, not the
system calls, is what receiving costs in Python (docs/adr/0010).
"""

import asyncio
import select
import socket
from collections.abc import Callable
from weakref import WeakKeyDictionary

# A pause after each round lets datagrams gather, so that a round serves many of them. It bounds how late a datagram
# is seen, and with that the error of every time that the endpoints measure.
ROUND_SECONDS = 0.002
MAX_EVENTS = 1024
MAX_SWEEPS = 64  # datagrams of one socket in a round; timers get their turn after it

OnReadable = Callable[[float], None]  # gets the event loop's time, in seconds


class Reactor:
    """One epoll set (epoll(7): an epoll descriptor can itself be waited for)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._readers: dict[int, OnReadable] = {}
        self._pause: asyncio.TimerHandle | None = None

    def add(self, sock: socket.socket, on_readable: OnReadable) -> None:
        """Call `on_readable` once for every datagram on `sock`, until it is removed."""
        if not self._readers:
            self._listen()
        self._readers[sock.fileno()] = on_readable
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Stop; unknown sockets are ignored. Must come before the socket is closed."""
        if self._readers.pop(sock.fileno(), None) is None:
            return
        self._epoll.unregister(sock.fileno())
        if not self._readers:
            self._rest()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    def _rest(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _on_ready(self) -> None:
        readers, now = self._readers, self._loop.time()
        for _ in range(MAX_SWEEPS):
            ready = self._epoll.poll(0, MAX_EVENTS)
            for descriptor, _events in ready:
                # A reader before this one may have closed this one's socket.
                on_readable = readers.get(descriptor)
                if on_readable is not None:
                    on_readable(now)
            if not ready:
                break
        if readers:
            self._loop.remove_reader(self._epoll.fileno())
            self._pause = self._loop.call_later(ROUND_SECONDS, self._listen)


_reactors: WeakKeyDictionary[asyncio.AbstractEventLoop, Reactor] = WeakKeyDictionary()


def reactor() -> Reactor:
    """Return the reactor of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _reactors.get(loop)
    if found is None:
        found = _reactors[loop] = Reactor(loop)
    return found
