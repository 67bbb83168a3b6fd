# SPDX-License-Identifier: Apache-2.0
"""A meeting is recorded, everyone sees that it is, and afterwards it can be played."""

import pytest
from playwright.async_api import expect

from .conftest import NewPerson
from .house import House
from .room import Person

TITLE = "Họp được ghi"
RECORDED_SECONDS = 8.0
READY_MILLISECONDS = 60_000
_PLAYS = """async (video) => {
  await video.play();
  const from = video.currentTime;
  await new Promise((done) => setTimeout(done, 2500));
  const audio = new AudioContext(), analyser = audio.createAnalyser();
  const sound = video.captureStream();
  const source = sound.getAudioTracks().length ? audio.createMediaStreamSource(sound) : null;
  source?.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = 0;
  for (let at = 0; at < 40; at += 1) {
    await new Promise((done) => setTimeout(done, 50));
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples.map(Math.abs));
  }
  return {
    advanced: video.currentTime - from, width: video.videoWidth, duration: video.duration,
    frames: video.getVideoPlaybackQuality().totalVideoFrames, audio: sound.getAudioTracks().length, loudest,
  };
}"""


async def _recording_is_shown(*people: Person) -> None:
    for person in people:
        await expect(person.page.get_by_role("banner").get_by_text("REC · Đang ghi")).to_be_visible()


@pytest.mark.timeout(150)
async def test_a_meeting_is_recorded_and_played(house: House, new_person: NewPerson) -> None:
    """REC is shown to all; stopped and ended, the library shows it ready; the player shows pictures and sounds."""
    meeting_id = await house.call_meeting(TITLE, {"chutich": "chair", "daibieu": "delegate"})
    chair, delegate = await new_person("chutich"), await new_person("daibieu")
    await chair.join(meeting_id)
    await delegate.join(meeting_id)
    await chair.sees_moving(chair.tile("Võ Ngọc Lan"))
    await chair.button("Bắt đầu ghi").click()
    await _recording_is_shown(chair, delegate)
    await chair.page.wait_for_timeout(RECORDED_SECONDS * 1000)
    await chair.button("Dừng ghi").click()
    for person in (chair, delegate):
        await expect(person.page.get_by_text("REC · Đang ghi")).to_have_count(0)
    await chair.button("Điều hành").click()
    await chair.page.get_by_role("menuitem", name="Kết thúc cuộc họp").click()
    await chair.page.get_by_role("alertdialog").get_by_role("button", name="Kết thúc cuộc họp").click()
    await chair.page.get_by_role("link", name="Về trang cuộc họp").click()

    await chair.page.get_by_role("link", name="Bản ghi", exact=True).click()
    entry = chair.page.get_by_role("listitem").filter(has_text=TITLE)
    await expect(entry).to_have_count(1)
    await entry.get_by_role("link", name=TITLE).click()
    player = chair.page.get_by_label("Trình phát bản ghi")
    # On its way it is being shipped or composed; the page goes on by itself.
    await expect(
        chair.page.get_by_text("Đang chuyển về kho")
        .or_(chair.page.get_by_text("Đang dựng"))
        .or_(player)
        .first
    ).to_be_visible()
    await expect(player).to_be_visible(timeout=READY_MILLISECONDS)
    await expect(chair.page.get_by_text("Xem được")).to_be_visible()
    await chair.page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    played = await player.evaluate(_PLAYS)
    assert played["advanced"] > 2 and played["width"] > 0 and played["frames"] > 5, played
    assert played["audio"] == 1 and played["loudest"] > 0.001, played
    assert abs(played["duration"] - RECORDED_SECONDS) < 4, played
