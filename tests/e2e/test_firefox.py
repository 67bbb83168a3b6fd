# SPDX-License-Identifier: Apache-2.0
"""The chair at Firefox, a delegate at Chromium: what one browser sends is what the other shows."""

import pytest
from playwright.async_api import expect

from .conftest import NewPerson
from .house import House
from .room import DELEGATE, Meeting


@pytest.fixture(scope="module")
async def meeting(house: House, new_firefox_guest: NewPerson, new_guest: NewPerson) -> Meeting:
    """The city's running meeting."""
    meeting_id = await house.running_meeting()
    chair, delegate = await new_firefox_guest("chutich"), await new_guest("daibieu")
    return await Meeting.joined_by(meeting_id, chair, delegate)


async def test_both_see_each_other_move(meeting: Meeting) -> None:
    """Each browser shows the other's moving picture."""
    await meeting.see_each_other()


async def test_the_chair_is_heard(meeting: Meeting) -> None:
    """The chair's sound arrives; a delegate without the floor sends none."""
    await meeting.delegate.hears()
    await meeting.chair.hears_nothing()


async def test_a_called_site_is_seen_and_heard(meeting: Meeting) -> None:
    """The chair calls a site at Firefox: it is on both main screens, and heard."""
    await meeting.chair.button("Mời điểm cầu: Quận 2").click()
    for person in (meeting.chair, meeting.delegate):
        await person.speaks("Quận 2")
        await person.sees_moving(person.stage)
    await meeting.chair.hears()
    await meeting.chair.button("Thôi mời điểm cầu").first.click()
    await expect(meeting.delegate.page.get_by_text("Chưa có ai phát biểu").first).to_be_visible()


async def test_a_delegate_gets_the_floor_and_is_heard(meeting: Meeting) -> None:
    """A raised hand is granted at Firefox; what Chromium sends is heard there."""
    chair, delegate = meeting.chair, meeting.delegate
    await delegate.button("Xin phát biểu").click()
    await chair.tab("Phát biểu")
    await chair.button(f"Mời phát biểu: {DELEGATE}").click()
    await expect(delegate.page.get_by_text("Mời bạn phát biểu")).to_be_visible()
    await chair.hears()
    await chair.sees_moving(chair.stage)
    await delegate.button("Trả quyền phát biểu").first.click()
    await chair.hears_nothing()


async def test_a_screen_shared_by_chromium_is_seen(meeting: Meeting) -> None:
    """A shared screen is on Firefox's main screen and moves."""
    chair, delegate = meeting.chair, meeting.delegate
    await chair.act(DELEGATE, "Cho phát biểu")
    await delegate.button("Chia sẻ màn hình").click()
    await expect(chair.stage.get_by_text(f"{DELEGATE} đang chia sẻ màn hình")).to_be_visible()
    measured = await chair.sees_moving(chair.stage)
    assert measured["width"] >= 640, measured
    await delegate.button("Ngừng chia sẻ").click()
    await expect(chair.stage.get_by_text("đang chia sẻ màn hình")).to_have_count(0)
    await delegate.button("Trả quyền phát biểu").first.click()
    await expect(chair.page.get_by_text("Chưa có ai phát biểu").first).to_be_visible()
