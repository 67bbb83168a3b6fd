# SPDX-License-Identifier: Apache-2.0
"""A meeting of the city: the chair and a delegate at browsers, the sites as they are, real media between all."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from .conftest import NewPerson
from .house import SITES, House
from .room import CHAIR, DELEGATE, Meeting, Person, difference, drawn

ALL_SITES = [f"Quận {number}" for number in range(1, SITES + 1)]


@pytest.fixture(scope="module")
async def stay(house: House, new_guest: NewPerson) -> Meeting:
    """The chair and the delegate come once and stay for all stories of this file."""
    meeting_id = await house.running_meeting()
    chair, delegate = await new_guest("chutich"), await new_guest("daibieu")
    return await Meeting.joined_by(meeting_id, chair, delegate)


@pytest.fixture
async def meeting(stay: Meeting) -> AsyncIterator[Meeting]:
    """The meeting; after each story nobody has the floor, nobody waits for it, nothing is pinned."""
    yield stay
    chair = stay.chair
    await chair.page.keyboard.press("Escape")
    await chair.tab("Phát biểu")
    holders = chair.page.get_by_role("button", name="Thu quyền phát biểu: ")
    waiting = chair.page.get_by_role("button", name="khỏi danh sách")
    for buttons in (holders, waiting):
        while await buttons.count():
            left = await buttons.count()
            await buttons.first.click()
            await expect(buttons).to_have_count(left - 1)
    await chair.tab("Điểm cầu")


async def test_people_see_each_other_move(meeting: Meeting) -> None:
    """The chair and the delegate see each other's moving picture, and their own."""
    for person, name in ((meeting.chair, DELEGATE), (meeting.delegate, CHAIR)):
        await person.sees_moving(person.tile(name))
    await meeting.delegate.sees_moving(meeting.delegate.stage)
    await expect(meeting.delegate.stage.get_by_text(CHAIR)).to_be_visible()


@pytest.mark.parametrize("who", ["chair", "delegate"])
async def test_sites_are_seen_with_their_names(meeting: Meeting, who: str) -> None:
    """Every site's tile moves and shows the picture with that site's name, no other's."""
    person = meeting.chair if who == "chair" else meeting.delegate
    expected = {name: drawn(name) for name in ALL_SITES}
    for name in ALL_SITES:
        await person.sees_moving(person.tile(name))
        shown = await person.picture(person.tile(name))
        apart = {other: difference(shown, picture) for other, picture in expected.items()}
        assert apart[name] < 12 and min(apart, key=lambda each: apart[each]) == name, (name, apart)


async def test_the_roster_shows_who_is_there(meeting: Meeting) -> None:
    """The roster says who is present and who has not come, and finds a name typed without diacritics."""
    chair = meeting.chair
    for name in (CHAIR, DELEGATE, *ALL_SITES):
        await expect(chair.row(name).get_by_text("Có mặt")).to_be_visible()
    await expect(chair.row("Quận 12").get_by_text("Chưa vào")).to_be_visible()
    await expect(chair.page.get_by_text(f"Có mặt {SITES + 2} / ")).to_be_visible()
    await chair.page.get_by_label("Tìm trong danh sách").fill("go vap")
    await expect(chair.page.get_by_role("list", name="Điểm cầu").get_by_role("listitem")).to_have_count(1)
    await expect(chair.row("Quận Gò Vấp")).to_be_visible()
    await chair.page.get_by_label("Tìm trong danh sách").fill("")


async def test_the_chair_is_heard_and_a_delegate_without_the_floor_is_not(meeting: Meeting) -> None:
    """The delegate hears the chair; the chair hears nobody while nobody has the floor."""
    await meeting.delegate.hears()
    await meeting.chair.hears_nothing()


async def test_a_delegate_asks_for_the_floor_gets_it_and_returns_it(meeting: Meeting) -> None:
    """Hand up, in order; granted: floor and main screen in both browsers, heard; muted: silent; returned: free."""
    chair, delegate = meeting.chair, meeting.delegate
    await delegate.button("Xin phát biểu").click()
    await chair.tab("Phát biểu")
    queue = chair.page.get_by_role("list", name="Xin phát biểu (1)").get_by_role("listitem")
    await expect(queue).to_have_count(1)
    await expect(queue.first).to_contain_text(DELEGATE)
    await expect(delegate.button("Bạn đứng thứ 1 – Thôi xin phát biểu")).to_be_visible()

    await chair.button(f"Mời phát biểu: {DELEGATE}").click()
    await expect(delegate.page.get_by_text("Mời bạn phát biểu")).to_be_visible()
    for person in (chair, delegate):
        await person.speaks(DELEGATE)
        await expect(person.stage.get_by_text(DELEGATE)).to_be_visible()
        await person.sees_moving(person.stage)
    await chair.hears()

    await chair.act(DELEGATE, "Tắt mic")
    await expect(delegate.page.get_by_role("button", name="Chủ tọa đã tắt mic")).to_be_visible()
    await chair.hears_nothing()
    await chair.act(DELEGATE, "Cho mở mic")
    await chair.hears()

    await delegate.button("Trả quyền phát biểu").first.click()
    for person in (chair, delegate):
        await expect(person.page.get_by_text("Chưa có ai phát biểu").first).to_be_visible()
    await chair.hears_nothing()


