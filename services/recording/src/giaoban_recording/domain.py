# SPDX-License-Identifier: Apache-2.0
"""Owns what a recording is, and how its state follows from what lies in storage. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MIN_SHIPPING = timedelta(seconds=4)
"""The least time between the stop and the last look at a node's folder: the node needs a moment to close files."""

LOST_AFTER = timedelta(minutes=10)
"""A node whose shipper has not been heard of for so long is gone: what storage has of its tracks is all."""

MAX_ATTEMPTS = 5

PAUSES = timedelta(hours=1)
MAX_WATCHING = timedelta(hours=12)

_TRACK = re.compile(
    r"(?P<recording>[0-9A-HJKMNP-TV-Z]{26})~(?P<participant>[0-9A-HJKMNP-TV-Z]{26})~(?P<stamp>\d{1,16})"
    r"-(?P<kind>audio|video)-(?P<index>\d{1,3})\.mjr(?P<open>\.tmp)?"
)


class State(StrEnum):
    """How far a recording is."""

    CAPTURING = "capturing"
    SHIPPING = "shipping"
    COMPOSING = "composing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of one meeting."""

    id: str
    organisation_id: str
    unit_id: str
    meeting_id: str
    meeting_title: str
    state: State
    started_by: str
    start_time: datetime
    stop_time: datetime | None = None
    duration: timedelta | None = None
    size_bytes: int = 0
    media_type: str = ""
    sha256: str = ""
    progress_percent: int = 0
    shipped_bytes: int = 0
    failure: str = ""
    attempts: int = 0


def watching_time(duration: timedelta | None) -> timedelta:
    """How long somebody may go on watching without asking again: once through, with pauses."""
    return MAX_WATCHING if duration is None else min(duration + PAUSES, MAX_WATCHING)


@dataclass(frozen=True, slots=True)
class TrackName:
    """What a track's file name says; media chose it when it asked the node to record."""

    recording_id: str
    participant_id: str
    stamp: int
    kind: str
    index: int
    is_open: bool

    @property
    def file(self) -> str:
        """The final name."""
        return f"{self.recording_id}~{self.participant_id}~{self.stamp}-{self.kind}-{self.index}.mjr"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a track in storage; SHA-256 in hexadecimal."""

    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Track:
    """A track as storage has it: its pieces in order. `complete` once the node has closed the file, or left it."""

    node_id: str
    name: TrackName
    chunks: tuple[Chunk, ...]
    complete: bool
    update_time: datetime

    @property
    def size(self) -> int:
        """Bytes in storage."""
        return sum(each.length for each in self.chunks)


def parse_track_name(name: str) -> TrackName | None:
    """The parts of a track's file name; None for any other file."""
    found = _TRACK.fullmatch(name)
    if found is None:
        return None
    return TrackName(
        found["recording"],
        found["participant"],
        int(found["stamp"]),
        found["kind"],
        int(found["index"]),
        found["open"] is not None,
    )


@dataclass(frozen=True, slots=True)
class Look:
    """A shipper's word: what its node's folder held at this moment is in storage."""

    node_id: str
    time: datetime


def all_shipped(recording: Recording, tracks: Sequence[Track], looks: Sequence[Look], now: datetime) -> bool:
    """Whether everything that was captured is in storage, or will never come.

    Every node's shipper must have looked since the stop, and every track be complete; a shipper or a track
    that is silent for `LOST_AFTER` is waited for no longer.
    """
    stop = recording.stop_time
    if stop is None or now < stop + MIN_SHIPPING:
        return False

    def given_up(heard: datetime) -> bool:
        return now - max(heard, stop) >= LOST_AFTER

    if not tracks and not looks:
        return given_up(stop)
    return all(each.complete or given_up(each.update_time) for each in tracks) and all(
        each.time >= stop + MIN_SHIPPING
        or each.time < recording.start_time - LOST_AFTER
        or given_up(each.time)
        for each in looks
    )


@dataclass(frozen=True, slots=True)
class MjrHeader:
    """The header of a Janus recording (MJR00002): what it carries, and when its first packet came."""

    kind: str
    codec: str
    first_packet: datetime
    is_screen: bool = False
