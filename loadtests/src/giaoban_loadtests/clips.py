# SPDX-License-Identifier: Apache-2.0
"""Owns clips: short pictures and sounds, encoded once by ffmpeg and kept in the cache, looped by the publishers.

A clip shows a name large on a coloured ground with a dot that moves, and sounds a quiet tone of its own that
pauses, so that talking starts and stops. VP8 320x180 at 12.5 frames/s, Opus mono in packets of 20 ms. A layered clip
is a moving test picture in the three sizes and rates that the web client sends, at 25 frames/s.
"""

import hashlib
import json
import os
import struct
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from giaoban_loadtests import rtp

FORMAT = 2  # part of the cache key: raise it when anything below changes what a clip holds
WIDTH, HEIGHT = 320, 180
SECONDS = 4
VIDEO_INTERVAL = 4  # frames of 20 ms between pictures: 12.5 pictures/s
KEYFRAME_PICTURES = 25  # a keyframe every two seconds
VIDEO_BITRATE = 100_000
AUDIO_BITRATE = 24_000
LAYERS = ((320, 180, 120_000), (640, 360, 350_000), (1280, 720, 1_200_000))  # width, height, bit/s
LAYERED_INTERVAL = 2  # frames of 20 ms between pictures: 25 pictures/s
SPEAKING_SECONDS = 2.5
SPEAKING_LEVEL, SILENT_LEVEL = 38, 127  # -dBov (RFC 6464); the tone's amplitude below is made to match
MAX_TEXT_CHARACTERS = 80
MAX_CLIPS_PER_RUN = 12  # outputs of one ffmpeg: start-up is shared, memory stays small
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
_MAGIC = b"GBCLIP1\n"
_TONES = (
    220.0,
    247.0,
    262.0,
    294.0,
    330.0,
    349.0,
    392.0,
    440.0,
)  # whole periods in SECONDS: the loop has no click
_GROUNDS = (
    "1b4965",
    "5f0f40",
    "2d6a4f",
    "7f4f24",
    "3d348b",
    "9d0208",
    "00509d",
    "4a4e69",
    "606c38",
    "6d597a",
)
_AMPLITUDE = 10 ** (-SPEAKING_LEVEL / 20) * 2**0.5


class ClipError(Exception):
    """A clip could not be made or read."""


@dataclass(frozen=True)
class VideoFrame:
    """One encoded picture, split so that each part fits an RTP packet."""

    key: bool
    fragments: tuple[bytes, ...]


@dataclass(frozen=True)
class Clip:
    """A loop: one video frame every `video_interval` * 20 ms, one audio packet and one level (-dBov) every 20 ms.

    `upper` holds the same pictures in larger sizes, for simulcast.
    """

    text: str
    video: tuple[VideoFrame, ...]
    audio: tuple[bytes, ...]
    levels: tuple[int, ...]
    video_interval: int
    upper: tuple[tuple[VideoFrame, ...], ...] = ()

    @property
    def layers(self) -> tuple[tuple[VideoFrame, ...], ...]:
        """The simulcast layers, lowest first; one when the clip has no more."""
        return (self.video, *self.upper)


