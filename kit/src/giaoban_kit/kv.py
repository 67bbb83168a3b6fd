# SPDX-License-Identifier: Apache-2.0
"""Owns live state in JetStream KV: compare-and-set, single-use entries, watching that survives reconnects."""

import asyncio
import enum
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    StorageType,
    StreamConfig,
)

from giaoban_kit.errors import Conflict, NotFound, Unavailable
from giaoban_kit.logging import get_logger

log = get_logger(__name__)
MARKER_SECONDS = 60  # how long the trace of an expired or deleted key is kept for watchers
MAX_VALUE_BYTES = 512 * 1024
DUPLICATE_WINDOW_SECONDS = 2.0
HEARTBEAT_SECONDS = 2.0  # the server proves a watch alive this often
RETRY_SECONDS = 0.5
PENDING_MESSAGES = 65_536  # of one watch; a reader that is further behind starts again
_WRONG_REVISION = {10071, 10164}  # JSStreamWrongLastSequenceErrF, JSStreamWrongLastSequenceConstantErr
_KEY = re.compile(r"[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*")


class Signal(enum.Enum):
    """What a watch says between entries."""

    SYNCED = "synced"  # everything that was there has been said
    RESTARTED = "restarted"  # forget everything; it is said again


SYNCED, RESTARTED = Signal.SYNCED, Signal.RESTARTED


