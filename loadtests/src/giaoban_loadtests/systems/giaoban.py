# SPDX-License-Identifier: Apache-2.0
"""Owns the adapter for Giaoban: meetings called through the public API, attended through the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import websockets

from giaoban_loadtests.clips import Clip
from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.gateway_api import ApiError, GatewayApi, Identity, SiteIdentity, UserIdentity
from giaoban_loadtests.signalling import Participant, SignallingError, View
from giaoban_loadtests.systems import Attendee, Media, System, SystemFailedError

ENTER_SECONDS = 30.0
LEAVE_SECONDS = 3.0
MEETING_SECONDS = 3600
MAX_SITES = 499  # appointments of one meeting, less the chair's
MAX_HOLDERS = 4  # who may have the floor at once (docs/architecture.md)


class AccountsFileError(ValueError):
    """The file with the accounts is not usable; the message names the field."""


@dataclass(frozen=True)
class Chair:
    """A person who may call meetings."""

    user_id: str
    identity: UserIdentity = field(repr=False)


@dataclass(frozen=True)
class Accounts:
    """Who takes part: each running meeting needs a chair and sites of its own."""

    unit_id: str  # where meetings are called
    chairs: tuple[Chair, ...]
    sites: tuple[SiteIdentity, ...]


def read_accounts(file: Path) -> Accounts:
    """Read the accounts (loadtests/README.md shows the format); raises AccountsFileError."""
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        code = _text(body, "organisation_code")
        chairs = tuple(
            Chair(
                _text(each, "user_id"), UserIdentity(code, _text(each, "username"), _text(each, "password"))
            )
            for each in body["chairs"]
        )
        sites = tuple(
            SiteIdentity(_text(each, "site_id"), _text(each, "name"), _text(each, "device_key"))
            for each in body["sites"]
        )
        return Accounts(_text(body, "unit_id"), chairs, sites)
    except OSError as error:
        raise AccountsFileError(f"{file}: {error.strerror}") from error
    except (KeyError, TypeError) as error:
        raise AccountsFileError(f"{file}: {error} is missing or of another kind") from error
    except ValueError as error:
        raise AccountsFileError(f"{file}: {error}") from error


def _text(entry: Any, name: str) -> str:
    value = entry[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text that is not empty")
    return value


class GiaobanAttendee:
    """A site or the chair in a meeting, over `signalling.Participant`."""

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        self.name = participant.name
        self._staying: asyncio.Task[str] | None = None

    @property
    def publisher(self) -> PeerConnection | None:
        return self.participant.publisher

    @property
    def receiver(self) -> PeerConnection | None:
        return self.participant.receiver

    @property
    def entering_time(self) -> float:
        return self.participant.connecting_time

    @property
    def problem(self) -> str:
        if self._staying is not None and self._staying.done() and not self._staying.cancelled():
            return f"out of the meeting: {self._staying.exception() or self._staying.result()}"
        return self.participant.counts.last_problem

    async def prepare(self) -> None:
        try:
            await self.participant.sign_in()
        except (ApiError, httpx.HTTPError) as error:
            raise SystemFailedError(f"{self.name} cannot sign in: {error}") from error

    async def enter(self) -> None:
        self._staying = asyncio.create_task(self.participant.run())
        joined = asyncio.create_task(self.participant.joined.wait())
        try:
            await asyncio.wait(
                {joined, self._staying}, timeout=ENTER_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            joined.cancel()
        if not self.participant.joined.is_set():
            raise SystemFailedError(
                f"{self.name} is not in the meeting after {ENTER_SECONDS:g} s at most: {self.problem}"
            )

    async def vanish(self) -> None:
        """Be gone without a word, as when a terminal is switched off; `enter` comes again."""
        if self._staying is not None:
            self._staying.cancel()
            await asyncio.gather(self._staying, return_exceptions=True)

    async def leave(self) -> None:
        if self._staying is None:
            return
        try:
            await self.participant.leave()
            await asyncio.wait({self._staying}, timeout=LEAVE_SECONDS)
        except (SignallingError, websockets.WebSocketException):
            pass  # the connection is gone already
        self._staying.cancel()
        await asyncio.gather(self._staying, return_exceptions=True)


class GiaobanMeeting:
    """A meeting with its chair in it."""

    def __init__(
        self,
        api: GatewayApi,
        meeting_id: str,
        chair: GiaobanAttendee,
        sites: Sequence[SiteIdentity],
        media: Media,
        post: Callable[[str], Awaitable[dict[str, Any]]],
        leader: Chair,
    ) -> None:
        self.id = meeting_id
        self.chair = chair
        self.attendees: list[GiaobanAttendee] = [chair]
        self._api, self._media, self._post, self._chair = api, media, post, leader
        self._sites = list(sites)
        self._tiles: list[str] = []
        self._token = ""  # for `get`

    def spare_site(self) -> SiteIdentity:
        """Return a site that is invited and has not come, for an endpoint of another kind; raises SystemFailedError."""
        if not self._sites:
            raise SystemFailedError(
                "the accounts have no more sites for this meeting: ask for fewer endpoints"
            )
        return self._sites.pop(0)

    async def spare_token(self) -> str:
        """Return an access token of a site that is invited and has not come; raises SystemFailedError."""
        return await self._api.sign_in(self.spare_site())

    def attendee(self, clip: Clip | None) -> GiaobanAttendee:
        view = View(list(self._tiles))
        made = _attendee(self._api, self.id, self.spare_site(), self._media, clip, view)
        self.attendees.append(made)
        return made

    def attendee_over(self, api: GatewayApi, media: Media) -> GiaobanAttendee:
        """Return somebody who watches and listens over another way in; its user lets it leave."""
        return _attendee(api, self.id, self.spare_site(), media, None, View(list(self._tiles)))

    def receive_with(self, media: Media) -> None:
        """Let those who come from now on report to another crowd."""
        self._media = media

    async def token(self) -> str:
        """Return an access token of the chair."""
        return await self._api.sign_in(self._chair.identity)

    async def post(self, path: str) -> dict[str, Any]:
        """Ask for something as the chair; raises SystemFailedError."""
        return await self._post(path)

    async def get(self, path: str) -> bytes:
        """Fetch something as the chair; raises SystemFailedError."""
        async with httpx.AsyncClient(base_url=self._api.base_url, trust_env=False, timeout=60) as client:
            for renewed in (False, True):
                if renewed or not self._token:
                    self._token = await self.token()
                answer = await client.get(path, headers={"Authorization": f"Bearer {self._token}"})
                if answer.status_code != httpx.codes.UNAUTHORIZED:
                    break
        if answer.is_error:
            raise SystemFailedError(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        return answer.content

    async def get_json(self, path: str) -> dict[str, Any]:
        """Fetch an object as the chair; raises SystemFailedError."""
        found: dict[str, Any] = json.loads(await self.get(path))
        return found

    async def record(self) -> str:
        """Start to record; return the recording's id. Raises SystemFailedError."""
        return str((await self.post(f"/v1/meetings/{self.id}/recordings"))["id"])

    async def arrange(self, speakers: Sequence[Attendee], stage: Attendee, tiles: Sequence[Attendee]) -> None:
        if len(speakers) > MAX_HOLDERS:
            raise ValueError(f"{len(speakers)} speakers: at most {MAX_HOLDERS} have the floor at once")
        chair = self.chair.participant
        for speaker in speakers:
            if speaker is not self.chair:  # who leads is always heard
                await chair.command("grant_floor", participant_id=_id(speaker))
        await chair.command("set_stage", participant_id=_id(stage))
        self._tiles = [_id(tile) for tile in tiles]
        for attendee in self.attendees:
            if attendee.participant.joined.is_set():
                await attendee.participant.set_view(View(list(self._tiles)))


