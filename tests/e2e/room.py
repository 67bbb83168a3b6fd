# SPDX-License-Identifier: Apache-2.0
"""Owns a person at a browser: what they do and see in Giaoban, found by the names a screen reader would say."""

import re
import struct
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

from giaoban_dev.demo.directory import PASSWORD
from giaoban_loadtests.clips import clips_for
from playwright.async_api import BrowserContext, JSHandle, Locator, Page, expect

from .house import CITY, URL

CHAIR, DELEGATE = "Nguyễn Thành Nhân", "Võ Ngọc Lan"
SHOT_WIDTH, SHOT_HEIGHT = 64, 36
# Runs in every page: keeps the peer connections, so that a test can ask them what arrives.
WATCH_PEERS = """
window.__peers = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) { super(...given); window.__peers.push(this); }
};
"""
_SHOT = f"""
const shot = (video) => {{
  const canvas = new OffscreenCanvas({SHOT_WIDTH}, {SHOT_HEIGHT});
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, {SHOT_WIDTH}, {SHOT_HEIGHT});
  return [...context.getImageData(0, 0, {SHOT_WIDTH}, {SHOT_HEIGHT}).data].filter((_, at) => at % 4 !== 3);
}};
"""
_MOVES = f"""async (video) => {{
  {_SHOT}
  let frames = 0, watching = true;  // Firefox counts none of a stream's frames in getVideoPlaybackQuality
  const count = () => {{ frames += 1; if (watching) video.requestVideoFrameCallback(count); }};
  const before = shot(video);
  video.requestVideoFrameCallback(count);
  await new Promise((done) => setTimeout(done, 600));
  watching = false;
  const after = shot(video);
  const changed = after.filter((value, at) => Math.abs(value - before[at]) > 24).length;
  return {{ frames, changed, width: video.videoWidth, height: video.videoHeight }};
}}"""
_PICTURE = f"(video) => {{ {_SHOT} return shot(video); }}"
# A gap is the time in which a video element shows no new frame; it ends with a frame or with the question.
_START_GAPS = """(video) => {
  const watch = { count: video.getVideoPlaybackQuality().totalVideoFrames, at: performance.now(), worst: 0, frames: 0 };
  watch.timer = setInterval(() => {
    const count = video.getVideoPlaybackQuality().totalVideoFrames, now = performance.now();
    watch.worst = Math.max(watch.worst, now - watch.at);
    if (count < watch.count) watch.count = 0;  // another track: its frames are counted from the first
    if (count > watch.count) { watch.frames += count - watch.count; watch.count = count; watch.at = now; }
  }, 20);
  window.__gaps = watch;
}"""
_STOP_GAPS = """() => {
  const watch = window.__gaps;
  clearInterval(watch.timer);
  return { worst: Math.max(watch.worst, performance.now() - watch.at) / 1000, frames: watch.frames };
}"""
_SOUND = """async () => {
  let packets = 0, energy = 0;
  for (const peer of window.__peers.filter((each) => each.connectionState === "connected"))
    for (const report of (await peer.getStats()).values())
      if (report.type === "inbound-rtp" && report.kind === "audio") {
        packets += report.packetsReceived; energy += report.totalAudioEnergy ?? 0;
      }
  return { packets, energy };
}"""
_REMOTE_PORTS = """async () => {
  const ports = [];
  for (const peer of window.__peers.filter((each) => each.connectionState === "connected")) {
    const reports = await peer.getStats();
    for (const report of reports.values())
      if (report.type === "transport" && report.selectedCandidatePairId)
        ports.push(reports.get(reports.get(report.selectedCandidatePairId).remoteCandidateId).port);
  }
  return ports;
}"""


