# SPDX-License-Identifier: Apache-2.0
"""Owns facts over JetStream: subjects, headers, publishing, and durable consuming with a dead-letter stream.

Attributes are CloudEvents-shaped headers; conformance to its NATS binding is not claimed.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import nats
import nats.errors
import nats.js.errors
import structlog
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StreamConfig
from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from giaoban_kit.config import ServiceConfig, read_secret
from giaoban_kit.errors import ErrorKind, GiaobanError, Invalid
from giaoban_kit.ids import is_id, new_id
from giaoban_kit.logging import get_logger
from giaoban_kit.tasks import ended
from giaoban_kit.telemetry import span_from_headers, trace_headers

log = get_logger(__name__)

STREAM_MAX_AGE_SECONDS = 14 * 24 * 3600
DEAD_LETTER_STREAM = "DEAD_LETTERS"
DEAD_LETTER_PREFIX = "giaoban.dlq"
DUPLICATE_WINDOW_SECONDS = 120
ACK_WAIT_SECONDS = 10  # also the pause after nats-server was killed and forgot an acknowledgement
MAX_DELIVERIES = 8
BACKOFF_SECONDS = (0.5, 2, 5, 15, 30, 60, 120)  # before each repetition
PUBLISH_SECONDS = 5.0
RETRY_SECONDS = 2.0  # when the stream or the server is not there
FETCH_SECONDS = 5.0
PERMANENT = frozenset(
    {
        ErrorKind.INVALID,
        ErrorKind.NOT_FOUND,
        ErrorKind.FORBIDDEN,
        ErrorKind.EXISTS,
        ErrorKind.PRECONDITION,
        ErrorKind.UNAUTHENTICATED,
    }
)
_TOKEN = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DURABLE = re.compile(r"[a-z][a-z0-9-]{0,62}")

CONSUMED = Counter("giaoban_events_consumed_total", "Events consumed", ["durable", "outcome"])


@dataclass(frozen=True)
class Event:
    """A fact: who says it (`source`), about what (`subject`), what exactly (`message`), when."""

    id: str
    subject: str
    message: Message
    source: str
    time: datetime


def subject(service: str, aggregate: str, verb: str, id: str) -> str:  # noqa: A002  (the id of the aggregate)
    """`giaoban.<service>.v1.<aggregate>.<past verb>.<id>`.

    Raises: ValueError if a part could be mistaken for something else.
    """
    if not all(_TOKEN.fullmatch(part) for part in (service, aggregate, verb)) or not is_id(id):
        raise ValueError(f"not a subject: {service!r} {aggregate!r} {verb!r} {id!r}")
    return f"giaoban.{service}.v1.{aggregate}.{verb}.{id}"


def event_filter(service: str, aggregate: str = "*", verb: str = "*") -> str:
    """The filter for such subjects of any id; `*` stands for any aggregate or verb.

    Raises: ValueError as `subject`.
    """
    if not all(part == "*" or _TOKEN.fullmatch(part) for part in (service, aggregate, verb)):
        raise ValueError(f"not a filter: {service!r} {aggregate!r} {verb!r}")
    return f"giaoban.{service}.v1.{aggregate}.{verb}.*"


def subject_filter(service: str, aggregate: str, verb: str, id: str) -> str:  # noqa: A002  (the id of the aggregate)
    """The filter for such subjects of one id; `*` stands for any verb. For who follows without a durable.

    Raises: ValueError as `subject`.
    """
    parts = (service, aggregate) if verb == "*" else (service, aggregate, verb)
    if not all(_TOKEN.fullmatch(part) for part in parts) or not is_id(id):
        raise ValueError(f"not a filter: {service!r} {aggregate!r} {verb!r} {id!r}")
    return f"giaoban.{service}.v1.{aggregate}.{verb}.{id}"


def signal_subject(service: str, signal: str, id: str) -> str:  # noqa: A002  (the id of what it is about)
    """`giaoban.<service>.<signal>.<id>`: a signal on core NATS, too lively to be kept.

    Raises: ValueError if a part could be mistaken for something else.
    """
    if not all(_TOKEN.fullmatch(part) for part in (service, signal)) or not is_id(id):
        raise ValueError(f"not a subject: {service!r} {signal!r} {id!r}")
    return f"giaoban.{service}.{signal}.{id}"


def new_event(subject: str, message: Message, time: datetime | None = None) -> Event:
    """An event with a new id; its source is the service in the subject."""
    return Event(new_id(), subject, message, f"giaoban-{subject.split('.')[1]}", time or datetime.now(UTC))


def headers_of(event: Event) -> dict[str, str]:
    """The headers an event travels with, with the trace of the current span."""
    return {
        "Nats-Msg-Id": event.id,
        "ce-type": event.message.DESCRIPTOR.full_name,
        "ce-source": event.source,
        "ce-time": event.time.astimezone(UTC).isoformat(),
        **trace_headers(),
    }


def parse_event(subject: str, headers: Mapping[str, str], body: bytes) -> Event:
    """The event of a message.

    Raises: Invalid if a header is missing, the type is unknown to this process or the body does not fit.
    """
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(headers["ce-type"])
        message = message_factory.GetMessageClass(descriptor).FromString(body)
        time = datetime.fromisoformat(headers["ce-time"])
        return Event(headers["Nats-Msg-Id"], subject, message, headers["ce-source"], time)
    except (KeyError, ValueError, DecodeError) as error:
        raise Invalid(f"Not an event we know: {error!r}") from None


Ensure = Callable[[JetStreamContext], Awaitable[None]]
"""Makes what a part keeps in JetStream where it is missing."""


@asynccontextmanager
async def connect_nats(config: ServiceConfig, ensure: Ensure | None = None) -> AsyncIterator[Client]:
    """A connection that waits for the server and comes back after every loss; drained at the end.

    `ensure` is done whenever it has come back: a server may do so with an empty store.
    """
    ensuring = set[asyncio.Task[None]]()

    async def disconnected() -> None:
        log.warning("nats_disconnected")

    async def reconnected() -> None:
        log.info("nats_reconnected")
        if ensure is not None:
            task = asyncio.create_task(_ensured(client.jetstream(), ensure))
            ensuring.add(task)
            task.add_done_callback(ensuring.discard)

    async def failed(error: Exception) -> None:
        log.warning("nats_error", error=type(error).__name__)

    password = read_secret(config.nats_password_file) if config.nats_password_file else None
    client = await nats.connect(
        config.nats_url,
        name=f"giaoban-{config.service_name}",
        user=config.nats_user,
        password=password,
        # Each user may subscribe to its own inbox only, so that nobody reads another's replies.
        inbox_prefix=f"_INBOX_{config.nats_user}" if config.nats_user else "_INBOX",
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=failed,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
        ping_interval=10,
        max_outstanding_pings=2,
        drain_timeout=10,
    )
    try:
        yield client
    finally:
        await ended(*ensuring)
        with suppress(nats.errors.Error, TimeoutError):
            await client.drain()
        if not client.is_closed:
            await client.close()


async def _ensured(js: JetStreamContext, ensure: Ensure) -> None:
    while True:
        try:
            return await ensure(js)
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("store_not_ensured", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)


async def ensure_stream(js: JetStreamContext, service: str, *, update: bool = False) -> None:
    """Creates the stream of a service's events; the migrate step also updates it."""
    await _apply(
        js, StreamConfig(name=stream_name(service), subjects=[f"giaoban.{service}.v1.>"]), update=update
    )


