# SPDX-License-Identifier: Apache-2.0
"""Two media replicas as processes over two Janus nodes, and participants with real WebRTC endpoints."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from giaoban.media.v1 import media_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceStub
from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.janus import JanusNode
from giaoban_dev.infra.nats import Nats
from giaoban_dev.infra.process import Process, free_port
from giaoban_dev.testing import CLIENT_ADDRESS
from giaoban_kit.config import ServiceConfig
from giaoban_kit.errors import GiaobanError
from giaoban_kit.events import connect_nats
from giaoban_kit.grpc_client import channel
from giaoban_kit.ids import new_id
from giaoban_kit.kv import open_bucket
from giaoban_kit.testing.keys import ServiceKeys, make_service_keys
from giaoban_kit.tokens import sign_grant
from giaoban_loadtests.clips import Clip, clips_for
from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.publish import Pacer
from giaoban_media.main import JOURNAL, NODES, RESERVATIONS

NAMES = ("Quận 1", "Bình Tân", "Củ Chi", "Nhà Bè")


@dataclass
class Replica:
    """One media process."""

    name: str
    process: Process
    target: str

    @property
    def log(self) -> str:
        return self.process.log_file.read_text(encoding="utf-8")


@dataclass
class House:
    """Everything a test needs to be a gateway to media."""

    replicas: dict[str, Replica]
    nodes: dict[str, JanusNode]
    nats: Nats
    keys: ServiceKeys
    clips: dict[str, Clip]
    pacer: Pacer
    stubs: dict[str, MediaServiceStub] = field(default_factory=dict)

    def grant(self, meeting: str, participant: str, name: str, role: str, **changes: Any) -> str:
        claims = {
            "sub": participant,
            "mtg": meeting,
            "org": "01ORG",
            "role": role,
            "pol": "floor",
            "party": {
                "kind": "site",
                "id": participant,
                "name": name,
                "office": "",
                "unit_id": "u",
                "unit_name": "U",
            },
            **changes,
        }
        issuer = self.keys.identity("scheduling")
        return sign_grant(
            issuer, audience="media", kind="admission", claims=claims, lifetime=timedelta(hours=1)
        )


class Guest:
    """A participant over the real stream, with real media; the client's side of `Connect`."""

    def __init__(self, house: House, meeting: str, name: str, role: str = "delegate") -> None:
        self.house, self.meeting, self.name, self.role = house, meeting, name, role
        self.id = new_id()
        self.publisher: PeerConnection | None = None
        self.receiver: PeerConnection | None = None
        self.feeds: list[pb.Feed] = []
        self.offers = 0
        self.answers = asyncio.Event()  # cleared: an offer waits for its answer
        self.answers.set()
        self._before: dict[str, int] = {}  # packets of a line when it was given to whom it carries now
        self.rejoins = 0
        self.connections = 0  # receiving connections that were offered
        self.resumed = self.left = False
        self.error: GiaobanError | None = None
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._replies: dict[str, asyncio.Future[pb.Reply]] = {}

    async def join(self, replica: str, *, resume: bool = False, tiles: list[str] | None = None) -> None:
        """Opens the stream on a replica, and takes what comes until it ends."""
        self._call = self.house.stubs[replica].Connect(wait_for_ready=True)
        join = pb.Join(
            grant=self.house.grant(self.meeting, self.id, self.name, self.role),
            resume=resume,
            view=pb.View(tiles=tiles or [], stage_height=180),
        )
        if not resume and self.role not in ("observer", "press"):
            join.offer_sdp, streams = self._offer()
            join.streams.extend(streams)
        with suppress(asyncio.InvalidStateError):  # refused before it was written: reading tells why
            await self._call.write(pb.ConnectRequest(join=join))
        first = await self._call.read()
        assert first is not grpc.aio.EOF
        self.resumed = first.joined.resumed
        if first.joined.answer_sdp:
            assert self.publisher is not None
            self.publisher.set_answer(first.joined.answer_sdp)
        self._reader = asyncio.create_task(self._read())

    async def command(self, **act: Any) -> pb.Reply:
        """An act; returns the reply."""
        return await self._ask(command=pb.Command(request_id=new_id(), **act))

    async def publish(self, sdp: str) -> pb.Reply:
        """A publishing offer as it stands."""
        return await self._ask(publish=pb.Publish(request_id=new_id(), offer_sdp=sdp, streams=_streams()))

    async def publish_anew(self) -> None:
        """A new publishing connection; the reply is taken when it comes."""
        sdp, streams = self._offer()
        request = pb.Publish(request_id=new_id(), offer_sdp=sdp, streams=streams)
        reply = self._replies[request.request_id] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(self._on_published)
        await self._call.write(pb.ConnectRequest(publish=request))

    async def share_screen(self) -> pb.Reply:
        """One more stream on the running connection, after the camera's picture."""
        assert self.publisher is not None
        sdp = self.publisher.create_offer().replace("BUNDLE 0 1", "BUNDLE 0 1 2")
        camera = sdp[sdp.index("m=video") :]
        ssrc = str(self.publisher.published.video_ssrc)
        screen = (
            camera.replace("a=mid:1", "a=mid:2")
            .replace(ssrc, str(int(ssrc) ^ 1))
            .replace("-video", "-screen")
        )
        streams = [*_streams(), media_pb2.Stream(mid="2", source=media_pb2.STREAM_SOURCE_SCREEN)]
        return await self._ask(
            publish=pb.Publish(request_id=new_id(), offer_sdp=sdp + screen, streams=streams)
        )

    async def view(self, **view: Any) -> None:
        await self._call.write(pb.ConnectRequest(view=pb.View(**view)))

    async def restart_ice(self) -> None:
        await self._call.write(pb.ConnectRequest(restart_ice=pb.RestartIce()))

    async def leave(self) -> None:
        self.left = True
        await self._call.write(pb.ConnectRequest(leave=pb.Leave()))
        await self.ended()

    async def leave_and_cut(self, *, after: float) -> None:
        """Says farewell and cuts the stream seconds later, as when a window is closed."""
        self.left = True
        await self._call.write(pb.ConnectRequest(leave=pb.Leave()))
        await asyncio.sleep(after)
        await self.drop()

    async def ended(self) -> None:
        """Waits until the stream has ended."""
        assert self._reader is not None
        await asyncio.wait_for(self._reader, 10)

    async def drop(self) -> None:
        """Ends the stream without a farewell; media is left standing."""
        if self._call is not None:
            self._call.cancel()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader], timeout=5)

    async def close(self) -> None:
        await self.drop()
        for peer in (self.publisher, self.receiver):
            if peer is not None:
                peer.close()

    def carries(self, other: "Guest", source: "media_pb2.StreamSource.ValueType") -> int:
        """Packets of a source that have arrived from somebody."""
        if self.receiver is None:
            return 0
        mids = [each.mid for each in self.feeds if each.participant_id == other.id and each.source == source]
        return sum(self._decrypted(mid) - self._before.get(mid, 0) for mid in mids)

    def _decrypted(self, mid: str) -> int:
        return sum(stream.decrypted for stream in self.receiver.streams_of(mid)) if self.receiver else 0

    def _carry(self, feeds: list[pb.Feed]) -> None:
        whose = {each.mid: each.participant_id for each in self.feeds}
        for each in feeds:
            if whose.get(each.mid) not in (None, each.participant_id):
                self._before[each.mid] = self._decrypted(each.mid)
        self.feeds = feeds

    def is_offered(self, other: "Guest", source: "media_pb2.StreamSource.ValueType") -> bool:
        """Whether the receiving connection carries a source of somebody."""
        return any(each.participant_id == other.id and each.source == source for each in self.feeds)

    def hears(self, other: "Guest") -> int:
        return self.carries(other, media_pb2.STREAM_SOURCE_MICROPHONE)

    def sees(self, other: "Guest") -> int:
        return self.carries(other, media_pb2.STREAM_SOURCE_CAMERA)

    def _offer(self) -> tuple[str, list[media_pb2.Stream]]:
        if self.publisher is not None:
            self.publisher.close()
        self.publisher = PeerConnection(
            clip=self.house.clips[self.name], pacer=self.house.pacer, local_ip=CLIENT_ADDRESS
        )
        return self.publisher.create_offer(), _streams()

    async def _ask(self, **message: Any) -> pb.Reply:
        (what,) = message.values()
        reply = self._replies[what.request_id] = asyncio.get_running_loop().create_future()
        await self._call.write(pb.ConnectRequest(**message))
        return await asyncio.wait_for(reply, 10)

    async def _read(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                # What is written while the stream ends fails in one way or the other: reading tells why it ended.
                with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    await self._take(message)
            await self._call.code()
        except GiaobanError as error:
            self.error = error
        finally:
            for reply in self._replies.values():
                reply.cancel()

    async def _take(self, message: pb.ConnectResponse) -> None:
        kind = message.WhichOneof("message")
        if kind == "reply" and message.reply.request_id in self._replies:
            self._replies.pop(message.reply.request_id).set_result(message.reply)
        elif kind == "offer" and not self.left:  # an answer would be written into a stream that ends
            offer = message.offer
            if offer.new_connection or self.receiver is None:
                self.connections += 1
                if self.receiver is not None:
                    self.receiver.close()
                self.receiver = PeerConnection(local_ip=CLIENT_ADDRESS)
                self._before, self.feeds = {}, []
            self.offers += 1
            answer = self.receiver.answer(offer.offer_sdp)
            self._carry(list(offer.feeds))
            await self.answers.wait()
            await self._call.write(
                pb.ConnectRequest(answer=pb.Answer(negotiation=offer.negotiation, answer_sdp=answer))
            )
        elif kind == "feeds":
            self._carry(list(message.feeds.feeds))
        elif kind == "rejoin":
            self.rejoins += 1
            await asyncio.sleep(
                0.05
            )  # what is written into a stream that ends makes an error of grpcio's own
            await self.publish_anew()

    def _on_published(self, reply: "asyncio.Future[pb.Reply]") -> None:
        if not reply.cancelled() and self.publisher is not None and reply.result().answer_sdp:
            self.publisher.set_answer(reply.result().answer_sdp)


def _streams() -> list[media_pb2.Stream]:
    return [
        media_pb2.Stream(mid="0", source=media_pb2.STREAM_SOURCE_MICROPHONE),
        media_pb2.Stream(mid="1", source=media_pb2.STREAM_SOURCE_CAMERA),
    ]


async def accept_new_sessions(node: JanusNode, *, accept: bool) -> None:
    """What an operator, or Kubernetes before it stops a node, says to it."""
    answer = await node.admin(janus="accept_new_sessions", accept=accept)
    assert answer["janus"] == "success", answer


async def participants_on(node: JanusNode, meeting: str) -> int:
    """A meeting's sessions on a node."""
    count = 0
    for session in (await node.admin(janus="list_sessions"))["sessions"]:
        listed = await node.admin(janus="list_handles", session_id=session)
        for handle in listed.get("handles", [])[:1]:
            told = await node.admin(janus="handle_info", session_id=session, handle_id=handle)
            count += str(told.get("info", {}).get("opaque_id")).startswith(meeting)
    return count


def carried_by(house: House, guest: Guest) -> str:
    """The node that somebody's sending connection leads to; empty while there is none."""
    selected = guest.publisher._ice.selected if guest.publisher is not None else None
    port = selected[1] if selected else 0
    found = (name for name, node in house.nodes.items() if node.ports.rtp[0] <= port <= node.ports.rtp[1])
    return next(found, "")


async def longest_pause(receiver: Guest, sender: Guest, seconds: float) -> float:
    """The longest time in which nothing of the sender's picture arrived."""
    end, last, count, longest = time.monotonic() + seconds, time.monotonic(), receiver.sees(sender), 0.0
    while (now := time.monotonic()) < end:
        if receiver.sees(sender) != count:
            count, last = receiver.sees(sender), now
        longest = max(longest, now - last)
        await asyncio.sleep(0.01)
    return longest


async def until(true: Callable[[], bool], seconds: float = 8.0) -> None:
    """Waits until something holds."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


def media_process(
    name: str,
    directory: Path,
    *,
    nats: Nats,
    nodes: dict[str, JanusNode],
    keys: ServiceKeys,
    credentials: Credentials,
    budget: int | None = None,
) -> tuple[Process, str, dict[str, str]]:
    """A media replica's process, its target and its environment; `budget` is each node's, in packets/s."""
    target = f"127.0.0.1:{free_port()}"
    described = [
        {
            "id": node.name,
            "url": node.url,
            "api_secret_file": str(credentials.path("janus-api")),
            "admin_key_file": str(credentials.path("janus-room")),
            "rec_dir": str(node.recordings),
            "relay_host": "localhost",  # a name, as in a cluster
            **({} if budget is None else {"budget_packets_per_second": budget}),
        }
        for node in nodes.values()
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "GIAOBAN_GRPC_LISTEN": target,
        "GIAOBAN_NATS_URL": nats.url,
        "GIAOBAN_NATS_USER": "media",
        "GIAOBAN_NATS_PASSWORD_FILE": str(nats.password_file("media")),
        "GIAOBAN_NODES": json.dumps(described),
        "GIAOBAN_REPLICA": name,
        **keys.environment("media"),
    }
    process = Process(
        name=name,
        argv=[sys.executable, "-m", "giaoban_media", "serve"],
        log_file=directory / f"{name}.log",
        env=environment,
    )
    return process, target, environment


async def listens(target: str) -> bool:
    """Whether somebody listens there."""
    host, _, port = target.rpartition(":")
    with suppress(OSError):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        return True
    return False


@pytest.fixture(scope="module")
def budget() -> int | None:
    """Each node's budget in packets/s; a module with one of its own overrides it."""
    return None


@pytest.fixture(scope="module")
async def house(
    nats_server_with_accounts: Nats,
    janus_nodes: dict[str, JanusNode],
    credentials: Credentials,
    tmp_path_factory: pytest.TempPathFactory,
    budget: int | None,
) -> AsyncIterator[House]:
    """The migrated stack with replicas `one` and `two`."""
    directory = tmp_path_factory.mktemp("media")
    keys = make_service_keys(directory / "keys")
    async with AsyncExitStack() as stack:
        house = House({}, janus_nodes, nats_server_with_accounts, keys, clips_for(NAMES), Pacer())
        for name in ("one", "two"):
            process, target, environment = media_process(
                name,
                directory,
                nats=nats_server_with_accounts,
                nodes=janus_nodes,
                keys=keys,
                credentials=credentials,
                budget=budget,
            )
            if name == "one":
                migrate = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "giaoban_media", "migrate", env=environment
                )
                assert await migrate.wait() == 0
            house.replicas[name] = Replica(name, process, target)
            await start(house.replicas[name])
            stack.push_async_callback(process.stop)
            opened = await stack.enter_async_context(channel(target, keys.identity("gateway")))
            house.stubs[name] = MediaServiceStub(opened)
        yield house