@dataclass(eq=False)
class Person:
    """Somebody at a browser page of their own; `said` is what the page's console said."""

    page: Page
    context: BrowserContext
    said: list[str] = field(default_factory=list)

    # --- ways in and out --------------------------------------------------------------------------------------

    async def sign_in(self, username: str, organisation: str = CITY) -> None:
        await self.page.goto(URL)
        # The stories read Vietnamese, whatever the account's own language is.
        await self.page.get_by_role("button", name="VI – ").click()
        # Typed, not filled: what the driver fills in at Firefox, React does not hear of.
        await self.page.get_by_label("Mã tổ chức").press_sequentially(organisation)
        await self.page.get_by_label("Tên đăng nhập").press_sequentially(username)
        await self.page.get_by_label("Mật khẩu", exact=True).press_sequentially(PASSWORD)
        await self.page.get_by_role("button", name="Đăng nhập").click()
        await expect(self.page.get_by_role("heading", name="Hôm nay")).to_be_visible()

    async def enter(self, meeting_id: str) -> None:
        """Check the devices and go into a meeting, or to its waiting room."""
        await self.page.goto(f"{URL}/meetings/{meeting_id}/room")
        await self.button("Vào họp").click()

    async def join(self, meeting_id: str) -> None:
        """Enter a meeting and be in it."""
        await self.enter(meeting_id)
        await expect(self.stage).to_be_visible(timeout=15_000)

    async def leave(self) -> None:
        await self.button("Rời họp").click()
        await self.page.get_by_role("alertdialog").get_by_role("button", name="Rời họp").click()
        await expect(self.page.get_by_text("Bạn đã rời cuộc họp.")).to_be_visible()

    # --- what there is to see ---------------------------------------------------------------------------------

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def stage(self) -> Locator:
        """The main screen."""
        return self.page.get_by_role("region", name="Màn hình chính")

    def tile(self, name: str) -> Locator:
        """A party's seat."""
        return (
            self.page.get_by_role("region", name="Các điểm tham dự")
            .get_by_role("listitem")
            .filter(has=self.page.get_by_text(name, exact=True))
        )

    def row(self, name: str) -> Locator:
        """A party's line in the roster."""
        return (
            self.page.get_by_role("list", name="Điểm cầu")
            .get_by_role("listitem")
            .filter(has=self.page.get_by_text(re.compile(rf"^{re.escape(name)}( \(Bạn\))?$")))
        )

    async def tab(self, name: str) -> None:
        """Open a panel: Điểm cầu, Phát biểu or Trò chuyện."""
        await self.page.get_by_role("tab", name=re.compile(f"^{name}")).click()

    async def act(self, name: str, act: str) -> None:
        """Choose an act of the menu beside a party in the roster."""
        await self.tab("Điểm cầu")
        await self.button(f"Điều hành {name}").click()
        await self.page.get_by_role("menuitem", name=act, exact=True).click()

    async def speaks(self, name: str) -> None:
        """Wait until the line above the main screen says that `name` has the floor."""
        await expect(
            self.page.get_by_role("main").get_by_text(re.compile(r"^(Đang|Được mời) phát biểu")).first
        ).to_be_visible()
        await expect(
            self.page.get_by_role("main").locator("strong").filter(has_text=name).first
        ).to_be_visible()

    # --- what arrives -----------------------------------------------------------------------------------------

    async def sees_moving(self, place: Locator, seconds: float = 15.0) -> dict[str, Any]:
        """Wait until the picture at a place moves: new frames, with other content; returns what was measured."""
        deadline, measured = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            if await place.locator("video").count():
                measured = await place.locator("video").first.evaluate(_MOVES)
                if measured["frames"] >= 2 and measured["changed"] > 0 and measured["width"] > 0:
                    return dict(measured)
            else:
                await self.page.wait_for_timeout(100)
        raise AssertionError(f"no moving picture within {seconds:g} s: {measured}")

    async def picture(self, place: Locator) -> list[int]:
        """Return the picture at a place as SHOT_WIDTH x SHOT_HEIGHT pixels of red, green, blue, each 0 to 255."""
        return list(await place.locator("video").first.evaluate(_PICTURE))

    async def hears(self, seconds: float = 10.0) -> None:
        """Wait until sound arrives that is not silence."""
        before = await self.page.evaluate(_SOUND)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await self.page.wait_for_timeout(300)
            now = await self.page.evaluate(_SOUND)
            if now["packets"] > before["packets"] + 10 and now["energy"] > before["energy"] + 1e-7:
                return
        raise AssertionError(f"heard nothing within {seconds:g} s: {before}, {now}")

    async def hears_nothing(self, seconds: float = 10.0) -> None:
        """Wait until a second and a half has passed without sound."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = await self.page.evaluate(_SOUND)
            await self.page.wait_for_timeout(1500)
            now = await self.page.evaluate(_SOUND)
            if now["energy"] - before["energy"] <= 1e-7:
                return
        raise AssertionError(f"still hears something after {seconds:g} s: {before}, {now}")

    async def start_gaps(self, place: Locator) -> None:
        """Begin to measure the gaps in the picture at a place."""
        await place.locator("video").first.evaluate(_START_GAPS)

    async def stop_gaps(self) -> tuple[float, int]:
        """Return the longest gap in seconds and the number of frames since `start_gaps`."""
        found = await self.page.evaluate(_STOP_GAPS)
        return float(found["worst"]), int(found["frames"])

    async def peers(self) -> JSHandle:
        """Return the peer connections that there have been so far, for `connects_anew`."""
        return await self.page.evaluate_handle("() => new Set(window.__peers)")

    async def connects_anew(self, old: JSHandle, seconds: float) -> None:
        """Wait until two connections stand, to send and to receive, that are none of the `old`."""
        await self.page.wait_for_function(
            "(old) => window.__peers.filter((each) => each.connectionState === 'connected' && !old.has(each)).length >= 2",
            arg=old,
            timeout=seconds * 1000,
        )

    async def media_ports(self) -> list[int]:
        """Return the media node's UDP port of each standing connection."""
        return [int(port) for port in await self.page.evaluate(_REMOTE_PORTS)]


@dataclass
class Meeting:
    """A meeting with the city's chair and a delegate in it, each at a browser."""

    id: str
    chair: Person
    delegate: Person

    @classmethod
    async def joined_by(cls, meeting_id: str, chair: Person, delegate: Person) -> "Meeting":
        """The meeting once both are in."""
        await chair.join(meeting_id)
        await delegate.join(meeting_id)
        return cls(meeting_id, chair, delegate)

    async def see_each_other(self) -> None:
        """Wait until each browser shows the other's moving picture."""
        await self.chair.sees_moving(self.chair.tile(DELEGATE))
        await self.delegate.sees_moving(self.delegate.tile(CHAIR))


def drawn(name: str) -> list[int]:
    """Return the picture that a simulated site of this name sends, in the form of `Person.picture`."""
    clip = clips_for([name])[name]
    frame = b"".join(clip.video[0].fragments)
    ivf = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", 320, 180, 25, 2, 1, 0)
    ivf += struct.pack("<IQ", len(frame), 0) + frame
    shown = subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-f", "ivf", "-i", "-", "-frames:v", "1"),
            *("-vf", f"scale={SHOT_WIDTH}:{SHOT_HEIGHT}", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
        ],
        input=ivf,
        capture_output=True,
        check=True,
    )
    assert len(shown.stdout) == SHOT_WIDTH * SHOT_HEIGHT * 3
    return list(shown.stdout)


def difference(one: list[int], other: list[int]) -> float:
    """Return how far two pictures are apart: the mean over pixels and colours, 0 to 255."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
