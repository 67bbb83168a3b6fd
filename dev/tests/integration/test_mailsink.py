# SPDX-License-Identifier: Apache-2.0
"""The mail box receives over SMTP, shows what came in, and lets nothing foreign run in the page."""

import asyncio
import smtplib
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from giaoban_dev.infra.process import Process, free_port
from giaoban_dev.mailsink import MailBox


@pytest.fixture
async def mail(tmp_path: Path) -> AsyncIterator[tuple[int, httpx.AsyncClient]]:
    """A running mail box: its SMTP port and a client of its page."""
    smtp, http = free_port(), free_port()
    argv = [
        sys.executable,
        "-m",
        "giaoban_dev.mailsink",
        str(tmp_path / "box"),
        "--smtp-port",
        str(smtp),
        "--http-port",
        str(http),
    ]
    process = Process(name="mail", argv=argv, log_file=tmp_path / "log")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{http}", trust_env=False) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/healthz")).is_success
            except httpx.TransportError:
                return False

        await process.start()
        await process.wait_ready(ready)
        yield smtp, client
        await process.stop()


def _send(port: int, message: EmailMessage, recipients: list[str]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.send_message(message, to_addrs=recipients)


def _invitation() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "giaoban@localhost"
    message["To"] = "a@example.org"
    message["Subject"] = "Giấy mời họp giao ban"
    message.set_content("Kính gửi đồng chí")
    message.add_alternative("<b>Kính gửi</b><script>alert(1)</script>", subtype="html")
    message.add_attachment("BEGIN:VCALENDAR", subtype="calendar", filename="họp.ics")
    return message


async def test_a_mail_is_decoded_with_its_parts(mail: tuple[int, httpx.AsyncClient]) -> None:
    """Subject, text, HTML and the calendar file arrive decoded; blind copies are found by their address."""
    smtp, client = mail
    await asyncio.to_thread(_send, smtp, _invitation(), ["a@example.org", "blind@example.org"])
    (message,) = (await client.get("/api/messages", params={"to": "blind@example.org"})).json()
    assert message["subject"] == "Giấy mời họp giao ban"
    assert message["text"].strip() == "Kính gửi đồng chí"
    assert "<b>Kính gửi</b>" in message["html"]
    (attached,) = message["attachments"]
    assert (attached["filename"], attached["content_type"]) == ("họp.ics", "text/calendar")
    assert (await client.get(attached["path"])).text.strip() == "BEGIN:VCALENDAR"
    assert (await client.get("/api/messages", params={"to": "x@example.org"})).json() == []
    assert "Bcc" not in dict(message["headers"])


async def test_the_page_runs_nothing_of_a_mail(mail: tuple[int, httpx.AsyncClient]) -> None:
    """HTML of a mail is shown escaped in a sandboxed frame under a policy without scripts."""
    smtp, client = mail
    await asyncio.to_thread(_send, smtp, _invitation(), ["a@example.org"])
    (message,) = (await client.get("/api/messages")).json()
    page = await client.get(f"/messages/{message['id']}")
    assert "<script>" not in page.text
    assert "<iframe sandbox" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "Giấy mời" in (await client.get("/")).text
    assert (await client.get("/messages/..%2f..%2fetc")).status_code == 404
    assert (await client.delete("/api/messages")).status_code == 204
    assert (await client.get("/api/messages")).json() == []


def test_the_box_is_bounded(tmp_path: Path) -> None:
    """Beyond the limit the eldest message goes."""
    box = MailBox(tmp_path, limit=3)
    for number in range(5):
        box.add(f"Subject: {number}\r\n\r\nx".encode(), ["a@example.org"])
    assert [str(each.message["Subject"]) for each in box.all()] == ["4", "3", "2"]
