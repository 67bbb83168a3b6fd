# SPDX-License-Identifier: Apache-2.0
"""The meeting WebSocket: the way in, the state, and the way out."""

import asyncio
import time
from typing import Any

import pytest
from giaoban.identity.v1 import identity_pb2
from giaoban.media.v1 import media_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban_gateway.problems import STATUS
from giaoban_kit.errors import Conflict, Exhausted, Forbidden, NotFound, Precondition, Unavailable

from .test_rest import problem

ME, OTHER = "P" * 26, "Q" * 26
CHAIR, PRESS = scheduling_pb2.APPOINTMENT_ROLE_CHAIR, scheduling_pb2.APPOINTMENT_ROLE_PRESS


async def test_join_brings_the_answer_the_snapshot_and_then_deltas(house: Any) -> None:
    """One message from the client is enough to be in and to see the room; changes follow."""
    await house.put_person()
    revision = await house.put(
        "room",
        media_pb2.RoomState(
            meeting_id=house.meeting_id, microphone_policy=scheduling_pb2.MICROPHONE_POLICY_FLOOR
        ),
    )
    socket = await house.open()
    offer = {"sdp": "v=0", "streams": [{"mid": "0", "source": "microphone"}]}
    await socket.send(type="join", ticket=await house.ticket(), offer=offer)
    joined, snapshot = await socket.receive(), await socket.receive()
    assert joined | {"role": "delegate", "answer": {"sdp": "answer"}, "resumed": False} == joined
    assert snapshot["revision"] == revision
    assert [each["id"] for each in snapshot["participants"]] == [ME]
    changed = await house.put_person(muted=True)
    delta = await socket.receive()
    assert delta["type"] == "delta"
    assert delta["revision"] == changed
    assert delta["participants"][0]["muted"]


async def test_many_changes_come_as_one_delta_with_the_same_bytes_to_all(house: Any) -> None:
    """What changes in one go is told once, and encoded once for everyone."""
    await house.put_person()
    (first, _), (second, _) = [await house.come(), await house.come()]
    began = time.monotonic()
    puts = [house.put_person(each, muted=muted) for muted in (True, False, True) for each in (ME, OTHER)]
    last = max(await asyncio.gather(*puts))
    texts = [await first.text(), await second.text()]
    assert time.monotonic() - began < 0.5
    assert texts[0] == texts[1]
    assert f'"revision":{last}' in texts[0]
    assert await first.quiet()


async def test_the_same_text_object_is_given_to_every_member(house: Any, monkeypatch: Any) -> None:
    """A delta is encoded once, whatever the number of clients."""
    from giaoban_gateway.live import hub

    await house.put_person()
    for _ in range(3):
        await house.come()
    encoded: list[Any] = []
    encode = hub.encode

    def noted(message: Any) -> str:
        encoded.append(message)
        return encode(message)

    monkeypatch.setattr(hub, "encode", noted)
    await house.put_person(muted=True)
    await asyncio.sleep(0.2)
    assert [each["type"] for each in encoded] == ["delta"]


async def test_who_comes_back_gets_only_what_it_missed(house: Any) -> None:
    """With the revision it saw last, a client gets the deltas after it, and nothing if there are none."""
    await house.put_person()
    first, _ = await house.come()
    second, snapshot = await house.come()
    await second.raw.close()
    await house.put_person(muted=True)
    told = await first.until("delta")
    back = await house.join(resume=True, revision=snapshot["revision"])
    assert await back.receive() == told
    again = await house.join(resume=True, revision=told["revision"])
    assert await again.quiet(0.5)


async def test_a_revision_too_old_gets_a_snapshot(house: Any) -> None:
    """A client that missed more than is kept starts anew; so does one with a revision from elsewhere."""
    await house.put_person()
    await house.come()
    await house.put_person(muted=True)
    await asyncio.sleep(0.2)
    for revision in (0, 1_000_000):
        back = await house.join(resume=True, revision=revision)
        assert (await back.receive())["type"] == "snapshot"


