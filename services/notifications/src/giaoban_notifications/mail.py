# SPDX-License-Identifier: Apache-2.0
"""Owns the way to the mail server: SMTP (RFC 5321). No mail address ever reaches a log or an error text."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import aiosmtplib

from giaoban_notifications.ports import MailDelayed, MailRefused

PERMANENT = 500  # RFC 5321, section 4.2.1: 5yz


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mails are handed over, and how."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"]
    username: str | None
    password: str | None
    timeout: timedelta

    def __repr__(self) -> str:
        return f"SmtpServer({self.host}:{self.port}, {self.security})"


class SmtpMailer:
    """The `Mailer` port. A connection serves one mail after the other until one fails, so that none disturbs another."""

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._kept: aiosmtplib.SMTP | None = None

    async def send(self, address: str, message: bytes) -> None:
        """Returns when the server has taken responsibility. Errors: MailRefused, MailDelayed."""
        kept = self._kept is not None
        try:
            await self._send(address, message)
        except MailDelayed:
            if not kept:
                raise
            await self._send(address, message)  # servers end connections after some time or so many mails

    async def hang_up(self) -> None:
        """Ends the connection that was kept for the next mail, if there is one."""
        client, self._kept = self._kept, None
        if client is not None:
            with suppress(aiosmtplib.SMTPException, OSError):  # the server was faster
                await client.quit()
            client.close()

    async def _send(self, address: str, message: bytes) -> None:
        sent = False
        try:
            if self._kept is None:
                self._kept = self._client()
                await self._kept.connect()
            await self._kept.sendmail(self._sender, [address], message)
            sent = True
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _judge(error.recipients[0].code) from None
        except aiosmtplib.SMTPAuthenticationError as error:
            # Ours to mend, not the recipient's: the mail must survive a wrong password.
            raise MailDelayed(f"authentication {error.code}") from None
        except aiosmtplib.SMTPConnectResponseError as error:
            raise MailDelayed(f"connect {error.code}") from None
        except aiosmtplib.SMTPResponseException as error:
            raise _judge(error.code) from None
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not cost the other mails their turn
            raise MailDelayed(type(error).__name__) from None
        finally:
            if not sent:
                await self.hang_up()

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            timeout=server.timeout.total_seconds(),
        )


def _judge(code: int) -> MailRefused | MailDelayed:
    return MailRefused(code) if code >= PERMANENT else MailDelayed(str(code))
