# SPDX-License-Identifier: Apache-2.0
"""Notifications as a whole: real PostgreSQL, NATS, identity over gRPC, and a real SMTP server."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiosmtpd.smtp import SMTP, Envelope
from giaoban.identity.v1 import identity_pb2 as id_nouns
from giaoban.identity.v1.identity_service_pb2 import (
    ImportDirectoryRequest,
    ImportDirectoryResponse,
    SignInRequest,
)
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban.notifications.v1 import notifications_pb2 as nouns
from giaoban.notifications.v1 import notifications_service_pb2 as calls
from giaoban.notifications.v1.notifications_service_pb2_grpc import NotificationsServiceStub
from giaoban.recording.v1.events_pb2 import RecordingCompleted, RecordingFailed
from giaoban.recording.v1.recording_pb2 import Recording
from giaoban.scheduling.v1 import scheduling_pb2 as scheduling
from giaoban.scheduling.v1.events_pb2 import MeetingCancelled, MeetingChanged, MeetingScheduled
from giaoban_identity import main as identity_main
from giaoban_identity.config import Config as IdentityConfig
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, schema_drift
from giaoban_kit.errors import Invalid, NotFound
from giaoban_kit.events import DEAD_LETTER_PREFIX, Event, ensure_stream, new_event, publish, subject
from giaoban_kit.grpc_client import channel
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import ServiceKeys
from giaoban_kit.testing.servers import free_port
from giaoban_notifications import main
from giaoban_notifications.config import Config
from giaoban_notifications.domain import Delivery, DeliveryState, RetryPolicy
from giaoban_notifications.mail import SmtpMailer, SmtpServer
from giaoban_notifications.service import Postman
from giaoban_notifications.store import SqlTransactions, metadata
from icalendar import Calendar
from nats.js import JetStreamContext
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Entry = ImportDirectoryRequest
PASSWORD = "Đường đi khó 7"
START = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)


@dataclass
class MailServer:
    """A real SMTP server that can be stopped, started, and told to refuse."""

    port: int
    reply: str = "250 OK"
    received: list[tuple[str, EmailMessage]] = field(default_factory=list)
    attempts: int = 0
    server: asyncio.Server | None = None

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Envelope) -> str:
        self.attempts += 1
        if self.reply.startswith("2"):
            assert isinstance(envelope.content, bytes)
            parsed = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(parsed, EmailMessage)
            self.received.append((envelope.rcpt_tos[0], parsed))
        return self.reply

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: SMTP(self, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", self.port
        )

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    def to(self, address: str) -> list[EmailMessage]:
        return [message for recipient, message in self.received if recipient == address]


@dataclass
class House:
    """Everything that runs, and the city in its directory."""

    stack: AsyncExitStack
    keys: ServiceKeys
    config: Config
    js: JetStreamContext
    mail: MailServer
    city: ImportDirectoryResponse
    identity_target: str
    port: int = 0
    service: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        await self.stack.enter_async_context(self.service)
        self.port = await main.start(self.config, self.service)

    async def inbox(self, username: str) -> tuple[NotificationsServiceStub, tuple[tuple[str, str], ...]]:
        gateway = self.keys.identity("gateway")
        door = IdentityServiceStub(
            await self.stack.enter_async_context(channel(self.identity_target, gateway))
        )
        request = SignInRequest(
            organisation_code="tphcm", username=username, password=PASSWORD, client_address="a"
        )
        token = (await door.SignIn(request)).tokens.access_token
        opened = await self.stack.enter_async_context(channel(f"127.0.0.1:{self.port}", gateway))
        return NotificationsServiceStub(opened), (("authorization", f"Bearer {token}"),)

    def appointment(
        self, kind: id_nouns.PartyKind.ValueType, name: str, role: Any = scheduling.APPOINTMENT_ROLE_DELEGATE
    ) -> scheduling.Appointment:
        ids = {
            id_nouns.PARTY_KIND_USER: self.city.user_ids,
            id_nouns.PARTY_KIND_SITE: self.city.site_ids,
            id_nouns.PARTY_KIND_UNIT: self.city.unit_ids,
        }[kind]
        ref = id_nouns.PartyRef(kind=kind, id=ids[name])
        return scheduling.Appointment(
            id=new_id(), party=id_nouns.Party(ref=ref, name=f"name of {name}"), role=role
        )

    def meeting(self, *appointments: scheduling.Appointment, **changed: Any) -> scheduling.Meeting:
        meeting = scheduling.Meeting(
            **{
                "id": new_id(),
                "organisation_id": self.city.organisation.id,
                "unit_name": "Ủy ban nhân dân Thành phố",
                "title": "Giao ban tuần 10",
                "time_zone": "Asia/Ho_Chi_Minh",
                "appointments": appointments,
                **changed,
            }
        )
        meeting.start_time.FromDatetime(START)
        meeting.duration.FromTimedelta(timedelta(minutes=90))
        return meeting

    async def tell(self, verb: str, message: Any) -> Event:
        event = new_event(subject("scheduling", "meeting", verb, message.meeting.id), message)
        await publish(self.js, event)
        return event


async def until(condition: Callable[[], Any], seconds: float = 15) -> None:
    """Waits until the condition holds; fails with a timeout otherwise."""
    async with asyncio.timeout(seconds):
        while True:
            outcome = condition()
            if isinstance(outcome, Awaitable):
                outcome = await outcome
            if outcome:
                return
            await asyncio.sleep(0.05)


def city() -> Entry:
    people = (
        ("an", "ubnd", "Nguyễn Văn An", id_nouns.LOCALE_VI, id_nouns.ROLE_CONVENER),
        ("dao", "binhtan", "Trần Thị Đào", id_nouns.LOCALE_VI, id_nouns.ROLE_OPERATOR),
        ("john", "binhtan", "John Smith", id_nouns.LOCALE_EN, id_nouns.ROLE_MEMBER),
        ("cu", "cuchi", "Lê Cư", id_nouns.LOCALE_VI, id_nouns.ROLE_MEMBER),
    )
    return Entry(
        organisation=id_nouns.Organisation(code="tphcm", name="Thành phố", time_zone="Asia/Ho_Chi_Minh"),
        units=[
            Entry.UnitEntry(code="ubnd", name="Ủy ban nhân dân"),
            Entry.UnitEntry(code="binhtan", parent_code="ubnd", name="Quận Bình Tân"),
            Entry.UnitEntry(code="cuchi", parent_code="ubnd", name="Huyện Củ Chi"),
        ],
        sites=[
            Entry.SiteEntry(
                code="dc-binhtan", unit_code="binhtan", name="Bình Tân", kind=id_nouns.SITE_KIND_FIXED
            )
        ],
        users=[
            Entry.UserEntry(
                username=username,
                unit_code=unit,
                display_name=name,
                email=f"{username}@tphcm.example",
                locale=locale,
                password=PASSWORD,
                roles=[Entry.RoleEntry(unit_code=unit, role=role)],
            )
            for username, unit, name, locale, role in people
        ],
    )


@pytest.fixture(name="house")
async def _house(
    database_config: ServiceConfig,
    postgres_url: str,
    service_keys: ServiceKeys,
    nats_url: str,
    js: JetStreamContext,
    tmp_path: Path,
) -> AsyncIterator[House]:
    key_file = tmp_path / "sealing.key"
    key_file.write_text(base64.b64encode(bytes(32)).decode())
    async with AsyncExitStack() as stack:
        # One fresh database serves both: their tables have different names.
        identity_config = IdentityConfig(
            database_url=database_config.database_url,
            service_key_file=service_keys.key_file("identity"),
            service_jwks_file=service_keys.jwks_file,
            sealing_key_file=key_file,
            argon2_memory_kib=8192,
            argon2_time_cost=1,
        )
        await identity_main.migrate(identity_config)
        target = f"127.0.0.1:{await identity_main.start(identity_config, stack)}"
        dev = IdentityServiceStub(
            await stack.enter_async_context(channel(target, service_keys.identity("dev")))
        )
        mail = MailServer(free_port())
        await mail.start()
        config = Config(
            database_url=await _second_database(postgres_url, stack),
            nats_url=nats_url,
            identity_target=target,
            service_key_file=service_keys.key_file("notifications"),
            service_jwks_file=service_keys.jwks_file,
            smtp_port=mail.port,
            public_url="https://hop.example",
            mail_first_delay=timedelta(seconds=0.3),
            mail_max_delay=timedelta(seconds=0.3),
            mail_max_attempts=40,
            mail_poll=timedelta(seconds=0.1),
        )
        for service in ("scheduling", "recording"):
            await ensure_stream(js, service)
        await main.migrate(config)
        house = House(stack, service_keys, config, js, mail, await dev.ImportDirectory(city()), target)
        await house.start()
        yield house
        await mail.stop()


async def _second_database(postgres_url: str, stack: AsyncExitStack) -> str:
    """Every service has a database of its own, here as well."""
    import asyncpg
    from sqlalchemy import make_url

    name = f"test_{new_id().lower()}"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f'CREATE DATABASE "{name}"')

    async def drop() -> None:
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await connection.close()

    stack.push_async_callback(drop)
    return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)


def parts(message: EmailMessage) -> dict[str, EmailMessage]:
    return {part.get_content_type(): part for part in message.walk() if not part.is_multipart()}


def calendar(message: EmailMessage) -> Any:
    return Calendar.from_ical(parts(message)["application/ics"].get_content())


class TestInvitation:
    async def test_in_vietnamese(self, house: House) -> None:
        """A Vietnamese letter has text, HTML and a calendar file, the time in the meeting's zone, and a link."""
        user = id_nouns.PARTY_KIND_USER
        meeting = house.meeting(
            house.appointment(user, "an", scheduling.APPOINTMENT_ROLE_CHAIR), description="Mang báo cáo."
        )
        await house.tell("scheduled", MeetingScheduled(meeting=meeting))
        await until(lambda: house.mail.received)
        (message,) = house.mail.to("an@tphcm.example")
        assert message["Subject"] == "Giấy mời họp: Giao ban tuần 10"
        assert message["Content-Language"] == "vi"
        assert set(parts(message)) == {"text/plain", "text/html", "text/calendar", "application/ics"}
        text = parts(message)["text/plain"].get_content()
        for expected in (
            "GIẤY MỜI HỌP",
            "Kính gửi: Ông/Bà Nguyễn Văn An",
            "Ủy ban nhân dân Thành phố trân trọng kính mời",
            "Thời gian: 14 giờ 30, thứ Hai, ngày 02/03/2026 (Asia/Ho_Chi_Minh, UTC+07:00)",
            "Thời lượng: 1 giờ 30 phút",
            "Chủ trì: name of an",
            "Ghi chú: Mang báo cáo.",
            f"https://hop.example/meetings/{meeting.id}",
        ):
            assert expected in text
        file = calendar(message)
        (event,) = file.walk("VEVENT")
        assert (file["METHOD"], event["UID"], event["SEQUENCE"]) == ("REQUEST", f"{meeting.id}@giaoban", 0)
        assert event["DTSTART"].dt == START
        assert event["DTSTART"].params["TZID"] == "Asia/Ho_Chi_Minh"
        assert [zone["TZID"] for zone in file.walk("VTIMEZONE")] == ["Asia/Ho_Chi_Minh"]

    async def test_in_english_and_for_a_site(self, house: House) -> None:
        """A site stands for its operators and members; each reads their own language."""
        meeting = house.meeting(house.appointment(id_nouns.PARTY_KIND_SITE, "dc-binhtan"))
        await house.tell("scheduled", MeetingScheduled(meeting=meeting))
        await until(lambda: len(house.mail.received) == 2)
        (message,) = house.mail.to("john@tphcm.example")
        assert message["Subject"] == "Invitation: Giao ban tuần 10"
        text = parts(message)["text/plain"].get_content()
        assert "Time: 14:30, Monday, 02/03/2026 (Asia/Ho_Chi_Minh, UTC+07:00)" in text
        assert house.mail.to("dao@tphcm.example")[0]["Subject"].startswith("Giấy mời họp")

    async def test_nobody_is_told_twice(self, house: House) -> None:
        """A person invited three ways, by an event that comes three times, gets one mail and one entry."""
        meeting = house.meeting(
            house.appointment(id_nouns.PARTY_KIND_USER, "dao"),
            house.appointment(id_nouns.PARTY_KIND_UNIT, "binhtan"),
            house.appointment(id_nouns.PARTY_KIND_SITE, "dc-binhtan"),
        )
        message = MeetingScheduled(meeting=meeting)
        event = await house.tell("scheduled", message)
        for copy in range(2):  # past JetStream's own recognition of duplicates
            headers = {
                "Nats-Msg-Id": event.id,
                "ce-type": message.DESCRIPTOR.full_name,
                "ce-source": "giaoban-scheduling",
                "ce-time": event.time.isoformat(),
            }
            other = event.subject[:-1] + "AB"[copy]
            await house.js.publish(
                other, message.SerializeToString(), headers={**headers, "Nats-Msg-Id": f"{event.id}"}
            )
        last = house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "cu"))
        await house.tell("scheduled", MeetingScheduled(meeting=last))
        await until(lambda: house.mail.to("cu@tphcm.example"))
        assert len(house.mail.to("dao@tphcm.example")) == 1
        stub, me = await house.inbox("dao")
        listed = await stub.ListNotifications(calls.ListNotificationsRequest(), metadata=me)
        assert len(listed.notifications) == 1

    async def test_markup_and_line_breaks_are_text(self, house: House) -> None:
        """A hostile title neither adds a header nor markup."""
        title = "Họp\r\nBcc: x@evil.example <script>alert(1)</script>"
        meeting = house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "an"), title=title)
        await house.tell("scheduled", MeetingScheduled(meeting=meeting))
        await until(lambda: house.mail.received)
        (message,) = house.mail.to("an@tphcm.example")
        assert message["Bcc"] is None
        assert "<script>" not in parts(message)["text/html"].get_content()
        assert [to for to, _ in house.mail.received] == ["an@tphcm.example"]