async def test_a_wiped_bucket_brings_a_snapshot(house: Any) -> None:
    """When live state is lost and built anew, every client gets all of it."""
    from giaoban_kit.kv import ensure_bucket

    await house.put_person()
    await house.put_person(OTHER)
    client, before = await house.come()
    assert len(before["participants"]) == 2
    js = house.nats.jetstream()
    await js.delete_stream("KV_media-live")
    await ensure_bucket(js, "media-live")
    await house.put_person()
    after = await client.until("snapshot", 15)
    assert [each["id"] for each in after["participants"]] == [ME]
    await house.put_person(muted=True)
    assert (await client.until("delta"))["revision"] == 2


async def test_a_slow_reader_is_given_a_snapshot_and_delays_nobody(house: Any, monkeypatch: Any) -> None:
    """A client that reads nothing gets the whole state once it reads again; others do not wait for it."""
    from giaoban_gateway.live import member

    monkeypatch.setattr(member, "MAX_WAITING", 8)
    await house.put_person()
    quick, _ = await house.come()
    slow, _ = await house.come()
    slow.raw.transport.pause_reading()
    long, delta = "x" * 200_000, {"revision": 0}
    for _ in range(40):  # 16 MB: more than the buffers between hold
        for name in "CD":
            last = await house.put(f"chat.{name * 26}", media_pb2.ChatMessage(id=name * 26, text=long))
        while delta["revision"] != last:
            delta = await quick.until("delta", 1)
    slow.raw.transport.resume_reading()
    kinds, revision = [], 0
    while revision != last:
        message = await slow.receive()
        kinds.append(message["type"])
        revision = message["revision"]
    assert "snapshot" in kinds
    await house.put_person(muted=True)
    assert (await slow.receive())["participants"][0]["muted"]


async def test_the_press_sees_the_stage_only(house: Any) -> None:
    """Press gets who is on stage, as they come and go, and no chat."""
    await house.put_person()
    await house.put_person(OTHER)
    await house.put("chat." + "C" * 26, media_pb2.ChatMessage(id="C" * 26, text="nội bộ"))
    await house.put("stage", media_pb2.StageState(participant_id=OTHER))
    house.scheduling.script["admission"] = PRESS
    press, snapshot = await house.come()
    assert [each["id"] for each in snapshot["participants"]] == [OTHER]
    assert snapshot["chat"] == []
    await house.put_person(muted=True)
    await house.put("chat." + "D" * 26, media_pb2.ChatMessage(id="D" * 26, text="nội bộ"))
    assert await press.quiet(0.3)
    await house.put("stage", media_pb2.StageState(participant_id=ME))
    delta = await press.receive()
    assert [each["id"] for each in delta["participants"]] == [ME]
    assert delta["removed_participants"] == [OTHER]


async def test_talking_reaches_everyone_but_the_press(house: Any) -> None:
    """Who is heard is told at once."""
    await house.put_person()
    client, _ = await house.come()
    signal = media_pb2.LiveSignal(talking=[ME], silent=[OTHER])
    await house.nats.publish(f"giaoban.media.live.{house.meeting_id}", signal.SerializeToString())
    assert await client.receive() == {"type": "talking", "talking": [ME], "silent": [OTHER]}


