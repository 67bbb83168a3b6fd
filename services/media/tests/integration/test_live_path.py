# SPDX-License-Identifier: Apache-2.0
"""The live path through real processes: gRPC, NATS, Janus, and endpoints that encrypt and decrypt."""

import asyncio
import time
from pathlib import Path

import pytest
from giaoban.media.v1 import media_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban_kit.errors import GiaobanError
from giaoban_kit.events import connect_nats
from giaoban_kit.ids import new_id
from giaoban_kit.kv import open_bucket
from giaoban_kit.tokens import sign_grant
from giaoban_media.main import LIVE

from services.media.tests.integration.conftest import (
    Guest,
    House,
    accept_new_sessions,
    carried_by,
    guests,
    longest_pause,
    nats_as,
    participants_on,
    start,
    until,
)

CHAIR, ONE, TWO = ("Quận 1", "chair"), ("Bình Tân", "delegate"), ("Củ Chi", "delegate")


async def together(people: list[Guest], replica: str = "one") -> None:
    """Everybody joins with a tile of everybody."""
    everyone = [each.id for each in people]
    for each in people:
        await each.join(replica, tiles=everyone)


class TestMeeting:
    async def test_participants_see_each_other_and_hear_the_chair(self, house: House) -> None:
        """Media flows both ways without loss; in a formal meeting only the chair's sound does."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: chair.sees(one) > 30 and one.sees(chair) > 30 and one.hears(chair) > 50)
            assert chair.hears(one) == 0
            for each in (chair, one):
                assert each.receiver is not None
                assert each.receiver.stats().lost_packets == 0

    async def test_the_floor_opens_and_closes_microphones_at_the_server(self, house: House) -> None:
        """Calling a site lets it be heard, calling the next silences it, though both keep sending."""
        async with guests(house, CHAIR, ONE, TWO) as (chair, one, two):
            await together([chair, one, two])
            await until(lambda: two.sees(one) > 10)
            called = await chair.command(call_site=pb.CallSite(participant_id=one.id))
            assert not called.HasField("error")
            await until(lambda: chair.hears(one) > 20 and two.hears(one) > 20)
            offers = chair.offers
            await chair.command(call_site=pb.CallSite(participant_id=two.id))
            await until(lambda: chair.hears(two) > 20)
            assert chair.offers == offers, (
                "the next site takes the line of the one before, without a negotiation"
            )
            assert chair.hears(one) == 0
            assert one.publisher is not None
            assert one.publisher.stats().sent_packets > 50

    async def test_roles_are_enforced(self, house: House) -> None:
        """A delegate cannot moderate; an observer cannot send; both are told why and go on watching."""
        async with guests(house, CHAIR, ONE, ("Nhà Bè", "observer")) as (chair, one, observer):
            await together([chair, one, observer])
            refused = await one.command(mute_all=pb.MuteAll())
            assert refused.error.reason == "COMMAND_FORBIDDEN"
            refused = await observer.publish(
                "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
            )
            assert refused.error.reason == "COMMAND_FORBIDDEN"
            await until(lambda: observer.sees(chair) > 10 and observer.hears(chair) > 10)

    async def test_somebody_removed_is_sent_out_and_stays_out(self, house: House) -> None:
        """Removal ends the stream with its reason, and joining again is refused."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await chair.command(remove_participant=pb.RemoveParticipant(participant_id=one.id))
            await one.ended()
            assert one.error is not None
            assert one.error.reason == "PARTICIPANT_REMOVED"
            with pytest.raises(GiaobanError) as caught:
                await one.join("two")
            assert caught.value.reason == "PARTICIPANT_REMOVED"

    async def test_joining_elsewhere_replaces_the_first(self, house: House) -> None:
        """The same party on another device takes the place; the first device is told."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: chair.sees(one) > 5 and one.sees(chair) > 5)
            other = Guest(house, one.meeting, one.name)
            other.id = one.id
            await other.join("two", tiles=[chair.id])
            await one.ended()
            assert one.error is not None
            assert one.error.reason == "REPLACED"
            await until(lambda: other.sees(chair) > 10)
            await other.close()

    async def test_joining_again_and_again_is_never_refused(self, house: House) -> None:
        """However often somebody comes anew while their media stands, the node has let go of the former."""
        async with guests(house, CHAIR) as (chair,):
            people = [chair]
            await chair.join("one")
            for attempt in range(20):
                again = Guest(house, chair.meeting, chair.name, chair.role)
                again.id = chair.id
                people.append(again)
                await again.join("two" if attempt % 2 else "one")
                assert again.publisher is not None
                await again.publisher.connected
            for each in people[1:]:
                await each.close()

    async def test_a_receiving_connection_that_ended_is_built_anew_once(self, house: House) -> None:
        """Whoever's receiving connection breaks gets one other, and it stays."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: one.sees(chair) > 10)
            assert one.receiver is not None
            one.receiver.close()
            await until(lambda: one.connections == 2 and one.sees(chair) > 10)
            await asyncio.sleep(1)
            assert one.connections == 2

    async def test_recording_follows_the_room(self, house: House) -> None:
        """While a room is recorded every publisher has files on its node, named for recording and participant."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: chair.sees(one) > 5)
            recording = new_id()
            stub = house.stubs["two"]
            client = house.keys.identity("recording")
            from giaoban_kit.grpc_client import channel  # only this test is recording's

            async with channel(house.replicas["two"].target, client) as opened:
                stub = type(stub)(opened)
                await stub.SetRecording(
                    pb.SetRecordingRequest(meeting_id=chair.meeting, recording_id=recording, active=True)
                )
                files: list[Path] = []

                def recorded() -> bool:
                    files[:] = [
                        f for node in house.nodes.values() for f in node.recordings.glob(f"{recording}~*")
                    ]
                    return len(files) == 4

                await until(recorded)
                assert {file.name.split("~")[1] for file in files} == {chair.id, one.id}
                await asyncio.sleep(1)
                await stub.SetRecording(
                    pb.SetRecordingRequest(meeting_id=chair.meeting, recording_id=recording, active=False)
                )
                await until(lambda: recorded() and all(file.suffix == ".mjr" for file in files))


class TestRefusals:
    @pytest.mark.parametrize("wrong", ["forged", "audience", "kind", "claims"])
    async def test_grants_that_do_not_hold_are_refused(self, house: House, wrong: str) -> None:
        """A grant by another service, for another audience, of another kind or without claims opens nothing."""
        issuer = house.keys.identity("identity" if wrong == "forged" else "scheduling")
        from datetime import timedelta

        grant = sign_grant(
            issuer,
            audience="recording" if wrong == "audience" else "media",
            kind="other" if wrong == "kind" else "admission",
            claims={"sub": "x"},
            lifetime=timedelta(minutes=1),
        )
        call = house.stubs["one"].Connect()
        await call.write(pb.ConnectRequest(join=pb.Join(grant=grant)))
        with pytest.raises(GiaobanError) as caught:
            await call.read()
            await call.code()
        assert caught.value.reason == "GRANT_INVALID"

    @pytest.mark.parametrize(
        "sdp", ["", "hello", "v=0\r\nm=", "v=0\r\n" + "a" * 70_000, "v=0\r\nm=audio 9 X 1\r\n"]
    )
    async def test_what_is_no_session_description_is_refused_and_nothing_else_happens(
        self, house: House, sdp: str
    ) -> None:
        """A refused offer names the reason; the participant stays and can publish properly."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: chair.sees(one) > 5)
            reply = await one.publish(sdp)
            assert reply.error.reason == "OFFER_INVALID"
            await until(lambda: one.sees(chair) > 20)

    async def test_a_join_that_is_refused_leaves_nothing_on_the_node(self, house: House) -> None:
        """What was made for somebody whose offer is none goes at once, not when the node gives it up."""
        meeting, participant = new_id(), new_id()
        offer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 X 1\r\n"
        join = pb.Join(grant=house.grant(meeting, participant, "Quận 1", "delegate"), offer_sdp=offer)
        call = house.stubs["one"].Connect()
        await call.write(pb.ConnectRequest(join=join))
        with pytest.raises(GiaobanError) as caught:
            await call.read()
            await call.code()
        assert caught.value.reason == "OFFER_INVALID"
        assert [await participants_on(node, meeting) for node in house.nodes.values()] == [0, 0]