async def start(replica: Replica) -> None:
    """Starts a replica and waits until it takes calls."""
    await replica.process.start()
    await replica.process.wait_ready(lambda: listens(replica.target))


def nats_as(house: House, service: str) -> ServiceConfig:
    """How a service reaches the house's NATS, with what it may do there."""
    return ServiceConfig(
        service_name="test",
        nats_url=house.nats.url,
        nats_user=service,
        nats_password_file=house.nats.password_file(service),
    )


async def forget(house: House) -> None:
    """Both replicas begin anew, with nobody on the nodes, nothing held and nothing measured.

    What the test before made them send would decide for some seconds where the next people go.
    """
    await asyncio.gather(*(each.process.stop() for each in house.replicas.values()))
    async with connect_nats(nats_as(house, "media")) as nats:
        for name in (JOURNAL, NODES, RESERVATIONS):
            bucket = await open_bucket(nats.jetstream(), name)
            for entry in await bucket.entries(">"):
                await bucket.delete(entry.key)
    await asyncio.gather(*(start(each) for each in house.replicas.values()))


@asynccontextmanager
async def guests(house: House, *wanted: tuple[str, str]) -> AsyncIterator[list[Guest]]:
    """Participants of a new meeting, by name and role; closed in the end."""
    meeting = new_id()
    made = [Guest(house, meeting, name, role) for name, role in wanted]
    try:
        yield made
    finally:
        for guest in made:
            await guest.close()
