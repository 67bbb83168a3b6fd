# SPDX-License-Identifier: Apache-2.0
"""What a replica knows from its buckets while NATS dies and comes back, on a server of the test's own."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import nats.errors
import pytest
from giaoban.media.v1 import media_pb2
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ServiceConfig
from giaoban_kit.events import connect_nats
from giaoban_kit.ids import new_id
from giaoban_kit.kv import Bucket, ensure_bucket
from giaoban_kit.testing.servers import NatsServer, nats_server
from giaoban_media.conference.acts import Change
from giaoban_media.conference.live import LiveMeeting
from giaoban_media.conference.model import (
    Conference,
    MicrophonePolicy,
    Participant,
    Party,
    PartyKind,
    Role,
    Room,
    Stage,
)
from giaoban_media.domain import NodeHealth
from giaoban_media.nodes import Nodes
from nats.js import JetStreamContext

from services.media.tests.integration.conftest import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS that only this test uses."""
    with nats_server(tmp_path) as running:
        yield running


@pytest.fixture
async def own_js(server: NatsServer) -> AsyncIterator[JetStreamContext]:
    """JetStream on it."""
    async with connect_nats(ServiceConfig(service_name="media", nats_url=server.url)) as nats:
        yield nats.jetstream()


PARTY = Party(PartyKind.SITE, "site", "Bình Tân")


def _enter(participant: Participant, _: Conference) -> Change:
    return Change(participants=(participant,))


async def restart(server: NatsServer, js: JetStreamContext, bucket: str, *, lost: bool) -> None:
    """Kills the server and starts it again; with an empty store, whose buckets the services make again."""
    server.kill()
    if lost:
        shutil.rmtree(server.directory / "data")
    server.start()
    if lost:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(nats.errors.Error, OSError):
                    await ensure_bucket(js, bucket)
                    return
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("lost", [False, True], ids=["as it was", "store lost"])
async def test_no_node_is_down_because_nats_was(
    server: NatsServer, own_js: JetStreamContext, *, lost: bool
) -> None:
    """A watch that begins again says every node anew; until then each is what it was."""
    seen: list[tuple[NodeHealth, NodeHealth]] = []
    nodes = Nodes(
        await ensure_bucket(own_js, "test-nodes"),
        SystemClock(),
        lambda: seen.append((nodes.health("a"), nodes.health("b"))),
        {},
    )
    running = asyncio.create_task(nodes.run())
    nodes.report("a", NodeHealth.UP)
    nodes.report("b", NodeHealth.UP)
    await until(lambda: {nodes.health("a"), nodes.health("b")} == {NodeHealth.UP})
    seen.clear()
    await restart(server, own_js, "test-nodes", lost=lost)
    await until(lambda: len(seen) >= 3, 20)  # both nodes, and that this was all
    assert set(seen) == {(NodeHealth.UP, NodeHealth.UP)}
    nodes.report("b", NodeHealth.DOWN)
    await until(lambda: nodes.health("b") is NodeHealth.DOWN)
    running.cancel()
    assert {each.key for each in await Bucket(own_js, "test-nodes").entries(">")} == {"a", "b"}


async def one_node_up(bucket: Bucket) -> tuple[Nodes, asyncio.Task[None]]:
    """Nodes of which "a" is up, and what follows them; to be cancelled."""
    nodes = Nodes(bucket, SystemClock(), lambda: None, {})
    running = asyncio.create_task(nodes.run())
    nodes.report("a", NodeHealth.UP)
    await until(lambda: nodes.health("a") is NodeHealth.UP)
    return nodes, running


async def test_of_what_was_seen_of_a_node_while_nats_was_away_the_last_holds(
    server: NatsServer, own_js: JetStreamContext
) -> None:
    """A node that was gone and is back is up, in whatever order writing it down succeeded."""
    bucket = await ensure_bucket(own_js, "test-nodes")
    nodes, running = await one_node_up(bucket)
    server.kill()
    nodes.report("a", NodeHealth.DOWN)
    await asyncio.sleep(0.2)  # it is being written, in vain
    nodes.report("a", NodeHealth.UP)
    nodes.report("b", NodeHealth.DOWN)
    server.start()
    await until(lambda: {each.id for each in nodes.all()} == {"a", "b"}, 20)
    await asyncio.sleep(2)  # longer than until a write is tried again
    assert nodes.health("a") is NodeHealth.UP
    running.cancel()


async def test_a_load_that_is_first_to_meet_a_lost_store_takes_no_node_down(
    server: NatsServer, own_js: JetStreamContext
) -> None:
    """The node says its load before the watch has seen the loss: the entry is written again as it was known."""
    bucket = await ensure_bucket(own_js, "test-nodes")
    nodes, running = await one_node_up(bucket)
    running.cancel()  # the watch sees nothing of it
    await restart(server, own_js, "test-nodes", lost=True)
    await nodes.load("a", sessions=1, handles=2, peer_connections=3, received=4, sent=5)
    assert nodes.health("a") is NodeHealth.UP
    [entry] = await bucket.entries(">")
    assert media_pb2.NodeState.FromString(entry.value).health is media_pb2.NODE_HEALTH_UP


