# SPDX-License-Identifier: Apache-2.0
"""The kit's events and buckets work with the permissions of the stack's NATS accounts."""

import asyncio
from datetime import timedelta

from giaoban.media.v1.events_pb2 import DESCRIPTOR
from giaoban_dev.infra.nats import BUCKETS, Nats
from giaoban_kit import events, kv
from giaoban_kit.config import ServiceConfig
from giaoban_kit.ids import new_id
from google.protobuf.message_factory import GetMessageClass


def _config(server: Nats, user: str) -> ServiceConfig:
    return ServiceConfig(
        service_name=user, nats_url=server.url, nats_user=user, nats_password_file=server.password_file(user)
    )


async def test_a_fact_reaches_another_service_and_an_unusable_one_the_dead_letters(
    nats_server_with_accounts: Nats,
) -> None:
    """media migrates and publishes, recording consumes durably; what it refuses lies in the dead letters."""
    message = GetMessageClass(next(iter(DESCRIPTOR.message_types_by_name.values())))()
    seen: asyncio.Queue[events.Event] = asyncio.Queue()
    async with (
        events.connect_nats(_config(nats_server_with_accounts, "media")) as media,
        events.connect_nats(_config(nats_server_with_accounts, "recording")) as recording,
    ):
        await events.ensure_stream(media.jetstream(), "media")
        await events.ensure_dead_letters(recording.jetstream())
        consuming = events.consuming(
            recording.jetstream(),
            stream="MEDIA",
            durable="recording-rooms",
            filter_subjects=[events.event_filter("media", "room", "opened")],
            handler=seen.put,
        )
        async with consuming:
            event = events.new_event(events.subject("media", "room", "opened", new_id()), message)
            await events.publish(media.jetstream(), event)
            assert (await asyncio.wait_for(seen.get(), 10)).id == event.id
            wrong = events.subject("media", "room", "opened", new_id())
            await media.jetstream().publish(wrong, b"not an event", headers={"Nats-Msg-Id": new_id()})
            async with asyncio.timeout(10):
                while not (await recording.jetstream().stream_info("DEAD_LETTERS")).state.messages:
                    await asyncio.sleep(0.05)


async def test_every_owner_can_make_its_buckets_and_every_reader_watch_them(
    nats_server_with_accounts: Nats,
) -> None:
    """The table of buckets is enough for the kit: made and changed by the owner, watched by the readers."""
    for owner, buckets in BUCKETS.items():
        async with events.connect_nats(_config(nats_server_with_accounts, owner)) as writing:
            for name, readers in buckets.items():
                # media-live was made by another test with other settings: the kit brings it up to date.
                bucket = await kv.ensure_bucket(writing.jetstream(), name, ttl=timedelta(minutes=1))
                key = f"room.{new_id()}"
                revision = await bucket.update(key, b"two", await bucket.create(key, b"one"))
                for reader in readers:
                    async with events.connect_nats(_config(nats_server_with_accounts, reader)) as reading:
                        view = await kv.open_bucket(reading.jetstream(), name)
                        async with asyncio.timeout(10):
                            async for change in view.watch("room.>"):
                                if isinstance(change, kv.Entry) and change.key == key:
                                    assert (change.value, change.revision) == (b"two", revision)
                                    break
                await bucket.delete(key)
