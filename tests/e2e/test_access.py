# SPDX-License-Identifier: Apache-2.0
"""Giaoban can be used by everybody: judged by axe-core, by keyboard alone, at phone width, in English."""

import re
from typing import Any

import pytest
from giaoban_dev.demo.directory import PASSWORD
from giaoban_dev.infra.paths import PROJECT_ROOT
from playwright.async_api import Page, expect

from .conftest import NewPerson
from .house import CITY, URL, House

AXE = PROJECT_ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
MESSAGES = PROJECT_ROOT / "web" / "src" / "i18n"
MAX_TABS = 90
_RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .filter((each) => ["serious", "critical"].includes(each.impact))
  .map((each) => ({ id: each.id, help: each.help, nodes: each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)) }))"""
# What people see or are told: visible lines, and the names of what has one.
_WORDS = """() => [
  ...document.body.innerText.split("\\n"), document.title,
  ...[...document.querySelectorAll("[aria-label],[placeholder],[title]")].flatMap((each) =>
    ["aria-label", "placeholder", "title"].map((name) => each.getAttribute(name) ?? "")),
].map((each) => each.trim()).filter(Boolean)"""
_FOCUSED = """() => {
  const it = document.activeElement;
  return it?.getAttribute("aria-label") ?? (it?.labels?.[0] ?? it)?.innerText?.trim() ?? "";
}"""


async def _violations(page: Page) -> list[dict[str, Any]]:
    # Colours in the middle of a fade are nobody's choice.
    await page.wait_for_timeout(400)
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = await page.evaluate(_RUN_AXE)
    return found


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
async def test_no_page_has_serious_barriers(
    house: House, new_person: NewPerson, width: int, height: int
) -> None:
    """axe-core finds nothing serious or critical on any main page, on a desk and on a phone."""
    meeting_id = await house.running_meeting()
    person = await new_person(width=width, height=height)
    found = {}
    await person.page.goto(URL)
    await expect(person.page.get_by_role("heading", name="Đăng nhập")).to_be_visible()
    found["sign-in"] = await _violations(person.page)
    await person.sign_in("thuky")
    await expect(person.page.get_by_role("link", name="Vào họp: ").first).to_be_visible()
    found["home"] = await _violations(person.page)
    for name, path, heading in (
        ("meeting", f"/meetings/{meeting_id}", "Thành phần"),
        ("form", "/meetings/new", "Tạo cuộc họp"),
        ("recordings", "/recordings", "Bản ghi"),
        ("inbox", "/notifications", "Thông báo"),
    ):
        await person.page.goto(path)
        await expect(person.page.get_by_role("heading", name=heading).first).to_be_visible()
        found[name] = await _violations(person.page)
    await person.page.goto(f"/meetings/{meeting_id}/room")
    await expect(person.button("Vào họp")).to_be_enabled()
    found["device check"] = await _violations(person.page)
    await person.button("Vào họp").click()
    await expect(person.stage).to_be_visible()
    await person.sees_moving(person.page.get_by_role("region", name="Các điểm tham dự"))
    found["room"] = await _violations(person.page)
    for tab in ("Phát biểu", "Trò chuyện"):
        await person.tab(tab)
        found[f"room, {tab}"] = await _violations(person.page)
    assert not any(found.values()), {page: each for page, each in found.items() if each}


async def _tab_to(page: Page, name: str) -> None:
    """Press Tab until what has this name has the focus."""
    for _ in range(MAX_TABS):
        if str(await page.evaluate(_FOCUSED)).startswith(name):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{name!r} is not reached by {MAX_TABS} times Tab")


async def test_everything_needed_is_done_by_keyboard(house: House, new_person: NewPerson) -> None:
    """Sign in, go into a meeting, raise the hand and take it down, leave: with keys alone."""
    await house.running_meeting()
    person = await new_person()
    page, keys = person.page, person.page.keyboard
    await page.goto(URL)
    for label, text in (("Mã tổ chức", CITY), ("Tên đăng nhập", "daibieu"), ("Mật khẩu", PASSWORD)):
        await _tab_to(page, label)
        await keys.type(text)
    await keys.press("Enter")
    await expect(page.get_by_role("link", name="Vào họp: Giao ban trực tuyến")).to_be_visible()
    await _tab_to(page, "Vào họp: Giao ban trực tuyến")
    await keys.press("Enter")
    await expect(person.button("Vào họp")).to_be_enabled()
    await _tab_to(page, "Vào họp")
    await keys.press("Enter")
    await expect(person.stage).to_be_visible()
    await _tab_to(page, "Xin phát biểu")
    await keys.press("Enter")
    await expect(page.get_by_role("button", name="Thôi xin phát biểu")).to_be_visible()
    await keys.press("h")
    await expect(person.button("Xin phát biểu")).to_be_visible()
    await _tab_to(page, "Rời họp")
    await keys.press("Enter")
    await expect(page.get_by_role("alertdialog")).to_be_visible()
    await keys.press("Enter")
    await expect(page.get_by_text("Bạn đã rời cuộc họp.")).to_be_visible()


def _leaves(language: str) -> set[str]:
    text = (MESSAGES / f"{language}.ts").read_text(encoding="utf-8")
    return {each for each in re.findall(r'"((?:[^"\\\\]|\\\\.)+)"', text) if "{{" not in each}


async def test_english_is_complete(house: House, new_person: NewPerson) -> None:
    """After the switch to English no Vietnamese word of the interface is left on any main page."""
    vietnamese = _leaves("vi") - _leaves("en")
    assert len(vietnamese) > 200
    meeting_id = await house.running_meeting()
    person = await new_person("thuky")
    page = person.page
    await page.get_by_role("button", name="EN – ").click()
    await expect(page.get_by_role("heading", name="Today")).to_be_visible()
    left = {}
    for path in (
        "/",
        f"/meetings/{meeting_id}",
        "/meetings/new",
        "/recordings",
        "/notifications",
        f"/meetings/{meeting_id}/room",
    ):
        await page.goto(path)
        await expect(page.get_by_role("heading").first).to_be_visible()
        await page.wait_for_load_state("networkidle")
        left[path] = vietnamese & set(await page.evaluate(_WORDS))
    await page.get_by_role("button", name="Join", exact=False).last.click()
    await expect(page.get_by_role("region", name="Main screen")).to_be_visible()
    left["room"] = vietnamese & set(await page.evaluate(_WORDS))
    for tab in await page.get_by_role("tab").all():
        await tab.click()
        left[f"room, {await tab.inner_text()}"] = vietnamese & set(await page.evaluate(_WORDS))
    assert not any(left.values()), {path: each for path, each in left.items() if each}
    assert await page.locator("html").get_attribute("lang") == "en"


async def _sign_in_by_key(page: Page, username: str) -> None:
    for label, value in (("Mã tổ chức", CITY), ("Tên đăng nhập", username), ("Mật khẩu", PASSWORD)):
        await page.get_by_label(label, exact=True).fill(value)
    await page.keyboard.press("Enter")


async def test_the_accounts_language_is_used_and_kept(house: House, new_person: NewPerson) -> None:
    """Without a choice at the browser the account's language is shown; a choice is kept in the account."""
    first, second = await new_person(), await new_person()
    await first.page.goto(URL)
    await _sign_in_by_key(first.page, "english")
    await expect(first.page.get_by_role("heading", name="Today")).to_be_visible()
    await first.page.get_by_role("button", name="VI – ").click()
    await expect(first.page.get_by_role("heading", name="Hôm nay")).to_be_visible()
    try:
        await second.page.goto(URL)
        await _sign_in_by_key(second.page, "english")
        await expect(second.page.get_by_role("heading", name="Hôm nay")).to_be_visible()
    finally:
        await first.page.get_by_role("button", name="EN – ").click()
        await expect(first.page.get_by_role("heading", name="Today")).to_be_visible()
    await first.page.get_by_role("button", name="Sign out").click()
    await first.page.get_by_role("button", name="VI – ").click()
    await _sign_in_by_key(first.page, "english")
    await expect(first.page.get_by_role("heading", name="Hôm nay")).to_be_visible()
