# SPDX-License-Identifier: Apache-2.0
"""What is seen and heard in the composed file, and when: looked at pixel by pixel, listened to second by second."""

import asyncio
import struct
from datetime import timedelta
from pathlib import Path

import pytest
from giaoban_recording import composer
from giaoban_recording.composer import RATE, Piece, Tools, compose
from giaoban_recording.errors import ComposeFailed

pytestmark = pytest.mark.timeout(120)

SECOND = timedelta(seconds=1)
RED, GREEN, BLUE, GROUND = (254, 0, 0), (0, 128, 0), (0, 0, 254), (16, 22, 29)
LEFT, RIGHT, COLUMNS, ROWS = (0.25, 0.5), (0.75, 0.5), 32, 18
TOOLS = Tools(niceness=0)
_COLOURS = {RED: "red", GREEN: "green", BLUE: "blue"}


async def run(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out


async def colour(file: Path, colour: tuple[int, int, int], seconds: float, size: str = "320x180") -> Path:
    source = f"color=c={_COLOURS[colour]}:s={size}:r=25:d={seconds}"
    await run("-f", "lavfi", "-i", source, "-c:v", "libvpx", "-b:v", "500k", "-g", "10", str(file))
    return file


async def tone(file: Path, seconds: float) -> Path:
    await run("-f", "lavfi", "-i", f"sine=440:d={seconds}:r=48000", "-c:a", "libopus", str(file))
    return file


class Shown:
    """A composed file, decoded once: 32 by 18 pixels of every frame, and the samples."""

    def __init__(self, frames: bytes, samples: bytes) -> None:
        self._frames = frames
        self._samples: list[int] = [each for (each,) in struct.iter_unpack("<h", samples)]

    def seen(self, at: float, x: float, y: float) -> tuple[int, int, int]:
        """The colour at a time; places from 0 to 1."""
        begin = int(at * RATE) * COLUMNS * ROWS * 3 + (int(y * ROWS) * COLUMNS + int(x * COLUMNS)) * 3
        red, green, blue = self._frames[begin : begin + 3]
        return red, green, blue

    def heard(self, at: float, seconds: float = 0.3) -> int:
        """The loudest sample, of 32,767, in a stretch of time."""
        return max(abs(each) for each in self._samples[int(at * 8000) : int((at + seconds) * 8000)])

    @property
    def seconds(self) -> tuple[float, float]:
        """The length of picture and sound."""
        return len(self._frames) / (COLUMNS * ROWS * 3) / RATE, len(self._samples) / 8000


async def shown(file: Path, *, sound: bool = True) -> Shown:
    scale = f"scale={COLUMNS}:{ROWS}:flags=neighbor"
    frames = await run("-i", str(file), "-vf", scale, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    samples = b""
    if sound:
        samples = await run("-i", str(file), "-vn", "-f", "s16le", "-ac", "1", "-ar", "8000", "-")
    return Shown(frames, samples)


def like(pixel: tuple[int, int, int], colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 24 for a, b in zip(pixel, colour, strict=True))


async def silent(_percent: int) -> None:
    """Nobody wants to know how far it is."""


async def test_everybody_is_seen_and_heard_when_they_were_there(tmp_path: Path) -> None:
    """Two tiles side by side: one leaves and comes back, one comes late; sound keeps its place; a screen covers all."""
    red = await colour(tmp_path / "red.webm", RED, 1)
    green = await colour(tmp_path / "green.webm", GREEN, 4)
    blue = await colour(tmp_path / "blue.webm", BLUE, 1, "640x360")
    sine = await tone(tmp_path / "tone.opus", 1)
    pieces = [
        Piece(red, "p1", "video", 0 * SECOND, SECOND),
        Piece(red, "p1", "video", 3 * SECOND, SECOND),
        Piece(green, "p2", "video", 2 * SECOND, 4 * SECOND),
        Piece(blue, "p2", "video", 4.5 * SECOND, SECOND, is_screen=True),
        Piece(sine, "p1", "audio", 3 * SECOND, SECOND),
    ]
    told: list[int] = []

    async def progress(percent: int) -> None:
        told.append(percent)

    target = tmp_path / "meeting.mp4"
    assert await compose(TOOLS, pieces, {"p1": "Quận 1: 'A'", "p2": "B"}, target, progress) == 6 * SECOND
    file = await shown(target)
    assert [round(each) for each in file.seconds] == [6, 6]
    expected = {0.5: (RED, GROUND), 1.7: (GROUND, GROUND), 2.5: (GROUND, GREEN), 3.5: (RED, GREEN)}
    expected |= {4.25: (GROUND, GREEN), 5.0: (BLUE, BLUE), 5.8: (GROUND, GREEN)}
    for at, colours in expected.items():
        for place, wanted in zip((LEFT, RIGHT), colours, strict=True):
            pixel = file.seen(at, *place)
            assert like(pixel, wanted), (at, place, pixel, wanted)
    assert file.heard(1.0, 1.8) < 10
    assert file.heard(3.3) > 1000
    assert file.heard(4.4, 1.0) < 10
    assert told == sorted(told)
    assert all(0 <= each <= 99 for each in told)


async def test_a_picture_that_changes_its_size_goes_on(tmp_path: Path) -> None:
    """A simulcast layer drops within a track: the picture stays in its tile and nothing begins anew."""
    await colour(tmp_path / "large.webm", RED, 2)
    await colour(tmp_path / "small.webm", GREEN, 2, "160x90")
    (tmp_path / "list").write_text("file large.webm\nfile small.webm\n")
    both = tmp_path / "both.webm"
    await run("-f", "concat", "-i", str(tmp_path / "list"), "-c", "copy", str(both))
    steady = await colour(tmp_path / "steady.webm", BLUE, 4)
    pieces = [
        Piece(both, "p1", "video", 0 * SECOND, 4 * SECOND),
        Piece(steady, "p2", "video", 1 * SECOND, 3 * SECOND),
    ]
    target = tmp_path / "meeting.mp4"
    await compose(TOOLS, pieces, {}, target, silent)
    file = await shown(target, sound=False)
    for at, wanted in ((0.5, (RED, GROUND)), (1.5, (RED, BLUE)), (2.5, (GREEN, BLUE)), (3.5, (GREEN, BLUE))):
        for place, each in zip((LEFT, RIGHT), wanted, strict=True):
            pixel = file.seen(at, *place)
            assert like(pixel, each), (at, place, pixel, each)


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_one_kind_alone_is_enough(tmp_path: Path, kind: str) -> None:
    """Only sound makes a picture with the names; only pictures make a file without sound."""
    if kind == "audio":
        piece = Piece(await tone(tmp_path / "a.opus", 1), "p", kind, 0 * SECOND, SECOND)
    else:
        piece = Piece(await colour(tmp_path / "v.webm", RED, 1), "p", kind, 0 * SECOND, SECOND)
    target = tmp_path / "meeting.mp4"
    await compose(TOOLS, [piece], {"p": "Củ Chi"}, target, silent)
    file = await shown(target, sound=kind == "audio")
    assert like(file.seen(0.5, 0.5, 0.5), GROUND if kind == "audio" else RED)
    if kind == "audio":
        assert file.heard(0.5) > 1000


async def test_what_is_no_media_is_said(tmp_path: Path) -> None:
    """FFmpeg's last words are in the error; a playlist that names other files is read as what it should have been."""
    file = tmp_path / "list.webm"
    file.write_text("#EXTM3U\n/etc/hostname\n")
    with pytest.raises(ComposeFailed, match="ffmpeg failed"):
        await compose(
            TOOLS, [Piece(file, "p", "video", 0 * SECOND, SECOND)], {}, tmp_path / "out.mp4", silent
        )


async def test_a_tool_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A track that makes janus-pp-rec or FFmpeg hang costs its time limit, not the worker."""
    monkeypatch.setattr(composer, "TOOL_SECONDS", 0.3)
    with pytest.raises(ComposeFailed, match="sleep took longer than"):
        await composer._run(TOOLS, "sleep", "60")
    monkeypatch.setattr(composer, "SLOWEST", 0)
    with pytest.raises(ComposeFailed, match="ffmpeg took longer than"):
        await composer._ffmpeg(TOOLS, ["sleep", "60"], SECOND, silent)
