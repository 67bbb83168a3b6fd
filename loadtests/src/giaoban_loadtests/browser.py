# SPDX-License-Identifier: Apache-2.0
"""Owns a real Chromium as an endpoint: its own WebRTC stack, the meeting protocol in a few lines of script."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from giaoban_loadtests.systems import SystemFailedError

if TYPE_CHECKING:
    from playwright.async_api import Browser

CHROMIUM = "/usr/bin/chromium"
PICTURE_SECONDS = 15
_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--autoplay-policy=no-user-gesture-required", "--disable-renderer-backgrounding"),
)
# Joins as an endpoint that only watches; the time is from asking for a ticket to the first picture shown.
_JOIN = """
async ({meeting, token, seconds}) => {
  const began = performance.now();
  const headers = {Authorization: `Bearer ${token}`, 'Content-Type': 'application/json'};
  const asked = await fetch(`/v1/meetings/${meeting}/connect-tickets`, {method: 'POST', headers, body: '{}'});
  if (!asked.ok) throw new Error(`ticket: ${asked.status}`);
  const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/v1/meetings/${meeting}/connect`);
  await new Promise((open, fail) => { socket.onopen = open; socket.onerror = () => fail(new Error('socket')); });
  const connection = window.connection = new RTCPeerConnection();
  window.socket = socket;
  const picture = new Promise((shown, fail) => {
    setTimeout(() => fail(new Error('no picture')), seconds * 1000);
    connection.ontrack = ({track}) => {
      if (track.kind !== 'video') return;
      const video = document.createElement('video');
      video.muted = true;
      video.srcObject = new MediaStream([track]);
      document.body.append(video);
      video.requestVideoFrameCallback(() => shown(performance.now() - began));
      video.play();
    };
  });
  let chain = Promise.resolve();
  socket.onmessage = ({data}) => {
    const message = JSON.parse(data);
    if (message.type !== 'offer') return;
    chain = chain.then(async () => {
      await connection.setRemoteDescription({type: 'offer', sdp: message.sdp});
      await connection.setLocalDescription();
      const sdp = connection.localDescription.sdp;
      socket.send(JSON.stringify({type: 'answer', negotiation: message.negotiation, sdp}));
    });
  };
  const view = {tiles: [], audio_only: false, stage_height: 180};
  const {ticket} = await asked.json();
  socket.send(JSON.stringify({type: 'join', ticket, offer: null, resume: false, revision: null, view}));
  return await picture;
}
"""
_COUNT = """
async () => {
  let received = 0, lost = 0;
  for (const each of (await window.connection.getStats()).values())
    if (each.type === 'inbound-rtp') { received += each.packetsReceived; lost += each.packetsLost; }
  return [received, lost];
}
"""
_LEAVE = "() => { window.socket.send(JSON.stringify({type: 'leave'})); window.connection.close(); }"


@dataclass(frozen=True)
class Watched:
    """What one visit of a browser saw: seconds to the first picture, packets received and lost."""

    first_picture: float
    received: int
    lost: int


@asynccontextmanager
async def chromium() -> AsyncIterator["Browser"]:
    """Start a browser; raises SystemFailedError when there is none."""
    try:
        # The browser is needed by one scenario only.
        from playwright.async_api import async_playwright
    except ModuleNotFoundError:
        raise SystemFailedError("playwright is missing: run bin/setup --test") from None
    if shutil.which(CHROMIUM) is None:
        raise SystemFailedError(f"{CHROMIUM} is missing: run bin/setup --test")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


async def watch(browser: "Browser", base_url: str, meeting_id: str, token: str, seconds: float) -> Watched:
    """Join a meeting with an access token, watch for some seconds after the first picture, leave."""
    page = await browser.new_page()
    try:
        await page.goto(f"{base_url}/healthz")
        arguments = {"meeting": meeting_id, "token": token, "seconds": PICTURE_SECONDS}
        milliseconds = await page.evaluate(_JOIN, arguments)
        await page.wait_for_timeout(1000 * seconds)
        received, lost = await page.evaluate(_COUNT)
        await page.evaluate(_LEAVE)
        return Watched(milliseconds / 1000, received, lost)
    finally:
        await page.close()
