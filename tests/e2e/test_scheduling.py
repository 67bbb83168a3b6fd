# SPDX-License-Identifier: Apache-2.0
"""Calling a meeting through the form; who hears of it, by mail and in the inbox, in their language."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.async_api import Locator, expect

from .conftest import NewPerson
from .house import MAIL_URL, ZONE, House, until, utc
from .room import Person

VIETNAMESE, ENGLISH, OFFICE = (
    "daibieu@tphcm.example",
    "english@tphcm.example",
    "quan-go-vap@tphcm.example",
)


class Form:
    """The form of a meeting, as somebody at a keyboard fills it in."""

    def __init__(self, person: Person) -> None:
        self.page = person.page

    async def open(self) -> None:
        await self.page.get_by_role("link", name="Tạo cuộc họp").click()
        await expect(self.page.get_by_role("heading", name="Tạo cuộc họp")).to_be_visible()

    @property
    def title(self) -> Locator:
        return self.page.get_by_label("Tên cuộc họp")

    async def when(self, start: datetime) -> None:
        """Type date and time, digit by digit."""
        for label, digits in (
            ("Ngày họp", start.strftime("%d%m%Y")),
            ("Giờ bắt đầu", start.strftime("%H%M")),
        ):
            parts = self.page.get_by_role("group", name=label).get_by_role("spinbutton")
            await parts.first.click()
            await self.page.keyboard.type(digits, delay=20)

    async def choose(self, label: str, typed: str, name: str, kind: str) -> None:
        """Type into a search and choose what it finds."""
        await self.page.get_by_role("combobox", name=label, exact=True).press_sequentially(typed, delay=10)
        option = self.page.get_by_role("option").filter(has_text=name).filter(has_text=kind)
        await option.first.click()
        await expect(self.page.get_by_role("button", name=f"Bỏ {name}").first).to_be_visible()

    async def submit(self, name: str = "Tạo và gửi giấy mời") -> None:
        await self.page.get_by_role("button", name=name).click()


@pytest.fixture
async def secretary(new_person: NewPerson) -> AsyncIterator[Person]:
    """The city's secretary, signed in."""
    yield await new_person("thuky")


async def _mail(house: House, to: str, title: str, *, beyond: int = 0) -> dict[str, Any]:
    """Wait for a mail about a meeting to an address, beyond those known; return the newest."""

    async def come() -> dict[str, Any] | None:
        about = [
            each
            for each in await house.mails(to)
            if title in each["subject"] or title in (each["text"] or "")
        ]
        return about[0] if len(about) > beyond else None

    found = await until(come, f"mail {beyond + 1} to {to} about {title}", 15)
    assert found is not None
    return found


async def _calendar(mail: dict[str, Any]) -> str:
    """Return the calendar file of a mail, unfolded (RFC 5545, 3.1)."""
    (attached,) = [each for each in mail["attachments"] if each["filename"].endswith(".ics")]
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{MAIL_URL}{attached['path']}")).text
    return text.replace("\r\n ", "")


def _starts(calendar: str, start: datetime) -> bool:
    """Whether the calendar file gives this start, in UTC or in the meeting's own zone (RFC 5545, 3.3.5)."""
    zone = str(start.tzinfo)
    return (
        f"DTSTART:{start.astimezone(UTC):%Y%m%dT%H%M%SZ}" in calendar
        or f"DTSTART;TZID={zone}:{start:%Y%m%dT%H%M%S}" in calendar
    )