async def test_nobody_is_missing_because_nats_was(server: NatsServer, own_js: JetStreamContext) -> None:
    """While a watch begins again the meeting is what it was; what was lost with the server is gone after it."""
    bucket = await ensure_bucket(own_js, "test-live")
    seen: list[Conference] = []
    live = LiveMeeting(bucket, new_id(), lambda: seen.append(live.conference))
    running = asyncio.create_task(live.run())
    await live.synced.wait()
    people = [new_id(), new_id()]
    for person in people:
        entered = Participant(person, PARTY, Role.DELEGATE, SystemClock().now(), new_id())
        await live.apply(partial(_enter, entered))
    seen.clear()
    meanwhile: list[Conference] = []

    def said_again() -> bool:
        meanwhile.append(live.conference)
        return bool(seen)

    server.kill()
    server.start()
    await until(said_again, 20)
    assert all(set(each.participants) == set(people) for each in [*meanwhile, *seen])
    await live.remove_participant(people[0])
    await until(lambda: set(live.conference.participants) == {people[1]})
    running.cancel()


async def test_a_meeting_outlives_a_store_that_is_lost(server: NatsServer, own_js: JetStreamContext) -> None:
    """Whoever knows it writes it again, all at once: room, floor, stage and people; and it can be led on."""
    bucket, meeting_id = await ensure_bucket(own_js, "test-lost"), new_id()
    replicas = [LiveMeeting(bucket, meeting_id, lambda: None) for _ in range(2)]
    running = [asyncio.create_task(each.run()) for each in replicas]
    for each in replicas:
        await each.synced.wait()
    first, second = replicas
    room = Room(meeting_id, new_id(), MicrophonePolicy.FLOOR, SystemClock().now())
    await first.update_room(lambda known: known or room)
    people = [Participant(new_id(), PARTY, Role.DELEGATE, SystemClock().now(), new_id()) for _ in range(3)]
    for person in people:
        await first.apply(partial(_enter, person))
    await first.apply(lambda _: Change(stage=Stage(people[1].id)))
    before = astuple(first.conference)
    await until(lambda: astuple(second.conference) == before)

    await restart(server, own_js, "test-lost", lost=True)
    async with asyncio.timeout(20):
        while len(await bucket.entries(f"{meeting_id}.>")) < len(people) + 3:
            await asyncio.sleep(0.1)
    await until(lambda: astuple(first.conference) == astuple(second.conference) == before)
    await second.apply(lambda _: Change(stage=Stage(people[2].id)))
    await until(lambda: first.conference.stage == Stage(people[2].id))
    for task in running:
        task.cancel()


@pytest.mark.parametrize("act", ["room", "stage", "person"])
async def test_an_act_that_is_first_to_meet_a_lost_store_loses_nothing(
    own_js: JetStreamContext, act: str
) -> None:
    """It comes before any watch has seen the loss: what is written with it is the whole meeting."""
    bucket, meeting_id = await ensure_bucket(own_js, "test-lost-unseen"), new_id()
    live = LiveMeeting(bucket, meeting_id, lambda: None)  # its watch sees nothing of what follows
    room = Room(meeting_id, new_id(), MicrophonePolicy.FLOOR, SystemClock().now())
    await live.update_room(lambda known: known or room)
    people = [Participant(new_id(), PARTY, Role.DELEGATE, SystemClock().now(), new_id()) for _ in range(3)]
    for person in people:
        await live.apply(partial(_enter, person))
    await live.apply(lambda _: Change(stage=Stage(people[1].id)))
    await own_js.delete_stream("KV_test-lost-unseen")
    await ensure_bucket(own_js, "test-lost-unseen")
    if act == "room":
        await live.update_room(lambda known: known and replace(known, generation=2))
        assert live.conference.room == replace(room, generation=2)
    elif act == "stage":
        await live.apply(lambda _: Change(stage=Stage(people[2].id)))
    else:
        await live.update_participant(people[0].id, lambda me: me and replace(me, muted=True))
        assert live.conference.participants[people[0].id].muted
    assert set(live.conference.participants) == {each.id for each in people}
    assert live.conference.stage == Stage(people[2 if act == "stage" else 1].id)
    kinds = [each.key.split(".")[1] for each in await bucket.entries(f"{meeting_id}.>")]
    assert sorted(kinds) == ["floor", "participant", "participant", "participant", "room", "stage"]


async def test_each_change_is_told_once_whoever_made_it(own_js: JetStreamContext) -> None:
    """A write, and a departure, are told to who made them and to who watches: once, though the watch says it again."""
    bucket, meeting_id = await ensure_bucket(own_js, "test-told"), new_id()
    told: list[set[str]] = []
    watched: list[set[str]] = []
    writer = LiveMeeting(bucket, meeting_id, lambda: told.append(set(writer.conference.participants)))
    watcher = LiveMeeting(bucket, meeting_id, lambda: watched.append(set(watcher.conference.participants)))
    running = [asyncio.create_task(each.run()) for each in (writer, watcher)]
    await writer.synced.wait()
    await watcher.synced.wait()
    first, second = new_id(), new_id()
    for person in (first, second):
        entered = Participant(person, PARTY, Role.DELEGATE, SystemClock().now(), new_id())
        await writer.apply(partial(_enter, entered))
    await writer.remove_participant(first)
    expected = [set(), {first}, {first, second}, {second}]
    await until(lambda: watched == expected)
    await asyncio.sleep(0.1)
    assert told == watched == expected
    for each in running:
        each.cancel()
