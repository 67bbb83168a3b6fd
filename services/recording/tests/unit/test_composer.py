# SPDX-License-Identifier: Apache-2.0
"""Headers of tracks, and the plan of what is composed where and when."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from giaoban_recording.composer import HEIGHT, WIDTH, Piece, is_empty, plan, read_header

SECOND = timedelta(seconds=1)


def header(**changes: Any) -> bytes:
    document = {"t": "v", "c": "vp8", "s": 1795402267577450, "u": 1795402267628447} | changes
    return sized(json.dumps(document).encode())


def sized(text: bytes) -> bytes:
    return b"MJR00002" + len(text).to_bytes(2, "big") + text + b"MEET\x00"


def test_a_header_is_read() -> None:
    """Kind, codec, whether it is a screen, and the wall clock of the first packet to the microsecond."""
    read = read_header(header(d="screen"))
    assert (read.kind, read.codec, read.is_screen) == ("video", "vp8", True)
    assert read.first_packet == datetime(2026, 11, 23, 2, 51, 7, 628447, tzinfo=UTC)
    sound = read_header(header(t="a", c="opus", d="microphone"))
    assert (sound.kind, sound.is_screen) == ("audio", False)
    assert not read_header(header(d="camera")).is_screen


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MJR00001" + header()[8:],
        b"MJR00002\x00",
        header()[:20],
        sized(b"[]"),
        sized(b"{}"),
        sized(b"\xff\xfe"),
        header(t="d"),
        header(t=["v"]),
        header(u="now"),
        header(u=True),
        header(u=-1),
        header(u=10**18),
        header(u=1.5),
        b"#EXTM3U\nfile:///etc/passwd",
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    """Truncated, foreign and hostile beginnings raise ValueError, never anything else."""
    with pytest.raises(ValueError):
        read_header(data)


@pytest.mark.parametrize(
    ("data", "empty"), [(b"", True), (b"MJR00002", True), (b"MJR0", True), (b"RIFF", False)]
)
def test_a_track_on_which_nothing_came_is_empty(data: bytes, empty: bool) -> None:
    """The node writes the header with the first packet: less than that is silence, not damage."""
    assert is_empty(data) is empty
    assert not is_empty(header())


def piece(who: str, kind: str, begin: float, length: float, *, screen: bool = False) -> Piece:
    return Piece(Path(f"{who}-{kind}"), who, kind, begin * SECOND, length * SECOND, screen)


def test_everyone_has_one_tile(tmp_path: Path) -> None:
    """Five people make a 3x2 grid; who came twice has one tile; who was only heard has one too."""
    who = [piece(f"p{n}", "video", 0, 10) for n in range(4)]
    again = piece("p1", "video", 12, 5)
    heard = piece("p9", "audio", 3.25, 4)
    _, graph = plan([*who, again, heard], {}, 17 * SECOND, tmp_path)
    width, height = WIDTH // 3 // 2 * 2, HEIGHT // 2
    corners = re.findall(r"overlay=x=(\d+):y=(\d+):.*?between\(t,([\d.]+),([\d.]+)\)", graph)
    assert corners == [
        ("0", "0", "0.000", "10.000"),
        (str(width), "0", "0.000", "10.000"),
        (str(2 * width), "0", "0.000", "10.000"),
        ("0", str(height), "0.000", "10.000"),
        (str(width), "0", "12.000", "17.000"),
    ]
    assert graph.count(f"scale={width}:{height}:") == 5
    assert "[5:a]aresample=48000:async=1:first_pts=0,adelay=3250:all=1[a5]" in graph
    assert "[a5]amix=inputs=1:" in graph
    assert "drawtext" not in graph


def test_a_screen_covers_the_grid_and_the_names(tmp_path: Path) -> None:
    """It is laid last, over the whole picture, for as long as it was shared."""
    pieces = [piece("p", "video", 4, 2, screen=True), piece("p", "video", 0, 10)]
    _, graph = plan(pieces, {"p": "Quận 1"}, 10 * SECOND, tmp_path)
    camera, name, screen = re.findall(r"\[b\d\](.*)\[b\d\]", graph)
    assert camera.startswith("[v1]overlay=x=0:y=0")
    assert name.startswith("drawtext=")
    assert screen == "[v0]overlay=x=0:y=0:eof_action=pass:enable='between(t,4.000,6.000)'"
    assert "amix" not in graph


@pytest.mark.parametrize("name", ["Quận 1: 'Bình' [a]; b,c%{pts}\\n", "x\n\x00y\u2028z", "Ủy ban " * 40])
def test_a_name_never_reaches_the_graph(name: str, tmp_path: Path) -> None:
    """Names lie in files: nothing in them means anything to FFmpeg, and none is wider than its tile."""
    _, graph = plan([piece("p", "video", 0, 1)], {"p": name}, SECOND, tmp_path)
    assert f"textfile={tmp_path / 'name-0.txt'}:expansion=none" in graph
    assert name[:6] not in graph.replace(str(tmp_path), "")
    written = (tmp_path / "name-0.txt").read_text()
    assert len(written.splitlines()) == 1
    assert "\x00" not in written
    assert len(written) <= 60
    assert written[:4] == name.replace("\n", " ").replace("\x00", " ")[:4]


def test_inputs_are_what_they_have_to_be(tmp_path: Path) -> None:
    """Every input is told its container and may only be a file."""
    arguments, _ = plan([piece("p", "video", 0, 1), piece("p", "audio", 0, 1)], {}, SECOND, tmp_path)
    video, audio = " ".join(arguments).split(" p-video ")
    assert "-protocol_whitelist file -f matroska -i" in video
    assert "-reinit_filter 0" in video
    assert audio == "-protocol_whitelist file -f ogg -i p-audio"
