# SPDX-License-Identifier: Apache-2.0
"""What the records of notifications promise; the in-memory ones and the SQL ones keep the same promises."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database
from giaoban_kit.ids import new_id
from giaoban_notifications.domain import Delivery, DeliveryState, Kind, Notification
from giaoban_notifications.ports import Transactions
from giaoban_notifications.store import SqlTransactions
from giaoban_notifications.testing import MemoryTransactions

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
LEASE = NOW + timedelta(minutes=2)


@pytest.fixture(name="begin", params=["memory", "sql"])
async def _begin(request: pytest.FixtureRequest) -> AsyncIterator[Transactions]:
    if request.param == "memory":
        yield MemoryTransactions()
        return
    config: ServiceConfig = request.getfixturevalue("database_config")
    await migrate_database(config, "giaoban_notifications")
    async with database(config) as db:
        yield SqlTransactions(db)


def entry(user: str = "u", event: str = "e", at: datetime = NOW) -> Notification:
    return Notification(new_id(), event, "org", user, Kind.MEETING_INVITED, "t", "b", "m", at)


def mail(user: str = "u", event: str = "e", due: datetime = NOW) -> Delivery:
    return Delivery(new_id(), event, user, "a@b.example", b"mail", DeliveryState.PENDING, 0, due)


class TestInbox:
    async def test_one_entry_per_event_and_user(self, begin: Transactions) -> None:
        """A second entry about the same event for the same user is not added."""
        async with begin() as records:
            assert await records.inbox.add(entry("u", "e")) == 1
            assert await records.inbox.add(*(entry(u, e) for u, e in ("ue", "uf", "uf", "ve"))) == 2
            assert await records.inbox.add() == 0
            assert await records.inbox.unread_count("u") == 2

    async def test_pages_newest_first(self, begin: Transactions) -> None:
        """Entries come by descending id; unread ones can be asked for alone; others' never come."""
        entries = sorted((entry(event=str(n)) for n in range(4)), key=lambda n: n.id)
        async with begin() as records:
            for one in [*entries, entry("other")]:
                await records.inbox.add(one)
            await records.inbox.mark_read("u", entries[3].id, NOW)
        async with begin() as records:
            everything = await records.inbox.page("u", unread_only=False, before_id=None, limit=2)
            unread = await records.inbox.page("u", unread_only=True, before_id=entries[2].id, limit=9)
            assert [n.id for n in everything] == [entries[3].id, entries[2].id]
            assert [n.id for n in unread] == [entries[1].id, entries[0].id]
            assert await records.inbox.unread_count("u") == 3

    async def test_reading(self, begin: Transactions) -> None:
        """The first reading counts, a stranger's does not, and all means all up to that time."""
        first, later = entry(event="1"), entry(event="2", at=NOW + timedelta(hours=2))
        async with begin() as records:
            await records.inbox.add(first)
            await records.inbox.add(later)
            await records.inbox.mark_read("stranger", first.id, NOW)
            assert (await records.inbox.get("u", first.id)) == first
            assert (await records.inbox.get("stranger", first.id)) is None
        async with begin() as records:
            await records.inbox.mark_all_read("u", NOW + timedelta(hours=1))
            await records.inbox.mark_read("u", first.id, NOW + timedelta(hours=5))
        async with begin() as records:
            read = await records.inbox.get("u", first.id)
            assert read is not None
            assert read.read_at == NOW + timedelta(hours=1)
            assert await records.inbox.unread_count("u") == 1


class TestDeliveries:
    async def test_one_mail_per_event_and_user(self, begin: Transactions) -> None:
        """A second mail about the same event to the same user is not added."""
        async with begin() as records:
            assert await records.deliveries.add(mail("u", "e")) == 1
            assert await records.deliveries.add(mail("u", "e"), mail("u", "f"), mail("u", "f")) == 1
            assert len(await records.deliveries.of_event("f")) == 1

    async def test_claiming(self, begin: Transactions) -> None:
        """What is due is taken, eldest first, counted, and not given out again before the lease ends."""
        early, late, future = (
            mail(event="1", due=NOW - timedelta(minutes=2)),
            mail(event="2", due=NOW - timedelta(minutes=1)),
            mail(event="3", due=NOW + timedelta(minutes=1)),
        )
        async with begin() as records:
            for one in (late, future, early):
                await records.deliveries.add(one)
        async with begin() as records:
            taken = await records.deliveries.claim(NOW, LEASE, 1)
        assert [(one.id, one.attempts, one.message) for one in taken] == [(early.id, 1, b"mail")]
        async with begin() as records:
            assert [one.id for one in await records.deliveries.claim(NOW, LEASE, 9)] == [late.id]
        async with begin() as records:
            assert not await records.deliveries.claim(NOW, LEASE, 9)
        async with begin() as records:
            again = await records.deliveries.claim(LEASE, LEASE + timedelta(minutes=2), 9)
        assert {(one.id, one.attempts) for one in again} == {(early.id, 2), (late.id, 2), (future.id, 1)}

    async def test_two_workers_never_share(self, begin: Transactions) -> None:
        """Workers that claim at the same time get different mails."""
        async with begin() as records:
            for number in range(6):
                await records.deliveries.add(mail(event=str(number)))

        async def claim() -> list[str]:
            async with begin() as records:
                taken = [one.id for one in await records.deliveries.claim(NOW, LEASE, 3)]
                await asyncio.sleep(0.05)
            return taken

        one, two = await asyncio.gather(claim(), claim())
        assert len({*one, *two}) == 6

    async def test_outcomes(self, begin: Transactions) -> None:
        """Sent erases address and content; retry comes later; dead keeps all and never comes."""
        sent, retried, dead = mail("a"), mail("b"), mail("c")
        async with begin() as records:
            for one in (sent, retried, dead):
                await records.deliveries.add(one)
            await records.deliveries.mark_sent(sent.id)
            await records.deliveries.mark_retry(retried.id, LEASE, "451")
            await records.deliveries.mark_dead(dead.id, "550")
        async with begin() as records:
            found = await records.deliveries.of_event("e")
            assert [(d.state, d.address, d.message, d.last_error) for d in found] == [
                (DeliveryState.SENT, "", b"", ""),
                (DeliveryState.PENDING, "a@b.example", b"mail", "451"),
                (DeliveryState.DEAD, "a@b.example", b"mail", "550"),
            ]
            assert [d.id for d in await records.deliveries.claim(LEASE, LEASE, 9)] == [retried.id]


class TestTransactions:
    async def test_all_or_nothing(self, begin: Transactions) -> None:
        """When the block raises nothing remains, not even that the event was seen."""
        with pytest.raises(LookupError):
            async with begin() as records:
                assert await records.first_time("c", "e")
                await records.inbox.add(entry())
                raise LookupError
        async with begin() as records:
            assert await records.inbox.unread_count("u") == 0
            assert await records.first_time("c", "e")
        async with begin() as records:
            assert not await records.first_time("c", "e")
            assert await records.first_time("other consumer", "e")
            assert not await begin.has_seen("other consumer", "e")
        assert await begin.has_seen("c", "e")
        assert not await begin.has_seen("c", "another event")
