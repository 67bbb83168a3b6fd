# SPDX-License-Identifier: Apache-2.0
"""Owns a group of simulated sites: joining them to a meeting at a steady rate, keeping them there, telling how it goes."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets

from giaoban_loadtests.clips import clips_for
from giaoban_loadtests.gateway_api import GatewayApi, SiteIdentity
from giaoban_loadtests.publish import Pacer
from giaoban_loadtests.signalling import Participant, SignallingError

JOINS_PER_SECOND = 20.0
STATUS_INTERVAL = 10.0
LEAVE_SECONDS = 2.0
MAX_SITES = 2_000
DECRYPT_EVERY = 16  # demo sites look into every sixteenth packet; the rest is counted


class SitesFileError(ValueError):
    """The file with the sites is not usable; the message names the entry and the field."""


@dataclass(frozen=True)
class Status:
    """How a group of sites is doing."""

    joined: int
    wanted: int
    ended: dict[str, str]  # name → why it is out for good
    lost_packets: int
    late_ticks: int

    def __str__(self) -> str:
        ended = "".join(f"; {name}: {reason}" for name, reason in sorted(self.ended.items()))
        return f"{self.joined} of {self.wanted} sites in the meeting, {self.lost_packets} packets lost{ended}"


def read_sites(file: Path) -> list[SiteIdentity]:
    """Read `[{"site_id", "name", "device_key"}, …]`; raises SitesFileError."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SitesFileError(f"{file}: {error}") from error
    if not isinstance(entries, list):
        raise SitesFileError(f"{file}: expected a list of sites")
    return [_site(f"{file}: entry {number}", entry) for number, entry in enumerate(entries)]


def _site(where: str, entry: Any) -> SiteIdentity:
    values = {}
    for name in ("site_id", "name", "device_key"):
        value = entry.get(name) if isinstance(entry, dict) else None
        if not isinstance(value, str) or not value:
            raise SitesFileError(f"{where}: {name} must be a text that is not empty")
        values[name] = value
    return SiteIdentity(**values)


async def run_sites(
    base_url: str,
    meeting_id: str,
    sites: Sequence[SiteIdentity],
    *,
    stop: asyncio.Event,
    say: Callable[[str], None],
    local_ip: str = "0.0.0.0",  # noqa: S104 see PeerConnection
) -> None:
    """Keep `sites` in a meeting until `stop` is set; each shows its name and comes back by itself."""
    clips = await asyncio.to_thread(clips_for, [site.name for site in sites])
    pacer = Pacer()
    async with GatewayApi(base_url) as api:
        participants = [
            Participant(
                api,
                meeting_id,
                site,
                pacer=pacer,
                clip=clips[site.name],
                local_ip=local_ip,
                decrypt_every=DECRYPT_EVERY,
            )
            for site in sites
        ]
        ended: dict[str, str] = {}
        tasks: list[asyncio.Task[None]] = []
        try:
            for participant in participants:
                tasks.append(asyncio.create_task(_stay(participant, ended)))
                await _pause(stop, 1 / JOINS_PER_SECOND)
            shown = ""
            while not stop.is_set():
                await _pause(stop, STATUS_INTERVAL if shown else 1.0)
                text = str(_status(participants, ended, pacer))
                if text != shown:
                    say(text)
                    shown = text
        finally:
            await _leave(participants, tasks)


async def _stay(participant: Participant, ended: dict[str, str]) -> None:
    ended[participant.name] = await participant.run()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _leave(participants: Sequence[Participant], tasks: Sequence[asyncio.Task[None]]) -> None:
    for participant in participants:
        if participant.joined.is_set():
            try:
                await participant.leave()
            except (SignallingError, websockets.WebSocketException):
                continue
    if tasks:
        await asyncio.wait(tasks, timeout=LEAVE_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _status(participants: Sequence[Participant], ended: dict[str, str], pacer: Pacer) -> Status:
    lost = sum(p.receiver.stats().lost_packets for p in participants if p.receiver is not None)
    return Status(
        joined=sum(p.joined.is_set() for p in participants),
        wanted=len(participants),
        ended=dict(ended),
        lost_packets=lost,
        late_ticks=pacer.late_ticks,
    )