async def test_waiting_ends_with_the_decision(house: Any) -> None:
    """Without an appointment one waits, and is in as soon as somebody decides so."""
    from giaoban.scheduling.v1.events_pb2 import AdmissionDecided
    from giaoban_kit.events import headers_of, new_event

    await house.put_person()
    house.scheduling.script["admission"] = None
    socket = await house.open()
    await socket.send(type="join", ticket=await house.ticket())
    assert (await socket.receive()) == {"type": "waiting", "admission_id": "A" * 26}
    await socket.send(type="view", tiles=[], audio_only=True, stage_height=180)
    await asyncio.sleep(0.1)
    assert (
        house.scheduling.admissions == 2
    )  # the second since it listens: a decision before that is not missed
    house.scheduling.script["admission"] = CHAIR
    subject = f"giaoban.scheduling.v1.meeting.admission_decided.{house.meeting_id}"
    event = new_event(subject, AdmissionDecided())
    await house.nats.publish(subject, event.message.SerializeToString(), headers=headers_of(event))
    assert (await socket.receive())["type"] == "joined"


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        (Forbidden, "ADMISSION_REFUSED", "refused"),
        (NotFound, "MEETING_NOT_FOUND", "meeting_not_found"),
        (Precondition, "MEETING_NOT_OPEN", "meeting_not_open"),
        (Precondition, "MEETING_CANCELLED", "meeting_ended"),
        (Unavailable, "UNAVAILABLE", "internal"),
    ],
)
async def test_no_admission_ends_with_its_code(house: Any, kind: Any, reason: str, code: str) -> None:
    """What scheduling refuses gets no ticket; what it refuses since ends the connection with the code of the reason."""
    ticket = await house.ticket()
    error = kind("Không được.")
    error.reason = reason
    house.scheduling.script["admission"] = error
    path = f"/v1/meetings/{house.meeting_id}/connect-tickets"
    problem(await house.web.post(path, headers=house.bearer()), STATUS[kind.kind], reason)
    assert house.scheduling.checks >= 2
    assert not house.scheduling.admissions
    socket = await house.open()
    await socket.send(type="join", ticket=ticket)
    assert await socket.ended() == code
    await house.nothing_left()


async def test_who_may_not_come_in_is_not_told_of_room(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a meeting runs scheduling and media are asked side by side; scheduling's word goes first."""
    monkeypatch.setattr("giaoban_gateway.capacity.CAPACITY_SECONDS", 5)
    await house.put_person()
    await house.join()
    path = f"/v1/meetings/{house.meeting_id}/connect-tickets"
    full = Exhausted("The media servers are full.")
    full.reason = "MEDIA_CAPACITY"
    for media in house.medias:
        media.full = full
    problem(await house.web.post(path, headers=house.bearer()), 503, "MEDIA_CAPACITY")
    refused = Forbidden("Không được.")
    refused.reason = "ADMISSION_REFUSED"
    house.scheduling.script["admission"] = refused
    problem(await house.web.post(path, headers=house.bearer()), 403, "ADMISSION_REFUSED")


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        (Conflict, "REPLACED", "replaced"),
        (Forbidden, "PARTICIPANT_REMOVED", "removed"),
        (Precondition, "MEETING_ENDED", "meeting_ended"),
    ],
)
async def test_media_ends_a_stay_with_its_code(house: Any, kind: Any, reason: str, code: str) -> None:
    """Whoever is replaced, removed or outlasts the meeting is told so."""
    await house.put_person()
    socket, _ = await house.come()
    error = kind("Hết.")
    error.reason = reason
    (await house.media_seat()).outbox.put_nowait(error)
    assert await socket.ended() == code
    await house.nothing_left()


async def test_a_ticket_works_once_for_its_meeting(shared: Any) -> None:
    """A replayed ticket, one of another meeting, and a made-up one are refused alike."""
    await shared.put_person()
    ticket = await shared.ticket()
    first = await shared.open()
    await first.send(type="join", ticket=ticket)
    assert (await first.receive())["type"] == "joined"
    for wrong in (ticket, await shared.ticket(meeting_id="0" * 26), "made-up", "x" * 128):
        socket = await shared.open()
        await socket.send(type="join", ticket=wrong)
        assert await socket.ended() == "ticket_invalid"


async def test_a_ticket_expires(house: Any, monkeypatch: Any) -> None:
    """After its time a ticket is worth nothing."""
    from datetime import timedelta

    from giaoban_gateway.routes import meetings

    monkeypatch.setattr(meetings, "CONNECT_LIFETIME", timedelta(seconds=1))
    ticket = await house.ticket()
    await asyncio.sleep(2.2)
    socket = await house.open()
    await socket.send(type="join", ticket=ticket)
    assert await socket.ended() == "ticket_invalid"


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://localhost:8081"])
async def test_a_foreign_origin_is_refused_before_anything_else(shared: Any, origin: str | None) -> None:
    """Another site's page does not even get a WebSocket."""
    import websockets

    with pytest.raises(websockets.InvalidStatus) as refused:
        await shared.open(origin=origin)
    assert refused.value.response.status_code == 403