@dataclass(frozen=True)
class Entry:
    """A key with its value; `revision` grows with every write to the bucket."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True)
class Deleted:
    """A key that was deleted or has expired."""

    key: str
    revision: int


async def ensure_bucket(
    js: JetStreamContext,
    name: str,
    *,
    ttl: timedelta | None = None,
    memory: bool = False,
    update: bool = False,
) -> "Bucket":
    """Creates a bucket; the migrate step also updates it."""
    config = StreamConfig(
        name=f"KV_{name}",
        subjects=[f"$KV.{name}.>"],
        storage=StorageType.MEMORY if memory else StorageType.FILE,
        max_msgs_per_subject=1,
        max_age=ttl.total_seconds() if ttl else 0,
        max_msg_size=MAX_VALUE_BYTES,
        discard=DiscardPolicy.NEW,
        duplicate_window=DUPLICATE_WINDOW_SECONDS,
        allow_direct=False,  # reads after a write must see it on every server
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_msg_ttl=True,
        subject_delete_marker_ttl=MARKER_SECONDS,
    )
    try:
        await js.add_stream(config)
    except nats.js.errors.BadRequestError:  # there with other settings
        if update:
            await js.update_stream(config)
    return Bucket(js, name)


async def open_bucket(js: JetStreamContext, name: str) -> "Bucket":
    """A bucket that is there.

    Raises: NotFound BUCKET_NOT_FOUND: run the migrate step.
    """
    try:
        await js.stream_info(f"KV_{name}")
    except nats.js.errors.NotFoundError:
        raise BucketNotFound(f"The bucket {name} is missing. Run the migrate step.") from None
    return Bucket(js, name)


class BucketNotFound(NotFound):
    """No such bucket."""

    reason = "BUCKET_NOT_FOUND"


class RevisionConflict(Conflict):
    """Somebody else wrote the key first."""

    reason = "REVISION_CONFLICT"


class Bucket:
    """A bucket. Every method raises Unavailable when NATS does not answer."""

    def __init__(self, js: JetStreamContext, name: str) -> None:
        self._js = js
        self.name = name
        self._prefix = f"$KV.{name}."

    async def get(self, key: str) -> Entry | None:
        """The entry; None if there is none."""
        message = await self._last(key)
        if message is None or _is_marker(message.headers):
            return None
        return Entry(key, message.data or b"", message.seq or 0)

    async def create(self, key: str, value: bytes, ttl: timedelta | None = None) -> int:
        """Writes a key that is not there (`ttl`: whole seconds, at least 1); returns its revision.

        Raises: RevisionConflict if it is there.
        """
        try:
            return await self._write(key, value, 0, ttl)
        except RevisionConflict:
            last = await self._last(key)
            if last is None or not _is_marker(last.headers):
                raise
            return await self._write(key, value, last.seq or 0, ttl)

    async def update(self, key: str, value: bytes, revision: int, ttl: timedelta | None = None) -> int:
        """Writes a key that has not changed since `revision`; returns the new revision.

        Raises: RevisionConflict if it has.
        """
        return await self._write(key, value, revision, ttl)

    async def put(self, key: str, value: bytes, ttl: timedelta | None = None) -> int:
        """Writes a key whatever is there; returns its revision. For keys with one writer only."""
        return await self._write(key, value, None, ttl)

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Deletes a key (if it has not changed since `revision`); deleting nothing is fine.

        Raises: RevisionConflict if it has.
        """
        await self._send(key, b"", revision, {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}, MARKER_SECONDS)

    async def take(self, key: str) -> bytes | None:
        """The value of a key that is deleted with this; None if it is not there or somebody else took it."""
        entry = await self.get(key)
        return None if entry is None else await self.take_known(entry)

    async def take_known(self, entry: Entry) -> bytes | None:
        """The same for an entry whose writer still knows it, without reading it."""
        try:
            await self.delete(entry.key, entry.revision)
        except RevisionConflict:
            return None
        return entry.value

    async def made_at(self) -> datetime:
        """When the server made the bucket: later than a write that it acknowledged if it has lost its store since."""
        try:
            info = await self._js.stream_info(f"KV_{self.name}")
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("Live state is not available.") from error
        if info.created is None:
            raise Unavailable("NATS did not say how old a bucket is.")
        return info.created

    async def entries(self, keys: str = ">") -> list[Entry]:
        """The entries whose keys match (`room.01J.*`, `room.>`), by revision."""
        found: dict[str, Entry] = {}
        async with aclosing(self._watch_once(keys)) as changes:
            async for change in changes:
                if change is SYNCED:
                    return list(found.values())
                if isinstance(change, Entry):
                    found[change.key] = change
        raise Unavailable("Live state is not available.")

    async def watch(self, keys: str = ">") -> AsyncGenerator[Entry | Deleted | Signal]:
        """Everything that matches, SYNCED, then every change. After a gap: RESTARTED and all of it again."""
        while True:
            try:
                async with aclosing(self._watch_once(keys)) as changes:
                    async for change in changes:
                        yield change
            except (Unavailable, nats.errors.Error, TimeoutError, OSError) as error:
                log.warning("kv_watch_lost", bucket=self.name, error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            yield RESTARTED

    async def _watch_once(self, keys: str) -> AsyncGenerator[Entry | Deleted | Signal]:
        """Ends by itself, or raises, as soon as a change may have been missed."""
        client = self._js._nc  # noqa: SLF001  (nats-py has no public way from a context to its client)
        inbox = client.new_inbox()
        # Not `next_msg`: it waits with asyncio.wait_for, which before Python 3.12 can lose a cancellation that comes
        # together with a message, and a watch that cannot be cancelled lives for ever.
        messages: asyncio.Queue[Msg] = asyncio.Queue(PENDING_MESSAGES)

        async def keep(message: Msg) -> None:
            with suppress(asyncio.QueueFull):  # the gap in the sequence tells the reader
                messages.put_nowait(message)

        subscription = await client.subscribe(inbox, cb=keep)
        name = None
        try:
            consumer = await self._js.add_consumer(
                f"KV_{self.name}",
                ConsumerConfig(
                    deliver_subject=inbox,
                    deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
                    ack_policy=AckPolicy.NONE,
                    filter_subject=f"{self._prefix}{keys}",
                    idle_heartbeat=HEARTBEAT_SECONDS,
                    inactive_threshold=30,
                    max_deliver=1,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
            name = consumer.name
            expected, synced = 1, consumer.num_pending == 0
            if synced:
                yield SYNCED
            while True:
                async with asyncio.timeout(HEARTBEAT_SECONDS * 2.5):
                    message = await messages.get()
                headers = message.headers or {}
                if headers.get("Status") == "100":
                    if int(headers.get("Nats-Last-Consumer", expected - 1)) != expected - 1:
                        return  # messages before this heartbeat were lost
                    continue
                meta = message.metadata
                if meta.sequence.consumer != expected:
                    return
                expected += 1
                key, revision = message.subject.removeprefix(self._prefix), meta.sequence.stream
                yield Deleted(key, revision) if _is_marker(headers) else Entry(key, message.data, revision)
                if not synced and meta.num_pending == 0:
                    synced = True
                    yield SYNCED
        finally:
            with suppress(nats.errors.Error, TimeoutError):
                await subscription.unsubscribe()
                if name is not None and client.is_connected:
                    await self._js.delete_consumer(f"KV_{self.name}", name)

    async def _last(self, key: str) -> "nats.js.api.RawStreamMsg | None":
        try:
            return await self._js.get_msg(f"KV_{self.name}", subject=self._subject(key))
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("Live state is not available.") from error

    async def _write(self, key: str, value: bytes, revision: int | None, ttl: timedelta | None) -> int:
        return await self._send(key, value, revision, {}, ttl.total_seconds() if ttl else None)

    async def _send(
        self, key: str, value: bytes, revision: int | None, headers: dict[str, str], ttl: float | None
    ) -> int:
        if revision is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(revision)
        try:
            ack = await self._js.publish(self._subject(key), value, headers=headers or None, msg_ttl=ttl)
        except nats.js.errors.APIError as error:
            if error.err_code in _WRONG_REVISION:
                raise RevisionConflict(f"{key} has changed.") from None
            raise
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("Live state is not available.") from error
        return ack.seq

    def _subject(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        return self._prefix + key


def _is_marker(headers: "dict[str, str] | Msg | None") -> bool:
    return bool(headers) and ("KV-Operation" in headers or "Nats-Marker-Reason" in headers)  # type: ignore[operator]
