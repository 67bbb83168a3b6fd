# SPDX-License-Identifier: Apache-2.0
"""Owns business events on a private stack: committed to scheduling's outbox, seen in the tables of notifications.

Committing is what scheduling does (the kit's outbox, one transaction an event). An event's effect is the transaction in
which notifications has remembered it and written its inbox entries; both databases are asked from outside.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
from giaoban.identity.v1 import identity_pb2
from giaoban.scheduling.v1 import events_pb2, scheduling_pb2
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import Database, database
from giaoban_kit.events import Event, new_event, subject
from giaoban_kit.ids import new_id
from giaoban_kit.outbox import Outbox

from giaoban_loadtests.stack import LocalStack

CONSUMER = "notifications-meetings"
TOLD = r"\.meeting\.(scheduled|changed|cancelled)\."  # what notifications listens to
POSTGRES = "127.0.0.1:17432"
POOL = 8  # transactions at once
LOOK_SECONDS = 0.005
WAIT_SECONDS = 0.1
SECOND = timedelta(seconds=1)


def meeting_scheduled(organisation_id: str, user_id: str, meeting_id: str, number: int = 0) -> Event:
    """Return the event that a meeting was called to which one person is invited; `number` stands in its title."""
    meeting = scheduling_pb2.Meeting(
        id=meeting_id,
        organisation_id=organisation_id,
        title=f"Load test {number}",
        time_zone="UTC",
        sequence=number,
    )
    meeting.start_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    meeting.duration.FromTimedelta(timedelta(hours=1))
    invited = meeting.appointments.add(id=new_id(), role=scheduling_pb2.APPOINTMENT_ROLE_DELEGATE)
    invited.party.ref.kind, invited.party.ref.id = identity_pb2.PARTY_KIND_USER, user_id
    return new_event(
        subject("scheduling", "meeting", "scheduled", meeting_id),
        events_pb2.MeetingScheduled(meeting=meeting),
    )


@dataclass(frozen=True)
class Effects:
    """What a database of notifications shows."""

    times_remembered: dict[str, int]
    entries: dict[str, list[str]]  # meeting → events, in the order in which they were written to inboxes


class Events:
    """Commits and looks; made by `business_events`."""

    def __init__(self, scheduling: Database, looking: ServiceConfig, publishing: ServiceConfig) -> None:
        self._scheduling, self._looking, self._publishing = scheduling, looking, publishing

    async def commit(self, event: Event) -> None:
        """Write an event as a use case does; done when it is committed. Raises GiaobanError or a database error."""
        async with self._scheduling.transaction() as session:
            await Outbox(session).add(event)

    async def commit_all(self, events: Sequence[Event]) -> None:
        """Write many events in one transaction."""
        async with self._scheduling.transaction() as session:
            outbox = Outbox(session)
            for event in events:
                await outbox.add(event)

    async def unpublished(self) -> int:
        """Return how many events wait in the outbox for the stream."""
        async with _connection(self._publishing) as connection:
            return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"))

    async def committed(self) -> list[tuple[str, str]]:
        """Return (event, meeting) of all for notifications in the outbox, in their order: the truth about commits."""
        async with _connection(self._publishing) as connection:
            rows = await connection.fetch(
                "SELECT id, subject FROM outbox WHERE subject ~ $1 ORDER BY position", TOLD
            )
        return [(row["id"], row["subject"].rpartition(".")[2]) for row in rows]

    async def effects(self) -> Effects:
        """Return what notifications has done so far."""
        async with _connection(self._looking) as connection:
            remembered = await connection.fetch(
                "SELECT event_id, count(*) FROM inbox WHERE consumer = $1 GROUP BY event_id", CONSUMER
            )
            entries = await connection.fetch(
                "SELECT meeting_id, event_id FROM notification ORDER BY created_at, id"
            )
        found: dict[str, list[str]] = {}
        for row in entries:
            found.setdefault(row["meeting_id"], []).append(row["event_id"])
        return Effects({row["event_id"]: row["count"] for row in remembered}, found)

    async def all_done(self, seconds: float) -> bool:
        """Wait at most `seconds` until all that is committed has had its effect; return whether it has."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            ids = {event_id for event_id, _ in await self.committed()}
            if ids <= (await self.effects()).times_remembered.keys():
                return True
            await asyncio.sleep(WAIT_SECONDS)
        return False

    async def watch(self, seen: dict[str, float]) -> None:
        """Write to `seen` when (event loop's clock) each event's effect was first there; runs until cancelled.

        Looks every 5 ms, to the disadvantage of the system.
        """
        loop = asyncio.get_running_loop()
        async with _connection(self._looking) as connection:
            since = await connection.fetchval("SELECT now()") - SECOND
            look = await connection.prepare(
                "SELECT event_id, received_at FROM inbox WHERE consumer = $1 AND received_at >= $2"
            )
            while True:
                rows, now = await look.fetch(CONSUMER, since), loop.time()
                for row in rows:
                    seen.setdefault(row["event_id"], now)
                    since = max(
                        since, row["received_at"]
                    )  # one event at a time is handled, so none comes before
                await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def business_events(stack: LocalStack) -> AsyncIterator[Events]:
    """The databases of scheduling and notifications of a private stack."""
    publishing = _config(stack, "scheduling")
    async with database(publishing) as scheduling:
        yield Events(scheduling, _config(stack, "notifications"), publishing)


def _config(stack: LocalStack, service: str) -> ServiceConfig:
    return ServiceConfig(
        service_name=service,
        database_url=f"postgresql://{service}@{POSTGRES}/{service}",
        database_password_file=stack.state / "secrets" / f"postgres-{service}",
        database_pool_size=POOL,
    )


@asynccontextmanager
async def _connection(config: ServiceConfig) -> AsyncIterator["asyncpg.Connection"]:
    password = (
        config.database_password_file.read_text(encoding="ascii").strip()
        if config.database_password_file
        else None
    )
    connection = await asyncpg.connect(config.database_url, password=password, timeout=5)
    try:
        yield connection
    finally:
        await connection.close(timeout=1)
