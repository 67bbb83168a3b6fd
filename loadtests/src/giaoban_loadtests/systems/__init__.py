# SPDX-License-Identifier: Apache-2.0
"""Owns what the measuring side knows of a system under test: meetings that one can attend, and their processes.

Endpoints, clips, blocks and statistics see only these protocols; an adapter per system does its signalling.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from giaoban_loadtests.clips import Clip
from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.publish import Pacer


class SystemFailedError(Exception):
    """The system under test did not do what every measurement needs; the message says what."""


@dataclass(frozen=True)
class Media:
    """How the endpoints of a run send and receive. `on_delay` gets the forward latency of sound, in seconds."""

    pacer: Pacer
    local_ip: str
    decrypt_every: int
    on_delay: Callable[[float], None] | None = None


class Attendee(Protocol):
    """One endpoint in a meeting."""

    @property
    def name(self) -> str: ...
    @property
    def publisher(self) -> PeerConnection | None: ...
    @property
    def receiver(self) -> PeerConnection | None: ...

    async def prepare(self) -> None:
        """Do what one has done long before a meeting begins: sign in. Raises SystemFailedError."""

    async def enter(self) -> None:
        """Come in and stay; returns when the system has said yes. Raises SystemFailedError."""

    async def leave(self) -> None:
        """Leave, or do nothing when not in."""

    @property
    def entering_time(self) -> float:
        """When `enter` began, on the event loop's clock."""

    @property
    def problem(self) -> str:
        """What went wrong last, empty when nothing did."""


class Meeting(Protocol):
    """One meeting: everyone receives the sound of the speakers, the picture of the stage, and their tiles."""

    def attendee(self, clip: Clip | None) -> Attendee:
        """Return somebody who may come in; without a clip they only watch and listen. Raises SystemFailedError."""

    async def arrange(self, speakers: Sequence[Attendee], stage: Attendee, tiles: Sequence[Attendee]) -> None:
        """Let `speakers` be heard, `stage` be seen by all, `tiles` be seen small; all of them are in the meeting."""


class System(Protocol):
    """A system under test that is running."""

    @property
    def name(self) -> str: ...

    @property
    def processes(self) -> Mapping[str, int]:
        """Names and ids of its processes; empty when it runs elsewhere."""

    @property
    def media_processes(self) -> Sequence[str]:
        """Those of them that forward media."""

    def meeting(self, size: int, media: Media) -> AbstractAsyncContextManager[Meeting]:
        """Return a new meeting for at most `size` endpoints; it ends with the context."""