class TestChange:
    async def test_each_hears_what_concerns_them(self, house: House) -> None:
        """Added: invitation. Removed: cancellation. Kept: the change, if it was announced to all."""
        user = id_nouns.PARTY_KIND_USER
        kept, gone, added = (house.appointment(user, name) for name in ("an", "dao", "cu"))
        meeting = house.meeting(kept, added, sequence=3)
        await house.tell(
            "changed",
            MeetingChanged(
                meeting=meeting, removed_appointments=[gone], added_appointments=[added], announce_to_all=True
            ),
        )
        await until(lambda: len(house.mail.received) == 3)
        subjects = {to.split("@")[0]: message["Subject"] for to, message in house.mail.received}
        assert subjects == {
            "an": "Thay đổi giấy mời họp: Giao ban tuần 10",
            "dao": "Thôi mời họp: Giao ban tuần 10",
            "cu": "Giấy mời họp: Giao ban tuần 10",
        }
        methods = {to.split("@")[0]: calendar(message)["METHOD"] for to, message in house.mail.received}
        assert methods == {"an": "REQUEST", "dao": "CANCEL", "cu": "REQUEST"}
        (event,) = calendar(house.mail.to("an@tphcm.example")[0]).walk("VEVENT")
        assert event["SEQUENCE"] == 3

    async def test_a_small_change_disturbs_nobody_else(self, house: House) -> None:
        """Without an announcement to all, those who stay hear nothing; who stays by another way is not sent off."""
        kept = house.appointment(id_nouns.PARTY_KIND_UNIT, "binhtan")
        gone = house.appointment(id_nouns.PARTY_KIND_USER, "dao")  # dao operates binhtan and stays invited
        added = house.appointment(id_nouns.PARTY_KIND_USER, "cu")
        await house.tell(
            "changed",
            MeetingChanged(
                meeting=house.meeting(kept, added), removed_appointments=[gone], added_appointments=[added]
            ),
        )
        await until(lambda: house.mail.received)
        await asyncio.sleep(0.5)
        assert [to for to, _ in house.mail.received] == ["cu@tphcm.example"]

    async def test_cancellation(self, house: House) -> None:
        """A cancelled meeting is cancelled in the calendar too, with the reason in the letter."""
        meeting = house.meeting(
            house.appointment(id_nouns.PARTY_KIND_USER, "an"), cancel_reason="Bão số 3", sequence=2
        )
        await house.tell("cancelled", MeetingCancelled(meeting=meeting))
        await until(lambda: house.mail.received)
        (message,) = house.mail.to("an@tphcm.example")
        assert message["Subject"] == "Hủy cuộc họp: Giao ban tuần 10"
        assert "Lý do: Bão số 3" in parts(message)["text/plain"].get_content()
        file = calendar(message)
        (event,) = file.walk("VEVENT")
        assert (file["METHOD"], event["STATUS"], event["SEQUENCE"]) == ("CANCEL", "CANCELLED", 2)


