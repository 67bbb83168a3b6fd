# SPDX-License-Identifier: Apache-2.0
"""The composed file: whole or in ranges, by token or ticket."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from giaoban_kit.errors import Conflict
from giaoban_kit.tokens import GrantInvalid

from .test_rest import ULID, problem


@pytest.mark.parametrize(
    ("asked", "status", "answered", "first", "length"),
    [
        (None, 200, None, 0, 2048),
        ("bytes=0-0", 206, "bytes 0-0/2048", 0, 1),
        ("bytes=100-1099", 206, "bytes 100-1099/2048", 100, 1000),
        ("bytes=2000-", 206, "bytes 2000-2047/2048", 2000, 48),
        ("bytes=2000-99999", 206, "bytes 2000-2047/2048", 2000, 48),
        ("bytes=-48", 206, "bytes 2000-2047/2048", 2000, 48),
        ("bytes=-99999", 206, "bytes 0-2047/2048", 0, 2048),
        ("bytes=2048-", 416, "bytes */2048", 0, 0),
        ("bytes=-0", 416, "bytes */2048", 0, 0),
        ("bytes=0-1,4-5", 200, None, 0, 2048),
        ("bytes=5-2", 200, None, 0, 2048),
        ("bytes=-", 200, None, 0, 2048),
        ("bytes=x", 200, None, 0, 2048),
        ("lines=1-2", 200, None, 0, 2048),
        ("bytes=" + "1" * 300 + "-", 200, None, 0, 2048),
    ],
)
async def test_ranges(
    shared: Any, asked: str | None, status: int, answered: str | None, first: int, length: int
) -> None:
    """One range is answered with that part, what cannot be is 416, anything else with the whole."""
    whole = bytes(range(256)) * 8
    headers = shared.bearer() | ({"Range": asked} if asked else {})
    answer = await shared.web.get(f"/v1/recordings/{ULID}/content", headers=headers)
    assert answer.status_code == status
    assert answer.headers.get("content-range") == answered
    if status == 416:
        problem(answer, 416, "RANGE_INVALID")
    else:
        assert answer.content == whole[first : first + length]
        assert answer.headers["accept-ranges"] == "bytes"


async def test_a_range_of_another_version_is_the_whole(shared: Any) -> None:
    """If-Range with another entity tag means: rather everything."""
    path, part = f"/v1/recordings/{ULID}/content", shared.bearer() | {"Range": "bytes=0-9"}
    etag = (await shared.web.get(path, headers=part)).headers["etag"]
    assert (await shared.web.get(path, headers=part | {"If-Range": etag})).status_code == 206
    assert (await shared.web.get(path, headers=part | {"If-Range": '"old"'})).status_code == 200


async def test_content_plays_with_a_ticket_for_it_alone(shared: Any) -> None:
    """The address works without a header, again and again, and for no other recording."""
    answer = await shared.web.post(f"/v1/recordings/{ULID}/content-tickets", headers=shared.bearer())
    assert answer.status_code == 201
    url = answer.json()["url"]
    for _ in range(2):
        assert (await shared.web.get(url)).status_code == 200
    problem(await shared.web.get(url.replace(ULID, ULID[:-1] + "1")), 401, "TICKET_INVALID")
    problem(await shared.web.get(url[:-1]), 401, "TICKET_INVALID")


async def test_a_recording_plays_longer_than_the_access_token_holds(house: Any) -> None:
    """A ticket stands for recording's own grant: as long as that holds, in ranges, without the token."""
    headers = house.bearer(lifetime=timedelta(minutes=1))
    answer = await house.web.post(f"/v1/recordings/{ULID}/content-tickets", headers=headers)
    left = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)
    part = await house.web.get(answer.json()["url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, bytes(range(256))[100:200])
    [grant] = house.recording.grants
    assert house.recording.by == [(grant, False)] * 2
    house.recording.fails = GrantInvalid("Hết hạn.")
    problem(await house.web.get(answer.json()["url"]), 401, "GRANT_INVALID")


async def test_a_bearer_token_needs_no_grant(house: Any) -> None:
    """Programs read with their own access token, which is forwarded."""
    path = f"/v1/recordings/{ULID}/content"
    assert (await house.web.get(path, headers=house.bearer())).status_code == 200
    assert house.recording.by == [("", True)] * 2


async def test_content_that_is_refused_says_so(house: Any) -> None:
    """A refusal of the first byte is a problem, not a broken file; an unfinished recording is 409."""
    path = f"/v1/recordings/{ULID}/content"
    house.recording.fails = Conflict("Đang soạn.")
    problem(await house.web.get(path, headers=house.bearer()), 409)
    house.recording.fails = None
    house.recording.state = 1
    problem(await house.web.get(path, headers=house.bearer()), 409, "RECORDING_NOT_READY")


async def test_a_player_that_goes_away_ends_the_reading(house: Any) -> None:
    """Nobody reads a file for a client that is gone."""
    house.recording.endless = True
    async with house.web.stream("GET", f"/v1/recordings/{ULID}/content", headers=house.bearer()) as answer:
        await anext(answer.aiter_raw())
    await asyncio.wait_for(house.recording.cancelled.wait(), 5)
