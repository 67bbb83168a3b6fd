# SPDX-License-Identifier: Apache-2.0
"""How letters are made."""

import html
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header, make_header

import pytest
from giaoban_notifications.domain import Kind, Locale, Meeting, Recipient
from giaoban_notifications.errors import EventUnusable
from giaoban_notifications.letters import JinjaLetters

AT = datetime(2026, 3, 1, tzinfo=UTC)
LETTERS = JinjaLetters(
    public_url="https://hop.example", sender_name="Giao ban", sender_address="hop@tphcm.example"
)


def meeting(zone: str = "Asia/Ho_Chi_Minh") -> Meeting:
    return Meeting("M", "O", "Ủy ban", "Giao ban", "", AT, timedelta(hours=1), zone, "", "", 0)


def recipient(email: str = "an@tphcm.example", user_id: str = "U") -> Recipient:
    return Recipient(user_id, "O", "Nguyễn Văn An", email, Locale.VI, "UTC")


@pytest.mark.parametrize("email", ["", "no address", "a..b@x.example", "đào@x.example", "a@b>\r\nBcc: c@d"])
def test_an_unusable_address_gets_no_mail(email: str) -> None:
    """One bad address is no error: the others must get theirs."""
    assert LETTERS.meeting_mail(Kind.MEETING_INVITED, meeting(), recipient(email), "E", AT) == b""


NAMES = [
    "Nguyễn Văn An",
    "An",
    "",
    'Quoted "An", of <x@y.example>',
    "Chánh Văn phòng Ủy ban nhân dân thành phố " * 4,
    "An\r\nBcc: all@x.example",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_mail_reads_back_as_it_was_meant(name: str) -> None:
    """Headers, text, page and calendar file survive any name and title; no line of a header or body is too long."""
    title = f"Giao ban về {name}"
    who = replace(recipient(), display_name=name)
    made = LETTERS.meeting_mail(Kind.MEETING_INVITED, replace(meeting(), title=title), who, "E", AT)
    assert b"\r\n" in made
    assert b"\n" not in made.replace(b"\r\n", b"")
    assert all(line.isascii() and len(line) <= 120 for line in made.splitlines())  # of 998 (RFC 5322, 2.1.1)
    mail = message_from_bytes(made, policy=policy.default)
    assert not [defect for part in mail.walk() for defect in part.defects]
    assert not [defect for _, header in mail.items() for defect in header.defects]
    shown = " ".join(name.split())
    assert " ".join(mail["Subject"].split()) == f"Giấy mời họp: Giao ban về {shown}".strip()
    # The address parser of `email` keeps the space between two encoded words, against RFC 2047, section 6.2.
    encoded, _, address = str(message_from_bytes(made)["To"]).rpartition("<")
    assert address.removesuffix(">") == "an@tphcm.example"
    assert str(make_header(decode_header(encoded))).strip() == shown
    assert [each.addr_spec for each in mail["To"].addresses] == ["an@tphcm.example"]
    (sender,) = mail["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Giao ban", "hop@tphcm.example")
    assert mail["Date"].datetime == AT
    assert mail["Bcc"] is None
    assert mail["Content-Language"] == "vi"
    assert mail.get_content_type() == "multipart/mixed"
    alternatives, attached = mail.iter_parts()
    assert [part.get_content_type() for part in alternatives.iter_parts()] == [
        "text/plain",
        "text/html",
        "text/calendar",
    ]
    plain, page, calendar = alternatives.iter_parts()
    assert shown in plain.get_content()
    assert shown in html.unescape(page.get_content())
    assert calendar.get_param("method") == "REQUEST"
    assert calendar.get_content().encode() == attached.get_content()
    assert attached.get_filename() == "invite.ics"


def test_the_message_id_belongs_to_event_and_person() -> None:
    """The same mail has the same id; another person's or event's has another."""

    def message_id(user: str, event: str) -> str:
        mail = LETTERS.meeting_mail(Kind.MEETING_INVITED, meeting(), recipient(user_id=user), event, AT)
        return str(message_from_bytes(mail, policy=policy.default)["Message-ID"])

    ids = [message_id(user, event) for user, event in ("ab", "ab", "ac", "bb")]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert ids[0].endswith("@tphcm.example>")


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd"])
def test_an_unknown_zone_is_an_unusable_event(zone: str) -> None:
    """No guess is made about when a meeting is."""
    with pytest.raises(EventUnusable):
        LETTERS.meeting_mail(Kind.MEETING_INVITED, meeting(zone), recipient(), "E", AT)
