# SPDX-License-Identifier: Apache-2.0
"""What a track's name says, and when everything that was captured is in storage."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from giaoban_recording.domain import (
    LOST_AFTER,
    MIN_SHIPPING,
    Chunk,
    Look,
    Recording,
    State,
    Track,
    TrackName,
    all_shipped,
    parse_track_name,
)

ID, WHO = "01M8350YX8A29G82R0PRMN433F", "01M8350YZATG7AZC93JQMSB41T"
START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
STOP = START + timedelta(hours=1)
SECOND = timedelta(seconds=1)
STOPPED = Recording(
    id=ID,
    organisation_id="o",
    unit_id="u",
    meeting_id="m",
    meeting_title="Giao ban",
    state=State.SHIPPING,
    started_by="p",
    start_time=START,
    stop_time=STOP,
)


@pytest.mark.parametrize(("ending", "is_open"), [("", False), (".tmp", True)])
def test_a_track_name_is_read(ending: str, is_open: bool) -> None:
    """All parts come out, and the final name is the same while the file is open."""
    final = f"{ID}~{WHO}~1795402267629-video-1.mjr"
    read = parse_track_name(final + ending)
    assert read == TrackName(ID, WHO, 1795402267629, "video", 1, is_open)
    assert read.file == final


@pytest.mark.parametrize(
    "name",
    [
        "",
        "videoroom-1234-user-1-1795402267629-video-1.mjr",
        f"{ID}~{WHO}~1-data-1.mjr",
        f"{ID}~{WHO}~1-video-1.mjr.part",
        f"{ID}~{WHO}~1-video-1.mjr.tmp.tmp",
        f"../{ID}~{WHO}~1-video-1.mjr",
        f"{ID}~{WHO}/x~1-video-1.mjr",
        f"{ID.lower()}~{WHO}~1-video-1.mjr",
        f"{ID}~{WHO}~1-video-1.mjr\n",
        f"{ID}~{WHO}~{'9' * 17}-video-1.mjr",
    ],
)
def test_other_files_are_no_tracks(name: str) -> None:
    """What media did not name is left alone."""
    assert parse_track_name(name) is None


def track(*, complete: bool = True, changed: datetime = STOP) -> Track:
    name = TrackName(ID, WHO, 1, "audio", 0, is_open=False)
    return Track("a", name, (Chunk(0, 10, "x"),), complete, changed)


def look(after_stop: timedelta, node: str = "a") -> Look:
    return Look(node, STOP + after_stop)


CASES: dict[str, tuple[Any, ...]] = {
    # name: tracks, looks, time since the stop, shipped
    "everything is there": ([track()], [look(4 * SECOND)], 4 * SECOND, True),
    "too soon": ([track()], [look(4 * SECOND)], 3.9 * SECOND, False),
    "a track is open": ([track(), track(complete=False)], [look(4 * SECOND)], 60 * SECOND, False),
    "the shipper last looked before the stop": ([track()], [look(-SECOND)], 60 * SECOND, False),
    "the shipper looked too soon after the stop": ([track()], [look(3.9 * SECOND)], 60 * SECOND, False),
    "another node's shipper has not looked": (
        [track()],
        [look(5 * SECOND), look(-SECOND, "b")],
        60 * SECOND,
        False,
    ),
    "another node's shipper was gone before the start": (
        [track()],
        [look(5 * SECOND), Look("b", START - LOST_AFTER - SECOND)],
        60 * SECOND,
        True,
    ),
    "another node's shipper was gone just before the start": (
        [track()],
        [look(5 * SECOND), Look("b", START - LOST_AFTER)],
        60 * SECOND,
        False,
    ),
    "a shipper does not come back": ([track(complete=False)], [look(-SECOND)], LOST_AFTER, True),
    "a shipper was away since long before the stop": (
        [track(complete=False)],
        [look(-LOST_AFTER)],
        LOST_AFTER - SECOND,
        False,
    ),
    "a track still grows": (
        [track(complete=False, changed=STOP + LOST_AFTER - SECOND)],
        [look(LOST_AFTER)],
        LOST_AFTER,
        False,
    ),
    "nobody sent anything": ([], [look(4 * SECOND)], 4 * SECOND, True),
    "nobody sent anything, or the shipper is away": ([], [look(-SECOND)], 60 * SECOND, False),
    "no shipper has ever looked": ([], [], LOST_AFTER - SECOND, False),
    "no shipper has looked for long": ([], [], LOST_AFTER, True),
}


@pytest.mark.parametrize(("tracks", "looks", "since", "shipped"), CASES.values(), ids=CASES)
def test_when_everything_is_shipped(
    tracks: list[Track], looks: list[Look], since: timedelta, shipped: bool
) -> None:
    """It follows from storage and the time alone."""
    assert all_shipped(STOPPED, tracks, looks, STOP + since) is shipped


def test_nothing_is_shipped_before_the_stop() -> None:
    """Complete tracks of those who left do not end a running recording."""
    running = replace(STOPPED, state=State.CAPTURING, stop_time=None)
    assert not all_shipped(running, [track()], [look(MIN_SHIPPING)], STOP + LOST_AFTER)