async def ensure_dead_letters(js: JetStreamContext, *, update: bool = False) -> None:
    """Creates the stream of events that no consumer could use; the migrate step also updates it."""
    await _apply(
        js, StreamConfig(name=DEAD_LETTER_STREAM, subjects=[f"{DEAD_LETTER_PREFIX}.>"]), update=update
    )


def stream_name(service: str) -> str:
    """The stream of a service's events."""
    return service.upper()


async def _apply(js: JetStreamContext, config: StreamConfig, *, update: bool) -> None:
    config.retention = RetentionPolicy.LIMITS
    config.max_age = STREAM_MAX_AGE_SECONDS
    config.duplicate_window = DUPLICATE_WINDOW_SECONDS
    try:
        await js.add_stream(config)
    except nats.js.errors.BadRequestError:  # there with other settings
        if update:
            await js.update_stream(config)


async def publish(js: JetStreamContext, event: Event) -> None:
    """Publishes and waits until the stream has it. Publishing the same event twice stores it once (2 minutes).

    Raises: nats errors. For parts without a database; others use the outbox.
    """
    await js.publish(
        event.subject, event.message.SerializeToString(), timeout=PUBLISH_SECONDS, headers=headers_of(event)
    )


Handler = Callable[[Event], Awaitable[None]]


@asynccontextmanager
async def consuming(
    js: JetStreamContext,
    *,
    stream: str,
    durable: str,
    filter_subjects: Sequence[str],
    handler: Handler,
    concurrency: int = 1,
    max_deliveries: int = MAX_DELIVERIES,
    backoff: Sequence[float] = BACKOFF_SECONDS,
) -> AsyncIterator[None]:
    """Consumes in the background while the block runs; waits for a stream that is not there yet.

    An event is acknowledged when `handler` returns (commit inside it). GiaobanError of a permanent kind sends it to
    `giaoban.dlq.<durable>` at once, anything else after `max_deliveries`. `concurrency` events are handled at once;
    with 1 they come in order unless one is repeated. At the end running handlers get to finish.
    """
    if not _DURABLE.fullmatch(durable):
        raise ValueError(f"not a durable name: {durable!r}; use <consumer>-<purpose> in lower case")
    stop = asyncio.Event()
    consumer = _Consumer(
        js, stream, durable, list(filter_subjects), handler, concurrency, max_deliveries, backoff
    )
    task = asyncio.create_task(consumer.run(stop), name=f"consume-{durable}")
    try:
        yield
    finally:
        stop.set()
        await task


