# SPDX-License-Identifier: Apache-2.0
"""Owns the in-memory records for unit tests; they pass the same contract suite as the SQL ones."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from giaoban_notifications.domain import Delivery, DeliveryState, Notification


@dataclass
class State:
    """What the tables hold."""

    notifications: dict[str, Notification] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)


class MemoryInbox:
    """The `Inbox` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, *notifications: Notification) -> int:
        told = {(n.event_id, n.user_id) for n in self._state.notifications.values()}
        new = {(n.event_id, n.user_id): n for n in reversed(notifications)}
        added = {n.id: n for key, n in new.items() if key not in told}
        self._state.notifications.update(added)
        return len(added)

    async def get(self, user_id: str, notification_id: str) -> Notification | None:
        entry = self._state.notifications.get(notification_id)
        return entry if entry and entry.user_id == user_id else None

    def _of(self, user_id: str, *, unread_only: bool) -> list[Notification]:
        return [
            entry
            for entry in self._state.notifications.values()
            if entry.user_id == user_id and not (unread_only and entry.read_at)
        ]

    async def page(
        self, user_id: str, *, unread_only: bool, before_id: str | None, limit: int
    ) -> Sequence[Notification]:
        entries = sorted(self._of(user_id, unread_only=unread_only), key=lambda n: n.id, reverse=True)
        return [entry for entry in entries if before_id is None or entry.id < before_id][:limit]

    async def unread_count(self, user_id: str) -> int:
        return len(self._of(user_id, unread_only=True))

    async def mark_read(self, user_id: str, notification_id: str, at: datetime) -> None:
        entry = await self.get(user_id, notification_id)
        if entry is not None and entry.read_at is None:
            self._state.notifications[entry.id] = replace(entry, read_at=at)

    async def mark_all_read(self, user_id: str, at: datetime) -> None:
        for entry in self._of(user_id, unread_only=True):
            if entry.created_at <= at:
                await self.mark_read(user_id, entry.id, at)


class MemoryDeliveries:
    """The `Deliveries` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, *deliveries: Delivery) -> int:
        known = {(d.event_id, d.user_id) for d in self._state.deliveries.values()}
        new = {(d.event_id, d.user_id): d for d in reversed(deliveries)}
        added = {d.id: d for key, d in new.items() if key not in known}
        self._state.deliveries.update(added)
        return len(added)

    async def claim(self, now: datetime, lease_until: datetime, limit: int) -> Sequence[Delivery]:
        due = [
            delivery
            for delivery in self._state.deliveries.values()
            if delivery.state is DeliveryState.PENDING and delivery.next_attempt_at <= now
        ]
        due.sort(key=lambda delivery: (delivery.next_attempt_at, delivery.id))
        taken = [replace(d, attempts=d.attempts + 1, next_attempt_at=lease_until) for d in due[:limit]]
        self._state.deliveries.update({delivery.id: delivery for delivery in taken})
        return taken

    async def mark_sent(self, delivery_id: str) -> None:
        self._set(delivery_id, state=DeliveryState.SENT, address="", message=b"", last_error="")

    async def mark_retry(self, delivery_id: str, at: datetime, error: str) -> None:
        self._set(delivery_id, next_attempt_at=at, last_error=error)

    async def mark_dead(self, delivery_id: str, error: str) -> None:
        self._set(delivery_id, state=DeliveryState.DEAD, last_error=error)

    async def of_event(self, event_id: str) -> Sequence[Delivery]:
        found = [d for d in self._state.deliveries.values() if d.event_id == event_id]
        return sorted(found, key=lambda delivery: delivery.user_id)

    def _set(self, delivery_id: str, **values: object) -> None:
        self._state.deliveries[delivery_id] = replace(self._state.deliveries[delivery_id], **values)  # type: ignore[arg-type]  # named by the callers above


class MemoryRecords:
    """The `Records` port in memory."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.inbox = MemoryInbox(state)
        self.deliveries = MemoryDeliveries(state)

    async def first_time(self, consumer: str, event_id: str) -> bool:
        new = (consumer, event_id) not in self._state.seen
        self._state.seen.add((consumer, event_id))
        return new


class MemoryTransactions:
    """The `Transactions` port in memory: one at a time, undone when the block raises."""

    def __init__(self) -> None:
        self.state = State()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[MemoryRecords]:
        async with self._turn:
            draft = State(dict(self.state.notifications), dict(self.state.deliveries), set(self.state.seen))
            yield MemoryRecords(draft)
            self.state = draft

    async def has_seen(self, consumer: str, event_id: str) -> bool:
        return (consumer, event_id) in self.state.seen
