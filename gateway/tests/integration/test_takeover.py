# SPDX-License-Identifier: Apache-2.0
"""The stream to media breaks and is opened again; the client notices nothing, or is told what to do."""

import asyncio
import gc
import logging
from typing import Any

from giaoban_kit.errors import Unauthenticated, Unavailable


async def _home(house: Any) -> tuple[Any, int, int]:
    seat = await house.media_seat()
    at = next(number for number, media in enumerate(house.medias) if seat in media.seats)
    return seat, at, 1 - at


async def test_a_stream_whose_media_dies_goes_on_elsewhere(house: Any, caplog: Any) -> None:
    """The other replica is asked to take the client over, with its last view; the client hears nothing of it."""
    await house.put_person()
    offer = {"sdp": "v=0", "streams": [{"mid": "0", "source": "microphone"}]}
    client, _ = await house.come(offer=offer)
    seat, at, other = await _home(house)
    await client.send(type="view", tiles=[], audio_only=True, stage_height=180)
    await seat.hears()
    with caplog.at_level(logging.ERROR):
        await house.stop_media[at]()
        again = await asyncio.wait_for(house.medias[other].came.get(), 5)
        assert again.join.resume
        assert again.join.offer_sdp == ""
        assert not again.join.streams
        assert again.join.view.audio_only
        assert await client.quiet()
        await client.send(type="command", id="1", act="raise_hand")
        assert (await client.receive())["error"] is None
        await client.raw.close()
        await house.nothing_left()
        gc.collect()
        await asyncio.sleep(0.05)
    assert not [each for each in caplog.records if "never retrieved" in each.getMessage()]


async def test_a_session_that_could_not_be_taken_over_means_rejoin(house: Any) -> None:
    """When the media session is gone the client is told to build its connections anew."""
    await house.put_person()
    client, _ = await house.come()
    _, at, other = await _home(house)
    house.medias[other].resumed = False
    await house.stop_media[at]()
    assert (await client.receive())["type"] == "rejoin"


async def test_a_request_that_was_under_way_is_answered(house: Any) -> None:
    """A command whose answer died with media gets MEDIA_LOST, so that no button hangs."""
    await house.put_person()
    client, _ = await house.come()
    seat, at, _ = await _home(house)
    house.medias[at].echo = False
    await client.send(type="command", id="9", act="raise_hand")
    await seat.hears()
    await house.stop_media[at]()
    reply = await client.receive()
    assert (reply["id"], reply["error"]["reason"]) == ("9", "MEDIA_LOST")


async def test_a_command_given_while_media_is_taken_over_is_carried_out_after_it(house: Any) -> None:
    """Nobody has to press a button twice because a replica died just then."""
    await house.put_person()
    client, _ = await house.come()
    away = Unavailable("Chưa sẵn sàng.")
    _, at, other = await _home(house)
    house.medias[other].refuse = away
    await house.stop_media[at]()
    await asyncio.sleep(0.3)
    await client.send(type="command", id="7", act="raise_hand")
    assert await client.quiet()
    house.medias[other].refuse = None
    reply = await client.receive()
    assert (reply["id"], reply["error"]) == ("7", None)


async def test_without_any_media_requests_are_answered_and_the_client_kept(
    house: Any, monkeypatch: Any
) -> None:
    """While no media answers for longer than a command may wait, it is refused, and the connection stays."""
    from giaoban_gateway.live import link

    monkeypatch.setattr(link, "HELD_SECONDS", 0.3)
    await house.put_person()
    client, _ = await house.come()
    for stop in house.stop_media:
        await stop()
    await asyncio.sleep(0.3)
    await client.send(type="command", id="1", act="raise_hand")
    assert (await client.receive())["error"]["reason"] == "MEDIA_LOST"
    assert await client.quiet()


async def test_patience_ends_with_the_reason(house: Any, monkeypatch: Any) -> None:
    """Without a media node for too long, joining and staying end with the code that says so."""
    from giaoban_gateway.live import link

    monkeypatch.setattr(link, "JOIN_GIVE_UP_SECONDS", 0.3)
    monkeypatch.setattr(link, "GIVE_UP_SECONDS", 0.3)
    await house.put_person()
    client, _ = await house.come()
    seat, _, _ = await _home(house)
    error = Unavailable("Không có nút.")
    error.reason = "NO_MEDIA_NODE"
    for media in house.medias:
        media.refuse = error
    late = await house.open()
    await late.send(type="join", ticket=await house.ticket())
    assert await late.ended() == "no_media_node"
    seat.outbox.put_nowait(error)
    assert await client.ended() == "no_media_node"
    await house.nothing_left()


async def test_a_grant_that_media_does_not_believe_ends_the_stay(house: Any) -> None:
    """What trying again cannot mend is not tried again."""
    refused = Unauthenticated("Không tin.")
    refused.reason = "GRANT_INVALID"
    for media in house.medias:
        media.refuse = refused
    client = await house.open()
    await client.send(type="join", ticket=await house.ticket())
    assert await client.ended() == "ticket_invalid"


async def test_a_stream_that_breaks_at_once_is_not_opened_in_a_tight_loop(house: Any) -> None:
    """A media that lets in and throws out again is asked less and less often."""
    await house.put_person()
    client, _ = await house.come()
    seats = 0
    end = asyncio.get_running_loop().time() + 1.5
    while asyncio.get_running_loop().time() < end:
        for media in house.medias:
            for seat in media.seats:
                seats += 1
                seat.outbox.put_nowait(None)
                await seat.over.wait()
        await asyncio.sleep(0.005)
    assert 2 <= seats <= 8
    assert client.raw.close_code is None