class TestRecording:
    @pytest.mark.parametrize(
        ("kind", "verb", "title"),
        [
            (RecordingCompleted, "completed", "Bản ghi đã sẵn sàng: Giao ban"),
            (RecordingFailed, "failed", "Bản ghi chưa xử lý được: Giao ban"),
        ],
    )
    async def test_who_started_it_is_told(self, house: House, kind: Any, verb: str, title: str) -> None:
        """The person who started the recording hears how it ended."""
        recording = Recording(
            id=new_id(),
            organisation_id=house.city.organisation.id,
            meeting_id=new_id(),
            meeting_title="Giao ban",
            started_by=house.city.user_ids["an"],
            failure="hết dung lượng",
        )
        event = new_event(subject("recording", "recording", verb, recording.id), kind(recording=recording))
        await publish(house.js, event)
        await until(lambda: house.mail.received)
        assert house.mail.to("an@tphcm.example")[0]["Subject"] == title


class TestSmtpOutage:
    async def test_down_then_up(self, house: House) -> None:
        """A mail waits for its server and is delivered once when it is back."""
        await house.mail.stop()
        meeting = house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "an"))
        event = await house.tell("scheduled", MeetingScheduled(meeting=meeting))

        async def attempted() -> bool:
            found = await deliveries(house, event)
            return bool(found) and found[0].attempts >= 2

        await until(attempted)
        await house.mail.start()
        await until(lambda: house.mail.received)
        await asyncio.sleep(1)
        assert len(house.mail.received) == 1
        (sent,) = await deliveries(house, event)
        assert (sent.state, sent.address, sent.message) == (DeliveryState.SENT, "", b"")

    async def test_a_busy_server_is_asked_again(self, house: House) -> None:
        """A temporary refusal (4yz) is no loss."""
        house.mail.reply = "451 Try later"
        await house.tell(
            "scheduled",
            MeetingScheduled(meeting=house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "an"))),
        )
        await until(lambda: house.mail.attempts >= 2)
        house.mail.reply = "250 OK"
        await until(lambda: house.mail.received)
        assert len(house.mail.received) == 1

    async def test_dead_letter(self, house: House) -> None:
        """A mail that is refused for good is given up at once, kept, and the inbox has it all the same."""
        house.mail.reply = "550 No such person"
        meeting = house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "an"))
        event = await house.tell("scheduled", MeetingScheduled(meeting=meeting))

        async def dead() -> bool:
            found = await deliveries(house, event)
            return bool(found) and found[0].state is DeliveryState.DEAD

        await until(dead)
        (given_up,) = await deliveries(house, event)
        assert (given_up.attempts, given_up.last_error) == (1, "550")
        stub, me = await house.inbox("an")
        listed = await stub.ListNotifications(calls.ListNotificationsRequest(), metadata=me)
        assert listed.unread_count == 1

    async def test_killed_between_send_and_note(self, house: House) -> None:
        """A worker that dies after the server's answer sends again after the lease, with the same Message-ID."""
        await house.mail.stop()
        meeting = house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "an"))
        event = await house.tell("scheduled", MeetingScheduled(meeting=meeting))

        async def there() -> bool:
            return bool(await deliveries(house, event))

        await until(there)
        await house.service.aclose()  # the first life of the service ends; the mail is pending
        await house.mail.start()
        async with database(house.config) as db:
            begin = SqlTransactions(db)
            mailer = SmtpMailer(
                SmtpServer("127.0.0.1", house.mail.port, "none", None, None, timedelta(seconds=5)),
                "giaoban@localhost",
            )
            later = Later()
            later.ahead = timedelta(minutes=10)
            async with begin() as records:
                (taken,) = await records.deliveries.claim(later.now(), later.now() + timedelta(minutes=2), 10)
            await mailer.send(taken.address, taken.message)  # and here the power fails
            outcomes: list[str] = []
            retries = RetryPolicy(timedelta(seconds=1), timedelta(seconds=1), 3)
            postman = Postman(begin, mailer, retries, clock=later, count=outcomes.append)
            assert await postman.round() == 0  # the lease still holds
            later.ahead += timedelta(minutes=3)
            assert await postman.round() == 1
            assert await postman.round() == 0
        assert outcomes == ["sent"]
        first, second = house.mail.to("an@tphcm.example")
        assert first["Message-ID"] == second["Message-ID"]


