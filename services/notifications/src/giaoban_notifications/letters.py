# SPDX-License-Identifier: Apache-2.0
"""Owns how a letter is made: words, templates and calendar file become an inbox entry and a mail."""

import hashlib
import re
from datetime import datetime
from email.charset import QP, Charset
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from giaoban_notifications.domain import Kind, Locale, Meeting, Recipient, Recording
from giaoban_notifications.errors import EventUnusable
from giaoban_notifications.invite import calendar_file
from giaoban_notifications.texts import LABELS, PHRASES, Phrases, format_length, format_when

_BREAKS = re.compile(r"[\s\x00-\x1f\x7f]+")
# The parts are put together by the older half of `email`: the newer one parses every header that it is given, which took
# longer than all else of a letter.
_LINES_END_IN_CRLF = compat32.clone(linesep="\r\n")
_UTF8 = Charset("utf-8")
_UTF8.body_encoding = QP


def _line(text: str) -> str:
    """The text on one line: what goes into a header must not start another one."""
    return _BREAKS.sub(" ", text).strip()


class JinjaLetters:
    """The `Letters` port. `public_url`: where people open the web application, no slash at the end."""

    def __init__(self, *, public_url: str, sender_name: str, sender_address: str) -> None:
        self._public_url = public_url
        self._sender = Address(sender_name, addr_spec=sender_address)
        self._templates = Environment(
            loader=PackageLoader("giaoban_notifications"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",)),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )

    def about_meeting(self, kind: Kind, meeting: Meeting, recipient: Recipient) -> tuple[str, str]:
        """Title and body of the inbox entry."""
        phrases = PHRASES[recipient.locale, kind]
        words = self._words(meeting, recipient.locale)
        return phrases.subject.format(**words), phrases.summary.format(**words)

    def about_recording(self, kind: Kind, recording: Recording, recipient: Recipient) -> tuple[str, str]:
        """Title and body of the inbox entry."""
        phrases = PHRASES[recipient.locale, kind]
        return phrases.subject.format(title=_line(recording.meeting_title)), phrases.summary

    def meeting_mail(
        self, kind: Kind, meeting: Meeting, recipient: Recipient, event_id: str, at: datetime
    ) -> bytes:
        """The whole mail with its calendar file; empty without a usable address. Errors: EVENT_UNUSABLE."""
        if not _usable(recipient.email):
            return b""
        phrases, labels = PHRASES[recipient.locale, kind], LABELS[recipient.locale]
        words = self._words(meeting, recipient.locale)
        facts = [
            (labels.title, meeting.title),
            (labels.when, words["when"]),
            (labels.length, format_length(meeting.duration, recipient.locale)),
            (labels.chair, meeting.chair),
            (labels.description, meeting.description),
            (labels.reason, meeting.cancel_reason if kind is Kind.MEETING_CANCELLED else ""),
        ]
        link = f"{self._public_url}/meetings/{meeting.id}"
        method, file = calendar_file(
            kind, meeting, recipient, organizer=self._sender.addr_spec, link=link, at=at
        )
        alternatives = self._alternatives(phrases, words, facts, link, recipient)
        # Inside the alternatives for programs that show an invitation, attached for all others.
        calendar = _text(file.decode(), "calendar")
        calendar.set_param("method", method)
        alternatives.attach(calendar)
        attached = MIMEApplication(file, "ics")
        attached["Content-Disposition"] = 'attachment; filename="invite.ics"'
        mail = MIMEMultipart("mixed", _subparts=[alternatives, attached])
        return self._finished(mail, phrases.subject.format(**words), recipient, event_id, at)

    def recording_mail(
        self, kind: Kind, recording: Recording, recipient: Recipient, event_id: str, at: datetime
    ) -> bytes:
        """The whole mail; empty without a usable address."""
        if not _usable(recipient.email):
            return b""
        phrases, labels = PHRASES[recipient.locale, kind], LABELS[recipient.locale]
        words = {"title": _line(recording.meeting_title), "unit": "", "when": ""}
        facts = [
            (labels.title, recording.meeting_title),
            (labels.reason, recording.failure if kind is Kind.RECORDING_FAILED else ""),
        ]
        link = f"{self._public_url}/meetings/{recording.meeting_id}"
        mail = self._alternatives(phrases, words, facts, link, recipient)
        return self._finished(mail, phrases.subject.format(**words), recipient, event_id, at)

    def _words(self, meeting: Meeting, locale: Locale) -> dict[str, str]:
        try:
            zone = ZoneInfo(meeting.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise EventUnusable(f"The meeting's time zone is not known: {meeting.time_zone!r}.") from None
        when = format_when(meeting.start.astimezone(zone), meeting.time_zone, locale)
        return {"title": _line(meeting.title), "unit": _line(meeting.unit_name), "when": when}

    def _alternatives(
        self,
        phrases: Phrases,
        words: dict[str, str],
        facts: list[tuple[str, str]],
        link: str,
        recipient: Recipient,
    ) -> MIMEMultipart:
        labels = LABELS[recipient.locale]
        context = {
            "phrases": phrases,
            "labels": labels,
            "language": recipient.locale.value,
            "subject": phrases.subject.format(**words),
            "salutation": labels.salutation.format(name=_line(recipient.display_name)),
            "opening": phrases.opening.format(**words),
            "facts": [(label, value) for label, value in facts if value],
            "link": link,
        }
        plain = self._templates.get_template("letter.txt.j2").render(context)
        page = self._templates.get_template("letter.html.j2").render(context)
        return MIMEMultipart("alternative", _subparts=[_text(plain, "plain"), _text(page, "html")])

    def _finished(
        self, mail: MIMEMultipart, subject: str, recipient: Recipient, event_id: str, at: datetime
    ) -> bytes:
        mail["Message-ID"] = self._message_id(event_id, recipient.user_id)
        mail["Date"] = format_datetime(at)
        mail["Subject"] = Header(subject, _UTF8, header_name="Subject").encode()
        mail["From"] = _mailbox("From", self._sender.display_name, self._sender.addr_spec)
        mail["To"] = _mailbox("To", _line(recipient.display_name), recipient.email)
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: holiday replies stay away
        mail["Content-Language"] = recipient.locale.value
        return mail.as_bytes(policy=_LINES_END_IN_CRLF)

    def _message_id(self, event_id: str, user_id: str) -> str:
        """The same for every attempt at the same mail, so that a second copy is known as one."""
        digest = hashlib.sha256(f"{event_id} {user_id}".encode()).hexdigest()[:32]
        return f"<{digest}@{self._sender.domain}>"


def _text(content: str, subtype: str) -> MIMENonMultipart:
    part = MIMENonMultipart("text", subtype, charset="utf-8")
    part.set_payload(content, _UTF8)
    return part


def _mailbox(header: str, name: str, address: str) -> str:
    """The name in encoded words (RFC 2047), whatever is in it, so that nothing in it needs quotes."""
    return f"{Header(name, _UTF8, header_name=header).encode()} <{address}>" if name else address


def _usable(email: str) -> bool:
    """Whether the address can stand in a header: one such person must not cost the others their mail."""
    try:
        return email.isascii() and bool(Address(addr_spec=email).domain)
    except (MessageError, ValueError, IndexError):
        return False
