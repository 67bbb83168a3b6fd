# SPDX-License-Identifier: Apache-2.0
"""A whole service of the smallest kind as a real process on uvloop, against real NATS and PostgreSQL."""

import asyncio
import importlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from giaoban.identity.v1.identity_service_pb2 import GetJwksResponse
from giaoban.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceServicer,
    add_IdentityServiceServicer_to_server,
)
from giaoban.notifications.v1.notifications_service_pb2 import MarkAllNotificationsReadRequest
from giaoban.notifications.v1.notifications_service_pb2_grpc import NotificationsServiceStub
from giaoban.scheduling.v1.events_pb2 import MeetingEnded
from giaoban.scheduling.v1.scheduling_pb2 import Meeting
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, schema_drift
from giaoban_kit.errors import Exists
from giaoban_kit.events import ensure_stream, new_event, publish, subject
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import ServiceKeys, UserTokens
from giaoban_kit.tokens import Principal, TokenVerifier, acting_as
from nats.js import JetStreamContext

SAMPLE = Path(__file__).parent / "sample"


@dataclass
class Running:
    """The process, what it has written so far, and where it listens."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]]

    async def event(self, name: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                for line in self.lines:
                    if line["event"] == name:
                        return line
                assert self.process.stdout is not None
                text = await self.process.stdout.readline()
                assert text, f"the process ended before {name}: {self.lines}"
                self.lines.append(json.loads(text))


async def run(verb: str, environment: dict[str, str]) -> Running:
    environment = {**os.environ, **environment, "PYTHONPATH": str(SAMPLE)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "giaoban_sample", verb, env=environment, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    return Running(process, [])


@pytest_asyncio.fixture
async def environment(
    nats_url: str, database_url: str, service_keys: ServiceKeys, user_tokens: UserTokens
) -> AsyncIterator[dict[str, str]]:
    """What the process is told, with an identity service that serves its keys."""

    class Identity(IdentityServiceServicer):
        async def GetJwks(self, request: Any, context: Any) -> GetJwksResponse:
            return GetJwksResponse(jwks_json=await user_tokens.jwks())

    servicer = Identity()  # type: ignore[abstract]  # the other RPCs are UNIMPLEMENTED
    add = [(add_IdentityServiceServicer_to_server, servicer)]
    config, own = ServiceConfig(service_name="identity"), service_keys.identity("identity")
    async with grpc_server(config, own, TokenVerifier(user_tokens.jwks), add=add) as port:
        yield {
            "GIAOBAN_NATS_URL": nats_url,
            "GIAOBAN_DATABASE_URL": database_url,
            "GIAOBAN_IDENTITY_TARGET": f"127.0.0.1:{port}",
            **service_keys.environment("notifications"),
        }


async def test_a_service_migrates_serves_consumes_and_stops(
    environment: dict[str, str],
    js: JetStreamContext,
    service_keys: ServiceKeys,
    user_tokens: UserTokens,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every promise of kit/README.md in one life of a process."""
    await ensure_stream(js, "scheduling")
    migrating = await run("migrate", environment)
    assert await asyncio.wait_for(migrating.process.wait(), 20) == 0
    monkeypatch.syspath_prepend(SAMPLE)
    metadata = importlib.import_module("giaoban_sample.store").metadata

    async with database(ServiceConfig(service_name="test", database_url=database_url)) as db:
        assert await schema_drift(db, metadata) == []

    running = await run("serve", environment)
    port = (await running.event("grpc_listening"))["port"]
    me, meeting_id = new_id(), new_id()
    principal = Principal(me, "user", new_id(), new_id(), "An")
    async with channel(f"127.0.0.1:{port}", service_keys.identity("gateway")) as opened:
        stub = NotificationsServiceStub(opened)
        with acting_as(principal, user_tokens.token(subject=me)):
            await stub.MarkAllNotificationsRead(MarkAllNotificationsReadRequest())
            with pytest.raises(Exists) as refused:
                await stub.MarkAllNotificationsRead(MarkAllNotificationsReadRequest())
    assert refused.value.reason == "NOTE_EXISTS"

    await publish(
        js,
        new_event(
            subject("scheduling", "meeting", "ended", meeting_id),
            MeetingEnded(meeting=Meeting(id=meeting_id)),
        ),
    )
    await running.event("event_consumed")
    async with asyncio.timeout(10):
        while (await js.stream_info("NOTIFICATIONS")).state.messages == 0:
            await asyncio.sleep(0.05)
    told = await js.get_msg("NOTIFICATIONS", seq=1)
    assert told.subject == f"giaoban.notifications.v1.note.written.{meeting_id}"
    connection = await asyncpg.connect(database_url)
    try:
        rows = {tuple(row) for row in await connection.fetch("SELECT id, text FROM notes")}
    finally:
        await connection.close()
    assert rows == {(me, "read"), (meeting_id, "ended")}

    running.process.send_signal(signal.SIGTERM)
    await running.event("grpc_stopped")
    assert await asyncio.wait_for(running.process.wait(), 20) == 0
    text = json.dumps(running.lines)
    assert not re.search(r"eyJ|ERROR|error", text.replace('"code": ', "")), text


async def test_a_wrong_configuration_ends_with_a_remedy(environment: dict[str, str]) -> None:
    """Exit status 2 before anything is opened."""
    wrong = await run("serve", {**environment, "GIAOBAN_TRACE_SAMPLE_RATIO": "2"})
    assert await asyncio.wait_for(wrong.process.wait(), 20) == 2
