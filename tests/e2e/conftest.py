# SPDX-License-Identifier: Apache-2.0
"""The stack of the session, a browser, people at it; and what to look at when a story fails."""

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from giaoban_dev.infra.paths import PROJECT_ROOT
from giaoban_dev.testing import CLIENT_ADDRESS
from playwright.async_api import Browser, ConsoleMessage, Response, async_playwright, expect

from .house import URL, Collector, House
from .room import WATCH_PEERS, Person

CHROMIUM = str(PROJECT_ROOT / "bin" / "chromium")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    # Ten pictures a second: enough to see them move, and light enough for two cores.
    *("--use-fake-device-for-media-stream=fps=10", "--use-fake-ui-for-media-stream"),
    "--autoplay-policy=no-user-gesture-required",
    "--auto-select-desktop-capture-source=Entire screen",
)
FIREFOX = str(PROJECT_ROOT / "bin" / "firefox-esr")
PREFERENCES: dict[str, str | float | bool] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,  # 0: allowed
    "network.manage-offline-status": False,
    "media.peerconnection.ice.obfuscate_host_addresses": False,  # names need multicast DNS
}
RESULTS = PROJECT_ROOT / "test-results" / "e2e"
LOG_TAIL_LINES = 60
STORY_SECONDS = 150  # each step has a limit of its own; this one only ends what hangs
_TICKETS = re.compile(r"/(connect|content)-tickets$")

expect.set_options(timeout=10_000)  # milliseconds; the machine may be busy
NewPerson = Callable[..., Awaitable[Person]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is said of the whole run is asked at its end; a story takes longer than a test of a part."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(STORY_SECONDS))
    items.sort(key=lambda item: item.path.name == "test_secrecy.py" and item.path.parent.name == "e2e")


@pytest.fixture(scope="session")
async def house(private_network: None) -> AsyncIterator[House]:
    """The whole stack, started once."""
    if not (PROJECT_ROOT / "web" / "dist" / "index.html").exists():
        pytest.fail("the web app is not built: run bin/setup, or npm --prefix web run build", pytrace=False)
    # Not below pytest's own directory, which PostgreSQL's user may not enter; and short, for socket paths.
    state = Path(tempfile.mkdtemp(prefix="gb-e2e-"))
    state.chmod(0o755)
    running = House(state, Collector())
    try:
        try:
            await running.start()
        except AssertionError as error:
            pytest.fail(str(error), pytrace=False)
        yield running
    finally:
        await running.stop()
        if RESULTS.exists():
            shutil.copytree(state / "logs", RESULTS / "logs", dirs_exist_ok=True)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium with a camera that shows a clock and a microphone that beeps."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest.fixture(scope="session")
async def firefox(private_network: None) -> AsyncIterator[Browser]:
    """Firefox as distributions ship it, driven by WebDriver BiDi, with a camera and a microphone of its own making."""
    # Firefox takes its address from the default route, and fails ICE at once where there is none.
    subprocess.run(["ip", "route", "add", "default", "dev", "gb-media", "src", CLIENT_ADDRESS], check=True)
    async with async_playwright() as playwright:
        browser = await playwright.firefox.launch(
            channel="moz-firefox", executable_path=FIREFOX, firefox_user_prefs=PREFERENCES
        )
        yield browser
        await browser.close()
    subprocess.run(["ip", "route", "delete", "default"], check=True)


def _introducer(browser: Browser, house: House, people: list[Person]) -> NewPerson:
    async def introduce(
        username: str | None = None, organisation: str = "tphcm", *, width: int = 1440, height: int = 900
    ) -> Person:
        chromium = browser.browser_type.name == "chromium"
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            permissions=["camera", "microphone"] if chromium else [],  # Firefox has a preference for them
            locale="vi-VN",
            timezone_id="Asia/Ho_Chi_Minh",
            base_url=URL,
        )
        await context.add_init_script(WATCH_PEERS)
        page = await context.new_page()
        person = Person(page, context)
        people.append(person)

        def said(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                person.said.append(f"{message.type}: {message.text}")

        page.on("console", said)
        page.on("pageerror", lambda error: person.said.append(f"exception: {error}"))
        page.on("response", lambda response: asyncio.ensure_future(_remember(house, response)))
        if username is not None:
            await person.sign_in(username, organisation)
        return person

    return introduce


@asynccontextmanager
async def _introducing(
    browser: Browser, house: House, node: pytest.Item | pytest.Collector
) -> AsyncIterator[NewPerson]:
    """People of one fixture, whom `evidence` finds; they go with it."""
    people: list[Person] = []
    node.stash.setdefault(_PEOPLE, []).append(people)
    yield _introducer(browser, house, people)
    for person in people:
        house.secrets |= {each["value"] for each in await person.context.cookies()}
        await person.context.close()


async def _remember(house: House, response: Response) -> None:
    """Keep the secrets that a browser was given, to look for them in logs and spans."""
    try:
        if response.ok and (
            _TICKETS.search(response.url) or response.url.endswith(("/auth/sign-in", "/auth/refresh"))
        ):
            body = await response.json()
            house.secrets |= {str(body[key]) for key in ("ticket", "url", "access_token") if key in body}
    except Exception:  # noqa: BLE001 the page may be gone before its answer was read
        return


@pytest.fixture
async def new_person(
    browser: Browser, house: House, request: pytest.FixtureRequest
) -> AsyncIterator[NewPerson]:
    """`await new_person("chutich")` gives a person of their own at a fresh browser, signed in."""
    async with _introducing(browser, house, request.node) as introduce:
        yield introduce


@pytest.fixture(scope="module")
async def new_guest(
    browser: Browser, house: House, request: pytest.FixtureRequest
) -> AsyncIterator[NewPerson]:
    """Like `new_person`, for people who stay through the stories of one file."""
    async with _introducing(browser, house, request.node) as introduce:
        yield introduce


@pytest.fixture(scope="module")
async def new_firefox_guest(
    firefox: Browser, house: House, request: pytest.FixtureRequest
) -> AsyncIterator[NewPerson]:
    """Like `new_guest`, at Firefox."""
    async with _introducing(firefox, house, request.node) as introduce:
        yield introduce


_PEOPLE = pytest.StashKey[list[list[Person]]]()
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember failures for `evidence`."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(autouse=True)
async def evidence(
    request: pytest.FixtureRequest,
    house: House,
    new_person: NewPerson,  # closes its people after us
) -> AsyncIterator[None]:
    """After a failure: a screenshot and the console of everybody, and the end of every log, in test-results/e2e."""
    yield
    if not request.node.stash.get(_FAILED, False):
        return
    directory = RESULTS / re.sub(r"[^\w-]+", "-", request.node.nodeid.rpartition("/")[2])
    directory.mkdir(parents=True, exist_ok=True)
    groups = [*request.node.stash.get(_PEOPLE, []), *request.node.parent.stash.get(_PEOPLE, [])]
    for number, person in enumerate(person for people in groups for person in people):
        if not person.page.is_closed():
            await person.page.screenshot(path=directory / f"{number}.png")
            outline = await person.page.locator("body").aria_snapshot()
            text = "\n".join([person.page.url, *person.said, "", outline])
            (directory / f"{number}.txt").write_text(text, encoding="utf-8")
    tails = []
    for log in house.logs():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        tails.append("\n".join([f"== {log.name}", *lines]))
    tails.append(house.printed())
    (directory / "logs.txt").write_text("\n\n".join(tails), encoding="utf-8")