class Later:
    """The machine's clock, some time ahead."""

    ahead = timedelta()

    def now(self) -> datetime:
        return SystemClock().now() + self.ahead


async def deliveries(house: House, event: Event) -> list[Delivery]:
    async with database(house.config) as db, SqlTransactions(db)() as records:
        return list(await records.deliveries.of_event(event.id))


class TestInbox:
    async def test_read_and_page(self, house: House) -> None:
        """Entries come newest first in the user's language, page by page, and are read one by one or all."""
        for number in range(3):
            meeting = house.meeting(
                house.appointment(id_nouns.PARTY_KIND_USER, "john"), title=f"Meeting {number}"
            )
            await house.tell("scheduled", MeetingScheduled(meeting=meeting))
        await until(lambda: len(house.mail.received) == 3)
        stub, me = await house.inbox("john")
        first = await stub.ListNotifications(calls.ListNotificationsRequest(page_size=2), metadata=me)
        assert [entry.title for entry in first.notifications] == [
            "Invitation: Meeting 2",
            "Invitation: Meeting 1",
        ]
        assert first.notifications[0].kind == nouns.NOTIFICATION_KIND_MEETING_INVITED
        assert first.unread_count == 3
        rest = await stub.ListNotifications(
            calls.ListNotificationsRequest(page_size=2, page_token=first.next_page_token), metadata=me
        )
        assert ([entry.title for entry in rest.notifications], rest.next_page_token) == (
            ["Invitation: Meeting 0"],
            "",
        )
        request = calls.MarkNotificationReadRequest(notification_id=first.notifications[0].id)
        once = (await stub.MarkNotificationRead(request, metadata=me)).notification
        twice = (await stub.MarkNotificationRead(request, metadata=me)).notification
        assert once.HasField("read_time")
        assert once == twice
        await stub.MarkAllNotificationsRead(calls.MarkAllNotificationsReadRequest(), metadata=me)
        unread = await stub.ListNotifications(calls.ListNotificationsRequest(unread_only=True), metadata=me)
        assert (list(unread.notifications), unread.unread_count) == ([], 0)

    async def test_it_is_ones_own(self, house: House) -> None:
        """Another person's entry is not there; wrong input is named."""
        meeting = house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "john"))
        await house.tell("scheduled", MeetingScheduled(meeting=meeting))
        await until(lambda: house.mail.received)
        john, johns = await house.inbox("john")
        entry = (
            await john.ListNotifications(calls.ListNotificationsRequest(), metadata=johns)
        ).notifications[0]
        stub, me = await house.inbox("an")
        with pytest.raises(NotFound) as caught:
            await stub.MarkNotificationRead(
                calls.MarkNotificationReadRequest(notification_id=entry.id), metadata=me
            )
        assert caught.value.reason == "NOTIFICATION_NOT_FOUND"
        for call, name in (
            (stub.MarkNotificationRead(calls.MarkNotificationReadRequest(), metadata=me), "notification_id"),
            (stub.ListNotifications(calls.ListNotificationsRequest(page_size=201), metadata=me), "page_size"),
            (
                stub.ListNotifications(calls.ListNotificationsRequest(page_token="x"), metadata=me),
                "page_token",
            ),
        ):
            with pytest.raises(Invalid) as refused:
                await call
            assert [violation.field for violation in refused.value.violations] == [name]