async def test_hands_are_in_order(meeting: Meeting, new_person: NewPerson) -> None:
    """Two hands stand in the order in which they were raised, and the chair can change it."""
    chair, delegate = meeting.chair, meeting.delegate
    second = await new_person("english")
    await second.join(meeting.id)
    await delegate.button("Xin phát biểu").click()
    await expect(delegate.button("Bạn đứng thứ 1 – Thôi xin phát biểu")).to_be_visible()
    await second.button("Xin phát biểu").click()
    await chair.tab("Phát biểu")
    queue = chair.page.get_by_role("list", name="Xin phát biểu (2)").get_by_role("listitem")
    await expect(queue).to_contain_text([DELEGATE, "Ngô Thanh Hà"])
    await chair.button("Đưa Ngô Thanh Hà lên trước").click()
    await expect(queue).to_contain_text(["Ngô Thanh Hà", DELEGATE])
    await expect(delegate.button("Bạn đứng thứ 2 – Thôi xin phát biểu")).to_be_visible()


async def test_the_chair_calls_a_site(meeting: Meeting) -> None:
    """A called site is on every main screen with its own picture and heard by all; ending the call frees the floor."""
    chair, delegate = meeting.chair, meeting.delegate
    await chair.button("Mời điểm cầu: Quận 3").click()
    expected = drawn("Quận 3")
    for person in (chair, delegate):
        await person.speaks("Quận 3")
        await expect(person.stage.get_by_text("Được mời phát biểu")).to_be_visible()
        await person.sees_moving(person.stage)
        await _shows(person, expected)
    await chair.hears()
    await chair.button("Thôi mời điểm cầu").first.click()
    await expect(delegate.page.get_by_text("Chưa có ai phát biểu").first).to_be_visible()
    await expect(delegate.stage.get_by_text(CHAIR)).to_be_visible()


async def _shows(person: Person, expected: list[int], seconds: float = 10.0) -> None:
    """Wait until the main screen shows this picture: the track is there before its first frame is."""
    apart = 255.0
    for _ in range(int(seconds / 0.2)):
        apart = difference(await person.picture(person.stage), expected)
        if apart < 12:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"the main screen shows another picture ({apart:.0f} from the expected one)")


async def test_the_chair_mutes_all(meeting: Meeting) -> None:
    """After 'mute all' nobody but the chair is heard, and those muted are told."""
    chair, delegate = meeting.chair, meeting.delegate
    await chair.act(DELEGATE, "Cho phát biểu")
    await chair.act("Quận 1", "Cho phát biểu")
    await chair.hears()
    await chair.button("Tắt mic tất cả").click()
    await expect(delegate.page.get_by_role("button", name="Chủ tọa đã tắt mic")).to_be_visible()
    await chair.hears_nothing()
    await delegate.hears()
    for name in (DELEGATE, "Quận 1"):
        await chair.act(name, "Cho mở mic")


async def test_the_chair_puts_a_site_on_the_main_screen(meeting: Meeting) -> None:
    """A pinned site is on every main screen without having the floor, until the chair lets the screen go."""
    chair, delegate = meeting.chair, meeting.delegate
    await chair.act("Quận 4", "Lên màn hình chính")
    expected = drawn("Quận 4")
    for person in (chair, delegate):
        await expect(person.stage.locator("strong").get_by_text("Quận 4")).to_be_visible()
        await person.sees_moving(person.stage)
        await _shows(person, expected)
        await expect(person.page.get_by_text("Chưa có ai phát biểu").first).to_be_visible()
    await chair.act("Quận 4", "Bỏ khỏi màn hình chính")
    await expect(delegate.stage.get_by_text(CHAIR)).to_be_visible()


async def test_a_shared_screen_is_seen_by_the_others(meeting: Meeting) -> None:
    """What the chair shares is on the delegate's main screen and moves, until the chair stops sharing."""
    chair, delegate = meeting.chair, meeting.delegate
    await chair.button("Chia sẻ màn hình").click()
    await expect(delegate.stage.get_by_text(f"{CHAIR} đang chia sẻ màn hình")).to_be_visible()
    measured = await delegate.sees_moving(delegate.stage)
    assert measured["width"] >= 640, measured
    await chair.button("Ngừng chia sẻ").click()
    await expect(delegate.stage.get_by_text("đang chia sẻ màn hình")).to_have_count(0)


async def test_chat_reaches_everybody(meeting: Meeting) -> None:
    """A message to all appears at the other's, as text whatever is in it."""
    chair, delegate = meeting.chair, meeting.delegate
    text = "Đề nghị các quận báo cáo <b>ngắn gọn</b>"
    await delegate.tab("Trò chuyện")
    await delegate.page.get_by_label("Nhắn cho mọi người").fill(text)
    await delegate.page.keyboard.press("Enter")
    await chair.tab("Trò chuyện")
    for person in (chair, delegate):
        entry = person.page.get_by_role("log").get_by_role("article").last
        await expect(entry).to_contain_text(DELEGATE)
        await expect(entry).to_contain_text(text)
    await delegate.tab("Điểm cầu")