async def test_who_says_nothing_is_closed(house: Any, monkeypatch: Any) -> None:
    """A connection that does not join in time ends."""
    from giaoban_gateway.live import endpoint

    monkeypatch.setattr(endpoint, "JOIN_SECONDS", 0.2)
    assert await (await house.open()).ended() == "join_expected"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\x01", "message_invalid"),
        ("", "message_invalid"),
        ("not json", "message_invalid"),
        ("[]", "message_invalid"),
        ("null", "message_invalid"),
        ("{" * 500, "message_invalid"),
        (
            '{"type":"command","id":"1","act":"raise_hand","x":' + "[" * 30_000 + "]" * 30_000 + "}",
            "message_invalid",
        ),
        ('{"type":"join","ticket":"\\ud800"}', "message_invalid"),
        ('{"type":"dance"}', "message_invalid"),
        ('{"type":"join"}', "message_invalid"),
        ('{"type":"join","ticket":"t","extra":1}', "message_invalid"),
        ('{"type":"leave","x":"' + "ă" * 40_000 + '"}', "message_invalid"),
        ('{"type":"leave"}', "join_expected"),
    ],
)
async def test_bad_messages_end_their_own_connection_only(shared: Any, message: Any, code: str) -> None:
    """What is no message ends the connection with a word about it, before and after joining; others go on."""
    await shared.put_person()
    witness, _ = await shared.come()
    stranger = await shared.open()
    await stranger.raw.send(message)
    assert await stranger.ended() == code
    if code == "message_invalid":
        client, _ = await shared.come()
        await client.raw.send(message)
        assert await client.ended() == code
    await witness.send(type="command", id="1", act="raise_hand")
    assert (await witness.until("reply"))["error"] is None


async def test_a_message_beyond_every_measure_is_cut_off(shared: Any) -> None:
    """More than 1 MiB is not even read to its end."""
    socket = await shared.open()
    await socket.raw.send("x" * (1024 * 1024 + 1))
    await asyncio.wait_for(socket.raw.wait_closed(), 5)
    assert socket.raw.close_code == 1009


async def test_a_flood_is_stopped(house: Any) -> None:
    """Beyond the burst the connection ends, and only that one."""
    await house.put_person()
    witness, _ = await house.come()
    client, _ = await house.come()
    for number in range(80):
        await client.send(type="command", id=str(number), act="raise_hand")
    assert await client.ended() == "rate_limited"
    await witness.send(type="command", id="1", act="raise_hand")
    assert (await witness.until("reply"))["id"] == "1"


async def test_a_second_join_is_refused(shared: Any) -> None:
    """A connection is joined once."""
    await shared.put_person()
    client, _ = await shared.come()
    await client.send(type="join", ticket="x")
    assert await client.ended() == "message_invalid"


async def test_an_act_that_is_none_gets_a_reply_that_names_the_field(shared: Any) -> None:
    """Wrong commands are answered, not punished."""
    await shared.put_person()
    client, _ = await shared.come()
    await client.send(type="command", id="7", act="mute_participant", participant_id=ME, muted="yes")
    reply = await client.until("reply")
    assert reply["id"] == "7"
    assert reply["error"]["reason"] == "COMMAND_INVALID"
    assert "muted" in reply["error"]["detail"]


async def test_joined_comes_before_everything_else(house: Any) -> None:
    """An offer that media makes at once overtakes nothing: before `joined` it would mean nothing to the client."""
    house.media.at_once = (pb.ConnectResponse(offer=pb.Offer(negotiation=1, offer_sdp="v=0")),) * 5
    await house.put_person()
    for _ in range(10):
        socket = await house.open()
        await socket.send(type="join", ticket=await house.ticket())
        assert (await socket.receive())["type"] == "joined"


