# SPDX-License-Identifier: Apache-2.0
"""Owns the question whether one can really meet: a WebRTC endpoint joins the running demo meeting and runs it a while."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import websockets
from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.gateway_api import ApiError, GatewayApi, UserIdentity
from giaoban_loadtests.publish import Pacer
from giaoban_loadtests.signalling import Participant, SignallingError, View

from giaoban_dev.demo.directory import PASSWORD
from giaoban_dev.demo.meetings import RUNNING_TITLE, Office
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.stack.services import House
from giaoban_dev.stack.supervisor import Say

ORGANISATION, USERNAME = "tphcm", "thuky"
SITES = 2
STEP_SECONDS = 20.0
OPUS_FRAMES = 25  # half a second of sound
_POLL_SECONDS = 0.05


async def smoke_meeting(house: House, *, say: Say) -> None:
    """Join, see and hear two sites, call one, leave; print each step with its time; raises InfraError."""
    steps = _Steps(say)
    identity = UserIdentity(ORGANISATION, USERNAME, PASSWORD)
    async with steps.step("sign in") as tell:
        meeting_id = await _running_meeting(house.public_url)
        tell(f"{USERNAME}@{ORGANISATION}, meeting {meeting_id}")
    clip = (await asyncio.to_thread(clips_for, ["make smoke"]))["make smoke"]
    async with GatewayApi(house.public_url) as api:
        # Janus answers nobody whose address lies on another interface of its own host: send from its own.
        me = Participant(
            api,
            meeting_id,
            identity,
            pacer=Pacer(),
            clip=clip,
            view=View(stage_height=360),
            local_ip=house.addresses.media_ip,
        )
        staying = asyncio.create_task(me.run())
        try:
            await _meet(me, staying, steps)
        finally:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)


async def _meet(me: Participant, staying: asyncio.Task[str], steps: "_Steps") -> None:
    async with steps.step("join and publish") as tell:
        await _until(lambda: _publishes(me), "our own camera and microphone in the roster", me, staying)
        sites = [each for each in me.state.participants.values() if _is_live_site(each)]
        if len(sites) < SITES:
            raise InfraError(
                f"{len(sites)} sites are in the meeting, {SITES} are needed: start the stack with SITES={SITES} or more"
            )
        tell(f"{len(sites)} sites in the meeting")
    first, second = sites[:SITES]
    async with steps.step("see two sites") as tell:
        await me.set_view(View(tiles=[first["id"], second["id"]], stage_height=360))
        await _until(
            lambda: _sees(me, first) and _sees(me, second), "decrypted pictures of both", me, staying
        )
        tell(_names(first, second))
    try:
        async with steps.step("hear two sites") as tell:
            for site in (first, second):
                await me.command("grant_floor", participant_id=site["id"])
            before = {each["id"]: _frames(me, each) for each in (first, second)}
            await _until(
                lambda: all(
                    _frames(me, each) - before[each["id"]] >= OPUS_FRAMES for each in (first, second)
                ),
                "decrypted sound of both",
                me,
                staying,
            )
            tell(_names(first, second))
        async with steps.step("call a site") as tell:
            await me.command("call_site", participant_id=second["id"])
            await _until(
                lambda: _is_called(me, second, first), "the floor and the main screen for it", me, staying
            )
            called = _frames(me, second)
            await _until(
                lambda: _frames(me, second) - called >= OPUS_FRAMES,
                "the sound of the called site",
                me,
                staying,
            )
            tell(f"{_names(second)} has the floor and the main screen, {_names(first)} is not heard")
    finally:
        if me.joined.is_set() and not staying.done():
            async with steps.step("give the floor back"):
                await me.command("end_call")
                await _until(lambda: not me.state.floor["holders"], "a free floor", me, staying)
    async with steps.step("leave"):
        await me.leave()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await asyncio.shield(staying)
        except TimeoutError:
            raise InfraError(f"the server did not let us go within {STEP_SECONDS:.0f} s") from None


class _Steps:
    """Prints each step with its time; turns every way in which one can fail into one clear line."""

    def __init__(self, say: Say) -> None:
        self._say = say

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[Callable[[str], None]]:
        told = ""

        def tell(text: str) -> None:
            nonlocal told
            told = text

        began = time.monotonic()
        try:
            yield tell
        except (InfraError, ApiError, SignallingError) as error:
            raise InfraError(f"{name}: {error}") from error
        except (OSError, TimeoutError, httpx.HTTPError, websockets.WebSocketException) as error:
            raise InfraError(f"{name}: {type(error).__name__}: {error}") from error
        self._say(f"  ok   {name:20} {(time.monotonic() - began) * 1000:5.0f} ms  {told}".rstrip())


async def _running_meeting(url: str) -> str:
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=10, headers={"Origin": url}
    ) as client:
        office = Office(client)
        await office.sign_in(ORGANISATION, USERNAME)
        # It runs from the moment at which the first site is in, a little after the stack is ready.
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            now = datetime.now(UTC)
            found = await office.meetings(now - timedelta(days=1), now + timedelta(days=1))
            running = [
                each for each in found if each["status"] == "running" and each["title"] == RUNNING_TITLE
            ]
            if running:
                return str(running[-1]["id"])
            if time.monotonic() > deadline:
                raise InfraError(
                    f"no running meeting called {RUNNING_TITLE!r}: restart the stack, which starts one each day"
                )
            await asyncio.sleep(_POLL_SECONDS * 10)


async def _until(
    fulfilled: Callable[[], bool], what: str, me: Participant, staying: asyncio.Task[str]
) -> None:
    deadline = time.monotonic() + STEP_SECONDS
    while not fulfilled():
        if staying.done():
            raise InfraError(f"the meeting ended for us ({staying.result()}) before {what} came")
        if time.monotonic() > deadline:
            problem = f"; last problem: {me.counts.last_problem}" if me.counts.last_problem else ""
            raise InfraError(f"{what} did not come within {STEP_SECONDS:.0f} s{problem}")
        await asyncio.sleep(_POLL_SECONDS)


def _publishes(me: Participant) -> bool:
    mine = me.state.participants.get(me.participant_id or "")
    sources = {each["source"] for each in mine["streams"]} if mine else set()
    return mine is not None and mine["connection"] == "connected" and {"camera", "microphone"} <= sources


def _is_live_site(participant: dict[str, Any]) -> bool:
    sources = {each["source"] for each in participant["streams"]}
    return (
        participant["party"]["kind"] == "site"
        and participant["connection"] == "connected"
        and {"camera", "microphone"} <= sources
    )


def _sees(me: Participant, site: dict[str, Any]) -> bool:
    return any(each.keyframes for each in me.streams_from(site["id"], "camera"))


def _frames(me: Participant, site: dict[str, Any]) -> int:
    return sum(each.opus_frames for each in me.streams_from(site["id"], "microphone"))


def _is_called(me: Participant, called: dict[str, Any], other: dict[str, Any]) -> bool:
    state = me.state
    holders = [each["participant_id"] for each in state.floor["holders"] if each["called"]]
    return (
        holders == [called["id"]]
        and state.stage["showing"] == called["id"]
        and state.participants[called["id"]]["audible"]
        and not state.participants[other["id"]]["audible"]
    )


def _names(*sites: dict[str, Any]) -> str:
    return " and ".join(str(each["party"]["name"]) for each in sites)