class TestHouse:
    async def test_unusable_events_are_put_aside(self, house: House) -> None:
        """An event without what a letter needs goes to the dead letters, and the next one is handled."""
        await house.tell("scheduled", MeetingScheduled(meeting=scheduling.Meeting(id=new_id())))
        await house.tell(
            "scheduled",
            MeetingScheduled(meeting=house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "an"))),
        )
        await until(lambda: house.mail.received)
        dead = await house.js.get_last_msg("DEAD_LETTERS", f"{DEAD_LETTER_PREFIX}.notifications-meetings")
        assert (dead.headers or {})["giaoban-reason"] == "EVENT_UNUSABLE"

    async def test_one_trace_without_addresses(self, house: House, capfd: pytest.CaptureFixture[str]) -> None:
        """The trace of whoever published goes on in the consumer and in identity; no mail address in spans or logs."""
        provider = trace.get_tracer_provider()
        assert isinstance(provider, TracerProvider)
        exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        sampled = trace.SpanContext(0xACE, 0xBEE, is_remote=True, trace_flags=trace.TraceFlags(1))
        house.mail.reply = "550 an@tphcm.example is unknown"
        meeting = house.meeting(house.appointment(id_nouns.PARTY_KIND_USER, "an"))
        with trace.use_span(trace.NonRecordingSpan(sampled)):
            await house.tell("scheduled", MeetingScheduled(meeting=meeting))
        await until(lambda: house.mail.attempts)

        def names() -> set[str]:
            mine = (span for span in exporter.get_finished_spans() if span.context.trace_id == 0xACE)
            return {span.name for span in mine}

        await until(lambda: "consume notifications-meetings" in names())
        assert any("ResolveRecipients" in name for name in names())
        traced = "".join(str(span.to_json()) for span in exporter.get_finished_spans())
        printed = "".join(capfd.readouterr())
        assert "event_consumed" in printed
        assert "tphcm.example" not in printed + traced

    async def test_migrations_and_tables_agree(self, house: House) -> None:
        """The migrated database has exactly the tables of the code."""
        async with database(house.config) as db:
            assert await schema_drift(db, metadata) == []


async def test_events_heard_long_ago_are_forgotten(house: House) -> None:
    """What no stream can bring again goes; what one still could stays."""
    await house.service.aclose()
    async with database(house.config) as db:
        remember = sa.text(
            "INSERT INTO inbox (consumer, event_id, received_at)"
            " VALUES ('c', 'old', now() - interval '31 days'), ('c', 'young', now() - interval '15 days')"
        )
        async with db.engine.begin() as connection:
            await connection.execute(remember)

        async def heard() -> list[str]:
            async with db.engine.connect() as connection:
                return list(
                    await connection.scalars(sa.text("SELECT event_id FROM inbox WHERE consumer = 'c'"))
                )

        assert sorted(await heard()) == ["old", "young"]
        house.service = AsyncExitStack()
        await house.start()

        async def forgotten() -> bool:
            return await heard() == ["young"]

        await until(forgotten)
