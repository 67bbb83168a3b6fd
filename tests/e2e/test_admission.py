# SPDX-License-Identifier: Apache-2.0
"""Who gets into a meeting and out of it, who does not, and what is written down of it afterwards."""

import asyncio
import re

from giaoban_dev.demo.directory import PASSWORD
from giaoban_dev.testing import CLIENT_ADDRESS
from giaoban_loadtests.gateway_api import GatewayApi, UserIdentity
from giaoban_loadtests.publish import Pacer
from giaoban_loadtests.signalling import Participant
from playwright.async_api import expect

from .conftest import NewPerson
from .house import CITY, URL, House

CHAIR, GUEST, DELEGATE = "Nguyễn Thành Nhân", "Đỗ Hữu Phúc", "Võ Ngọc Lan"
DUTIES = {"chutich": "chair", "daibieu": "delegate"}
TIME = re.compile(r"^\d\d:\d\d$")


async def test_the_uninvited_wait_until_the_chair_decides(house: House, new_person: NewPerson) -> None:
    """One without an appointment waits and is admitted; another is refused and stays out."""
    meeting_id = await house.call_meeting("Họp có khách", {"chutich": "chair"})
    chair, guest, other = [await new_person(name) for name in ("chutich", "chuamoi", "english")]
    await chair.join(meeting_id)
    await guest.enter(meeting_id)
    await expect(guest.page.get_by_text("Đang chờ chủ tọa cho vào")).to_be_visible()
    await expect(chair.page.get_by_role("heading", name="Đang chờ vào (1)")).to_be_visible()
    await chair.button(f"Cho vào: {GUEST}").click()
    await expect(guest.stage).to_be_visible()
    await expect(guest.page.get_by_role("heading", name="Họp có khách")).to_be_visible()
    await guest.sees_moving(guest.tile(CHAIR))
    await expect(chair.row(GUEST)).to_contain_text("Dự thính")
    await expect(chair.row(GUEST)).to_contain_text("Có mặt")

    await other.enter(meeting_id)
    await expect(other.page.get_by_text("Đang chờ chủ tọa cho vào")).to_be_visible()
    await chair.button("Từ chối: Ngô Thanh Hà").click()
    await expect(chair.page.get_by_role("alertdialog").get_by_role("button", name="Thôi")).to_be_focused()
    await chair.page.get_by_role("alertdialog").get_by_role("button", name="Từ chối").click()
    await expect(other.page.get_by_text("Yêu cầu vào họp không được chấp nhận.")).to_be_visible()
    await expect(chair.row("Ngô Thanh Hà")).to_have_count(0)


async def test_another_organisation_finds_no_such_meeting(house: House, new_person: NewPerson) -> None:
    """For a person of another organisation the meeting does not exist, neither its page nor its room."""
    meeting_id = await house.call_meeting("Họp nội bộ Thành phố", {"chutich": "chair"})
    stranger = await new_person("botruong", "bkhcn")
    await stranger.page.goto(f"/meetings/{meeting_id}")
    await expect(
        stranger.page.get_by_text("Không tìm thấy nội dung này, hoặc bạn không có quyền xem.")
    ).to_be_visible()
    await stranger.enter(meeting_id)
    await expect(stranger.page.get_by_text("Không tìm thấy cuộc họp này.")).to_be_visible()
    await expect(stranger.page.get_by_text("Họp nội bộ Thành phố")).to_have_count(0)


async def test_after_the_end_the_attendance_is_known_and_nobody_gets_in(
    house: House, new_person: NewPerson
) -> None:
    """The chair ends the meeting for all; its page tells who was there from when to when; the room is closed."""
    roles = {"chutich": "chair", "daibieu": "delegate", "english": "delegate"}
    meeting_id = await house.call_meeting("Họp có điểm danh", roles)
    chair, delegate = await new_person("chutich"), await new_person("daibieu")
    await chair.join(meeting_id)
    await delegate.join(meeting_id)
    await expect(chair.row(DELEGATE).get_by_text("Có mặt")).to_be_visible()
    await chair.button("Điều hành").click()
    await chair.page.get_by_role("menuitem", name="Kết thúc cuộc họp").click()
    await chair.page.get_by_role("alertdialog").get_by_role("button", name="Kết thúc cuộc họp").click()
    for person in (chair, delegate):
        await expect(person.page.get_by_text("Cuộc họp đã kết thúc.")).to_be_visible()

    await chair.page.get_by_role("link", name="Về trang cuộc họp").click()
    await expect(chair.page.get_by_text("Đã kết thúc").first).to_be_visible()
    table = chair.page.get_by_role("region", name="Điểm danh").get_by_role("table")
    for name, role in ((CHAIR, "Chủ tọa"), (DELEGATE, "Đại biểu")):
        cells = table.get_by_role("row").filter(has_text=name).get_by_role("cell")
        await expect(cells.nth(0)).to_have_text(role)
        await expect(cells.nth(1)).to_have_text(TIME)
        await expect(cells.nth(2)).to_have_text(TIME)
        await expect(cells.nth(3)).to_have_text("Đã rời")
    absent = table.get_by_role("row").filter(has_text="Ngô Thanh Hà").get_by_role("cell")
    await expect(absent.nth(3)).to_have_text("Vắng")

    await delegate.page.goto(f"/meetings/{meeting_id}/room")
    await expect(delegate.page.get_by_text("không vào được nữa")).to_be_visible()
    await expect(delegate.button("Vào họp")).to_have_count(0)
    async with GatewayApi(URL) as api:
        who = UserIdentity(CITY, "daibieu", PASSWORD)
        late = Participant(api, meeting_id, who, pacer=Pacer(), local_ip=CLIENT_ADDRESS)
        # Refused already where the ticket is asked for.
        assert await asyncio.wait_for(late.run(), 10) == "MEETING_ENDED"


