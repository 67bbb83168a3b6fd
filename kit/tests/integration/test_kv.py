# SPDX-License-Identifier: Apache-2.0
"""Compare-and-set, single-use entries, expiry and watching, on a real NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import pytest
from giaoban_kit import kv
from giaoban_kit.errors import Conflict, NotFound, Unavailable
from giaoban_kit.kv import RESTARTED, SYNCED, Bucket, Deleted, Entry, Signal, ensure_bucket, open_bucket
from giaoban_kit.testing.servers import NatsServer
from nats.js import JetStreamContext


async def test_a_key_is_created_once(js: JetStreamContext) -> None:
    """The second creator loses; after deletion the key is free again."""
    bucket = await ensure_bucket(js, "test")
    assert await bucket.get("room.a") is None
    first = await bucket.create("room.a", b"1")
    assert await bucket.get("room.a") == Entry("room.a", b"1", first)
    with pytest.raises(Conflict):
        await bucket.create("room.a", b"2")
    await bucket.delete("room.a", first)
    assert await bucket.get("room.a") is None
    assert await bucket.create("room.a", b"3") > first
    await bucket.delete("never.there")


async def test_of_two_writers_with_one_revision_one_wins(js: JetStreamContext) -> None:
    """Compare-and-set: the loser reads again."""
    bucket = await ensure_bucket(js, "test")
    revision = await bucket.create("floor", b"0")
    results = await asyncio.gather(
        *(bucket.update("floor", str(n).encode(), revision) for n in range(10)), return_exceptions=True
    )
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 9
    with pytest.raises(Conflict):
        await bucket.delete("floor", revision)
    assert await bucket.put("floor", b"last") > revision


async def test_a_ticket_is_taken_once(js: JetStreamContext) -> None:
    """Of ten who present it, one gets in."""
    bucket = await ensure_bucket(js, "test", ttl=timedelta(minutes=1), memory=True)
    await bucket.create("ticket", b"who")
    taken = await asyncio.gather(*(bucket.take("ticket") for _ in range(10)))
    assert sorted(taken, key=str) == sorted([b"who"] + [None] * 9, key=str)
    assert await bucket.take("ticket") is None


async def test_an_expired_key_is_gone_and_watchers_learn_it(js: JetStreamContext) -> None:
    """A lease that is not renewed ends; the key can be created again."""
    bucket = await ensure_bucket(js, "test")
    async with aclosing(bucket.watch("lease.*")) as changes:
        assert await anext(changes) is SYNCED
        revision = await bucket.create("lease.a", b"1", ttl=timedelta(seconds=1))
        assert await anext(changes) == Entry("lease.a", b"1", revision)
        revision = await bucket.update("lease.a", b"2", revision, ttl=timedelta(seconds=1))
        assert await anext(changes) == Entry("lease.a", b"2", revision)
        gone = await asyncio.wait_for(anext(changes), 10)
        assert isinstance(gone, Deleted)
        assert await bucket.get("lease.a") is None
        assert await bucket.create("lease.a", b"3") > revision


async def test_a_watch_says_what_is_there_and_then_what_changes(js: JetStreamContext) -> None:
    """Only keys that match, the newest value each, SYNCED in between, deletions too."""
    bucket = await ensure_bucket(js, "test")
    old = await bucket.create("room.a.floor", b"old")
    floor = await bucket.update("room.a.floor", b"1", old)
    await bucket.create("room.b.floor", b"2")
    async with aclosing(bucket.watch("room.a.>")) as changes:
        assert await anext(changes) == Entry("room.a.floor", b"1", floor)
        assert await anext(changes) is SYNCED
        stage = await bucket.create("room.a.stage", b"3")
        assert await anext(changes) == Entry("room.a.stage", b"3", stage)
        await bucket.delete("room.a.floor")
        gone = await anext(changes)
        assert isinstance(gone, Deleted)
        assert gone.key == "room.a.floor"
    assert {entry.key for entry in await bucket.entries("room.*.*")} == {"room.a.stage", "room.b.floor"}
    assert await bucket.entries("nothing.>") == []


async def test_a_watch_survives_a_killed_server(js: JetStreamContext, nats_process: NatsServer) -> None:
    """RESTARTED, all of the state again, SYNCED, and changes go on."""
    bucket = await ensure_bucket(js, "test")
    revision = await bucket.create("a", b"1")
    seen: asyncio.Queue[Entry | Deleted | Signal] = asyncio.Queue()

    async def watch() -> None:
        async for change in bucket.watch():
            await seen.put(change)

    task = asyncio.create_task(watch())
    try:
        assert [await seen.get(), await seen.get()] == [Entry("a", b"1", revision), SYNCED]
        nats_process.kill()
        with pytest.raises(Unavailable):
            await bucket.get("a")
        nats_process.start()
        async with asyncio.timeout(30):
            while (change := await seen.get()) is not SYNCED:
                assert change in {RESTARTED, Entry("a", b"1", revision)}
            updated = await bucket.update("a", b"2", revision)
            assert await seen.get() == Entry("a", b"2", updated)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_watch_that_missed_messages_starts_again(
    js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow reader whose messages were dropped gets the whole state rather than a gap."""
    bucket = await ensure_bucket(js, "test")
    monkeypatch.setattr(kv, "PENDING_MESSAGES", 3)
    async with aclosing(bucket.watch()) as changes:
        assert await anext(changes) is SYNCED
        for number in range(20):
            await bucket.put(f"k{number}", b"x")
        monkeypatch.undo()
        state: set[str] = set()
        async with asyncio.timeout(20):
            restarted = False
            async for change in changes:
                if change is RESTARTED:
                    state, restarted = set(), True
                elif isinstance(change, Entry):
                    state.add(change.key)
                elif change is SYNCED and restarted:
                    break
    assert len(state) == 20


async def test_a_missing_bucket_and_a_wrong_key_are_named(js: JetStreamContext) -> None:
    """The remedy is the migrate step; keys cannot contain structure."""
    with pytest.raises(NotFound, match="migrate"):
        await open_bucket(js, "missing")
    bucket: Bucket = await ensure_bucket(js, "test")
    for update in (False, True):  # changed settings are applied when the migrate step does it, and else left
        await ensure_bucket(js, "test", ttl=timedelta(hours=1), update=update)
        assert ((await js.stream_info("KV_test")).config.max_age == 3600) is update
    for key in ("", "a..b", "a.*", ">", "a b", ".a"):
        with pytest.raises(ValueError, match="not a key"):
            await bucket.put(key, b"")


async def test_closing_a_watch_leaves_no_consumer(js: JetStreamContext) -> None:
    """Gateways come and go; the server forgets their watches."""
    bucket = await ensure_bucket(js, "test")
    changes: AsyncIterator[Entry | Deleted | Signal]
    async with aclosing(bucket.watch()) as changes:
        await anext(changes)
        assert (await js.stream_info("KV_test")).state.consumer_count == 1
    assert (await js.stream_info("KV_test")).state.consumer_count == 0