@asynccontextmanager
async def giaoban_meeting(
    system: System, size: int, media: Media, what: str
) -> AsyncIterator[GiaobanMeeting]:
    """Return a new meeting of Giaoban; raises SystemFailedError, beginning with `what`, when the system is another."""
    async with system.meeting(size, media) as meeting:
        if not isinstance(meeting, GiaobanMeeting):
            raise SystemFailedError(f"{what}: leave --system away")
        yield meeting


def _id(attendee: Attendee) -> str:
    if not isinstance(attendee, GiaobanAttendee) or attendee.participant.participant_id is None:
        raise SystemFailedError(f"{attendee.name} is not in the meeting")
    return attendee.participant.participant_id


def _attendee(
    api: GatewayApi, meeting_id: str, identity: Identity, media: Media, clip: Clip | None, view: View
) -> GiaobanAttendee:
    return GiaobanAttendee(
        Participant(
            api,
            meeting_id,
            identity,
            pacer=media.pacer,
            clip=clip,
            view=view,
            local_ip=media.local_ip,
            decrypt_every=media.decrypt_every,
            stamped=True,
            on_delay=media.on_delay,
        )
    )


class Giaoban:
    """A running Giaoban at `base_url`; `processes` when it runs on this machine."""

    name = "giaoban"

    def __init__(self, base_url: str, accounts: Accounts, processes: Mapping[str, int] | None = None) -> None:
        self.base_url = base_url
        self.processes: Mapping[str, int] = processes or {}
        self._accounts = accounts
        self._free_chairs = list(accounts.chairs)
        self._free_sites = list(accounts.sites)

    @property
    def media_processes(self) -> Sequence[str]:
        return [name for name in self.processes if name.startswith("janus-")]

    @asynccontextmanager
    async def meeting(self, size: int, media: Media) -> AsyncIterator[GiaobanMeeting]:
        """Call a meeting, bring its chair in; ends it afterwards."""
        if not self._free_chairs:
            raise SystemFailedError(
                "the accounts have no chair left: each running meeting needs one of its own"
            )
        if size - 1 > min(len(self._free_sites), MAX_SITES):
            raise SystemFailedError(
                f"a meeting of {size}: the accounts have {len(self._free_sites)} free sites, and {MAX_SITES} fit into one"
            )
        sites = [self._free_sites.pop(0) for _ in range(size - 1)]
        chair = self._free_chairs.pop(0)
        try:
            async with GatewayApi(self.base_url) as api:
                meeting_id = await self._call(chair, sites)
                leader = _attendee(api, meeting_id, chair.identity, media, None, View())
                meeting = GiaobanMeeting(
                    api, meeting_id, leader, sites, media, lambda path: self._post(chair, path, {}), chair
                )
                try:
                    await leader.enter()
                    yield meeting
                finally:
                    # The end sends all of them home at once; one by one, hundreds would take longer than the run.
                    await self._end(chair, meeting_id)
                    await asyncio.gather(*(attendee.leave() for attendee in meeting.attendees))
        finally:
            self._free_chairs.append(chair)
            self._free_sites += sites

    async def _call(self, chair: Chair, sites: Sequence[SiteIdentity]) -> str:
        appointments = [{"party": {"kind": "user", "id": chair.user_id}, "role": "chair"}]
        appointments += [
            {"party": {"kind": "site", "id": site.site_id}, "role": "delegate"} for site in sites
        ]
        body = {
            "unit_id": self._accounts.unit_id,
            "title": "Load test",
            "start_time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "duration_seconds": MEETING_SECONDS,
            "time_zone": "UTC",
            "microphone_policy": "floor",
            "appointments": appointments,
        }
        return str((await self._post(chair, "/v1/meetings", body))["id"])

    async def _end(self, chair: Chair, meeting_id: str) -> None:
        try:
            await self._post(chair, f"/v1/meetings/{meeting_id}:end", {})
        except (SystemFailedError, httpx.HTTPError, ApiError) as error:
            print(f"the meeting {meeting_id} could not be ended: {error}")

    async def _post(self, chair: Chair, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with GatewayApi(self.base_url) as api:
            token = await api.sign_in(chair.identity)
        async with httpx.AsyncClient(
            base_url=self.base_url,
            trust_env=False,
            timeout=20,
            headers={"Origin": self.base_url, "Authorization": f"Bearer {token}"},
        ) as client:
            answer = await client.post(path, json=body)
        if answer.is_error:
            raise SystemFailedError(f"POST {path}: {answer.status_code} {answer.text[:300]}")
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found