async def test_a_removed_participant_is_out_and_stays_out(house: House, new_person: NewPerson) -> None:
    """Removed: told so, gone from the roster, and a second try is refused."""
    meeting_id = await house.call_meeting(
        "Họp có người bị mời ra", {"chutich": "chair", "daibieu": "delegate"}
    )
    chair, delegate = await new_person("chutich"), await new_person("daibieu")
    await chair.join(meeting_id)
    await delegate.join(meeting_id)
    await chair.act(DELEGATE, "Mời ra khỏi cuộc họp")
    await chair.page.get_by_role("alertdialog").get_by_role("button", name="Mời ra khỏi cuộc họp").click()
    await expect(delegate.page.get_by_text("Chủ tọa đã mời bạn ra khỏi cuộc họp.")).to_be_visible()
    await expect(chair.tile(DELEGATE)).to_have_count(0)
    await delegate.enter(meeting_id)
    await expect(delegate.page.get_by_role("heading", name="Bạn đã ra khỏi cuộc họp")).to_be_visible()


async def test_a_changed_appointment_counts_at_once(house: House, new_person: NewPerson) -> None:
    """A delegate made an observer only watches, is a delegate again, and waits once without an appointment."""
    meeting_id = await house.call_meeting("Họp có người đổi tư cách", DUTIES)
    chair, delegate = await new_person("chutich"), await new_person("daibieu")
    await chair.join(meeting_id)
    await delegate.join(meeting_id)
    await chair.sees_moving(chair.tile(DELEGATE))

    await house.appoint(meeting_id, DUTIES | {"daibieu": "observer"})
    await expect(chair.row(DELEGATE)).to_contain_text("Dự thính")
    await expect(delegate.page.get_by_text("Tư cách tham dự của bạn nay là: Dự thính")).to_be_visible()
    await expect(delegate.page.get_by_test_id("hand")).to_have_count(0)
    await delegate.sees_moving(delegate.tile(CHAIR))
    await expect(chair.tile(DELEGATE).locator("video")).to_have_count(0)

    await house.appoint(meeting_id, DUTIES)
    await expect(chair.row(DELEGATE)).to_contain_text("Đại biểu")
    await delegate.page.get_by_test_id("camera").click()
    await chair.sees_moving(chair.tile(DELEGATE))

    await house.appoint(meeting_id, {"chutich": "chair"})
    await expect(delegate.page.get_by_text("Đang chờ chủ tọa cho vào")).to_be_visible()
    await expect(chair.tile(DELEGATE)).to_have_count(0)
    await expect(chair.page.get_by_role("heading", name="Đang chờ vào (1)")).to_be_visible()
    await chair.button(f"Cho vào: {DELEGATE}").click()
    await delegate.sees_moving(delegate.tile(CHAIR))


async def test_leaving_is_seen_at_once(house: House, new_person: NewPerson) -> None:
    """Who leaves is told so, and is gone from the other's seats and roster."""
    meeting_id = await house.call_meeting("Họp có người rời", {"chutich": "chair", "daibieu": "delegate"})
    chair, delegate = await new_person("chutich"), await new_person("daibieu")
    await chair.join(meeting_id)
    await delegate.join(meeting_id)
    await chair.sees_moving(chair.tile(DELEGATE))
    await delegate.leave()
    await expect(chair.tile(DELEGATE)).to_have_count(0)
    await expect(chair.row(DELEGATE).get_by_text("Chưa vào")).to_be_visible()


async def test_a_reload_is_the_same_stay(house: House, new_person: NewPerson) -> None:
    """A reload comes back by itself with hand and devices as they were; the attendance knows one stay."""
    meeting_id = await house.call_meeting(
        "Họp có người tải lại trang", {"chutich": "chair", "daibieu": "delegate"}
    )
    chair, delegate = await new_person("chutich"), await new_person("daibieu")
    await chair.join(meeting_id)
    await delegate.join(meeting_id)
    await delegate.button("Xin phát biểu").click()
    await delegate.page.get_by_test_id("mic").click()
    await expect(chair.row(DELEGATE)).to_contain_text("Xin phát biểu 1")
    await delegate.page.reload()
    await expect(delegate.stage).to_be_visible(timeout=15_000)
    await expect(delegate.button("Bạn đứng thứ 1 – Thôi xin phát biểu")).to_be_visible()
    await expect(delegate.page.get_by_test_id("mic")).to_have_accessible_name("Mic đang tắt – Bật mic")
    await expect(chair.row(DELEGATE)).to_contain_text("Có mặt")
    await chair.sees_moving(chair.tile(DELEGATE))
    await delegate.leave()
    await chair.leave()
    await chair.page.goto(f"/meetings/{meeting_id}")
    table = chair.page.get_by_role("region", name="Điểm danh").get_by_role("table")
    row = table.get_by_role("row").filter(has_text=DELEGATE)
    await expect(row).to_have_count(1)
    # The page may have been faster than the news, and asks again every 15 s.
    await expect(row).to_contain_text("Đã rời", timeout=20_000)