def cache_directory() -> Path:
    """Return where clips are kept: below GIAOBAN_CACHE, XDG_CACHE_HOME/giaoban or ~/.cache/giaoban."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("GIAOBAN_CACHE") or Path(home) / "giaoban") / "clips"


def clips_for(texts: Sequence[str], *, directory: Path | None = None) -> dict[str, Clip]:
    """Return a clip for each distinct text, making those that the cache lacks; raises ClipError.

    Blocks while ffmpeg runs (about 0.1 s a clip): call it at set-up, or in a thread.
    """
    directory = directory or cache_directory()
    files = {text: directory / f"{_key(text)}.clip" for text in dict.fromkeys(texts)}
    missing = [text for text, file in files.items() if not file.exists()]
    for start in range(0, len(missing), MAX_CLIPS_PER_RUN):
        batch = missing[start : start + MAX_CLIPS_PER_RUN]
        for text, clip in zip(batch, _encode(batch), strict=True):
            save(clip, files[text])
    return {text: load(file) for text, file in files.items()}


def save(clip: Clip, file: Path) -> None:
    """Write a clip; the file appears whole or not at all."""
    header = json.dumps(
        {
            "text": clip.text,
            "video_interval": clip.video_interval,
            "layers": [
                [[frame.key, [len(part) for part in frame.fragments]] for frame in layer]
                for layer in clip.layers
            ],
            "audio": [len(packet) for packet in clip.audio],
            "levels": clip.levels,
        }
    ).encode()
    parts = [part for layer in clip.layers for frame in layer for part in frame.fragments]
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".clip-", delete=False) as out:
        out.write(b"".join([_MAGIC, struct.pack(">I", len(header)), header, *parts, *clip.audio]))
    Path(out.name).replace(file)


def load(file: Path) -> Clip:
    """Read a clip; raises ClipError when the file is not one."""
    data = file.read_bytes()
    if not data.startswith(_MAGIC):
        raise ClipError(f"{file} is no clip; delete it and it is made again")
    start = len(_MAGIC) + 4
    (size,) = struct.unpack_from(">I", data, len(_MAGIC))
    header = json.loads(data[start : start + size])
    position = start + size

    def take(length: int) -> bytes:
        nonlocal position
        position += length
        if position > len(data):
            raise ClipError(f"{file} is cut short; delete it and it is made again")
        return data[position - length : position]

    layers = [
        tuple(VideoFrame(key, tuple(take(n) for n in sizes)) for key, sizes in layer)
        for layer in header["layers"]
    ]
    audio = tuple(take(n) for n in header["audio"])
    levels, interval = tuple(header["levels"]), header["video_interval"]
    return Clip(header["text"], layers[0], audio, levels, interval, tuple(layers[1:]))


def layered_clip(*, directory: Path | None = None) -> Clip:
    """Return the clip for simulcast, made by ffmpeg (some seconds) when the cache lacks it; raises ClipError."""
    shape = repr((FORMAT, LAYERS, LAYERED_INTERVAL, SECONDS, AUDIO_BITRATE))
    name = f"{hashlib.sha256(shape.encode()).hexdigest()[:32]}.clip"
    file = (directory or cache_directory()) / name
    if not file.exists():
        save(_encode_layers(), file)
    return load(file)


def _encode_layers() -> Clip:
    rate = 50 / LAYERED_INTERVAL
    width, height, _ = LAYERS[-1]
    outputs = "".join(f"[s{i}]" for i in range(len(LAYERS)))
    graph = [f"testsrc2=s={width}x{height}:r={rate}:d={SECONDS},split={len(LAYERS)}{outputs}"]
    graph += [f"[s{i}]scale={w}:{h}[v{i}]" for i, (w, h, _) in enumerate(LAYERS)]
    graph.append(f"{_sound(_TONES[0])}[a]")
    with tempfile.TemporaryDirectory(prefix="giaoban-clips-") as made:
        work, arguments = Path(made), list[str]()
        for i, (_, _, bits) in enumerate(LAYERS):
            arguments += [
                "-map",
                f"[v{i}]",
                *_vp8(bits, int(2 * rate), speed=8),
                str(work / f"{i}.ivf"),
            ]
        arguments += ["-map", "[a]", *_OPUS, str(work / "a.ogg")]
        _ffmpeg(";".join(graph), arguments)
        layers = [_frames((work / f"{i}.ivf").read_bytes()) for i in range(len(LAYERS))]
        audio = _sounds((work / "a.ogg").read_bytes())
    if len({len(layer) for layer in layers}) != 1 or not layers[0] or not audio:
        raise ClipError("ffmpeg made no usable layered clip")
    return Clip("layers", layers[0], audio, _levels(len(audio)), LAYERED_INTERVAL, tuple(layers[1:]))


def _key(text: str) -> str:
    if not text.strip() or len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise ClipError(f"clip text {text[:20]!r}: 1 to {MAX_TEXT_CHARACTERS} printable characters, please")
    shape = (FORMAT, WIDTH, HEIGHT, SECONDS, VIDEO_INTERVAL, VIDEO_BITRATE, AUDIO_BITRATE, text)
    return hashlib.sha256(repr(shape).encode()).hexdigest()[:32]


def _encode(texts: Sequence[str]) -> list[Clip]:
    if not FONT.exists():
        raise ClipError(f"the font {FONT} is missing: apt-get install fonts-dejavu-core")
    with tempfile.TemporaryDirectory(prefix="giaoban-clips-") as name:
        work, arguments = Path(name), list[str]()
        for index in range(len(texts)):
            arguments += [
                *("-map", f"[v{index}]", *_vp8(VIDEO_BITRATE, KEYFRAME_PICTURES, speed=5)),
                str(work / f"{index}.ivf"),
                *("-map", f"[a{index}]", *_OPUS, str(work / f"{index}.ogg")),
            ]
        _ffmpeg(";".join(_graph(i, text, work) for i, text in enumerate(texts)), arguments)
        return [
            _clip(text, (work / f"{i}.ivf").read_bytes(), (work / f"{i}.ogg").read_bytes())
            for i, text in enumerate(texts)
        ]


_OPUS = (
    *("-c:a", "libopus", "-b:a", str(AUDIO_BITRATE), "-ac", "1"),
    *("-application", "voip", "-frame_duration", "20"),
)


def _vp8(bits: int, key_pictures: int, *, speed: int) -> list[str]:
    # -threads 1 each: the outputs of one run already keep the cores busy.
    return [
        *("-c:v", "libvpx", "-threads", "1", "-deadline", "realtime", "-cpu-used", str(speed)),
        *("-b:v", str(bits), "-maxrate", str(2 * bits), "-bufsize", str(bits)),
        *("-g", str(key_pictures), "-keyint_min", str(key_pictures)),
        *("-auto-alt-ref", "0", "-lag-in-frames", "0"),
    ]


def _ffmpeg(graph: str, arguments: Sequence[str]) -> None:
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-filter_complex", graph]
    try:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClipError("ffmpeg is missing: apt-get install ffmpeg") from error
    if done.returncode != 0:
        raise ClipError(f"ffmpeg failed: {done.stderr.strip()[-500:]}")


def _graph(index: int, text: str, work: Path) -> str:
    """Return the filters of one clip, with outputs [v<index>] and [a<index>]."""
    digest = hashlib.sha256(text.encode()).digest()
    rate = 50 / VIDEO_INTERVAL
    ground = _GROUNDS[digest[0] % len(_GROUNDS)]
    filters = [f"color=c=0x{ground}:s={WIDTH}x{HEIGHT}:r={rate}:d={SECONDS}"]
    lines = textwrap.wrap(text, width=max(12, -(-len(text) // 3))) or [text]
    size = min(56, int(1.5 * (WIDTH - 24) / max(map(len, lines))), 120 // len(lines))
    for row, line in enumerate(lines):
        # The text goes by file: nothing in a name can be taken for filter syntax.
        file = work / f"{index}-{row}.txt"
        file.write_text(line, encoding="utf-8")
        top = f"{HEIGHT // 2 - 8}+{(row - len(lines) / 2) * size * 1.2:.0f}"
        filters.append(
            f"drawtext=fontfile={FONT}:textfile={file}:expansion=none:fontcolor=white:fontsize={size}"
            f":x=(w-text_w)/2:y={top}"
        )
    dot = work / "dot.txt"
    dot.write_text("●", encoding="utf-8")
    filters.append(
        f"drawtext=fontfile={FONT}:textfile={dot}:fontcolor=0xffd166:fontsize=28"
        f":x=(w-text_w)*(0.5-0.5*cos(2*PI*t/{SECONDS / 2})):y=h-34"
    )
    tone = _TONES[digest[1] % len(_TONES)]
    return f"{','.join(filters)}[v{index}];{_sound(tone)}[a{index}]"


def _sound(tone: float) -> str:
    return f"aevalsrc=exprs='{_AMPLITUDE:.6f}*sin(2*PI*{tone}*t)*lt(t,{SPEAKING_SECONDS})':s=48000:n=960:d={SECONDS}"


def _clip(text: str, ivf: bytes, ogg: bytes) -> Clip:
    video, audio = _frames(ivf), _sounds(ogg)
    if not video or not video[0].key or not audio:
        raise ClipError(f"ffmpeg made no usable clip for {text!r}")
    return Clip(text, video, audio, _levels(len(audio)), VIDEO_INTERVAL)


def _frames(ivf: bytes) -> tuple[VideoFrame, ...]:
    return tuple(
        VideoFrame(rtp.vp8_frame_is_key(frame), tuple(rtp.vp8_fragments(frame))) for frame in ivf_frames(ivf)
    )


def _sounds(ogg: bytes) -> tuple[bytes, ...]:
    return tuple(ogg_packets(ogg))[2 : 2 + SECONDS * 50]  # the first two are OpusHead and OpusTags


def _levels(packets: int) -> tuple[int, ...]:
    speaking = int(SPEAKING_SECONDS * 50)
    return tuple(SPEAKING_LEVEL if i < speaking else SILENT_LEVEL for i in range(packets))


def ivf_frames(data: bytes) -> Iterable[bytes]:
    """Yield the frames of an IVF file (32 bytes of header, then 12 bytes before each frame)."""
    if data[:4] != b"DKIF":
        raise ClipError("no IVF file")
    position = int.from_bytes(data[6:8], "little")
    while position + 12 <= len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        yield data[position + 12 : position + 12 + size]
        position += 12 + size


def ogg_packets(data: bytes) -> Iterable[bytes]:
    """Yield the packets of an Ogg file with one logical stream (RFC 3533 section 6)."""
    position, packet = 0, b""
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            raise ClipError("no Ogg file")
        count = data[position + 26]
        lacing = data[position + 27 : position + 27 + count]
        position += 27 + count
        for size in lacing:
            packet += data[position : position + size]
            position += size
            if size < 255:
                yield packet
                packet = b""
