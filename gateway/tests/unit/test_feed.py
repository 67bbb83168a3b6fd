# SPDX-License-Identifier: Apache-2.0
"""A meeting's feed: what each member is told, by what it has seen before."""

import asyncio
import json
from typing import Any, cast

import pytest
from giaoban.identity.v1 import identity_pb2
from giaoban.media.v1 import media_pb2
from giaoban.scheduling.v1 import scheduling_pb2 as roles
from giaoban_gateway.live import hub, member
from giaoban_gateway.live.hub import RoomFeed
from giaoban_gateway.live.member import Member
from giaoban_gateway.live.outgoing import OUTGOING
from giaoban_kit.kv import RESTARTED, SYNCED, Deleted, Entry

MEETING, ONE, TWO = "M" * 26, "P" * 26, "Q" * 26


class Feed(RoomFeed):
    """A feed whose changes the test makes."""

    def __init__(self) -> None:
        super().__init__(cast("Any", None), cast("Any", None), MEETING)
        self.at = 0

    async def person(self, person: str = ONE, **fields: Any) -> int:
        fields = {"role": roles.APPOINTMENT_ROLE_DELEGATE, "connection": 2} | fields
        ref = identity_pb2.PartyRef(kind=identity_pb2.PARTY_KIND_USER, id=person)
        state = media_pb2.ParticipantState(id=person, party=identity_pb2.Party(ref=ref), **fields)
        return await self.put(f"participant.{person}", state)

    async def put(self, key: str, message: Any) -> int:
        return await self.write(key, message.SerializeToString())

    async def write(self, key: str, data: bytes) -> int:
        self.at += 1
        await self._take(Entry(f"{MEETING}.{key}", data, self.at))
        return self.at

    async def gone(self, key: str) -> int:
        self.at += 1
        await self._take(Deleted(f"{MEETING}.{key}", self.at))
        return self.at

    async def sync(self) -> None:
        await self._take(SYNCED)

    async def told(self) -> None:
        """Everything that changed has been told."""
        await asyncio.sleep(0.01)


@pytest.fixture
async def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(hub, "COALESCE_SECONDS", 0.001)
    found = Feed()
    await found.sync()
    return found


def someone(feed: Feed, revision: int | None = None, **kind: bool) -> Member:
    found = Member(press=kind.get("press", False), moderator=kind.get("moderator", False))
    feed.add(found, revision)
    return found


async def waiting(one: Member) -> list[dict[str, Any]]:
    """What the member would be sent now."""
    found: list[dict[str, Any]] = []
    while True:
        task = asyncio.ensure_future(one.next())
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            return found
        OUTGOING.validate_json(task.result())
        found.append(json.loads(task.result()))


async def test_a_new_member_gets_everything_and_then_changes(feed: Feed) -> None:
    """A snapshot first, with the revision that the first delta goes on from."""
    revision = await feed.person()
    await feed.told()
    one = someone(feed)
    [snapshot] = await waiting(one)
    assert (snapshot["type"], snapshot["revision"]) == ("snapshot", revision)
    changed = await feed.person(muted=True)
    await feed.told()
    [delta] = await waiting(one)
    assert (delta["type"], delta["revision"]) == ("delta", changed)


