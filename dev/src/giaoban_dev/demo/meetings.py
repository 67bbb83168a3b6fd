# SPDX-License-Identifier: Apache-2.0
"""Owns the demo meetings: called through the public API as an office would call them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from giaoban_dev.demo.directory import PASSWORD
from giaoban_dev.infra.errors import InfraError

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
RUNNING_TITLE = "Giao ban trực tuyến tình hình kinh tế - xã hội Thành phố"
RUNNING_FOR = timedelta(hours=8)
GATEWAY_SECONDS = 30


@dataclass(frozen=True)
class Call:
    """A meeting to be called, unless it already stands."""

    title: str
    unit: str
    start: datetime
    duration: timedelta
    appointments: list[tuple[str, str, str]]  # kind, id, role
    description: str = ""


class Office:
    """Somebody of an organisation who calls meetings, signed in at the gateway."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """`sign_in` comes next."""
        self._client = client

    async def sign_in(self, organisation: str, username: str) -> None:
        """Signs in; waits for a gateway that is still coming up."""
        body = {"organisation_code": organisation, "username": username, "password": PASSWORD}
        async with asyncio.timeout(GATEWAY_SECONDS):
            while True:
                try:
                    answer = await self._client.post("/v1/auth/sign-in", json=body)
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
                    continue
                break
        token = _checked(answer)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    async def meetings(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Meetings between two moments that neither ended nor were cancelled."""
        query = {"from": _utc(start), "to": _utc(end), "page_size": "200"}
        items: list[dict[str, Any]] = _checked(await self._client.get("/v1/meetings", params=query))["items"]
        return [each for each in items if each["status"] in ("scheduled", "running")]

    async def call(self, call: Call) -> dict[str, Any]:
        """The meeting, called now unless one of this title already stands on that day."""
        day = call.start.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
        for known in await self.meetings(day, day + timedelta(days=1)):
            if known["title"] == call.title:
                return known
        body = {
            "unit_id": call.unit,
            "title": call.title,
            "description": call.description,
            "start_time": _utc(call.start),
            "duration_seconds": int(call.duration.total_seconds()),
            "time_zone": ZONE.key,
            "microphone_policy": "floor",
            "appointments": [
                {"party": {"kind": kind, "id": party}, "role": role}
                for kind, party, role in call.appointments
            ],
        }
        return _checked(await self._client.post("/v1/meetings", json=body))


def city_calls(ids: Mapping[str, Mapping[str, str]], now: datetime, site_codes: list[str]) -> list[Call]:
    """The city's meetings; the first is the one that runs."""
    users, sites, units = ids["users"], ids["sites"], ids["units"]
    leads = [
        ("user", users["chutich"], "chair"),
        ("user", users["thuky"], "secretary"),
        ("user", users["kythuat"], "operator"),
    ]
    everyone = [("site", sites[code], "delegate") for code in site_codes]
    guests = [
        ("user", users["daibieu"], "delegate"),
        ("user", users["english"], "delegate"),
        ("unit", units["trung-tam-bao-chi"], "press"),
    ]
    tomorrow = now.astimezone(ZONE).replace(hour=8, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return [
        Call(
            RUNNING_TITLE,
            units["ubnd"],
            now,
            RUNNING_FOR,
            [*leads, *everyone, *guests],
            "Nghe báo cáo tình hình kinh tế - xã hội tháng; các quận, huyện báo cáo theo thứ tự điểm danh.",
        ),
        Call(
            "Họp Ban Chỉ đạo phòng, chống dịch Thành phố",
            units["ubnd"],
            tomorrow,
            timedelta(hours=2),
            [*leads, *everyone[:24], ("user", users["daibieu"], "delegate")],
        ),
        Call(
            "Giao ban Văn phòng Ủy ban nhân dân Thành phố",
            units["van-phong"],
            tomorrow + timedelta(days=1),
            timedelta(hours=1),
            [
                ("user", users["thuky"], "chair"),
                ("user", users["kythuat"], "operator"),
                ("unit", units["van-phong"], "delegate"),
            ],
        ),
    ]


def ministry_calls(ids: Mapping[str, Mapping[str, str]], now: datetime) -> list[Call]:
    """The minister's briefing on ten terminals."""
    users, sites, units = ids["users"], ids["sites"], ids["units"]
    tomorrow = now.astimezone(ZONE).replace(hour=14, minute=0, second=0, microsecond=0) + timedelta(days=1)
    leads = [("user", users["botruong"], "chair"), ("user", users["thuky"], "secretary")]
    everyone = [("site", each, "delegate") for each in sites.values()]
    return [Call("Giao ban Lãnh đạo Bộ", units["bo"], tomorrow, timedelta(hours=1), [*leads, *everyone])]


def province_calls(ids: Mapping[str, Mapping[str, str]], now: datetime) -> list[Call]:
    """The weekly briefing of the province office."""
    users, sites, units = ids["users"], ids["sites"], ids["units"]
    local = now.astimezone(ZONE).replace(hour=7, minute=30, second=0, microsecond=0)
    monday = local + timedelta(days=7 - local.weekday())
    leads = [("user", users["chanhvanphong"], "chair"), ("user", users["thuky"], "secretary")]
    everyone = [("site", each, "delegate") for each in sites.values()]
    return [
        Call(
            "Giao ban tuần với văn phòng các huyện",
            units["van-phong"],
            monday,
            timedelta(hours=2),
            [*leads, *everyone],
        )
    ]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise InfraError(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
        )
    body: dict[str, Any] = answer.json()
    return body
