# SPDX-License-Identifier: Apache-2.0
"""Owns a private local stack for load tests: its process, its accounts, and the ways to hurt it.

It runs `python -m giaoban_dev up --no-demo` in the network namespace of bin/in-netns and takes no port of the machine.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import websockets
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1.identity_service_pb2 import ImportDirectoryRequest, ImportDirectoryResponse
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban_kit.config import ServiceConfig
from giaoban_kit.errors import GiaobanError
from giaoban_kit.grpc_client import channel
from giaoban_kit.service_auth import ServiceIdentity

from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.janus import JanusAccess

BASE_URL = "http://localhost:8080"
LOCAL_IP = "10.77.0.50"  # the clients' address inside bin/in-netns
READY = "Ctrl-C stops everything"
READY_SECONDS = 150.0
STOP_SECONDS = 30.0
ORGANISATION = "loadtest"
CHAIRS = 24
SITES = 640
# Defaults of the local stack: a node's API port, and the ports of its media.
NODE_PORTS = {"janus-a": 17188, "janus-b": 17288}
NODE_ADMIN_PORTS = {"janus-a": 17189, "janus-b": 17289}
ADMIN_SECONDS = 5.0
NODE_MEDIA_PORTS = {"janus-a": range(20000, 22000), "janus-b": range(22000, 24000)}
IDENTITY_TARGET = "127.0.0.1:17001"
# Replicas differ by where they tell their metrics.
GATEWAY_METRICS = {"gateway": "127.0.0.1:17106", "gateway-2": "127.0.0.1:17111"}
SERVICES = (*GATEWAY_METRICS, "identity", "scheduling", "media", "recording", "notifications")
SHIPPERS = ("shipper-a", "shipper-b")
# All endpoints come from one address: the limits that protect a public gateway from one address would be measured.
_LIMITS = {"GIAOBAN_AUTH_REQUESTS_PER_MINUTE": "100000", "GIAOBAN_PARTICIPANT_LIMIT": "1000"}
_PASSWORD_BYTES = 12


class LocalStack:
    """A running stack in a directory of its own; an asynchronous context manager that leaves nothing behind."""

    def __init__(self, state: Path, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are environment variables of `giaoban_dev up`, beside those that every load test needs."""
        self.state = state
        self._settings = settings or {}
        self.accounts_file = state / "accounts.json"
        self._up: asyncio.subprocess.Process | None = None
        self._invitee = ("", "")

    async def __aenter__(self) -> Self:
        environment = {**os.environ, **_LIMITS, **self._settings, "GIAOBAN_STATE": str(self.state)}
        environment.pop("MEDIA_IP", None)
        with self._printed.open("wb") as printed:
            # In a session of its own, so that Ctrl-C reaches only us; gone when we are, however we end.
            self._up = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "giaoban_dev.__main__"),
                # Room would be held for the demo's running meeting, as for every meeting that begins now.
                *("up", "--no-demo"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=environment,
                start_new_session=True,
            )
        try:
            await self._wait(READY, 1, READY_SECONDS, "the private stack is ready")
            await self._import_accounts()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop everything, as Ctrl-C does."""
        if self._up is None or self._up.returncode is not None:
            return
        self._up.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._up.wait()
        except TimeoutError:
            self._up.kill()
            await self._up.wait()

    def processes(self) -> dict[str, int]:
        """Return the process ids of the parts that run now, by name."""
        found = {}
        for name in (*SERVICES, *SHIPPERS, "composer", *NODE_PORTS, "nats", "postgres"):
            pid = self._pid(name)
            if pid is not None:
                found[name] = pid
        return found

    def janus(self, name: str) -> JanusAccess:
        """Return the access to a node's own API."""
        folder = self.state / "secrets"
        return JanusAccess(
            f"ws://127.0.0.1:{NODE_PORTS[name]}",
            api_secret=(folder / "janus-api").read_text(encoding="ascii").strip(),
            admin_key=(folder / "janus-room").read_text(encoding="ascii").strip(),
        )

    async def accept_new_sessions(self, name: str, *, accept: bool) -> None:
        """Tell a media node to take nobody new (or to take people again), as before it is stopped for maintenance."""
        request = {
            "janus": "accept_new_sessions",
            "accept": accept,
            "transaction": secrets.token_hex(8),
            "admin_secret": (self.state / "secrets" / "janus-admin").read_text(encoding="ascii").strip(),
        }
        async with asyncio.timeout(ADMIN_SECONDS):
            async with websockets.connect(
                f"ws://127.0.0.1:{NODE_ADMIN_PORTS[name]}",
                subprotocols=[websockets.Subprotocol("janus-admin-protocol")],
                proxy=None,
            ) as socket:
                await socket.send(json.dumps(request))
                answer = json.loads(await socket.recv())
        if answer.get("janus") != "success":
            raise SystemFailedError(f"{name} refused accept_new_sessions: {answer}")

    async def try_settings(self, name: str, settings: Mapping[str, Mapping[str, int | bool]]) -> None:
        """Start a node again with these settings of janus.jcfg in place of ours; without any, with ours."""
        (self.state / name / "tried.json").write_text(json.dumps(settings), encoding="utf-8")
        await self.kill_and_wait(name, READY_SECONDS)

    @staticmethod
    def node_of(media_port: int) -> str:
        """Return the media node that has a UDP port."""
        return next(name for name, ports in NODE_MEDIA_PORTS.items() if media_port in ports)

    def kill(self, name: str) -> float:
        """End a part without warning; the stack's own supervisor starts it again. Return when (monotonic seconds)."""
        self._signal(name, signal.SIGKILL)
        return time.monotonic()

    def lose_store(self) -> None:
        """Take NATS its directory, as when a disk is lost: whoever kills it now has it come back empty."""
        data = self.state / "nats" / "data"
        data.rename(data.with_name(f"lost-{time.monotonic_ns()}"))

    def pause(self, name: str) -> None:
        """Let a part stand still until `go_on`."""
        self._signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """Let a paused part run again."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self._pid(name)
        if pid is None:
            raise SystemFailedError(f"{name} does not run")
        os.kill(pid, number)

    def times_again(self, name: str) -> int:
        """Return how often a part was started again so far."""
        return self._printed.read_text(encoding="utf-8").count(f"{name} runs again")

    async def kill_and_wait(self, name: str, seconds: float) -> None:
        """Kill a part and wait until it is ready again."""
        again = self.times_again(name)
        self.kill(name)
        await self.runs_again(name, again, seconds)

    async def runs_again(self, name: str, before: int, seconds: float) -> None:
        """Wait until a killed part is ready again; `before` is `times_again` taken before."""
        await self._wait(f"{name} runs again", before + 1, seconds, f"{name} runs again")

    async def _wait(self, text: str, count: int, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while self._printed.read_text(encoding="utf-8").count(text) < count:
            ended = self._up is None or self._up.returncode is not None
            if ended or time.monotonic() > deadline:
                tail = self._printed.read_text(encoding="utf-8")[-2000:]
                raise SystemFailedError(
                    f"{what}: not so{' (it stopped)' if ended else f' after {seconds:g} s'}\n{tail}"
                )
            await asyncio.sleep(0.1)

    @property
    def _printed(self) -> Path:
        return self.state / "printed.txt"

    def _pid(self, name: str) -> int | None:
        if name == "nats":
            words = ["--config", str(self.state / "nats" / "nats.conf")]
        elif name == "postgres":
            words = ["-D", str(self.state / "postgres" / "data")]
        elif name.startswith("janus-"):
            words = ["/usr/bin/janus", f"--configs-folder={self.state / name / 'etc'}"]
        elif name == "composer":
            words = ["-m", "giaoban_recording", "work"]
        elif name.startswith("shipper-"):
            words = ["-m", "giaoban_recording", "ship"]
        else:
            words = ["-m", f"giaoban_{name.removesuffix('-2')}", "serve"]
        if self._up is None:
            return None
        which = ("GIAOBAN_NODE_ID", name.partition("-")[2]) if name.startswith("shipper-") else None
        if name in GATEWAY_METRICS:
            which = ("GIAOBAN_METRICS_LISTEN", GATEWAY_METRICS[name])
        for pid, argv in _descendants(self._up.pid):
            wrapped = Path(argv[0]).name in {"bwrap", "setpriv"} if argv else True
            found = any(argv[at : at + len(words)] == words for at in range(len(argv)))
            if found and not wrapped and (which is None or _variable(pid, which[0]) == which[1]):
                return pid
        return None

    async def _import_accounts(self) -> None:
        """Import an organisation of our own and write who is in it to `accounts_file`."""
        request = ImportDirectoryRequest(
            organisation=identity_pb2.Organisation(
                code=ORGANISATION, name="Load test", time_zone="Asia/Ho_Chi_Minh"
            )
        )
        request.units.add(code="root", name="Load test")
        keys, password = {}, secrets.token_urlsafe(_PASSWORD_BYTES)
        for number in range(SITES):
            code = f"site-{number}"
            keys[code] = secrets.token_urlsafe(24)
            request.sites.add(
                code=code,
                unit_code="root",
                name=f"Site {number}",
                kind=identity_pb2.SITE_KIND_FIXED,
                device_key=keys[code],
            )
        for number in range(CHAIRS):
            user = request.users.add(
                username=f"chair{number}",
                unit_code="root",
                display_name=f"Chair {number}",
                email=f"chair{number}@loadtest.example",
                locale=identity_pb2.LOCALE_EN,
                password=password,
            )
            user.roles.add(unit_code="root", role=identity_pb2.ROLE_MEMBER)
            user.roles.add(unit_code="root", role=identity_pb2.ROLE_CONVENER)
        done = await self.import_directory(request)
        self._invitee = (done.organisation.id, done.user_ids["chair0"])
        body = {
            "organisation_code": ORGANISATION,
            "unit_id": done.unit_ids["root"],
            "chairs": [
                {"user_id": user_id, "username": name, "password": password}
                for name, user_id in sorted(done.user_ids.items())
            ],
            "sites": [
                {"site_id": done.site_ids[code], "name": code, "device_key": key}
                for code, key in keys.items()
            ],
        }
        self.accounts_file.touch(mode=0o600)
        self.accounts_file.write_text(json.dumps(body), encoding="utf-8")

    def invitee(self) -> tuple[str, str]:
        """Return the ids of the load test's organisation and of a person in it."""
        return self._invitee

    async def import_directory(
        self, request: ImportDirectoryRequest, seconds: float = 60.0
    ) -> ImportDirectoryResponse:
        """Import accounts as the stack's own tools do it: with the key of the local stack's administrator."""
        folder = self.state / "secrets"
        config = ServiceConfig(
            service_name="dev",
            service_key_file=folder / "service-dev.pem",
            service_jwks_file=folder / "service-keys.json",
            identity_target=IDENTITY_TARGET,
        )
        try:
            async with channel(config.identity_target, ServiceIdentity.from_config(config)) as identity:
                done: ImportDirectoryResponse = await IdentityServiceStub(identity).ImportDirectory(
                    request, timeout=seconds
                )
                return done
        except GiaobanError as error:
            raise SystemFailedError(f"accounts could not be imported: {error}") from error


@asynccontextmanager
async def private_stack(settings: Mapping[str, str]) -> AsyncIterator[LocalStack]:
    """Start a stack in a directory that is deleted afterwards; needs bin/in-netns."""
    if os.environ.get("GIAOBAN_IN_NETNS") != "1":
        raise SystemFailedError("a private stack needs its own network: start this with bin/in-netns")
    # Short, for socket paths, and open to PostgreSQL's own user.
    state = Path(tempfile.mkdtemp(prefix="gb-load-"))
    os.chmod(state, 0o755)  # noqa: PTH101, S103 secrets lie in a directory of their own below
    try:
        async with LocalStack(state, settings) as stack:
            yield stack
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _variable(pid: int, name: str) -> str:
    """Return a variable of a process's environment; empty when there is none."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    except OSError:
        return ""
    return next((pair.partition("=")[2] for pair in pairs if pair.startswith(f"{name}=")), "")


def _descendants(pid: int) -> Iterator[tuple[int, list[str]]]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            try:
                argv = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")[:-1]
            except OSError:
                continue
            yield int(child), argv
            yield from _descendants(int(child))
