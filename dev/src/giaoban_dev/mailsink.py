# SPDX-License-Identifier: Apache-2.0
"""Owns the local mail box: an SMTP server that delivers nothing, and a page that shows what would have been sent."""

import argparse
import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

HOST = "127.0.0.1"
MAX_MESSAGES = 500
MAX_MESSAGE_BYTES = 10 * 1024 * 1024
_HEADERS = {
    # Mail is foreign text: no script, no outside request, even if an escape were forgotten.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self' about:; img-src data:",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430}"
    "table{width:100%;border-collapse:collapse}td,th{text-align:left;padding:.4rem;border-bottom:1px solid #d5dae1}"
    "pre{white-space:pre-wrap;background:#f4f6f8;padding:1rem}iframe{width:100%;height:30rem;border:1px solid #d5dae1}"
)


@dataclass(frozen=True)
class Stored:
    """One received message: its id, when (Unix seconds), for whom the envelope was, and its parts."""

    id: str
    received_at: float
    recipients: list[str]
    message: EmailMessage


class MailBox:
    """The received messages as .eml files, the newest MAX_MESSAGES of them."""

    def __init__(self, directory: Path, *, limit: int = MAX_MESSAGES) -> None:
        self._directory = directory
        self._limit = limit
        self._numbers = itertools.count()
        directory.mkdir(parents=True, exist_ok=True)

    def add(self, content: bytes, recipients: list[str]) -> str:
        """Store a message and drop the eldest beyond the limit; return its id."""
        name = f"{time.time_ns():020d}-{next(self._numbers):06d}"
        # The envelope's recipients are in no header (Bcc): kept in a line of our own before the message.
        envelope = "X-Envelope-To: " + ", ".join(recipients).replace("\r", "").replace("\n", "") + "\r\n"
        fresh = self._directory / f".{name}"
        fresh.write_bytes(envelope.encode() + content)
        fresh.replace(self._directory / f"{name}.eml")
        for old in self._files()[: -self._limit]:
            old.unlink(missing_ok=True)
        return name

    def all(self) -> Iterator[Stored]:
        """Yield every message, the newest first."""
        for file in reversed(self._files()):
            yield self._read(file)

    def get(self, message_id: str) -> Stored | None:
        """Return one message, or None."""
        if not message_id.replace("-", "").isdecimal():
            return None
        file = self._directory / f"{message_id}.eml"
        return self._read(file) if file.exists() else None

    def clear(self) -> None:
        for file in self._files():
            file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.eml"))

    def _read(self, file: Path) -> Stored:
        message = message_from_bytes(file.read_bytes(), policy=policy.default)
        recipients = [one.strip() for one in str(message["X-Envelope-To"] or "").split(",") if one.strip()]
        del message["X-Envelope-To"]
        return Stored(file.stem, int(file.stem.split("-")[0]) / 1e9, recipients, message)


class Receiver:
    """aiosmtpd's handler: every message of any sender to anybody is stored, none is sent on."""

    def __init__(self, box: MailBox) -> None:
        self._box = box

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 its name
        content = envelope.content or b""
        self._box.add(content if isinstance(content, bytes) else content.encode(), list(envelope.rcpt_tos))
        return "250 Message accepted"


def attachments(message: EmailMessage) -> list[EmailMessage]:
    """Return the parts that are neither the text nor the HTML of the message (calendar files among them)."""
    bodies = [message.get_body(("plain",)), message.get_body(("html",))]
    return [
        part
        for part in message.walk()
        if not part.is_multipart() and all(part is not body for body in bodies)
    ]


def describe(stored: Stored) -> dict[str, Any]:
    """Return a message as JSON: headers decoded, text and html bodies, attachments by number."""
    message = stored.message
    return {
        "id": stored.id,
        "received_at": stored.received_at,
        "from": str(message["From"] or ""),
        "to": stored.recipients,
        "subject": str(message["Subject"] or ""),
        "headers": [[name, str(value)] for name, value in message.items()],
        "text": _body(message, "plain"),
        "html": _body(message, "html"),
        "attachments": [
            {
                "filename": part.get_filename() or "",
                "content_type": part.get_content_type(),
                "size": len(_content(part)),
                "path": f"/api/messages/{stored.id}/attachments/{number}",
            }
            for number, part in enumerate(attachments(message))
        ],
    }


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else str(part.get_content())


def _content(part: EmailMessage) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


