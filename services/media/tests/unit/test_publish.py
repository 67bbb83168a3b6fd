# SPDX-License-Identifier: Apache-2.0
"""Tests of the facts that media tells."""

from datetime import UTC, datetime, timedelta

import pytest
from giaoban.media.v1.events_pb2 import ParticipantLeft
from giaoban_kit.ids import new_id
from giaoban_media.conference.model import Connection, Participant, Party, PartyKind, Role
from giaoban_media.publish import NatsNews

LOST = datetime(2026, 9, 1, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("connection", "reason", "at_loss"),
    [
        (Connection.LOST, "lost", True),
        (Connection.CONNECTED, "lost", False),
        (Connection.LOST, "removed", False),
    ],
)
async def test_a_stay_ends_when_its_connection_was_lost(
    connection: Connection, reason: str, at_loss: bool
) -> None:
    """Not when its place was given up; who came back, or was sent away, was there until now."""
    news = NatsNews(print, print)  # sends nothing before it runs
    party = Party(PartyKind.USER, "u", "Võ Ngọc Lan", "", "unit", "Sở Nội vụ")
    participant = Participant(
        id="p",
        party=party,
        role=Role.DELEGATE,
        join_time=LOST - timedelta(hours=1),
        presence_id="s",
        connection=connection,
        lost_time=LOST,
    )
    await news.left(new_id(), new_id(), participant, reason)
    (event,) = news._waiting
    assert isinstance(event.message, ParticipantLeft)
    assert (event.message.leave_time.ToDatetime(tzinfo=UTC) == LOST) is at_loss
