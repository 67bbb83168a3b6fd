# SPDX-License-Identifier: Apache-2.0
"""What an operator sees of the gateway at /metrics, beside a running one."""

import asyncio
import urllib.request
from collections.abc import Callable
from typing import Any

from giaoban_gateway.live.member import MAX_WAITING, Member
from giaoban_kit.config import ServiceConfig
from giaoban_kit.errors import Precondition
from giaoban_kit.telemetry import Readiness, telemetry

ULID = "01J00000000000000000000000"


async def scraped() -> Callable[..., float]:
    """The samples at /metrics now: name and labels to value; 0 for what has not happened yet."""
    config = ServiceConfig(service_name="gateway", metrics_listen="127.0.0.1:0")
    async with telemetry(config, Readiness()) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())
    lines = dict(line.rsplit(" ", 1) for line in answer.decode().splitlines() if not line.startswith("#"))

    def value(name: str, **labels: str) -> float:
        wanted = ",".join(f'{key}="{labels[key]}"' for key in labels)
        return float(lines.get(f"giaoban_gateway_{name}" + (f"{{{wanted}}}" if labels else ""), 0))

    return value


async def test_sockets_and_messages_are_counted(house: Any) -> None:
    """Open while somebody is there, ended by code, messages as they are sent."""
    before = await scraped()
    await house.put_person()
    client, _ = await house.come()
    during = await scraped()
    assert during("sockets") == before("sockets") + 1
    assert during("messages_sent_total") >= before("messages_sent_total") + 2
    await client.raw.close()
    await house.nothing_left()
    refused = await house.open()
    await refused.send(type="join", ticket="made-up")
    assert await refused.ended() == "ticket_invalid"
    async with asyncio.timeout(5):
        while (after := await scraped())("sockets") != before("sockets"):
            await asyncio.sleep(0.05)
    for code in ("left", "ticket_invalid"):
        assert after("sockets_ended_total", code=code) == before("sockets_ended_total", code=code) + 1


async def test_refused_tickets_are_counted_by_reason(house: Any) -> None:
    """Those that were not given, and those that were not taken."""
    before = await scraped()
    over = Precondition("Đã kết thúc.")
    over.reason = "MEETING_ENDED"
    house.scheduling.script["admission"] = over
    await house.web.post(f"/v1/meetings/{ULID}/connect-tickets", headers=house.bearer())
    await house.web.get(f"/v1/recordings/{ULID}/content?ticket=made-up")
    after = await scraped()
    for purpose, reason in (("connect", "MEETING_ENDED"), ("content", "TICKET_INVALID")):
        labels = {"purpose": purpose, "reason": reason}
        assert after("tickets_refused_total", **labels) == before("tickets_refused_total", **labels) + 1


async def test_requests_are_timed_by_route(house: Any) -> None:
    """By the path as the API describes it, never by what a client wrote; the web client's files are one route."""
    before = await scraped()
    assert (await house.web.get("/v1/me", headers=house.bearer())).status_code == 200
    await house.web.get(f"/v1/meetings/{ULID}/attendance")
    await house.web.get("/assets/app-1a2b.js")
    await house.web.get("/v1/made/up")
    after = await scraped()
    for route, status, times in (
        ("/v1/me", "200", 1),
        ("/v1/meetings/{meeting_id}/attendance", "401", 1),
        ("web", "200", 1),
        ("web", "404", 1),
    ):
        labels = {"method": "GET", "route": route, "status": status}
        counted = after("request_seconds_count", **labels) - before("request_seconds_count", **labels)
        assert counted == times, labels


async def test_what_a_slow_reader_misses_is_counted() -> None:
    """State that a snapshot replaces, and signals of who talks."""
    before = await scraped()
    member = Member(press=False, moderator=False)
    for _ in range(MAX_WAITING):
        member.tell("delta", lambda _: "snapshot")
    member.tell_talking("talking")
    member.tell("delta", lambda _: "snapshot")
    after = await scraped()
    for kind, missed in (("talking", 1), ("state", MAX_WAITING + 1)):
        assert (
            after("messages_dropped_total", kind=kind) == before("messages_dropped_total", kind=kind) + missed
        )
