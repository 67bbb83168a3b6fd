# SPDX-License-Identifier: Apache-2.0
"""One meeting on two real nodes: a budget that lets three come in on one, and two on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from giaoban.media.v1 import media_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceStub
from giaoban_dev.infra.janus import JanusNode
from giaoban_kit.grpc_client import channel
from giaoban_kit.ids import new_id
from giaoban_kit.tasks import beside
from giaoban_media.domain import demand
from giaoban_media.janus.node import Node, NodeAddress
from giaoban_media.janus.relays import RELAYED
from giaoban_media.sfu import RoomKey

from services.media.tests.integration.conftest import (
    Guest,
    House,
    accept_new_sessions,
    carried_by,
    forget,
    guests,
    longest_pause,
    participants_on,
    start,
    until,
)

SCREEN = media_pb2.STREAM_SOURCE_SCREEN
PEOPLE = (
    ("Quận 1", "chair"),
    ("Bình Tân", "delegate"),
    ("Củ Chi", "delegate"),
    ("Nhà Bè", "delegate"),
    ("Bình Tân", "delegate"),
)


@pytest.fixture(scope="module")
def budget() -> int:
    """Room for the first three of a meeting on one node, and then for two of five on the other."""
    return demand(2, 5)


@asynccontextmanager
async def spread(house: House) -> AsyncIterator[tuple[list[Guest], str, str]]:
    """Five people who see each other, and the nodes: the room's own with three of them, the further one with two."""
    await forget(house)
    async with guests(house, *PEOPLE) as people:
        tiles = [each.id for each in people]
        for each, replica in zip(people, ("one", "two", "one", "two", "one"), strict=True):
            await each.join(replica, tiles=tiles)
        await until(lambda: all(one.sees(two) > 20 for one in people for two in people if one is not two), 20)
        home, further = carried_by(house, people[0]), carried_by(house, people[4])
        assert [carried_by(house, each) for each in people] == [home] * 3 + [further] * 2
        assert home != further
        yield people, home, further
        for each in people:
            if not each.left:
                await each.leave()


@asynccontextmanager
async def connected(node: JanusNode) -> AsyncIterator[Node]:
    """Our own client of a node."""
    address = NodeAddress(node.name, node.url, node.api_secret, node.admin_key, "", "", (0, 1))
    client = Node(address, lambda *_: None)
    async with beside(client.run()):
        async with asyncio.timeout(5):
            while not client.reachable:
                await asyncio.sleep(0.05)
        yield client


async def relayed(node: Node, meeting: str) -> list[str]:
    """Those whom other nodes pass on to a meeting's room on this one."""
    return [each for each in await node.publishers(RoomKey(meeting, 1)) if RELAYED in each]


async def test_everybody_sees_everybody_and_hears_who_has_the_floor(house: House) -> None:
    """Wherever they are; also when the replica dies that passes them on; and what was passed on goes with them."""
    async with (
        spread(house) as (people, home, further),
        connected(house.nodes[home]) as near,
        connected(house.nodes[further]) as far,
    ):
        chair, first, other, last = people[0], people[1], people[3], people[4]
        await until(lambda: all(each.hears(chair) > 50 for each in people[1:]))
        await chair.command(call_site=pb.CallSite(participant_id=last.id))
        await until(lambda: all(each.hears(last) > 20 for each in people[:4]))
        await chair.command(take_floor=pb.TakeFloor(participant_id=last.id))
        await asyncio.sleep(0.3)
        heard = [each.hears(last) for each in people[:4]]
        await asyncio.sleep(0.5)
        assert [each.hears(last) for each in people[:4]] == heard
        for each in people:
            assert each.receiver is not None
            assert each.receiver.stats().lost_packets == 0
            assert each.connections == 1

        assert not (await chair.share_screen()).HasField("error")
        await until(lambda: all(each.is_offered(chair, SCREEN) for each in people[1:]))

        pause = asyncio.create_task(longest_pause(last, chair, seconds=5))
        await house.replicas["one"].process.kill()
        for each in (chair, people[2], last):
            await each.drop()
            await each.join("two", resume=True, tiles=[every.id for every in people])
            assert each.resumed
        assert await pause < 1
        await start(house.replicas["one"])
        await chair.command(call_site=pb.CallSite(participant_id=last.id))
        await until(lambda: chair.hears(last) > heard[0] + 20 and first.hears(last) > heard[1] + 20)

        assert len(await relayed(far, chair.meeting)) == 3
        assert len(await relayed(near, chair.meeting)) == 2
        await other.leave()
        await last.leave()
        async with asyncio.timeout(10):
            while await relayed(near, chair.meeting) or await relayed(far, chair.meeting):
                await asyncio.sleep(0.2)
        assert await participants_on(house.nodes[further], chair.meeting) == 0


