# SPDX-License-Identifier: Apache-2.0
"""Mails over connections that live and die, against a real SMTP server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from giaoban_notifications.mail import SmtpMailer, SmtpServer
from giaoban_notifications.ports import MailDelayed, MailRefused

REFUSED = "nobody@tphcm.example"


@dataclass
class Server:
    """Counts connections; ends one after `most` mails, as large providers do."""

    most: int = 1000
    reply: str = "250 OK"
    connections: list[int] = field(default_factory=list)
    received: list[str] = field(default_factory=list)

    async def handle_EHLO(
        self, _: SMTP, session: Session, __: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.connections.append(0)
        return responses

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: Any) -> str:
        if address == REFUSED:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:
        if self.connections[-1] >= self.most:
            assert server.transport is not None
            server.transport.close()
            return "421 too many"
        self.connections[-1] += 1
        self.received += envelope.rcpt_tos
        return self.reply


@asynccontextmanager
async def mailing(server: Server) -> AsyncIterator[SmtpMailer]:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: SMTP(server, loop=loop), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    mailer = SmtpMailer(
        SmtpServer("127.0.0.1", port, "none", None, None, timedelta(seconds=5)), "hop@tphcm.example"
    )
    try:
        yield mailer
    finally:
        await mailer.hang_up()
        listening.close()
        await listening.wait_closed()


async def test_mails_share_a_connection_until_it_is_hung_up() -> None:
    """One after the other goes over the same connection; after hanging up the next gets another."""
    server = Server()
    async with mailing(server) as mailer:
        for name in "abc":
            await mailer.send(f"{name}@tphcm.example", b"Subject: x\r\n\r\nx")
        await mailer.hang_up()
        await mailer.hang_up()  # there is none: nothing happens
        await mailer.send("d@tphcm.example", b"Subject: x\r\n\r\nx")
    assert server.connections == [3, 1]


async def test_a_connection_that_the_server_ends_costs_no_mail() -> None:
    """A kept connection may be gone: the mail goes over a new one at once."""
    server = Server(most=2)
    async with mailing(server) as mailer:
        for name in "abcde":
            await mailer.send(f"{name}@tphcm.example", b"Subject: x\r\n\r\nx")
    assert server.received == [f"{name}@tphcm.example" for name in "abcde"]
    assert server.connections == [2, 2, 1]


async def test_a_refused_mail_disturbs_no_other() -> None:
    """A refusal is told with its code, and the next mail is sent."""
    server = Server()
    async with mailing(server) as mailer:
        await mailer.send("a@tphcm.example", b"Subject: x\r\n\r\nx")
        with pytest.raises(MailRefused) as refused:
            await mailer.send(REFUSED, b"Subject: x\r\n\r\nx")
        assert refused.value.code == 550
        await mailer.send("b@tphcm.example", b"Subject: x\r\n\r\nx")
        server.reply = "451 later"
        with pytest.raises(MailDelayed, match="451"):
            await mailer.send("c@tphcm.example", b"Subject: x\r\n\r\nx")
    assert server.received[:2] == ["a@tphcm.example", "b@tphcm.example"]
