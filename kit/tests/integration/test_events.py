# SPDX-License-Identifier: Apache-2.0
"""Publishing, consuming, dead letters and the outbox, on a real NATS and a real PostgreSQL."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from giaoban.scheduling.v1.events_pb2 import MeetingCancelled, MeetingEnded
from giaoban.scheduling.v1.scheduling_pb2 import Meeting
from giaoban_kit import outbox
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import Database
from giaoban_kit.errors import NotFound, Unavailable
from giaoban_kit.events import (
    DEAD_LETTER_STREAM,
    Event,
    connect_nats,
    consuming,
    ensure_dead_letters,
    ensure_stream,
    event_filter,
    new_event,
    publish,
    subject,
)
from giaoban_kit.ids import new_id
from giaoban_kit.outbox import Outbox, first_time, relaying
from giaoban_kit.telemetry import span
from giaoban_kit.testing.servers import NatsServer, free_port
from nats.aio.client import Client
from nats.js import JetStreamContext
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

ENDED = event_filter("scheduling", "meeting", "ended")


def ended(meeting_id: str = "") -> Event:
    meeting_id = meeting_id or new_id()
    return new_event(
        subject("scheduling", "meeting", "ended", meeting_id), MeetingEnded(meeting=Meeting(id=meeting_id))
    )


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def migrated(js: JetStreamContext) -> None:
    await ensure_stream(js, "scheduling")
    await ensure_dead_letters(js)


async def stored(js: JetStreamContext, stream: str = "SCHEDULING") -> int:
    return int((await js.stream_info(stream)).state.messages)


async def dead_letter(js: JetStreamContext) -> Any:
    return await js.get_msg(DEAD_LETTER_STREAM, subject="giaoban.dlq.test-meetings")


def listening(js: JetStreamContext, handler: Any, **more: Any) -> Any:
    defaults = {"stream": "SCHEDULING", "durable": "test-meetings", "filter_subjects": [ENDED]}
    return consuming(js, handler=handler, **{**defaults, **more})


class TestConsuming:
    async def test_an_event_arrives_as_it_was_sent(self, js: JetStreamContext) -> None:
        """Id, subject, message, source and time; only what the filter names; acknowledged."""
        await migrated(js)
        got: asyncio.Queue[Event] = asyncio.Queue()
        event = ended()
        async with listening(js, got.put):
            other = new_event(subject("scheduling", "meeting", "cancelled", new_id()), MeetingCancelled())
            await publish(js, other)
            await publish(js, event)
            assert await asyncio.wait_for(got.get(), 10) == event

            async def acknowledged() -> bool:
                return bool((await js.consumer_info("SCHEDULING", "test-meetings")).num_ack_pending == 0)

            await until(acknowledged)
        assert got.empty()

    async def test_the_same_event_is_stored_once(self, js: JetStreamContext) -> None:
        """JetStream drops the second copy by its id."""
        await migrated(js)
        event = ended()
        await publish(js, event)
        await publish(js, event)
        assert await stored(js) == 1

    async def test_a_passing_failure_is_repeated(self, js: JetStreamContext) -> None:
        """The third delivery succeeds, nothing is buried."""
        await migrated(js)
        calls: list[str] = []
        done = asyncio.Event()

        async def handler(event: Event) -> None:
            calls.append(event.id)
            if len(calls) < 3:
                raise Unavailable("later")
            done.set()

        await publish(js, ended())
        async with listening(js, handler, backoff=(0.05,)):
            await asyncio.wait_for(done.wait(), 15)
        assert len(set(calls)) == 1
        assert await stored(js, DEAD_LETTER_STREAM) == 0

    @pytest.mark.parametrize(
        ("error", "tries", "reason"),
        [(NotFound("no such meeting"), 1, "NOT_FOUND"), (RuntimeError("bug"), 3, "RuntimeError")],
    )
    async def test_what_cannot_succeed_is_buried(
        self, js: JetStreamContext, error: Exception, tries: int, reason: str
    ) -> None:
        """A permanent error at once, any other after the last delivery; later events go on."""
        await migrated(js)
        calls: list[str] = []
        good = asyncio.Event()
        bad_event, good_event = ended(), ended()

        async def handler(event: Event) -> None:
            calls.append(event.id)
            if event.id == bad_event.id:
                raise error
            good.set()

        await publish(js, bad_event)
        await publish(js, good_event)
        async with listening(js, handler, backoff=(0.05,), max_deliveries=3):
            await asyncio.wait_for(good.wait(), 15)

            async def buried() -> bool:
                return await stored(js, DEAD_LETTER_STREAM) == 1

            await until(buried)
        assert calls.count(bad_event.id) == tries
        dead = await dead_letter(js)
        assert dead.data == bad_event.message.SerializeToString()
        assert dead.headers["giaoban-reason"] == reason
        assert dead.headers["giaoban-event-id"] == bad_event.id
        assert dead.headers["giaoban-subject"] == bad_event.subject

    async def test_noise_on_the_subject_is_buried(self, js: JetStreamContext) -> None:
        """A message without our headers never reaches the handler."""
        await migrated(js)
        await js.publish(ended().subject, b"noise")

        async def handler(_event: Event) -> None:
            raise AssertionError

        async with listening(js, handler):

            async def buried() -> bool:
                return await stored(js, DEAD_LETTER_STREAM) == 1

            await until(buried)

    async def test_a_consumer_may_start_before_the_stream_is_there(
        self, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Parts start in any order."""
        monkeypatch.setattr("giaoban_kit.events.RETRY_SECONDS", 0.1)
        got: asyncio.Queue[Event] = asyncio.Queue()
        async with listening(js, got.put):
            await asyncio.sleep(0.3)
            await migrated(js)
            await publish(js, ended())
            await asyncio.wait_for(got.get(), 10)

    async def test_consuming_goes_on_after_the_server_was_killed(
        self, js: JetStreamContext, nats: Client, nats_process: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same connection and consumer take up the work when the server is back."""
        monkeypatch.setattr("giaoban_kit.events.ACK_WAIT_SECONDS", 2)
        await migrated(js)
        got: asyncio.Queue[Event] = asyncio.Queue()
        async with listening(js, got.put):
            await publish(js, ended())
            await asyncio.wait_for(got.get(), 10)

            async def connected() -> bool:
                return nats.is_connected

            async def disconnected() -> bool:
                return not nats.is_connected

            nats_process.kill()
            await until(disconnected)
            nats_process.start()
            await until(connected)
            second = ended()
            await publish(js, second)
            async with asyncio.timeout(30):
                while (
                    await got.get() != second
                ):  # the first may come again: its acknowledgement was not on disk
                    pass

    async def test_a_running_handler_gets_to_finish(self, js: JetStreamContext) -> None:
        """Stopping waits for the handler and acknowledges its event."""
        await migrated(js)
        started, finished = asyncio.Event(), asyncio.Event()

        async def handler(_event: Event) -> None:
            started.set()
            await asyncio.sleep(0.3)
            finished.set()

        await publish(js, ended())
        async with listening(js, handler):
            await asyncio.wait_for(started.wait(), 10)
        assert finished.is_set()

        async def acknowledged() -> bool:
            return bool((await js.consumer_info("SCHEDULING", "test-meetings")).num_ack_pending == 0)

        await until(acknowledged, 3)


async def add(db: Database, *events: Event) -> None:
    async with db.transaction() as session:
        for event in events:
            await Outbox(session).add(event)


async def unpublished(db: Database) -> int:
    statement = sa.select(sa.func.count()).where(outbox.outbox_table.c.published_at.is_(None))
    async with db.engine.connect() as connection:
        return int(await connection.scalar(statement) or 0)


async def nothing_left(db: Database) -> bool:
    return await unpublished(db) == 0


class TestOutbox:
    async def test_committed_events_are_published_in_order(self, db: Database, js: JetStreamContext) -> None:
        """NOTIFY wakes the relay long before its poll; a transaction that failed publishes nothing."""
        await migrated(js)
        events = [ended() for _ in range(250)]
        got: asyncio.Queue[Event] = asyncio.Queue()
        async with relaying(db, js, "scheduling", poll_seconds=3600), listening(js, got.put, concurrency=1):
            await asyncio.sleep(0.5)  # the relay sleeps now
            with pytest.raises(RuntimeError):
                async with db.transaction() as session:
                    await Outbox(session).add(ended())
                    raise RuntimeError
            await add(db, *events)
            received = [await asyncio.wait_for(got.get(), 15) for _ in events]
        assert [event.id for event in received] == [event.id for event in events]
        assert received[0] == events[0]
        assert await unpublished(db) == 0
        assert await stored(js) == len(events)

    async def test_a_wake_up_takes_well_under_a_poll(self, db: Database, js: JetStreamContext) -> None:
        """One event is with its consumer in less than a second while the poll is an hour away."""
        await migrated(js)
        got: asyncio.Queue[Event] = asyncio.Queue()
        async with relaying(db, js, "scheduling", poll_seconds=3600), listening(js, got.put):
            await asyncio.sleep(0.5)
            before = datetime.now(UTC)
            await add(db, ended())
            await asyncio.wait_for(got.get(), 5)
            assert (datetime.now(UTC) - before).total_seconds() < 1

    async def test_a_relay_killed_between_publishing_and_marking_loses_nothing(
        self, db: Database, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next relay publishes again; even past JetStream's own window the inbox lets one effect happen."""
        await migrated(js)
        config = (await js.stream_info("SCHEDULING")).config
        config.duplicate_window = 0.1  # so that the stream takes the second copy
        await js.update_stream(config)
        events = [ended() for _ in range(5)]
        await add(db, *events)
        published = asyncio.Event()

        async def dies(_self: Any, _connection: Any, _positions: list[int]) -> None:
            published.set()
            await asyncio.Event().wait()  # until it is killed

        with monkeypatch.context() as patch:
            patch.setattr("giaoban_kit.outbox._Relay._mark", dies)
            async with relaying(db, js, "scheduling"):
                await asyncio.wait_for(published.wait(), 10)
        assert await unpublished(db) == 5
        assert await stored(js) == 5
        await asyncio.sleep(0.2)
        effects: list[str] = []
        deliveries: list[str] = []

        async def handler(event: Event) -> None:
            async with db.transaction() as session:
                if await first_time(session, "test-meetings", event.id):
                    effects.append(event.id)
            deliveries.append(event.id)

        async with relaying(db, js, "scheduling"), listening(js, handler):

            async def all_twice() -> bool:
                return len(deliveries) == 10

            await until(all_twice)
        assert await unpublished(db) == 0
        assert effects == [event.id for event in events]

    async def test_the_outbox_waits_while_nats_is_away(
        self, db: Database, js: JetStreamContext, nats_process: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Events committed during an outage are published after it."""
        monkeypatch.setattr("giaoban_kit.outbox.PUBLISH_SECONDS", 0.5)
        await migrated(js)
        async with relaying(db, js, "scheduling"):
            nats_process.kill()
            await add(db, ended(), ended())
            await asyncio.sleep(1)
            assert await unpublished(db) == 2
            nats_process.start()

            async def emptied() -> bool:
                return await unpublished(db) == 0

            await until(emptied, 30)
        assert await stored(js) == 2

    async def test_two_relays_publish_each_event_once_in_order(
        self, db: Database, js: JetStreamContext
    ) -> None:
        """Replicas of a service take turns."""
        await migrated(js)
        events = [ended() for _ in range(30)]
        got: asyncio.Queue[Event] = asyncio.Queue()
        async with (
            relaying(db, js, "scheduling", poll_seconds=0.05),
            relaying(db, js, "scheduling", poll_seconds=0.05),
            listening(js, got.put),
        ):
            for event in events:
                await add(db, event)
            received = [(await asyncio.wait_for(got.get(), 15)).id for _ in events]
        assert received == [event.id for event in events]
        assert await stored(js) == len(events)

    async def test_an_effect_that_is_rolled_back_may_happen_again(self, db: Database) -> None:
        """The inbox remembers with the transaction, per consumer."""
        with pytest.raises(RuntimeError):
            async with db.transaction() as session:
                assert await first_time(session, "a", "e1")
                raise RuntimeError
        async with db.transaction() as session:
            assert await first_time(session, "a", "e1")
            assert not await first_time(session, "a", "e1")
            assert await first_time(session, "b", "e1")

    async def test_old_rows_are_pruned(self, db: Database, js: JetStreamContext) -> None:
        """Published events go after a day, unpublished ones never."""
        await migrated(js)
        await publish(js, ended())  # a stream that is not empty was not lost
        await add(db, ended(), ended())
        async with db.engine.begin() as connection:
            old = sa.text("UPDATE outbox SET published_at = now() - interval '2 days' WHERE position = 1")
            await connection.execute(old)
            nowhere = sa.text("UPDATE outbox SET subject = 'nowhere' WHERE position = 2")
            await connection.execute(nowhere)
            await connection.execute(sa.text("UPDATE outbox SET created_at = now() - interval '90 days'"))

        async def pruned() -> bool:
            async with db.engine.connect() as connection:
                return bool(await connection.scalar(sa.text("SELECT count(*) FROM outbox")) == 1)

        async with relaying(db, js, "scheduling"):  # no stream takes the second event
            await until(pruned)
        assert await unpublished(db) == 1

    async def test_a_server_that_lost_its_store_is_given_everything_again(
        self, db: Database, tmp_path: Path
    ) -> None:
        """Published and not yet heard, or heard: each event has its effect once, in order, without hands."""
        server, heard = NatsServer(tmp_path, free_port()), list[str]()
        events = [ended() for _ in range(4)]
        server.start()

        async def once(event: Event) -> None:
            async with db.transaction() as session:
                if await first_time(session, "test-meetings", event.id):
                    heard.append(event.id)

        async def come(count: int) -> bool:
            return len(heard) == count

        config = ServiceConfig(service_name="test", nats_url=server.url)
        try:
            async with connect_nats(config, migrated) as client:
                js = client.jetstream()
                await migrated(js)
                async with relaying(db, js, "scheduling", poll_seconds=0.2):
                    async with listening(js, once):
                        await add(db, events[0])
                        await until(partial(come, 1))
                    await add(db, events[1], events[2])
                    await until(lambda: nothing_left(db))
                    server.kill()
                    shutil.rmtree(tmp_path / "data")
                    server.start()
                    async with listening(js, once):
                        await add(db, events[3])
                        await until(partial(come, 4))
                        await asyncio.sleep(0.5)
                    assert await js.stream_info(DEAD_LETTER_STREAM)
        finally:
            server.kill()
        assert heard == [each.id for each in events]


async def test_one_trace_goes_through_outbox_nats_and_consumer(
    db: Database, js: JetStreamContext, spans: InMemorySpanExporter
) -> None:
    """What the consumer does belongs to the trace of the one who acted, though the relay is another task."""
    await migrated(js)
    done = asyncio.Event()

    async def handler(_event: Event) -> None:
        with span("effect"):
            done.set()

    async with relaying(db, js, "scheduling"), listening(js, handler):
        with span("act") as act:
            await add(db, ended())
        await asyncio.wait_for(done.wait(), 10)
    trace_id = act.get_span_context().trace_id
    names = {found.name for found in spans.get_finished_spans() if found.context.trace_id == trace_id}
    assert names >= {"act", "consume test-meetings", "effect"}


async def test_a_part_may_start_before_nats(tmp_path: Path) -> None:
    """Connecting waits for the server instead of failing."""
    server = NatsServer(tmp_path, free_port())

    async def connect() -> bool:
        async with connect_nats(ServiceConfig(service_name="test", nats_url=server.url)) as client:
            return client.is_connected

    connecting = asyncio.create_task(connect())
    await asyncio.sleep(1)
    assert not connecting.done()
    server.start()
    try:
        assert await asyncio.wait_for(connecting, 20)
    finally:
        server.kill()
