# SPDX-License-Identifier: Apache-2.0
"""Owns the making of one playable file from the tracks: everyone's sound, everyone's picture in a grid.

Tracks are aligned by the wall clock of their first packet, which their header has. Tracks are hostile data:
janus-pp-rec runs in whatever sandbox its command names. MP4 with H.264 and AAC plays in every current browser.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from giaoban_kit.logging import get_logger

from giaoban_recording.domain import MjrHeader, Track
from giaoban_recording.errors import ComposeFailed

WIDTH, HEIGHT, RATE = 1280, 720, 15
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
MEDIA_TYPE = "video/mp4"
MAX_HEADER_BYTES = 4096
TOOL_SECONDS = 600.0
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


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs used, and the threads they may take."""

    pp_rec: tuple[str, ...] = ("janus-pp-rec",)
    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"
    threads: int = 2


def is_empty(data: bytes) -> bool:
    """Whether a track holds nothing: the node writes the header with the first packet that it records."""
    return len(data) <= len(_MAGIC) and _MAGIC.startswith(data)


def read_header(data: bytes) -> MjrHeader:
    """The header of a track. Raises ValueError for what is none."""
    if data[:8] != _MAGIC or len(data) < 10:
        raise ValueError("not a Janus recording")
    (length,) = struct.unpack(">H", data[8:10])
    document = json.loads(data[10 : 10 + length])
    kind = {"a": "audio", "v": "video"}.get(document.get("t"))
    first = document.get("u")
    if kind is None or not isinstance(first, int):
        raise ValueError("a Janus recording without kind or time")
    return MjrHeader(kind, str(document.get("c", "")), datetime.fromtimestamp(first / 1e6, UTC))


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
        except (ValueError, struct.error) as error:
            raise ComposeFailed(f"{track.name.file}: {error}") from error
    target = source.with_suffix(".opus" if header.kind == "audio" else ".webm")
    await _run([*tools.pp_rec, str(source), str(target)])
    probe = await _run(
        [tools.ffprobe, "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(target)]
    )
    try:
        return header, target, timedelta(seconds=float(probe.strip()))
    except ValueError as error:
        raise ComposeFailed(f"{track.name.file}: holds no media") from error


async def compose(
    tools: Tools, pieces: Sequence[Piece], names: Mapping[str, str], target: Path, progress: Progress
) -> timedelta:
    """Makes the file; returns how long it is. `progress` is told percents. Raises `ComposeFailed`."""
    total = max(each.offset + each.duration for each in pieces)
    arguments, graph = plan(pieces, names, total)
    script = target.with_suffix(".graph")
    script.write_text(graph, encoding="utf-8")
    has_audio = any(each.kind == "audio" for each in pieces)
    command = [
        *(tools.ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        *(
            "-progress",
            "pipe:1",
            "-threads",
            str(tools.threads),
            "-filter_complex_threads",
            str(tools.threads),
        ),
        *arguments,
        *("-filter_complex_script", str(script), "-map", "[v]", *(("-map", "[a]") if has_audio else ())),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-g", str(RATE * 4), "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "96k", "-ac", "1"),
        *("-movflags", "+faststart", "-t", f"{total.total_seconds():.3f}", str(target)),
    ]
    await _ffmpeg(command, total, progress)
    return total


def plan(pieces: Sequence[Piece], names: Mapping[str, str], total: timedelta) -> tuple[list[str], str]:
    """FFmpeg's inputs and filter graph. Pieces of one participant share a tile; holes stay as they are."""
    seen = list(dict.fromkeys(each.participant_id for each in pieces if each.kind == "video"))
    columns = max(1, math.ceil(math.sqrt(len(seen))))
    rows = max(1, math.ceil(len(seen) / columns))
    tile_width, tile_height = WIDTH // columns // 2 * 2, HEIGHT // rows // 2 * 2
    seconds = total.total_seconds()
    arguments: list[str] = []
    graph = [f"color=c=0x10161d:s={WIDTH}x{HEIGHT}:r={RATE}:d={seconds:.3f}[b0]"]
    sounds: list[str] = []
    layer = 0
    for number, each in enumerate(pieces):
        arguments += ["-i", str(each.file)]
        offset = each.offset.total_seconds()
        if each.kind == "audio":
            delay = round(offset * 1000)
            graph.append(f"[{number}:a]aresample=48000:async=1:first_pts=0,adelay={delay}:all=1[a{number}]")
            sounds.append(f"[a{number}]")
            continue
        tile = seen.index(each.participant_id)
        left, top = tile % columns * tile_width, tile // columns * tile_height
        graph.append(
            f"[{number}:v]setpts=PTS-STARTPTS+{offset:.3f}/TB,fps={RATE}:start_time=0,"
            f"scale={tile_width}:{tile_height}:force_original_aspect_ratio=decrease,"
            f"pad={tile_width}:{tile_height}:-1:-1:color=0x10161d[v{number}]"
        )
        end = (each.offset + each.duration).total_seconds()
        graph.append(
            f"[b{layer}][v{number}]overlay=x={left}:y={top}:eof_action=pass:"
            f"enable='between(t,{offset:.3f},{end:.3f})'[b{layer + 1}]"
        )
        layer += 1
    size = max(11, tile_height // 18)
    for tile, participant_id in enumerate(seen):
        left, top = tile % columns * tile_width, tile // columns * tile_height
        text = _drawable(names.get(participant_id, ""))
        graph.append(
            f"[b{layer}]drawtext=fontfile={FONT}:text='{text}':x={left + 8}:y={top + tile_height - size - 12}:"
            f"fontsize={size}:fontcolor=white:box=1:boxcolor=black@0.55:boxborderw=5:expansion=none[b{layer + 1}]"
        )
        layer += 1
    graph.append(f"[b{layer}]format=yuv420p[v]")
    if sounds:
        graph.append(
            f"{''.join(sounds)}amix=inputs={len(sounds)}:normalize=0:dropout_transition=0,alimiter=limit=0.9[a]"
        )
    return arguments, ";\n".join(graph)


def _drawable(text: str) -> str:
    """A name as drawtext takes it inside quotes in a graph: what has a meaning there is left out."""
    return re.sub(r"[\\':;,%\[\]\x00-\x1f]", " ", text)[:60]


async def _run(command: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise ComposeFailed(f"{Path(command[0]).name} failed: {err.decode(errors='replace')[-300:].strip()}")
    return out.decode(errors="replace")


async def _ffmpeg(command: Sequence[str], total: timedelta, progress: Progress) -> None:
    # Composing is never urgent: it yields to the meetings on the same machine.
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: os.nice(10) and None,
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    assert process.stderr is not None  # noqa: S101 - asked for above
    errors = asyncio.create_task(process.stderr.read())
    try:
        while line := await process.stdout.readline():
            key, _, value = line.decode().strip().partition("=")
            if key == "out_time_us" and value.lstrip("-").isdecimal():
                done = timedelta(microseconds=int(value)) / total
                await progress(max(0, min(99, round(done * 100))))
        await process.wait()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    finally:
        text = (await errors).decode(errors="replace")
    if process.returncode != 0:
        raise ComposeFailed(f"ffmpeg failed: {text[-300:].strip()}")
