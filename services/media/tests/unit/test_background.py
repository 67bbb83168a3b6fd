# SPDX-License-Identifier: Apache-2.0
"""Waiting for one's turn."""

import asyncio

from giaoban_media.background import Turn


async def test_a_turn_is_set_once_and_wakes_when_it_has_come() -> None:
    """However often somebody asks meanwhile; after it is over the next question sets another."""
    wake = asyncio.Event()
    turn = Turn(wake)
    assert not turn.is_ahead(0)
    turn.over()
    assert turn.is_ahead(0.05)
    assert turn.is_ahead(60)
    await asyncio.wait_for(wake.wait(), 5)
    assert not turn.is_ahead(60)
    turn.over()
    wake.clear()
    assert turn.is_ahead(0.05)
    turn.over()
    await asyncio.sleep(0.1)
    assert not wake.is_set()
