# SPDX-License-Identifier: Apache-2.0
"""How letters are made."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

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
