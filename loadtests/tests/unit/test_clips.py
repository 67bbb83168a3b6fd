# SPDX-License-Identifier: Apache-2.0
"""The clip file and the containers it is made from; encoding itself is tested with ffmpeg."""

from pathlib import Path

import pytest
from giaoban_loadtests.clips import (
    Clip,
    ClipError,
    VideoFrame,
    cache_directory,
    clips_for,
    load,
    ogg_packets,
    save,
)

CLIP = Clip(
    "Quận 1",
    (VideoFrame(True, (b"ab", b"c")), VideoFrame(False, (b"d",)), VideoFrame(True, (b"e",))),
    (b"1", b"22"),
    (38, 127),
    4,
)


def test_a_clip_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Saving and loading gives the same clip, and leaves no other file."""
    save(CLIP, tmp_path / "x.clip")
    assert load(tmp_path / "x.clip") == CLIP
    assert [file.name for file in tmp_path.iterdir()] == ["x.clip"]


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    """A cut or foreign file is refused with its name and what to do."""
    file = tmp_path / "x.clip"
    save(CLIP, file)
    file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else b"something else")
    with pytest.raises(ClipError, match=r"x\.clip .*delete it"):
        load(file)


@pytest.mark.parametrize("text", ["", " ", "a\nb", "x" * 81])
def test_names_that_cannot_be_shown_are_refused(tmp_path: Path, text: str) -> None:
    """Empty, unprintable and overlong names are refused before ffmpeg is asked."""
    with pytest.raises(ClipError, match="printable"):
        clips_for([text], directory=tmp_path)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIAOBAN_CACHE goes before XDG_CACHE_HOME."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("GIAOBAN_CACHE", raising=False)
    assert cache_directory() == Path("/x/giaoban/clips")
    monkeypatch.setenv("GIAOBAN_CACHE", "/c")
    assert cache_directory() == Path("/c/clips")


def test_ogg_packets_are_joined_over_segments_and_pages() -> None:
    """A packet of 255 bytes or more goes on in the next segment, also on the next page (RFC 3533)."""

    def page(lacing: list[int], body: bytes) -> bytes:
        return b"OggS" + bytes(22) + bytes([len(lacing), *lacing]) + body

    data = page([3, 255], b"abc" + b"x" * 255) + page([2, 1], b"yyz")
    assert list(ogg_packets(data)) == [b"abc", b"x" * 255 + b"yy", b"z"]
