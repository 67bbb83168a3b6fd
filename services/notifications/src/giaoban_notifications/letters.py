# SPDX-License-Identifier: Apache-2.0
"""Owns how a letter is made: words, templates and calendar file become an inbox entry and a mail."""

import hashlib
import re
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from giaoban_notifications.domain import Kind, Locale, Meeting, Recipient, Recording
from giaoban_notifications.errors import EventUnusable
from giaoban_notifications.invite import calendar_file
from giaoban_notifications.texts import LABELS, PHRASES, Phrases, format_length, format_when

_BREAKS = re.compile(r"[\s\x00-\x1f\x7f]+")


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
        to = _address(_line(recipient.display_name), recipient.email)
        if to is None:
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
        mail = self._mail(phrases, words, facts, link, recipient, to, event_id, at)
        method, file = calendar_file(
            kind, meeting, recipient, organizer=self._sender.addr_spec, link=link, at=at
        )
        # Inside the alternatives for programs that show an invitation, attached for all others.
        mail.add_alternative(file.decode(), subtype="calendar", params={"method": method})
        mail.add_attachment(file, maintype="application", subtype="ics", filename="invite.ics")
        return _finished(mail, recipient.locale)

    def recording_mail(
        self, kind: Kind, recording: Recording, recipient: Recipient, event_id: str, at: datetime
    ) -> bytes:
        """The whole mail; empty without a usable address."""
        to = _address(_line(recipient.display_name), recipient.email)
        if to is None:
            return b""
        phrases, labels = PHRASES[recipient.locale, kind], LABELS[recipient.locale]
        words = {"title": _line(recording.meeting_title), "unit": "", "when": ""}
        facts = [
            (labels.title, recording.meeting_title),
            (labels.reason, recording.failure if kind is Kind.RECORDING_FAILED else ""),
        ]
        link = f"{self._public_url}/meetings/{recording.meeting_id}"
        return _finished(
            self._mail(phrases, words, facts, link, recipient, to, event_id, at), recipient.locale
        )

    def _words(self, meeting: Meeting, locale: Locale) -> dict[str, str]:
        try:
            zone = ZoneInfo(meeting.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise EventUnusable(f"The meeting's time zone is not known: {meeting.time_zone!r}.") from None
        when = format_when(meeting.start.astimezone(zone), meeting.time_zone, locale)
        return {"title": _line(meeting.title), "unit": _line(meeting.unit_name), "when": when}

    def _mail(  # the parts of one letter
        self,
        phrases: Phrases,
        words: dict[str, str],
        facts: list[tuple[str, str]],
        link: str,
        recipient: Recipient,
        to: Address,
        event_id: str,
        at: datetime,
    ) -> EmailMessage:
        labels = LABELS[recipient.locale]
        name = _line(recipient.display_name)
        subject = phrases.subject.format(**words)
        context = {
            "phrases": phrases,
            "labels": labels,
            "language": recipient.locale.value,
            "subject": subject,
            "salutation": labels.salutation.format(name=name),
            "opening": phrases.opening.format(**words),
            "facts": [(label, value) for label, value in facts if value],
            "link": link,
        }
        mail = EmailMessage(policy=SMTP)
        mail["Message-ID"] = self._message_id(event_id, recipient.user_id)
        mail["Date"] = at
        mail["Subject"] = subject
        mail["From"] = self._sender
        mail["To"] = to
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: holiday replies stay away
        mail.set_content(self._templates.get_template("letter.txt.j2").render(context))
        mail.add_alternative(self._templates.get_template("letter.html.j2").render(context), subtype="html")
        return mail

    def _message_id(self, event_id: str, user_id: str) -> str:
        """The same for every attempt at the same mail, so that a second copy is known as one."""
        digest = hashlib.sha256(f"{event_id} {user_id}".encode()).hexdigest()[:32]
        return f"<{digest}@{self._sender.domain}>"


def _finished(mail: EmailMessage, locale: Locale) -> bytes:
    # Last: adding parts moves every Content header of the whole into the first part.
    mail["Content-Language"] = locale.value
    return mail.as_bytes()


def _address(name: str, email: str) -> Address | None:
    """None when the address cannot stand in a header: one such person must not cost the others their mail."""
    try:
        return Address(name, addr_spec=email) if email.isascii() else None
    except (MessageError, ValueError, IndexError):
        return None