async def test_each_sender_is_recorded_once_on_its_own_node(house: House) -> None:
    """What is passed on is not recorded where it is passed on to."""
    async with spread(house) as (people, home, further):
        recording = new_id()
        asked = {"meeting_id": people[0].meeting, "recording_id": recording}
        async with channel(house.replicas["two"].target, house.keys.identity("recording")) as opened:
            media = MediaServiceStub(opened)

            def recorded() -> dict[str, list[str]]:
                return {
                    name: sorted(file.name.split("~")[1] for file in node.recordings.glob(f"{recording}~*"))
                    for name, node in house.nodes.items()
                }

            def expected() -> dict[str, list[str]]:
                both = ("microphone", "camera")
                return {
                    home: sorted(each.id for each in people[:3] for _ in both),
                    further: sorted(each.id for each in people[3:] for _ in both),
                }

            await media.SetRecording(pb.SetRecordingRequest(**asked, active=True))
            try:
                await until(lambda: recorded() == expected())
                await asyncio.sleep(1)
                assert recorded() == expected()
            finally:
                await media.SetRecording(pb.SetRecordingRequest(**asked, active=False))


async def test_killing_the_further_node_moves_only_those_on_it(house: House) -> None:
    """They are told to come back by themselves; the others' media goes on."""
    async with spread(house) as (people, home, further):
        chair, near, other, far = people[0], people[1], people[3], people[4]
        pause = asyncio.create_task(longest_pause(near, chair, seconds=8))
        await house.nodes[further].kill()
        try:
            await until(lambda: other.rejoins > 0 and far.rejoins > 0)
            seen = [each.sees(far) for each in people[:4]]
            await until(
                lambda: all(each.sees(far) > at + 20 for each, at in zip(people[:4], seen, strict=True))
            )
            await until(lambda: far.sees(chair) > 20 and far.sees(near) > 20 and far.sees(other) > 20)
            assert {carried_by(house, each) for each in people} == {home}
            assert await pause < 1
            assert [each.rejoins for each in people[:3]] == [0, 0, 0]
        finally:
            await house.nodes[further].start()


async def test_a_node_that_comes_back_at_once_is_passed_on_to_again(house: House) -> None:
    """Its rooms are gone: those on it come back to it, or to the other, and see everybody."""
    async with spread(house) as (people, _, further):
        chair, far = people[0], people[4]
        await house.nodes[further].kill()
        await house.nodes[further].start()
        await until(lambda: people[3].rejoins > 0 and far.rejoins > 0)
        await until(lambda: all(far.sees(each) > 20 for each in people[:4]), 20)
        seen = chair.sees(far)
        await until(lambda: chair.sees(far) > seen + 20, 20)


async def test_whoever_received_what_has_ended_on_the_other_node_receives_what_comes_next(
    house: House,
) -> None:
    """The node makes them an offer by itself then, also when nobody is there to pass it on."""
    async with spread(house) as (people, home, _), connected(house.nodes[home]) as near:
        chair, first, second, other, far = people
        room = RoomKey(chair.meeting, 1)

        async def end(sender: Guest) -> None:
            gone = {"request": "remove_remote_publisher", "id": f"{sender.id}{RELAYED}1"}
            await near.room_request(room, gone)

        offers = [each.offers for each in people[:3]]
        await end(far)
        await until(lambda: [each.offers for each in people[:3]] == [before + 1 for before in offers])
        assert not (await chair.share_screen()).HasField("error")
        await until(lambda: all(each.is_offered(chair, SCREEN) for each in people[1:]))
        assert [each.connections for each in people] == [1] * 5

        await house.replicas["one"].process.kill()
        for each in (chair, second, far):
            await each.drop()
        await end(other)
        await asyncio.sleep(0.5)  # until the node has made the offers that nobody hears
        await start(house.replicas["one"])
        for each in (chair, far):
            await each.join("two", resume=True, tiles=[every.id for every in people])
        await second.join("two", resume=True, tiles=[chair.id])
        await first.leave()
        await until(lambda: not second.is_offered(first, media_pb2.STREAM_SOURCE_CAMERA))
        await until(lambda: second.sees(chair) > 20)


async def test_killing_the_rooms_own_node_brings_everybody_back(house: House) -> None:
    """The room moves to the other node; nobody presses a key."""
    async with spread(house) as (people, home, further):
        await house.nodes[home].kill()
        try:
            await until(lambda: all(each.rejoins for each in people[:3]))
            counts = {(a.id, b.id): a.sees(b) for a in people for b in people}
            await until(
                lambda: all(
                    a.sees(b) > min(counts[a.id, b.id], 20) for a in people for b in people if a is not b
                )
            )
            await until(lambda: all(carried_by(house, each) == further for each in people))
        finally:
            await house.nodes[home].start()


async def test_emptying_the_further_node_moves_those_on_it_without_a_gap(house: House) -> None:
    """Their former connections carry them until the new ones do; the others stay where they are."""
    async with spread(house) as (people, home, further):
        chair, near, far = people[0], people[1], people[4]
        pauses = [
            asyncio.create_task(longest_pause(*pair, seconds=8)) for pair in ((far, chair), (near, chair))
        ]
        await accept_new_sessions(house.nodes[further], accept=False)
        try:
            await until(lambda: all(carried_by(house, each) == home for each in people))
            await until(lambda: chair.sees(far) > 20 and far.sees(near) > 20)
            assert max(await asyncio.gather(*pauses)) < 1
            assert [each.rejoins for each in people] == [0, 0, 0, 1, 1]
        finally:
            await accept_new_sessions(house.nodes[further], accept=True)