async def test_everything_media_says_reaches_the_client_and_back(house: Any) -> None:
    """Offers, answers, views, replies and rejoins are relayed as they are."""
    await house.put_person()
    client, _ = await house.come()
    seat = await house.media_seat()
    feed = pb.Feed(mid="1", participant_id=OTHER, source=media_pb2.STREAM_SOURCE_CAMERA)
    offer = pb.Offer(negotiation=3, offer_sdp="v=0", feeds=[feed], new_connection=True)
    seat.outbox.put_nowait(pb.ConnectResponse(offer=offer))
    assert await client.receive() == {
        "type": "offer",
        "negotiation": 3,
        "sdp": "v=0",
        "feeds": [{"mid": "1", "participant_id": OTHER, "source": "camera"}],
        "new_connection": True,
    }
    await client.send(type="answer", negotiation=3, sdp="v=1")
    assert (await seat.hears()).answer == pb.Answer(negotiation=3, answer_sdp="v=1")
    await client.send(type="view", tiles=[OTHER], audio_only=False, stage_height=360)
    assert (await seat.hears()).view == pb.View(tiles=[OTHER], stage_height=360)
    await client.send(type="publish", id="p", sdp="v=2", streams=[{"mid": "2", "source": "screen"}])
    assert (await seat.hears()).publish.request_id == "p"
    seat.outbox.put_nowait(pb.ConnectResponse(reply=pb.Reply(request_id="p", answer_sdp="v=3")))
    assert await client.receive() == {"type": "reply", "id": "p", "answer": {"sdp": "v=3"}, "error": None}
    seat.outbox.put_nowait(pb.ConnectResponse(rejoin=pb.Rejoin(reason="node died")))
    assert await client.receive() == {"type": "rejoin", "reason": "node died"}


async def test_a_moderator_sees_who_waits(house: Any) -> None:
    """The list of the waiting comes with the meeting, and again when it changes."""
    waiting = scheduling_pb2.Admission(id="W" * 26, state=scheduling_pb2.ADMISSION_STATE_WAITING)
    waiting.party.ref.kind = identity_pb2.PARTY_KIND_USER
    house.scheduling.script |= {"waiting": [waiting], "admission": CHAIR}
    await house.put_person()
    client, _ = await house.come()
    assert [each["admission_id"] for each in (await client.until("admissions"))["waiting"]] == ["W" * 26]


async def test_leaving_tells_media_and_closes(house: Any) -> None:
    """Leave ends the stream in order; nothing is left behind."""
    await house.put_person()
    client, _ = await house.come()
    seat = await house.media_seat()
    await client.send(type="leave")
    assert (await seat.hears()).HasField("leave")
    await asyncio.wait_for(client.raw.wait_closed(), 5)
    await house.nothing_left()


async def test_a_farewell_reaches_media_though_the_client_closes_at_once(house: Any) -> None:
    """Who leaves closes its connection with the same breath, while the meeting goes on telling it things."""
    await house.put_person()
    for _ in range(10):
        client, _ = await house.come()
        seat = await house.media_seat()
        await client.send(type="leave")
        client.raw.transport.close()
        client.raw.transport.abort()
        assert (await seat.hears()).HasField("leave")
    await house.nothing_left()


async def test_a_client_that_vanishes_leaves_nothing_behind(house: Any) -> None:
    """A cut connection ends its stream to media and the meeting's feed, whatever it was doing."""
    await house.put_person()
    joined, _ = await house.come()
    joined.raw.transport.abort()
    house.scheduling.script["admission"] = None
    waiting = await house.open()
    await waiting.send(type="join", ticket=await house.ticket())
    await waiting.until("waiting")
    waiting.raw.transport.abort()
    del house.scheduling.script["admission"]
    for media in house.medias:
        media.silent = True
    joining = await house.open()
    await joining.send(type="join", ticket=await house.ticket())
    await house.media_seat()
    joining.raw.transport.abort()
    await house.nothing_left()


async def test_stopping_sends_every_client_elsewhere(house: Any) -> None:
    """A gateway that stops says so; clients come back elsewhere."""
    await house.put_person()
    client, _ = await house.come()
    house.scheduling.script["admission"] = None
    waiting = await house.open()
    await waiting.send(type="join", ticket=await house.ticket())
    await waiting.until("waiting")
    stopping = asyncio.create_task(house.stop_gateway())
    assert await client.ended() == "server_stopping"
    assert await waiting.ended() == "server_stopping"
    await asyncio.wait_for(stopping, 5)