async def test_a_meeting_is_called_changed_and_cancelled(
    house: House, secretary: Person, new_person: NewPerson
) -> None:
    """The invited get a mail in their language with a calendar file and an inbox entry, at each of the three."""
    zone = ZoneInfo("Asia/Tokyo")
    start = (datetime.now(zone) + timedelta(days=3)).replace(hour=9, minute=30, second=0, microsecond=0)
    title = "Họp giao ban tuần 48"
    form = Form(secretary)
    await form.open()
    await form.title.fill(title)
    await form.when(start)
    await form.page.get_by_label("Múi giờ").select_option(zone.key)
    await form.page.get_by_label("Thời lượng (phút)").fill("90")
    await form.choose("Chủ tọa", "nguyen thanh nhan", "Nguyễn Thành Nhân", "Cán bộ")
    await form.choose("Thư ký", "mai huong", "Trần Thị Mai Hương", "Cán bộ")
    search = "Tìm điểm cầu, cán bộ, đơn vị"
    await form.choose(search, "go vap", "Quận Gò Vấp", "Đơn vị")
    await form.choose(search, "binh tan", "Quận Bình Tân", "Điểm cầu")
    await form.choose(search, "vo ngoc lan", "Võ Ngọc Lan", "Cán bộ")
    await form.choose(search, "ngo thanh ha", "Ngô Thanh Hà", "Cán bộ")
    await form.submit()
    await expect(form.page.get_by_role("heading", name=title)).to_be_visible()
    meeting_id = form.page.url.rpartition("/")[2]

    async with house.api("thuky") as client:
        made = (await client.get(f"/v1/meetings/{meeting_id}")).json()
    assert (made["start_time"], made["duration_seconds"], made["time_zone"]) == (utc(start), 5400, zone.key)
    roles = {(each["party"]["kind"], each["party"]["name"]): each["role"] for each in made["appointments"]}
    assert roles == {
        ("user", "Nguyễn Thành Nhân"): "chair",
        ("user", "Trần Thị Mai Hương"): "secretary",
        ("unit", "Quận Gò Vấp"): "delegate",
        ("site", "Quận Bình Tân"): "delegate",
        ("user", "Võ Ngọc Lan"): "delegate",
        ("user", "Ngô Thanh Hà"): "delegate",
    }

    vietnamese, english = await _mail(house, VIETNAMESE, title), await _mail(house, ENGLISH, title)
    assert "họp" in vietnamese["text"].replace(title, "") and "meeting" in english["text"].lower()
    assert "cuộc họp" not in english["text"].lower()
    await _mail(house, OFFICE, title)
    calendar = await _calendar(vietnamese)
    assert _starts(calendar, start)
    assert "METHOD:REQUEST" in calendar and f"SUMMARY:{title}" in calendar
    delegate = await new_person("daibieu")
    await delegate.page.get_by_role("link", name="Thông báo").click()
    entry = delegate.page.get_by_role("listitem").filter(has_text=title)
    await expect(entry).to_have_count(1)

    known = len([each for each in await house.mails(ENGLISH) if title in each["subject"]])
    await form.page.get_by_role("link", name="Sửa").click()
    await expect(form.title).to_have_value(title)
    await form.when(start + timedelta(hours=1))
    await form.submit("Lưu và báo thay đổi")
    await expect(form.page.get_by_role("heading", name=title)).to_be_visible()
    changed = await _calendar(await _mail(house, ENGLISH, title, beyond=known))
    assert "SEQUENCE:1" in changed and _starts(changed, start + timedelta(hours=1))

    known += 1
    await form.page.get_by_role("button", name="Hủy cuộc họp").click()
    await form.page.get_by_label("Lý do hủy").fill("Lãnh đạo đi công tác")
    await form.page.get_by_role("alertdialog").get_by_role("button", name="Hủy cuộc họp").click()
    await expect(form.page.get_by_text("Lý do hủy: Lãnh đạo đi công tác")).to_be_visible()
    cancelled = await _mail(house, ENGLISH, title, beyond=known)
    assert "Lãnh đạo đi công tác" in cancelled["text"]
    assert "METHOD:CANCEL" in await _calendar(cancelled)
    await delegate.page.reload()
    await expect(entry).to_have_count(3)


async def test_errors_stand_at_their_fields_and_nothing_typed_is_lost(secretary: Person) -> None:
    """What the server refuses is told at the field; everything else stays as typed and can be sent again."""
    form = Form(secretary)
    await form.open()
    await form.title.fill("Họp có nội dung quá dài")
    await form.choose("Chủ tọa", "nguyen thanh nhan", "Nguyễn Thành Nhân", "Cán bộ")
    description = form.page.get_by_label("Nội dung, tài liệu cần chuẩn bị")
    too_long = "Nội dung rất dài. " * 1_500
    await description.fill(too_long)
    await form.submit()
    await expect(form.page.get_by_text("Có mục chưa hợp lệ.")).to_be_visible()
    await expect(form.page.get_by_text("Dài 27000 ký tự, tối đa 5000.")).to_be_visible()
    await expect(description).to_have_attribute("aria-invalid", "true")
    await expect(description).to_have_value(too_long)
    await expect(form.title).to_have_value("Họp có nội dung quá dài")
    await expect(form.title).not_to_have_attribute("aria-invalid", "true")
    await expect(form.page.get_by_role("group", name="Chủ tọa")).to_contain_text("Nguyễn Thành Nhân")
    await description.fill("Nội dung ngắn.")
    await form.submit()
    await expect(form.page.get_by_role("heading", name="Họp có nội dung quá dài")).to_be_visible()


async def test_a_meeting_without_what_it_needs_is_not_sent(secretary: Person) -> None:
    """Without title and chair the form says so at these fields."""
    form = Form(secretary)
    await form.open()
    await form.submit()
    await expect(form.title).to_have_attribute("aria-invalid", "true")
    await expect(form.page.get_by_text("Chọn một chủ tọa.")).to_be_visible()
    assert form.page.url.endswith("/meetings/new")


async def test_a_start_in_the_past_is_refused(house: House, secretary: Person) -> None:
    """The form refuses it at the date; the server refuses it too, naming the field and the remedy."""
    yesterday = datetime.now(ZoneInfo(ZONE)) - timedelta(days=1)
    form = Form(secretary)
    await form.open()
    await form.title.fill("Họp hôm qua")
    await form.choose("Chủ tọa", "nguyen thanh nhan", "Nguyễn Thành Nhân", "Cán bộ")
    await form.when(yesterday)
    await form.submit()
    await expect(
        form.page.get_by_text("Giờ bắt đầu đã qua. Chọn giờ sau thời điểm hiện tại.")
    ).to_be_visible()
    async with house.api("thuky") as client:
        me = (await client.get("/v1/me")).json()["user"]["id"]
        units = (await client.get("/v1/units")).json()["items"]
        body = {
            "unit_id": next(each["id"] for each in units if each["code"] == "ubnd"),
            "title": "Họp hôm qua",
            "start_time": utc(yesterday),
            "duration_seconds": 3600,
            "time_zone": ZONE,
            "appointments": [{"party": {"kind": "user", "id": me}, "role": "chair"}],
        }
        answer = await client.post("/v1/meetings", json=body)
    assert answer.status_code in {400, 422}, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"].endswith("start_time") and error["remedy"], error
