# SPDX-License-Identifier: Apache-2.0
"""Owns the calendar file of an invitation (iCalendar, RFC 5545; iTIP, RFC 5546)."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event, Timezone, vCalAddress, vText

from giaoban_notifications.domain import Kind, Meeting, Recipient

ZONES_KEPT = 64
PRODUCT = "-//Giaoban//Notifications//VI"
# iTIP methods (RFC 5546, sections 3.2.2 and 3.2.5).
METHODS = {
    Kind.MEETING_INVITED: "REQUEST",
    Kind.MEETING_CHANGED: "REQUEST",
    Kind.MEETING_CANCELLED: "CANCEL",
    Kind.MEETING_WITHDRAWN: "CANCEL",
}


def calendar_file(
    kind: Kind, meeting: Meeting, recipient: Recipient, *, organizer: str, link: str, at: datetime
) -> tuple[str, bytes]:
    """The iTIP method and the file. The same UID in every mail of a meeting lets calendars update the entry."""
    method = METHODS[kind]
    event = Event()
    event.add("uid", f"{meeting.id}@giaoban")
    event.add("dtstamp", at.astimezone(UTC))
    event.add("sequence", meeting.sequence)
    start = meeting.start.astimezone(ZoneInfo(meeting.time_zone))
    event.add("dtstart", start)
    event.add("dtend", (meeting.start + meeting.duration).astimezone(ZoneInfo(meeting.time_zone)))
    event.add("summary", meeting.title)
    event.add("status", "CANCELLED" if method == "CANCEL" else "CONFIRMED")
    event.add("url", link)
    event.add("location", link)
    if meeting.description:
        event.add("description", meeting.description)
    organizer_address = vCalAddress(f"mailto:{organizer}")
    organizer_address.params["CN"] = vText(meeting.unit_name)
    event.add("organizer", organizer_address)
    attendee = vCalAddress(f"mailto:{recipient.email}")
    attendee.params["CN"] = vText(recipient.display_name)
    attendee.params["ROLE"] = vText("REQ-PARTICIPANT")
    attendee.params["PARTSTAT"] = vText("NEEDS-ACTION")
    event.add("attendee", attendee)
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", method)
    calendar.add_component(event)
    calendar.subcomponents[:0] = [_zone(each) for each in calendar.get_missing_tzids()]
    return method, calendar.to_ical()


@lru_cache(ZONES_KEPT)
def _zone(tzid: str) -> Timezone:
    # Finding out all changes of a zone takes many times as long as everything else of a mail.
    return Timezone.from_tzid(tzid)
