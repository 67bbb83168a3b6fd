# SPDX-License-Identifier: Apache-2.0
"""Who waits for a picture has the node asked for it."""

import asyncio

import pytest
from giaoban_media.janus import pictures
from giaoban_media.janus.pictures import ASKINGS, Pictures
from giaoban_media.janus.wire import JanusError

STAGE, TILE = ("room", "chair", "1"), ("room", "site", "1")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "ASK_INTERVAL", 0.0)


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_node_is_asked_once_for_all_until_the_last_has_it() -> None:
    """Two who wait for the same picture cost one question at a time; each is asked for until it has seen it."""
    waiting, asked = Pictures(), list[str]()

    async def ask(who: str) -> None:
        asked.append(who)
        if len(asked) == 3:
            waiting.seen(STAGE, "a")
        if len(asked) == 5:
            waiting.seen(STAGE, "b")

    waiting.expect(STAGE, "a", lambda: ask("a"))
    waiting.expect(STAGE, "b", lambda: ask("b"))
    await rounds(50)
    assert asked == ["a", "a", "a", "b", "b"]


async def test_a_sender_that_shows_nothing_is_left_alone_until_somebody_comes() -> None:
    """Askings are bounded, and each newcomer begins them anew."""
    waiting, asked = Pictures(), list[str]()

    async def ask() -> None:
        asked.append("")

    for newcomers in (1, 2):
        waiting.expect(STAGE, newcomers, ask)
        await rounds(200)
        assert len(asked) == newcomers * ASKINGS


async def test_who_cannot_ask_does_not_keep_the_others_waiting() -> None:
    """A receiver that the node no longer knows is passed over; other pictures are not touched."""
    waiting, asked = Pictures(), list[str]()

    async def gone() -> None:
        raise JanusError(459, "no such handle")

    async def ask(who: str) -> None:
        asked.append(who)
        waiting.seen(STAGE if who == "b" else TILE, who)

    waiting.expect(STAGE, "a", gone)
    waiting.expect(STAGE, "b", lambda: ask("b"))
    waiting.expect(TILE, "c", lambda: ask("c"))
    await rounds(50)
    assert sorted(asked) == ["b", "c"]
