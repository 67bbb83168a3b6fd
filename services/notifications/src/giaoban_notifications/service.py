# SPDX-License-Identifier: Apache-2.0
"""Owns the use cases of notifications: telling people, their inbox, and sending mail."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

from giaoban_kit.clock import Clock

from giaoban_notifications.domain import (
    MAX_ERROR,
    Delivery,
    DeliveryState,
    Kind,
    Meeting,
    Notification,
    PartyRef,
    Recipient,
    Recording,
    RetryPolicy,
    audience_of_change,
)
from giaoban_notifications.errors import NotificationNotFound
from giaoban_notifications.ports import (
    Letters,
    MailDelayed,
    Mailer,
    MailRefused,
    People,
    Records,
    Transactions,
)

# A mail that a worker took comes again after this, should the worker die; far longer than SMTP timeouts.
LEASE = timedelta(minutes=2)
MAILS_PER_CLAIM = 20

Note = Callable[[Records], Awaitable[None]]
_Told = tuple[Notification, Recipient, bytes]


class Announcements:
    """Turns facts into inbox entries and mails. Each call is one event, and takes effect once.

    Whether an event was seen is asked before anything else: when NATS has lost its store, those of a day come again.
    """

    def __init__(
        self,
        begin: Transactions,
        people: People,
        letters: Letters,
        *,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._begin = begin
        self._people = people
        self._letters = letters
        self._clock = clock
        self._new_id = new_id

    async def meeting_scheduled(
        self, consumer: str, event_id: str, at: datetime, meeting: Meeting, invited: Collection[PartyRef]
    ) -> None:
        """Invites everyone."""
        if await self._begin.has_seen(consumer, event_id):
            return
        people = await self._people.behind(meeting.organisation_id, invited)
        await self._tell_of_meeting(
            consumer, event_id, at, meeting, [(Kind.MEETING_INVITED, person) for person in people]
        )

    async def meeting_changed(
        self,
        consumer: str,
        event_id: str,
        at: datetime,
        meeting: Meeting,
        *,
        before: Collection[PartyRef],
        after: Collection[PartyRef],
        announce_to_all: bool,
    ) -> None:
        """Invites who is new, withdraws who is gone, and informs the others when time or title changed."""
        if await self._begin.has_seen(consumer, event_id):
            return
        old = {p.user_id: p for p in await self._people.behind(meeting.organisation_id, before)}
        new = {p.user_id: p for p in await self._people.behind(meeting.organisation_id, after)}
        audience = audience_of_change(old, new, announce_to_all=announce_to_all)
        everyone = {**old, **new}
        told = [
            *((Kind.MEETING_INVITED, everyone[user_id]) for user_id in sorted(audience.invited)),
            *((Kind.MEETING_WITHDRAWN, everyone[user_id]) for user_id in sorted(audience.withdrawn)),
            *((Kind.MEETING_CHANGED, everyone[user_id]) for user_id in sorted(audience.informed)),
        ]
        await self._tell_of_meeting(consumer, event_id, at, meeting, told)

    async def meeting_cancelled(
        self, consumer: str, event_id: str, at: datetime, meeting: Meeting, invited: Collection[PartyRef]
    ) -> None:
        """Tells everyone who was invited."""
        if await self._begin.has_seen(consumer, event_id):
            return
        people = await self._people.behind(meeting.organisation_id, invited)
        await self._tell_of_meeting(
            consumer, event_id, at, meeting, [(Kind.MEETING_CANCELLED, person) for person in people]
        )

    async def recording_finished(
        self, consumer: str, event_id: str, at: datetime, recording: Recording, starter: PartyRef, kind: Kind
    ) -> None:
        """Tells who started the recording that it can be played, or that it failed."""
        if await self._begin.has_seen(consumer, event_id):
            return
        told = list[_Told]()
        for person in await self._people.behind(recording.organisation_id, [starter]):
            title, body = self._letters.about_recording(kind, recording, person)
            entry = self._entry(event_id, person, kind, title, body, recording.meeting_id)
            told.append((entry, person, self._letters.recording_mail(kind, recording, person, event_id, at)))
        await self._tell(consumer, event_id, told)

    async def _tell_of_meeting(
        self,
        consumer: str,
        event_id: str,
        at: datetime,
        meeting: Meeting,
        told: Sequence[tuple[Kind, Recipient]],
    ) -> None:
        made = list[_Told]()
        for kind, person in told:
            await asyncio.sleep(0)  # of hundreds of letters, whatever else is to be done waits for one
            title, body = self._letters.about_meeting(kind, meeting, person)
            entry = self._entry(event_id, person, kind, title, body, meeting.id)
            made.append((entry, person, self._letters.meeting_mail(kind, meeting, person, event_id, at)))
        await self._tell(consumer, event_id, made)

    async def _tell(self, consumer: str, event_id: str, told: Sequence[_Told]) -> None:
        async with self._begin() as records:
            if await records.first_time(consumer, event_id):
                await records.inbox.add(*(entry for entry, _, _ in told))
                # An account without a usable address has no mail: it reads its inbox.
                await records.deliveries.add(*(self._delivery(*each) for each in told if each[2]))

    def _entry(
        self, event_id: str, person: Recipient, kind: Kind, title: str, body: str, meeting_id: str
    ) -> Notification:
        return Notification(
            id=self._new_id(),
            event_id=event_id,
            organisation_id=person.organisation_id,
            user_id=person.user_id,
            kind=kind,
            title=title,
            body=body,
            meeting_id=meeting_id,
            created_at=self._clock.now(),
        )

    def _delivery(self, entry: Notification, person: Recipient, mail: bytes) -> Delivery:
        return Delivery(
            id=self._new_id(),
            event_id=entry.event_id,
            user_id=person.user_id,
            address=person.email,
            message=mail,
            state=DeliveryState.PENDING,
            attempts=0,
            next_attempt_at=entry.created_at,
        )


class UserInbox:
    """What a user does with the own inbox."""

    def __init__(self, begin: Transactions, *, clock: Clock) -> None:
        self._begin = begin
        self._clock = clock

    async def page(
        self, user_id: str, *, unread_only: bool, before_id: str | None, limit: int
    ) -> tuple[Sequence[Notification], str | None, int]:
        """Entries, newest first; the id after which the next page starts; the number of unread ones."""
        async with self._begin() as records:
            found = await records.inbox.page(
                user_id, unread_only=unread_only, before_id=before_id, limit=limit + 1
            )
            unread = await records.inbox.unread_count(user_id)
        return found[:limit], found[limit - 1].id if len(found) > limit else None, unread

    async def mark_read(self, user_id: str, notification_id: str) -> Notification:
        """The entry, read. Errors: NOTIFICATION_NOT_FOUND."""
        async with self._begin() as records:
            await records.inbox.mark_read(user_id, notification_id, self._clock.now())
            entry = await records.inbox.get(user_id, notification_id)
        if entry is None:
            raise NotificationNotFound
        return entry

    async def mark_all_read(self, user_id: str) -> None:
        """Marks everything up to now."""
        async with self._begin() as records:
            await records.inbox.mark_all_read(user_id, self._clock.now())


class Postman:
    """Sends what is due. Any number of them may work on one database."""

    def __init__(
        self,
        begin: Transactions,
        mailer: Mailer,
        policy: RetryPolicy,
        *,
        clock: Clock,
        count: Callable[[str], None],
    ) -> None:
        self._begin = begin
        self._mailer = mailer
        self._policy = policy
        self._clock = clock
        self._count = count

    async def round(self) -> int:
        """One round: takes mails that are due, sends each, notes how it went. Returns how many it took.

        No transaction is open while a mail is sent. A worker that dies between the server's answer and the
        note sends the mail again after the lease: at least once, with the same Message-ID.
        """
        now = self._clock.now()
        async with self._begin() as records:
            taken = await records.deliveries.claim(now, now + LEASE, MAILS_PER_CLAIM)
        try:
            for delivery in taken:
                if self._clock.now() >= now + LEASE / 2:
                    break  # a slow server: what is left comes again when its lease ends
                outcome, note = await self._try(delivery)
                async with self._begin() as records:
                    await note(records)
                self._count(outcome)
        finally:
            await self._mailer.hang_up()
        return len(taken)

    async def _try(self, delivery: Delivery) -> tuple[str, Note]:
        try:
            await self._mailer.send(delivery.address, delivery.message)
        except MailRefused as refused:
            error = str(refused.code)
            return "dead", lambda records: records.deliveries.mark_dead(delivery.id, error)
        except MailDelayed as delayed:
            error = delayed.what[:MAX_ERROR]
            delay = self._policy.delay(delivery.attempts)
            if delay is None:
                return "dead", lambda records: records.deliveries.mark_dead(delivery.id, error)
            at = self._clock.now() + delay
            return "retried", lambda records: records.deliveries.mark_retry(delivery.id, at, error)
        return "sent", lambda records: records.deliveries.mark_sent(delivery.id)
