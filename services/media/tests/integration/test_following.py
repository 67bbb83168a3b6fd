# SPDX-License-Identifier: Apache-2.0
"""What a replica knows from its buckets while NATS dies and comes back, on a server of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ServiceConfig
from giaoban_kit.events import connect_nats
from giaoban_kit.ids import new_id
from giaoban_kit.kv import ensure_bucket
from giaoban_kit.testing.servers import NatsServer, nats_server
from giaoban_media.conference.acts import Change
from giaoban_media.conference.live import LiveMeeting
from giaoban_media.conference.model import Conference, Participant, Party, PartyKind, Role
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


async def test_no_node_is_down_because_nats_was(server: NatsServer, own_js: JetStreamContext) -> None:
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
    server.kill()
    server.start()
    await until(lambda: len(seen) >= 3, 20)  # both nodes, and that this was all
    assert set(seen) == {(NodeHealth.UP, NodeHealth.UP)}
    nodes.report("b", NodeHealth.DOWN)
    await until(lambda: nodes.health("b") is NodeHealth.DOWN)
    running.cancel()


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