class TestFailures:
    async def test_killing_the_replica_interrupts_nobody(self, house: House) -> None:
        """The other replica takes both over: nothing is lost, nothing pauses, acts work at once."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: one.sees(chair) > 30 and chair.sees(one) > 30)
            longest = asyncio.create_task(longest_pause(one, chair, seconds=4))
            await house.replicas["one"].process.kill()
            for each in (chair, one):
                await each.drop()
                await each.join("two", resume=True, tiles=[chair.id, one.id])
            assert chair.resumed
            assert one.resumed
            assert await longest < 0.5
            assert one.receiver is not None
            assert one.receiver.stats().lost_packets == 0
            reply = await chair.command(call_site=pb.CallSite(participant_id=one.id))
            assert not reply.HasField("error")
            await until(lambda: chair.hears(one) > 20)
        await start(house.replicas["one"])

    async def test_killing_nats_interrupts_nobody(self, house: House) -> None:
        """Media flows on without NATS; once it is back, acts work again."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: one.sees(chair) > 30)
            longest = asyncio.create_task(longest_pause(one, chair, seconds=4))
            await house.nats.process.kill()
            await asyncio.sleep(1)
            await house.nats.start()
            assert await longest < 0.5

            async with asyncio.timeout(20):
                while (await chair.command(call_site=pb.CallSite(participant_id=one.id))).HasField("error"):
                    await asyncio.sleep(0.2)
            await until(lambda: chair.hears(one) > 20)

    async def test_killing_the_node_brings_everyone_back_on_the_other(self, house: House) -> None:
        """Everybody is told to rejoin and sees the others again within six seconds, without anybody's act."""
        async with guests(house, CHAIR, ONE, TWO) as (chair, one, two):
            await together([chair, one, two])
            await until(lambda: chair.sees(one) > 20 and one.sees(two) > 20 and two.sees(chair) > 20)
            used = carried_by(house, chair)
            began = time.monotonic()
            await house.nodes[used].kill()
            try:
                await until(lambda: all(each.rejoins for each in (chair, one, two)), 6)
                await until(
                    lambda: min(chair.sees(one), one.sees(two), two.sees(chair), one.hears(chair)) > 5,
                    6 - (time.monotonic() - began),
                )
            finally:
                await house.nodes[used].start()

    async def test_a_lost_connection_keeps_its_place(self, house: House) -> None:
        """Whoever's stream broke comes back with the floor still held."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await chair.command(call_site=pb.CallSite(participant_id=one.id))
            await until(lambda: chair.hears(one) > 10)
            await one.drop()
            await one.join("two", resume=True, tiles=[chair.id])
            assert one.resumed
            before = chair.hears(one)
            await until(lambda: chair.hears(one) > before + 20)

    async def test_who_leaves_is_gone_though_the_stream_is_cut(self, house: House) -> None:
        """A client that says farewell and closes at once is not left standing; one whose farewell was not read is lost."""
        people = [ONE] * 12
        async with guests(house, *people) as leaving, connect_nats(nats_as(house, "media")) as nats:
            bucket = await open_bucket(nats.jetstream(), LIVE)
            for number, each in enumerate(leaving):
                await each.join("one")
                await each.leave_and_cut(after=0.002 * number)

            async def standing(who: Guest) -> bool:
                entry = await bucket.get(f"{who.meeting}.participant.{who.id}")
                lost = media_pb2.CONNECTION_STATE_LOST
                return (
                    entry is not None
                    and media_pb2.ParticipantState.FromString(entry.value).connection != lost
                )

            async with asyncio.timeout(8):
                while [each for each in leaving if await standing(each)]:
                    await asyncio.sleep(0.2)

    async def test_who_comes_anew_is_heard_as_before(self, house: House) -> None:
        """The floor stays with whoever lost everything and joins once more, and sound flows both ways."""
        async with guests(house, CHAIR, ONE, TWO) as (chair, one, two):
            await together([chair, one, two])
            for each in (one, two):
                given = await chair.command(grant_floor=pb.GrantFloor(participant_id=each.id))
                assert not given.HasField("error")
            await until(lambda: one.hears(two) > 10 and two.hears(one) > 10)
            await one.drop()
            assert one.receiver is not None
            one.receiver.close()
            one.receiver = None
            before = two.hears(one), chair.hears(one)
            await one.join("one")
            await until(lambda: two.hears(one) > before[0] + 20 and chair.hears(one) > before[1] + 20)
            await until(lambda: one.hears(two) > 20)

    @pytest.mark.parametrize("replica", ["one", "two"])
    async def test_who_may_speak_from_now_on_is_seen(self, house: House, replica: str) -> None:
        """An observer who comes again as a delegate keeps what it receives, and can send."""
        async with guests(house, CHAIR, ("Nhà Bè", "observer")) as (chair, one):
            await together([chair, one])
            await until(lambda: one.sees(chair) > 10)
            await one.drop()
            one.role = "delegate"
            await one.join(replica, resume=True, tiles=[chair.id])
            assert one.resumed
            await one.publish_anew()
            await chair.view(tiles=[one.id], stage_height=180)
            before = one.sees(chair)
            await until(lambda: chair.sees(one) > 10 and one.sees(chair) > before)


class TestDrain:
    async def test_a_node_that_takes_nobody_new_is_emptied_without_a_gap(self, house: House) -> None:
        """Everybody of the room moves to the other node while the first still carries them; a pause is hardly seen."""
        async with guests(house, CHAIR, ONE, TWO) as (chair, one, two):
            await together([chair, one, two])
            await until(lambda: chair.sees(one) > 20 and one.sees(two) > 20 and two.sees(chair) > 20)
            used = carried_by(house, chair)
            other = next(name for name in house.nodes if name != used)
            pause = asyncio.create_task(longest_pause(one, chair, seconds=8))
            await accept_new_sessions(house.nodes[used], accept=False)
            try:
                await until(lambda: all(each.rejoins == 1 for each in (chair, one, two)), 6)
                await until(lambda: all(carried_by(house, each) == other for each in (chair, one, two)))
                await until(lambda: min(chair.sees(one), one.sees(two), two.sees(chair)) > 20)
                assert await pause < 1
                reply = await chair.command(call_site=pb.CallSite(participant_id=one.id))
                assert not reply.HasField("error")
                await until(lambda: chair.hears(one) > 20)
                async with asyncio.timeout(10):
                    while await participants_on(house.nodes[used], chair.meeting):
                        await asyncio.sleep(0.2)
            finally:
                await accept_new_sessions(house.nodes[used], accept=True)

    async def test_with_nowhere_to_go_a_room_stays(self, house: House) -> None:
        """While every node is to be emptied nobody is moved, and what stands goes on."""
        async with guests(house, CHAIR, ONE) as (chair, one):
            await together([chair, one])
            await until(lambda: chair.sees(one) > 20)
            pause = asyncio.create_task(longest_pause(chair, one, seconds=5))
            for node in house.nodes.values():
                await accept_new_sessions(node, accept=False)
            try:
                assert await pause < 0.5
                assert not chair.rejoins
            finally:
                for node in house.nodes.values():
                    await accept_new_sessions(node, accept=True)


class TestHygiene:
    async def test_no_secret_is_in_the_logs(self, house: House) -> None:
        """Neither the nodes' secrets nor a session description are in what the replicas wrote."""
        for replica in house.replicas.values():
            node = house.nodes["a"]
            for secret in (node.api_secret, node.admin_key, "a=ice-pwd"):
                assert secret not in replica.log