@dataclass(frozen=True)
class _Consumer:
    js: JetStreamContext
    stream: str
    durable: str
    filter_subjects: list[str]
    handler: Handler
    concurrency: int
    max_deliveries: int
    backoff: Sequence[float]

    async def run(self, stop: asyncio.Event) -> None:
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                try:
                    await self._consume(stopped)
                except (nats.errors.Error, TimeoutError, OSError) as error:
                    log.warning("consumer_waits", durable=self.durable, error=type(error).__name__)
                    await asyncio.wait({stopped}, timeout=RETRY_SECONDS)
        finally:
            stopped.cancel()

    async def _consume(self, stopped: asyncio.Task[bool]) -> None:
        config = ConsumerConfig(
            durable_name=self.durable,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            max_deliver=-1,  # counted here, so that the last delivery reaches the dead letters
            max_ack_pending=max(self.concurrency, 1),
            filter_subjects=self.filter_subjects,
        )
        await self.js.add_consumer(self.stream, config)
        pull = await self.js.pull_subscribe_bind(durable=self.durable, stream=self.stream)
        try:
            while not stopped.done():
                fetching = asyncio.create_task(pull.fetch(self.concurrency, timeout=FETCH_SECONDS))
                await asyncio.wait({fetching, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not fetching.done():
                    fetching.cancel()
                    with suppress(asyncio.CancelledError, nats.errors.Error):
                        await fetching
                    return
                try:
                    messages = fetching.result()
                except nats.errors.TimeoutError:
                    continue
                async with asyncio.TaskGroup() as group:
                    for message in messages:
                        group.create_task(self._handle(message))
        finally:
            with suppress(nats.errors.Error):
                await pull.unsubscribe()

    async def _handle(self, message: Msg) -> None:
        headers = dict(message.headers or {})
        deliveries = message.metadata.num_delivered or 1
        heartbeat = asyncio.create_task(_in_progress(message))
        try:
            with span_from_headers(
                f"consume {self.durable}",
                headers,
                SpanKind.CONSUMER,
                durable=self.durable,
                subject=message.subject,
            ):
                outcome = await self._outcome(message, headers, deliveries)
        finally:
            heartbeat.cancel()
        CONSUMED.labels(self.durable, outcome).inc()

    async def _outcome(self, message: Msg, headers: dict[str, str], deliveries: int) -> str:
        event_id = headers.get("Nats-Msg-Id", "")
        structlog.contextvars.bind_contextvars(durable=self.durable, event_id=event_id)  # a task per event
        logger = log.bind(subject=message.subject, deliveries=deliveries)
        try:
            _refuse_after(self.max_deliveries, deliveries)
            await self.handler(parse_event(message.subject, headers, message.data))
        except Exception as error:
            reason = error.reason if isinstance(error, GiaobanError) else type(error).__name__
            permanent = isinstance(error, GiaobanError) and error.kind in PERMANENT
            if permanent or deliveries >= self.max_deliveries:
                await self._bury(message, headers, reason, deliveries)
                logger.error("event_dead_lettered", reason=reason, exc_info=not permanent)  # noqa: TRY400  (a refusal needs no traceback)
                return "dead_lettered"
            delay = self.backoff[min(deliveries, len(self.backoff)) - 1]
            await message.nak(delay=delay)
            logger.warning("event_retried", reason=reason, seconds=delay, exc_info=True)
            return "retried"
        await message.ack()
        logger.info("event_consumed")
        return "consumed"

    async def _bury(self, message: Msg, headers: dict[str, str], reason: str, deliveries: int) -> None:
        dead = {
            **headers,
            "Nats-Msg-Id": f"{headers.get('Nats-Msg-Id') or message.metadata.sequence.stream}:{self.durable}",
            "giaoban-event-id": headers.get("Nats-Msg-Id", ""),
            "giaoban-subject": message.subject,
            "giaoban-reason": reason,
            "giaoban-deliveries": str(deliveries),
        }
        await self.js.publish(f"{DEAD_LETTER_PREFIX}.{self.durable}", message.data, headers=dead)
        await message.term()


def _refuse_after(max_deliveries: int, deliveries: int) -> None:
    if deliveries > max_deliveries:  # the process died in each of them
        raise Invalid("Delivered too often.")


async def _in_progress(message: Msg) -> None:
    while True:
        await asyncio.sleep(ACK_WAIT_SECONDS / 3)
        with suppress(nats.errors.Error):
            await message.in_progress()
