# SPDX-License-Identifier: Apache-2.0
"""Owns the way to the mail server: SMTP (RFC 5321). No mail address ever reaches a log or an error text."""

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
    """The `Mailer` port: one connection per mail, so that one bad mail disturbs no other."""

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def send(self, address: str, message: bytes) -> None:
        """Returns when the server has taken responsibility. Errors: MailRefused, MailDelayed."""
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            timeout=server.timeout.total_seconds(),
        )
        try:
            async with client:
                await client.sendmail(self._sender, [address], message)
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


def _judge(code: int) -> MailRefused | MailDelayed:
    return MailRefused(code) if code >= PERMANENT else MailDelayed(str(code))
