# SPDX-License-Identifier: Apache-2.0
"""A gateway as its own `main` starts it, on a real NATS; the services behind it are scripted, over real gRPC."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1.identity_service_pb2_grpc import (
    add_IdentityServiceServicer_to_server,
)
from giaoban.media.v1 import media_pb2
from giaoban.media.v1.media_service_pb2_grpc import add_MediaServiceServicer_to_server
from giaoban.notifications.v1.notifications_service_pb2_grpc import (
    NotificationsServiceServicer,
    add_NotificationsServiceServicer_to_server,
)
from giaoban.recording.v1.recording_service_pb2_grpc import (
    add_RecordingServiceServicer_to_server,
)
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import (
    add_SchedulingServiceServicer_to_server,
)
from giaoban_gateway import main
from giaoban_gateway.config import Config
from giaoban_gateway.live.outgoing import OUTGOING
from giaoban_kit.config import ServiceConfig
from giaoban_kit.events import connect_nats
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.kv import Bucket, ensure_bucket
from giaoban_kit.testing.keys import ServiceKeys, UserTokens
from giaoban_kit.testing.servers import nats_server
from giaoban_kit.tokens import TokenVerifier
from nats.aio.client import Client

from .scripted import Identity, Media, Recording, Scheduling, Seat

ORIGIN = "http://localhost:8080"


class Socket:
    """A client; every message it gets must be one that asyncapi describes."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.raw = socket

    async def send(self, **message: Any) -> None:
        await self.raw.send(json.dumps(message))

    async def receive(self, seconds: float = 5) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.text(seconds))
        return message

    async def text(self, seconds: float = 5) -> str:
        text = await asyncio.wait_for(self.raw.recv(), seconds)
        OUTGOING.validate_json(text)
        return str(text)

    async def until(self, kind: str, seconds: float = 5) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while (message := await self.receive(seconds))["type"] != kind:
                pass
        return message

    async def ended(self) -> str:
        """The code, once the server has also closed."""
        code = str((await self.until("ended"))["code"])
        await asyncio.wait_for(self.raw.wait_closed(), 5)
        assert self.raw.close_code == 4000
        return code

    async def quiet(self, seconds: float = 0.25) -> bool:
        try:
            await asyncio.wait_for(self.raw.recv(), seconds)
        except TimeoutError:
            return True
        return False


@dataclass
class House:
    """The gateway, what is behind it, and clients in front of it."""

    gateway: main.Running
    config: Config
    tokens: UserTokens
    identity: Identity
    scheduling: Scheduling
    recording: Recording
    medias: list[Media]
    stop_media: list[Callable[[], Awaitable[None]]]
    stop_services: Callable[[], Awaitable[None]]
    stop_identity: Callable[[], Awaitable[None]]
    stop_gateway: Callable[[], Awaitable[None]]
    bucket: Bucket
    nats: Client
    web: httpx.AsyncClient
    stack: AsyncExitStack
    meeting_id: str = field(default_factory=new_id)

    @property
    def media(self) -> Media:
        return self.medias[0]

    async def media_seat(self) -> Seat:
        """The stream that came last, at whichever media."""
        async with asyncio.timeout(5):
            while not (seats := [seat for each in self.medias for seat in each.seats]):
                await asyncio.sleep(0.01)
        return seats[-1]

    def bearer(self, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.token(**claims)}"}

    async def ticket(self, meeting_id: str | None = None, **claims: Any) -> str:
        path = f"/v1/meetings/{meeting_id or self.meeting_id}/connect-tickets"
        answer = await self.web.post(path, headers=self.bearer(**claims))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["ticket"])

    async def open(self, meeting_id: str | None = None, origin: str | None = ORIGIN) -> Socket:
        url = f"ws://127.0.0.1:{self.gateway.port}/v1/meetings/{meeting_id or self.meeting_id}/connect"
        socket = await websockets.connect(
            url, origin=websockets.Origin(origin) if origin else None, proxy=None, compression=None
        )
        self.stack.push_async_callback(socket.close)
        return Socket(socket)

    async def join(self, **fields: Any) -> Socket:
        """A client that is in: `joined` has come, the state has not."""
        socket = await self.open()
        await socket.send(type="join", ticket=await self.ticket(), **fields)
        assert (await socket.receive())["type"] == "joined"
        return socket

    async def come(self, **fields: Any) -> tuple[Socket, dict[str, Any]]:
        """A client that is in, with its snapshot."""
        socket = await self.join(**fields)
        return socket, await socket.until("snapshot")

    async def put(self, key: str, message: Any) -> int:
        return await self.bucket.put(f"{self.meeting_id}.{key}", message.SerializeToString())

    async def put_person(self, person: str = "P" * 26, **fields: Any) -> int:
        fields = {"role": scheduling_pb2.APPOINTMENT_ROLE_DELEGATE, "connection": 2} | fields
        party = identity_pb2.Party(
            ref=identity_pb2.PartyRef(kind=identity_pb2.PARTY_KIND_USER, id=person), name="Nguyễn Văn An"
        )
        state = media_pb2.ParticipantState(id=person, party=party, **fields)
        return await self.put(f"participant.{person}", state)

    async def nothing_left(self) -> None:
        """No feed, no waiting stop, no stream outlives its client."""
        hub = self.gateway.services.hub
        async with asyncio.timeout(5):
            while hub._feeds or hub._users or hub._stoppers or any(each.seats for each in self.medias):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def _serving(keys: ServiceKeys, tokens: UserTokens, name: str, *add: Any) -> AsyncIterator[int]:
    config = ServiceConfig(service_name=name)
    async with grpc_server(
        config, keys.identity(name), TokenVerifier(tokens.jwks), add=add, grace=timedelta(0)
    ) as port:
        yield port