async def test_an_act_after_a_quiet_while_is_told_soon_and_many_are_told_together(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one act writes is told at once as one delta; what follows close behind waits until it is due."""
    monkeypatch.setattr(hub, "COALESCE_SECONDS", 0.5)
    one = someone(feed)
    await waiting(one)
    await feed.person()
    last = await feed.person(TWO)
    await asyncio.sleep(hub.SETTLE_SECONDS * 3)
    assert [each["revision"] for each in await waiting(one)] == [last]
    for muted in (True, False, True):
        last = await feed.person(muted=muted)
        await asyncio.sleep(hub.SETTLE_SECONDS * 3)
    assert not await waiting(one)
    await asyncio.sleep(0.5)
    assert [each["revision"] for each in await waiting(one)] == [last]


async def test_what_changes_without_pause_is_told_in_time(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No change lets an earlier one wait longer than a delta may be old."""
    monkeypatch.setattr(hub, "COALESCE_SECONDS", 0.05)
    monkeypatch.setattr(hub, "SETTLE_SECONDS", 10)
    one = someone(feed)
    await waiting(one)
    for muted in (True, False) * 5:
        await feed.person(muted=muted)
        await asyncio.sleep(0.01)
    assert await waiting(one)


async def test_a_snapshot_and_its_revision_are_one(feed: Feed) -> None:
    """What has changed but was not told yet is in the snapshot and not told again."""
    await feed.put("chat." + "C" * 26, media_pb2.ChatMessage(id="C" * 26, text="x"))
    revision = await feed.person()
    one = someone(feed)
    [snapshot] = await waiting(one)
    assert snapshot["revision"] == revision
    assert len(snapshot["chat"]) == 1
    await feed.told()
    assert not await waiting(one)


async def test_a_change_while_a_snapshot_waits_is_told_once(feed: Feed) -> None:
    """A member that has not taken its snapshot yet gets one that holds the change."""
    one = someone(feed)
    revision = await feed.person()
    await feed.told()
    [snapshot] = await waiting(one)
    assert (snapshot["type"], snapshot["revision"], len(snapshot["participants"])) == (
        "snapshot",
        revision,
        1,
    )


async def test_coming_back_with_each_revision(feed: Feed) -> None:
    """From every revision on that is still known one gets exactly the rest, and from others everything."""
    await feed._take(RESTARTED)
    before = await feed.person()
    await feed.sync()
    start = someone(feed)
    [first] = await waiting(start)
    assert first["revision"] == before
    revisions = [before]
    for muted in (True, False, True):
        revisions.append(await feed.person(muted=muted))
        await feed.told()
    deltas = await waiting(start)
    for seen, revision in enumerate(revisions):
        assert await waiting(someone(feed, revision)) == deltas[seen:]
    for unknown in (before - 1, revisions[-1] + 1):
        assert [each["type"] for each in await waiting(someone(feed, unknown))] == ["snapshot"]


async def test_a_change_that_does_not_show_breaks_no_chain(feed: Feed) -> None:
    """Between two deltas something may have happened that nobody is told."""
    first = await feed.person()
    await feed.told()
    await feed.person()
    await feed.gone("participant." + TWO)
    await feed.told()
    last = await feed.person(muted=True)
    await feed.told()
    found = await waiting(someone(feed, first))
    assert [each["type"] for each in found] == ["delta"] * len(found)
    assert found[-1]["revision"] == last


async def test_only_so_many_deltas_are_kept(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was away for longer than the ring remembers gets a snapshot."""
    first = await feed.person()
    feed._flush_now()
    for number in range(hub.KEPT_DELTAS + 1):
        await feed.person(muted=number % 2 == 0)
        feed._flush_now()
    assert [each["type"] for each in await waiting(someone(feed, first))] == ["snapshot"]
    assert len(await waiting(someone(feed, first + 1))) == hub.KEPT_DELTAS


async def test_reading_everything_again_shows_as_one_snapshot(feed: Feed) -> None:
    """While the state is read again nothing is told; then everybody has all of it, and old revisions mean nothing."""
    old = await feed.person()
    await feed.person(TWO)
    one = someone(feed)
    await waiting(one)
    await feed.person(TWO, muted=True)
    await feed._take(RESTARTED)
    await feed.told()
    late = someone(feed, old)
    assert not await waiting(one)
    assert not await waiting(late)
    feed.at = 0
    new = await feed.person()
    await feed.sync()
    for each in (one, late):
        [snapshot] = await waiting(each)
        assert (snapshot["type"], snapshot["revision"]) == ("snapshot", new)
        assert [person["id"] for person in snapshot["participants"]] == [ONE]


async def test_who_is_removed_or_gone_is_gone(feed: Feed) -> None:
    """A removed participant and a deleted entry look the same."""
    await feed.person()
    await feed.person(TWO)
    one = someone(feed)
    await waiting(one)
    await feed.person(removed=True)
    await feed.gone(f"participant.{TWO}")
    await feed.told()
    [delta] = await waiting(one)
    assert delta["removed_participants"] == [ONE, TWO]
    assert "participants" not in delta


async def test_the_floor_changes_who_is_audible(feed: Feed) -> None:
    """Those whose audio opens or closes with the floor are told with it."""
    await feed.person()
    await feed.person(TWO)
    one = someone(feed)
    await waiting(one)
    await feed.put("floor", media_pb2.FloorState(holders=[media_pb2.FloorHolder(participant_id=ONE)]))
    await feed.told()
    [delta] = await waiting(one)
    assert [(each["id"], each["audible"]) for each in delta["participants"]] == [(ONE, True)]
    assert delta["stage"]["showing"] == ONE


async def test_the_press_is_told_of_the_stage_alone(feed: Feed) -> None:
    """Those on stage come, change and go; others' changes say nothing to the press."""
    await feed.person()
    await feed.person(TWO)
    press = someone(feed, press=True)
    [snapshot] = await waiting(press)
    assert (snapshot["participants"], snapshot["chat"]) == ([], [])
    await feed.put("stage", media_pb2.StageState(participant_id=ONE))
    await feed.told()
    [delta] = await waiting(press)
    assert [each["id"] for each in delta["participants"]] == [ONE]
    await feed.person(TWO, muted=True)
    await feed.put("chat." + "C" * 26, media_pb2.ChatMessage(id="C" * 26, text="x"))
    await feed.told()
    assert not await waiting(press)
    await feed.person(muted=True)
    await feed.told()
    [delta] = await waiting(press)
    assert delta.keys() == {"type", "revision", "participants"}
    await feed.gone(f"participant.{ONE}")
    await feed.told()
    [delta] = await waiting(press)
    assert delta["removed_participants"] == [ONE]


async def test_an_entry_that_nobody_can_read_stops_nothing(feed: Feed) -> None:
    """The others are told as before."""
    one = someone(feed)
    await waiting(one)
    await feed.write("room", b"\xff\xff\xff")
    await feed.write("unheard.of", b"x")
    await feed.person()
    await feed.told()
    [delta] = await waiting(one)
    assert len(delta["participants"]) == 1


async def test_a_member_that_does_not_keep_up_gets_a_snapshot(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a slow client is bounded, and replaced as a whole; what is for it alone stays."""
    monkeypatch.setattr(member, "MAX_WAITING", 3)
    slow = someone(feed, moderator=True)
    await waiting(slow)
    slow.send('{"type":"reply","id":"1","answer":null,"error":null}')
    for number in range(10):
        await feed.person(muted=number % 2 == 0)
        feed._flush_now()
        slow.tell_talking('{"type":"talking","talking":[],"silent":[]}')
        slow.tell_admissions(feed._admissions())
    found = [each["type"] for each in await waiting(slow)]
    assert found[:2] == ["reply", "snapshot"]
    assert found[-1] == "admissions"
    assert len(found) <= 7


async def test_the_waiting_list_of_scheduling_replaces_what_was_known(feed: Feed) -> None:
    """Who was decided meanwhile does not come back, who is not listed any more goes, who came since stays."""

    def one(admission_id: str) -> Any:
        return {"admission_id": admission_id, "party": None, "request_time": admission_id}

    feed._waiting = {"stale": one("stale")}
    known = feed.waiting_ids()
    feed._waiting["new"] = one("new")
    feed._decided.add("decided")
    feed.seed_waiting([one("listed"), one("decided")], known)
    assert feed.waiting_ids() == {"new", "listed"}


async def test_every_newcomer_is_told_how_people_are_now(feed: Feed) -> None:
    """Whatever earlier newcomers were told of the same people: one has changed since, one has gone and come again."""

    async def snapshot() -> dict[str, dict[str, Any]]:
        (told,) = await waiting(someone(feed))
        return {each["id"]: each for each in told["participants"]}

    await feed.person(ONE)
    await feed.person(TWO)
    before = await snapshot()
    assert not before[ONE]["muted"]
    await feed.person(ONE, muted=True)
    await feed.gone(f"participant.{TWO}")
    assert await snapshot() == {ONE: before[ONE] | {"muted": True}}
    await feed.person(TWO, link_quality=40)
    assert await snapshot() == {
        ONE: before[ONE] | {"muted": True},
        TWO: before[TWO] | {"link_quality": 40},
    }
