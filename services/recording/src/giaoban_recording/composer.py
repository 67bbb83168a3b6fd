# SPDX-License-Identifier: Apache-2.0
"""Owns the making of one playable file from the tracks: everyone's sound, everyone's picture in a grid.

Tracks are aligned by the wall clock of their first packet, which their header has. Tracks are hostile data:
janus-pp-rec runs in whatever sandbox its command names. MP4 with H.264 and AAC plays in every current browser.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from giaoban_kit.logging import get_logger

from giaoban_recording.domain import MjrHeader, Track
from giaoban_recording.errors import ComposeFailed

WIDTH, HEIGHT, RATE = 1280, 720, 15
BACKGROUND = "0x10161d"
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
MEDIA_TYPE = "video/mp4"
MAX_HEADER_BYTES = 4096
MAX_MICROSECONDS = 2**53
TOOL_SECONDS = 600.0
SLOWEST = 20
"""Composing that takes so many times as long as the recording, and `TOOL_SECONDS`, hangs."""

_MAGIC = b"MJR00002"

log = get_logger(__name__)
Progress = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A track as a file that FFmpeg reads; `offset` from the beginning of the recording."""

    file: Path
    participant_id: str
    kind: str
    offset: timedelta
    duration: timedelta
    is_screen: bool = False


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs used, and what they may take: composing yields to the meetings on the same machine."""

    pp_rec: tuple[str, ...] = ("janus-pp-rec",)
    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"
    threads: int = 2
    niceness: int = 5

    def command(self, *command: str) -> tuple[str, ...]:
        """A command that yields to others and never outlives its worker."""
        return ("setpriv", "--pdeathsig", "KILL", "--", "nice", "-n", str(self.niceness), *command)


def is_empty(data: bytes) -> bool:
    """Whether a track holds nothing: the node writes the header with the first packet that it records."""
    return len(data) <= len(_MAGIC) and _MAGIC.startswith(data)


def read_header(data: bytes) -> MjrHeader:
    """The header of a track. Raises ValueError for what is none."""
    if data[:8] != _MAGIC or len(data) < 10:
        raise ValueError("not a Janus recording")
    length = int.from_bytes(data[8:10], "big")
    document = json.loads(data[10 : 10 + length])
    kind = {"a": "audio", "v": "video"}.get(str(document.get("t"))) if isinstance(document, dict) else None
    first = document.get("u") if kind else None
    if kind is None or type(first) is not int or not 0 < first < MAX_MICROSECONDS:
        raise ValueError("a Janus recording without kind or time")
    return MjrHeader(
        kind,
        str(document.get("c", "")),
        datetime.fromtimestamp(first / 1e6, UTC),
        is_screen=kind == "video" and document.get("d") == "screen",
    )


async def unpack(tools: Tools, track: Track, source: Path) -> tuple[MjrHeader, Path, timedelta] | None:
    """A track's media in a container: its header, the file, and how long it is; None when nothing was sent.

    Raises `ComposeFailed`.
    """
    with source.open("rb") as opened:
        beginning = opened.read(MAX_HEADER_BYTES)
    if is_empty(beginning):
        return None
    try:
        header = read_header(beginning)
    except ValueError as error:
        raise ComposeFailed(f"{track.name.file}: {error}") from error
    target = source.with_suffix(".opus" if header.kind == "audio" else ".webm")
    await _run(tools, *tools.pp_rec, str(source), str(target))
    probe = await _run(
        tools,
        *(tools.ffprobe, "-v", "error", *_input(header.kind), str(target)),
        *("-show_entries", "format=duration", "-of", "csv=p=0"),
    )
    try:
        return header, target, timedelta(seconds=float(probe.strip()))
    except ValueError as error:
        raise ComposeFailed(f"{track.name.file}: holds no media") from error


async def compose(
    tools: Tools, pieces: Sequence[Piece], names: Mapping[str, str], target: Path, progress: Progress
) -> timedelta:
    """Makes the file; returns how long it is. `progress` is told percents. Raises `ComposeFailed`.

    Beside `target` it leaves the names and the filter graph.
    """
    total = max(each.offset + each.duration for each in pieces)
    arguments, graph = plan(pieces, names, total, target.parent)
    script = target.with_suffix(".graph")
    script.write_text(graph, encoding="utf-8")
    has_audio = any(each.kind == "audio" for each in pieces)
    command = [
        *(tools.ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", "-y", "-progress", "pipe:1"),
        *("-filter_complex_threads", str(tools.threads)),
        *arguments,
        *("-filter_complex_script", str(script), "-map", "[v]", *(("-map", "[a]") if has_audio else ())),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-g", str(RATE * 4), "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "96k", "-ac", "1", "-threads", str(tools.threads)),
        *("-movflags", "+faststart", "-t", f"{total.total_seconds():.3f}", str(target)),
    ]
    await _ffmpeg(tools, command, total, progress)
    return total


def plan(
    pieces: Sequence[Piece], names: Mapping[str, str], total: timedelta, folder: Path
) -> tuple[list[str], str]:
    """FFmpeg's inputs and filter graph; writes the names to be drawn into `folder`.

    Everyone heard or seen has a tile with the name, in a grid; what one participant sent in several stays is in
    one tile. A shared screen covers the grid while it lasts. Holes stay as they are.
    """
    seen = list(dict.fromkeys(each.participant_id for each in pieces))
    columns = max(1, math.ceil(math.sqrt(len(seen))))
    rows = max(1, math.ceil(len(seen) / columns))
    width, height = WIDTH // columns // 2 * 2, HEIGHT // rows // 2 * 2
    places = {
        each: _Place(tile % columns * width, tile // columns * height, width, height)
        for tile, each in enumerate(seen)
    }
    graph = _Graph(total)
    for each in pieces:
        graph.read(each)
    for number, each in enumerate(pieces):
        if each.kind == "audio":
            graph.mix(number, each)
        elif not each.is_screen:
            graph.show(number, each, places[each.participant_id])
    for tile, (participant_id, place) in enumerate(places.items()):
        graph.name(names.get(participant_id, ""), place, folder / f"name-{tile}.txt")
    for number, each in enumerate(pieces):
        if each.is_screen:
            graph.show(number, each, _Place(0, 0, WIDTH, HEIGHT))
    return graph.arguments, graph.text()


@dataclass(frozen=True, slots=True)
class _Place:
    left: int
    top: int
    width: int
    height: int


class _Graph:
    """A filter graph in the making: pictures and names in layers, one above the other, and sounds."""

    def __init__(self, total: timedelta) -> None:
        self.arguments: list[str] = []
        ground = f"color=c={BACKGROUND}:s={WIDTH}x{HEIGHT}:r={RATE}:d={total.total_seconds():.3f}"
        self._chains = [f"{ground}[b0]"]
        self._layer = 0
        self._sounds: list[str] = []
        self._total = total

    def read(self, piece: Piece) -> None:
        """The next input."""
        if piece.kind == "video":
            # A simulcast layer that drops changes the picture's size within a file; without this option FFmpeg
            # would then begin the whole graph anew.
            self.arguments += ["-threads", "1", "-reinit_filter", "0"]
        self.arguments += [*_input(piece.kind), "-i", str(piece.file)]

    def mix(self, number: int, piece: Piece) -> None:
        """An input that is heard."""
        delay = round(piece.offset.total_seconds() * 1000)
        label = f"[a{number}]"
        self._chains.append(f"[{number}:a]aresample=48000:async=1:first_pts=0,adelay={delay}:all=1{label}")
        self._sounds.append(label)

    def show(self, number: int, piece: Piece, at: _Place) -> None:
        """An input that is seen."""
        begin = piece.offset.total_seconds()
        end = begin + piece.duration.total_seconds()
        # Many small tiles need not be scaled well, but cheaply: a third less time for 45 of them.
        quality = "bicubic" if at.width >= WIDTH // 2 else "fast_bilinear"
        self._chains.append(
            f"[{number}:v]setpts=PTS-STARTPTS+{begin:.3f}/TB,fps={RATE}:start_time=0,"
            f"scale={at.width}:{at.height}:flags={quality}:force_original_aspect_ratio=decrease,"
            f"pad={at.width}:{at.height}:-1:-1:color={BACKGROUND}[v{number}]"
        )
        when = f"enable='between(t,{begin:.3f},{end:.3f})'"
        self._lay(f"[v{number}]overlay=x={at.left}:y={at.top}:eof_action=pass:{when}")

    def name(self, name: str, at: _Place, file: Path) -> None:
        """A name at the lower edge; from a file, so that no character of it can mean anything to FFmpeg."""
        size = max(11, at.height // 18)
        text = _drawable(name, at.width, size)
        if not text:
            return
        file.write_text(text, encoding="utf-8")
        self._lay(
            f"drawtext=fontfile={FONT}:textfile={file}:expansion=none:fontsize={size}:fontcolor=white:"
            f"x={at.left + 8}:y={at.top + at.height - size - 12}:box=1:boxcolor=black@0.55:boxborderw=5"
        )

    def text(self) -> str:
        """The whole; its outputs are [v] and, when anything is heard, [a]."""
        chains = [*self._chains, f"[b{self._layer}]format=yuv420p[v]"]
        if self._sounds:
            mix = f"amix=inputs={len(self._sounds)}:normalize=0:dropout_transition=0,alimiter=limit=0.9"
            # Sound ends with the picture: players take the shorter one for the end.
            mix += f",apad=whole_dur={self._total.total_seconds():.3f}"
            chains.append(f"{''.join(self._sounds)}{mix}[a]")
        return ";\n".join(chains)

    def _lay(self, chain: str) -> None:
        self._chains.append(f"[b{self._layer}]{chain}[b{self._layer + 1}]")
        self._layer += 1


def _input(kind: str) -> list[str]:
    """What FFmpeg is told of an input: one container and one protocol, whatever the bytes try to be."""
    if kind == "audio":
        return ["-protocol_whitelist", "file", "-f", "ogg"]
    return ["-protocol_whitelist", "file", "-f", "matroska"]


def _drawable(text: str, width: int, size: int) -> str:
    """A name that fits on its tile, on one line."""
    plain = re.sub(r"[\x00-\x1f\x7f\u2028\u2029]", " ", text).strip()
    most = max(8, int((width - 16) / (size * 0.62)))
    return plain if len(plain) <= most else f"{plain[: most - 1].rstrip()}…"


async def _run(tools: Tools, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *tools.command(*command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise ComposeFailed(f"{Path(command[0]).name} took longer than {TOOL_SECONDS:.0f} s") from error
    finally:
        await _end(process)
    if process.returncode != 0:
        raise ComposeFailed(f"{Path(command[0]).name} failed: {err.decode(errors='replace')[-300:].strip()}")
    return out.decode(errors="replace")


async def _ffmpeg(tools: Tools, command: Sequence[str], total: timedelta, progress: Progress) -> None:
    process = await asyncio.create_subprocess_exec(
        *tools.command(*command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    if process.stdout is None or process.stderr is None:
        raise ComposeFailed("ffmpeg has no pipes")
    errors = asyncio.create_task(process.stderr.read())
    seconds = TOOL_SECONDS + SLOWEST * total.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            while line := await process.stdout.readline():
                key, _, value = line.decode().strip().partition("=")
                if key == "out_time_us" and value.lstrip("-").isdecimal():
                    done = timedelta(microseconds=int(value)) / total
                    await progress(max(0, min(99, round(done * 100))))
            await process.wait()
    except TimeoutError as error:
        raise ComposeFailed(f"ffmpeg took longer than {seconds:.0f} s") from error
    finally:
        await _end(process)
        text = (await errors).decode(errors="replace")
    if process.returncode != 0:
        raise ComposeFailed(f"ffmpeg failed: {text[-300:].strip()}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
