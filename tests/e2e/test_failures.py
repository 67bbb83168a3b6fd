# SPDX-License-Identifier: Apache-2.0
"""What people in a meeting notice when a part dies: nothing, or seconds; and never a key to press."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import pytest
from playwright.async_api import TimeoutError as PlaywrightTimeoutError
from playwright.async_api import expect

from .conftest import NewPerson
from .house import House, until
from .room import CHAIR, DELEGATE, Meeting, Person

MAX_GAP_SECONDS = 1.0
USUAL_GAPS = 4  # or so many times what this machine shows anyway: a busy one draws late
USUAL_SECONDS = 3
MAX_TAKEOVER_SECONDS = 10.0
ACTS_AGAIN_SECONDS = 15.0
NODE_B_FIRST_PORT = 22_000


@pytest.fixture(scope="module")
async def meeting(house: House, new_guest: NewPerson) -> Meeting:
    """The chair and a delegate, who stay while parts die around them."""
    meeting_id = await house.call_meeting("Họp khi máy chủ hỏng", {"chutich": "chair", "daibieu": "delegate"})
    chair, delegate = await new_guest("chutich"), await new_guest("daibieu")
    return await Meeting.joined_by(meeting_id, chair, delegate)


async def _usual_gap(meeting: Meeting) -> float:
    """Seconds of the longest gap that either browser shows while nothing is wrong."""
    await meeting.chair.start_gaps(meeting.chair.tile(DELEGATE))
    await meeting.delegate.start_gaps(meeting.delegate.tile(CHAIR))
    await asyncio.sleep(USUAL_SECONDS)
    return max([(await person.stop_gaps())[0] for person in (meeting.chair, meeting.delegate)])


async def _acts_work(meeting: Meeting) -> None:
    """A hand goes up, the floor is given and returned: through the gateway, media and back."""
    chair, delegate = meeting.chair, meeting.delegate

    # For the seconds in which media is taken over an act is refused, and the person is asked to try again.
    async def hand_is_up() -> bool:
        raised = delegate.page.get_by_role("button", name="Thôi xin phát biểu")
        if not await raised.count():
            with suppress(PlaywrightTimeoutError):  # it went up meanwhile, by the click before
                await delegate.button("Xin phát biểu").click(timeout=1_000)
            await delegate.page.wait_for_timeout(500)
        return await raised.count() > 0

    await until(hand_is_up, "a hand can be raised", ACTS_AGAIN_SECONDS)
    await chair.tab("Phát biểu")
    await chair.button(f"Mời phát biểu: {DELEGATE}").click(timeout=15_000)
    await expect(delegate.page.get_by_text("Mời bạn phát biểu")).to_be_visible()
    await chair.hears()
    await delegate.button("Trả quyền phát biểu").first.click()
    await expect(chair.page.get_by_text("Chưa có ai phát biểu").first).to_be_visible()


@pytest.mark.parametrize("part", ["media", "gateway", "nats"])
async def test_pictures_go_on_when_a_part_is_killed(
    house: House, meeting: Meeting, part: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """The media service, the gateway or NATS is killed: both pictures go on, and acts work when it is back."""
    await meeting.see_each_other()
    longest = max(MAX_GAP_SECONDS, USUAL_GAPS * await _usual_gap(meeting))
    again = house.times_again(part)
    await meeting.chair.start_gaps(meeting.chair.tile(DELEGATE))
    await meeting.delegate.start_gaps(meeting.delegate.tile(CHAIR))
    killed = await house.kill(part)
    await house.runs_again(part, again)
    away = time.monotonic() - killed
    for person in (meeting.chair, meeting.delegate):
        await expect(person.page.get_by_text("Mất kết nối, đang nối lại…")).to_have_count(0, timeout=15_000)
    await _acts_work(meeting)
    for person in (meeting.chair, meeting.delegate):
        gap, frames = await person.stop_gaps()
        record_testsuite_property(f"gap_seconds_{part}", round(gap, 3))
        assert gap < longest and frames > 4 * away, (gap, longest, frames, away)
    await meeting.see_each_other()


@pytest.mark.parametrize("back", ["at once", "later"])
async def test_everyone_is_back_without_a_key_when_the_media_node_dies(
    house: House, meeting: Meeting, back: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """The media node of the meeting is killed: both see each other again within 10 seconds, pressing nothing.

    While it stays away they are on the other node; a node that is back at once has forgotten the meeting all the same.
    """
    await meeting.see_each_other()
    people = (meeting.chair, meeting.delegate)
    nodes = {node for person in people for node in await _nodes_of(person)}
    assert len(nodes) == 1, nodes
    carrying = nodes.pop()
    again = house.times_again(carrying)
    old = {person: await person.peers() for person in people}
    async with AsyncExitStack() as stack:
        if back == "later":
            killed = await stack.enter_async_context(house.dead(carrying))
        else:
            killed = await house.kill(carrying)
        for person, other in ((meeting.chair, DELEGATE), (meeting.delegate, CHAIR)):
            await person.connects_anew(old[person], MAX_TAKEOVER_SECONDS * 1.5)
            await person.sees_moving(person.tile(other))
        away = time.monotonic() - killed
        if back == "later":
            now = {node for person in people for node in await _nodes_of(person)}
            assert carrying not in now and len(now) == 1, (carrying, now)
    record_testsuite_property(f"away_seconds_node_back_{back.replace(' ', '_')}", round(away, 1))
    assert away < MAX_TAKEOVER_SECONDS, away
    await house.runs_again(carrying, again)
    await _acts_work(meeting)


async def test_nobody_notices_that_a_media_node_is_emptied(
    house: House, meeting: Meeting, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """A node that takes nobody new hands its meeting to the other one: both are there, and the pictures went on."""
    await meeting.see_each_other()
    people = (meeting.chair, meeting.delegate)
    (carrying,) = {node for person in people for node in await _nodes_of(person)}
    old = {person: await person.peers() for person in people}
    longest = max(MAX_GAP_SECONDS, USUAL_GAPS * await _usual_gap(meeting))
    for person, other in ((meeting.chair, DELEGATE), (meeting.delegate, CHAIR)):
        await person.start_gaps(person.tile(other))
    await house.accept_new_sessions(carrying, accept=False)
    try:
        for person, other in ((meeting.chair, DELEGATE), (meeting.delegate, CHAIR)):
            await person.connects_anew(old[person], MAX_TAKEOVER_SECONDS)
            await person.sees_moving(person.tile(other))
        for person in people:
            assert carrying not in await _nodes_of(person)
            gap, frames = await person.stop_gaps()
            record_testsuite_property("gap_seconds_node_emptied", round(gap, 3))
            assert gap < longest and frames > 10, (gap, longest, frames)
        await _acts_work(meeting)
    finally:
        await house.accept_new_sessions(carrying, accept=True)


async def _nodes_of(person: Person) -> list[str]:
    """The media nodes of somebody's two connections, told by the range of their ports."""

    # For a moment after a move there are those of before as well.
    async def two() -> list[int] | None:
        ports = await person.media_ports()
        return ports if len(ports) == 2 else None

    ports = await until(two, "two connections stand", 10) or []
    return ["janus-b" if port >= NODE_B_FIRST_PORT else "janus-a" for port in ports]