@pytest.fixture
def gateway_settings() -> dict[str, Any]:
    """More configuration for `house`; tests override it."""
    return {}


@pytest.fixture(name="house")
async def _house(
    nats: Client, nats_url: str, service_keys: ServiceKeys, tmp_path: Path, gateway_settings: dict[str, Any]
) -> AsyncIterator[House]:
    async with _built(nats, nats_url, service_keys, tmp_path, gateway_settings) as house:
        yield house


@pytest.fixture(scope="session")
async def shared(service_keys: ServiceKeys, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One house for all tests that leave no trace in it."""
    directory = tmp_path_factory.mktemp("gateway")
    with nats_server(directory) as server:
        config = ServiceConfig(service_name="test", nats_url=server.url)
        async with (
            connect_nats(config) as nats,
            _built(nats, server.url, service_keys, directory, {}) as house,
        ):
            yield house


@asynccontextmanager
async def _built(
    nats: Client, nats_url: str, service_keys: ServiceKeys, directory: Path, settings: dict[str, Any]
) -> AsyncIterator[House]:
    # What a script leaves out gRPC answers with UNIMPLEMENTED; only the generated stubs call it abstract.
    tokens = UserTokens()
    identity, plan, recording = Identity(tokens), Scheduling(), Recording()  # type: ignore[abstract]
    medias = [Media(), Media()]  # type: ignore[abstract]
    bucket = await ensure_bucket(nats.jetstream(), main.LIVE)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        behind, front = await enter(AsyncExitStack()), AsyncExitStack()
        who = await behind.enter_async_context(AsyncExitStack())

        async def serving(name: str, add: Any, servicer: Any) -> str:
            serve = _serving(service_keys, tokens, name, (add, servicer))
            until = who if name == "identity" else behind
            return f"127.0.0.1:{await until.enter_async_context(serve)}"

        ports: list[int] = []
        stops: list[Callable[[], Awaitable[None]]] = []
        for media in medias:
            one = await enter(AsyncExitStack())
            add = (add_MediaServiceServicer_to_server, media)
            ports.append(await one.enter_async_context(_serving(service_keys, tokens, "media", add)))
            stops.append(one.aclose)
        web = directory / "web"
        (web / "assets").mkdir(parents=True)
        (web / "index.html").write_text("<title>Giaoban</title>")
        (web / "assets" / "app-1a2b.js").write_text("1")
        (directory / "secret.txt").write_text("secret")
        config = Config(
            http_listen="127.0.0.1:0",
            public_url=ORIGIN,
            nats_url=nats_url,
            web_directory=web,
            service_key_file=service_keys.key_file("gateway"),
            service_jwks_file=service_keys.jwks_file,
            identity_target=await serving("identity", add_IdentityServiceServicer_to_server, identity),
            scheduling_target=await serving("scheduling", add_SchedulingServiceServicer_to_server, plan),
            recording_target=await serving("recording", add_RecordingServiceServicer_to_server, recording),
            notifications_target=await serving(
                "notifications",
                add_NotificationsServiceServicer_to_server,
                NotificationsServiceServicer(),  # type: ignore[abstract]
            ),
            media_target=f"ipv4:127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}",
            **settings,
        )
        await main.migrate(config)
        await enter(front)
        running = await main.start(config, front)
        client = await enter(httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", trust_env=False))
        yield House(
            running,
            config,
            tokens,
            identity,
            plan,
            recording,
            medias,
            stops,
            behind.aclose,
            who.aclose,
            front.aclose,
            bucket,
            nats,
            client,
            stack,
        )