class Pages:
    """The page and its JSON API, over one mail box."""

    def __init__(self, box: MailBox) -> None:
        self._box = box

    def _found(self, request: Request) -> Stored | None:
        return self._box.get(request.path_params["id"])

    async def index(self, _: Request) -> Response:
        rows = "".join(
            f"<tr><td>{time.strftime('%d/%m/%Y %H:%M:%S', time.localtime(each.received_at))}</td>"
            f"<td>{escape(', '.join(each.recipients))}</td>"
            f'<td><a href="/messages/{each.id}">{escape(str(each.message["Subject"] or "(no subject)"))}</a></td></tr>'
            for each in self._box.all()
        )
        table = (
            f"<table><tr><th>Received</th><th>To</th><th>Subject</th></tr>{rows}</table>"
            if rows
            else "<p>No mail yet.</p>"
        )
        return _page("Mail", f"<p>Mail stays on this machine: nothing is sent on.</p>{table}")

    async def show(self, request: Request) -> Response:
        stored = self._found(request)
        if stored is None:
            return _page("No such message", '<p><a href="/">All mail</a></p>', status=404)
        shown = describe(stored)
        parts = [
            f"<p><a href='/'>All mail</a></p><p>From {escape(shown['from'])}<br>To {escape(', '.join(shown['to']))}</p>"
        ]
        if shown["html"] is not None:
            parts.append(f'<iframe sandbox title="HTML part" srcdoc="{escape(shown["html"])}"></iframe>')
        if shown["text"] is not None:
            parts.append(f"<pre>{escape(shown['text'])}</pre>")
        parts += [
            f'<p><a href="{each["path"]}">{escape(each["filename"] or each["content_type"])}</a> ({each["size"]} bytes)</p>'
            for each in shown["attachments"]
        ]
        return _page(shown["subject"] or "(no subject)", "".join(parts))

    async def messages(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._box.clear()
            return Response(status_code=204)
        wanted = request.query_params.get("to")
        return JSONResponse(
            [describe(each) for each in self._box.all() if wanted is None or wanted in each.recipients]
        )

    async def message(self, request: Request) -> Response:
        stored = self._found(request)
        return (
            JSONResponse({"detail": "no such message"}, 404)
            if stored is None
            else JSONResponse(describe(stored))
        )

    async def attachment(self, request: Request) -> Response:
        stored = self._found(request)
        parts = attachments(stored.message) if stored else []
        number: int = request.path_params["number"]
        if number >= len(parts):
            return JSONResponse({"detail": "no such attachment"}, 404)
        name = quote(parts[number].get_filename() or "attachment")
        disposition = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", **_HEADERS}
        return Response(
            _content(parts[number]), media_type=parts[number].get_content_type(), headers=disposition
        )

    async def health(self, _: Request) -> Response:
        return PlainTextResponse("ok")


def application(box: MailBox) -> Starlette:
    """Return /, /messages/{id}, /api/messages[?to=], /api/messages/{id}[/attachments/{n}], /healthz."""
    pages = Pages(box)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/messages/{id}", pages.show),
            Route("/api/messages", pages.messages, methods=["GET", "DELETE"]),
            Route("/api/messages/{id}", pages.message),
            Route("/api/messages/{id}/attachments/{number:int}", pages.attachment),
            Route("/healthz", pages.health),
        ]
    )


def _page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{body}"
    )
    return HTMLResponse(text, status, headers=_HEADERS)


async def serve(box: MailBox, *, smtp_port: int, http_port: int) -> None:
    """Listen on 127.0.0.1 for mail and for the page until stopped by a signal."""
    loop = asyncio.get_running_loop()
    receiver = Receiver(box)
    smtp = await loop.create_server(
        lambda: SMTP(receiver, data_size_limit=MAX_MESSAGE_BYTES, enable_SMTPUTF8=True, loop=loop),
        HOST,
        smtp_port,
    )
    async with smtp:
        config = uvicorn.Config(
            application(box), host=HOST, port=http_port, log_level="warning", lifespan="off"
        )
        await uvicorn.Server(config).serve()


def main() -> None:
    """Run the mail box."""
    parser = argparse.ArgumentParser(prog="python -m giaoban_dev.mailsink")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    given = parser.parse_args()
    asyncio.run(serve(MailBox(given.directory), smtp_port=given.smtp_port, http_port=given.http_port))


if __name__ == "__main__":
    main()
