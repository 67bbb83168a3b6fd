# SPDX-License-Identifier: Apache-2.0
"""Owns the whole stack under test: its process, the ways to hurt it, its API, its mail, its spans and its logs."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
from giaoban_dev.demo.directory import PASSWORD
from giaoban_dev.demo.meetings import RUNNING_TITLE
from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.janus import ask_admin
from giaoban_dev.stack.settings import Ports
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

URL = "http://localhost:8080"
MAIL_URL = "http://localhost:8025"
CITY = "tphcm"
ZONE = "Asia/Ho_Chi_Minh"
SITES = 4
T = TypeVar("T")
READY_SECONDS = 90.0
AGAIN_SECONDS = 30.0
STOP_SECONDS = 30.0


async def until(ask: Callable[[], Awaitable[T]], what: str, seconds: float = 10.0) -> T:
    """Ask until the answer is true and return it; fails naming what did not happen."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Span:
    """One received span: the service it came from, its trace, name, and everything else in it as text."""

    service: str
    trace_id: str
    name: str
    text: str


class Collector(TraceServiceServicer):
    """A tiny OTLP collector (opentelemetry-proto, TraceService) that keeps the spans of the whole run."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def Export(
        self, request: otlp.ExportTraceServiceRequest, _context: object
    ) -> otlp.ExportTraceServiceResponse:
        for group in request.resource_spans:
            named = {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [
                    Span(named.get("service.name", ""), each.trace_id.hex(), each.name, str(each))
                    for each in scope.spans
                ]
        return otlp.ExportTraceServiceResponse()


@dataclass
class House:
    """The running stack in `state`; `secrets` are the tokens and tickets that the browsers were given."""

    state: Path
    collector: Collector
    secrets: set[str] = field(default_factory=set)
    _up: asyncio.subprocess.Process | None = None
    _server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Start everything and wait until it is ready; fails with the end of what it printed."""
        self._server = grpc.aio.server()
        add_TraceServiceServicer_to_server(self.collector, self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        environment = {
            **os.environ,
            "GIAOBAN_STATE": str(self.state),
            "SITES": str(SITES),
            "GIAOBAN_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "GIAOBAN_TRACE_SAMPLE_RATIO": "1",
        }
        environment.pop("MEDIA_IP", None)
        with self.printed_file.open("wb") as printed:
            # In a session of its own, so that Ctrl-C reaches pytest alone; gone when pytest is, however it ends.
            self._up = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "giaoban_dev.__main__", "up"),
                stdout=printed,
                stderr=printed,
                env=environment,
                start_new_session=True,
            )

        async def ready() -> bool:
            assert self._up is not None and self._up.returncode is None, "the stack stopped while starting"
            return "Ctrl-C stops everything" in self.printed()

        try:
            await until(ready, "the stack is ready", READY_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.printed()[-3000:]}") from None

    async def stop(self) -> None:
        """Stop everything, as Ctrl-C does."""
        if self._up is not None and self._up.returncode is None:
            self._up.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._up.wait()
            finally:
                if self._up.returncode is None:
                    self._up.kill()
        if self._server is not None:
            await self._server.stop(1)

    @property
    def printed_file(self) -> Path:
        return self.state / "printed.txt"

    def printed(self) -> str:
        return self.printed_file.read_text(encoding="utf-8")

    def logs(self) -> Iterator[Path]:
        """Yield the log of every process, in order of name."""
        yield from sorted((self.state / "logs").iterdir())

    # --- hurting it -------------------------------------------------------------------------------------------

    def pid_of(self, *words: str) -> int:
        """Return the process of the stack whose command line has all the words in a row; not that of its sandbox."""
        assert self._up is not None
        found = [
            pid
            for pid, argv in _descendants(self._up.pid)
            if _contains(argv, words) and Path(argv[0]).name not in {"bwrap", "setpriv"}
        ]
        assert len(found) == 1, f"{words}: processes {found}"
        return found[0]

    async def kill(self, name: str) -> float:
        """End a part without warning; return the time (monotonic seconds) at which that was.

        `name` is that of a service, `nats`, `janus-a` or `janus-b`.
        """
        if name == "nats":
            pid = self.pid_of("--config", str(self.state / "nats" / "nats.conf"))
        elif name.startswith("janus-"):
            pid = self.pid_of("/usr/bin/janus", f"--configs-folder={self.state / name / 'etc'}")
        else:
            pid = self.pid_of("-m", f"giaoban_{name}", "serve")
        os.kill(pid, signal.SIGKILL)
        return time.monotonic()

    @asynccontextmanager
    async def dead(self, name: str) -> AsyncIterator[float]:
        """A part that is killed, and killed again as often as it comes back; gives the time of the first end."""

        async def again() -> None:
            while True:
                await asyncio.sleep(0.05)
                with suppress(AssertionError, ProcessLookupError, FileNotFoundError):  # not back yet
                    await self.kill(name)

        killed = await self.kill(name)
        killing = asyncio.create_task(again())
        try:
            yield killed
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)

    async def accept_new_sessions(self, node: str, *, accept: bool) -> None:
        """Tell a media node (`janus-a`) by its Admin API to take nobody new, as before it is stopped, or to do so again."""
        port = Ports().of(f"{node.replace('-', '_')}_admin")
        secret = Credentials(self.state / "secrets").get("janus-admin")
        answer = await ask_admin(port, secret, janus="accept_new_sessions", accept=accept)
        assert answer["janus"] == "success", answer

    async def runs_again(self, name: str, before: int) -> None:
        """Wait until a killed part runs again; `before` is `times_again(name)` taken before the kill."""

        async def again() -> bool:
            return self.times_again(name) > before

        await until(again, f"{name} runs again", AGAIN_SECONDS)

    def times_again(self, name: str) -> int:
        return self.printed().count(f"{name} runs again")

    # --- its API ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def api(self, username: str, organisation: str = CITY) -> AsyncIterator[httpx.AsyncClient]:
        """A client signed in as a person: `async with house.api("chutich") as client`."""
        async with httpx.AsyncClient(
            base_url=URL, trust_env=False, timeout=20, headers={"Origin": URL}
        ) as client:
            body = {"organisation_code": organisation, "username": username, "password": PASSWORD}
            answer = await client.post("/v1/auth/sign-in", json=body)
            assert answer.status_code == 200, answer.text
            token = answer.json()["access_token"]
            self.secrets |= {token, *client.cookies.values()}
            client.headers["Authorization"] = f"Bearer {token}"
            yield client

    async def running_meeting(self) -> str:
        """Return the id of the meeting in which the simulated sites are."""
        async with self.api("thuky") as client:
            now = datetime.now(UTC)
            query = {"from": utc(now - timedelta(days=1)), "to": utc(now + timedelta(days=1))}

            # It runs from the moment at which the first site is in.
            async def running() -> str | None:
                items = (await client.get("/v1/meetings", params=query)).json()["items"]
                wanted = [each for each in items if each["title"] == RUNNING_TITLE]
                return next((str(each["id"]) for each in wanted if each["status"] == "running"), None)

            return str(await until(running, "the demo meeting runs", 20))

    async def call_meeting(
        self, title: str, roles: dict[str, str], *, start: datetime | None = None, caller: str = "chutich"
    ) -> str:
        """Call a meeting of the city for users (username -> role), starting now unless told; return its id."""
        async with self.api(caller) as client:
            units = (await client.get("/v1/units")).json()["items"]
            body = {
                "unit_id": next(each["id"] for each in units if each["code"] == "ubnd"),
                "title": title,
                "description": "",
                "start_time": utc(start or datetime.now(UTC)),
                "duration_seconds": 3600,
                "time_zone": ZONE,
                "microphone_policy": "floor",
                "appointments": await self._appointments(client, roles),
            }
            answer = await client.post("/v1/meetings", json=body)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

    async def appoint(self, meeting_id: str, roles: dict[str, str], *, caller: str = "chutich") -> None:
        """Give a meeting other appointments (username -> role)."""
        async with self.api(caller) as client:
            route = f"/v1/meetings/{meeting_id}"
            etag = (await client.get(route)).headers["ETag"]
            body = {"appointments": await self._appointments(client, roles)}
            answer = await client.patch(route, json=body, headers={"If-Match": etag})
            assert answer.status_code == 200, answer.text

    async def _appointments(self, client: httpx.AsyncClient, roles: dict[str, str]) -> list[dict[str, Any]]:
        return [
            {"party": {"kind": "user", "id": await self._user(client, name)}, "role": role}
            for name, role in roles.items()
        ]

    async def _user(self, client: httpx.AsyncClient, username: str) -> str:
        items = (await client.get("/v1/users", params={"query": username})).json()["items"]
        return str(next(each["id"] for each in items if each["username"] == username))

    async def mails(self, to: str) -> list[dict[str, Any]]:
        """Return the mails to an address, the newest first."""
        async with httpx.AsyncClient(trust_env=False) as client:
            found: list[dict[str, Any]] = (
                await client.get(f"{MAIL_URL}/api/messages", params={"to": to})
            ).json()
        return found


def utc(moment: datetime) -> str:
    """RFC 3339 in whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _contains(argv: list[str], words: tuple[str, ...]) -> bool:
    return any(tuple(argv[at : at + len(words)]) == words for at in range(len(argv)))


def _descendants(pid: int) -> Iterator[tuple[int, list[str]]]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            argv = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")[:-1]
            yield int(child), argv
            yield from _descendants(int(child))
