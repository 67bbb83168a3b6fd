# SPDX-License-Identifier: Apache-2.0
"""Dead letters come back to life: the operators' tool against a real nats-server."""

import asyncio

import pytest
from giaoban.scheduling.v1.events_pb2 import MeetingEnded
from giaoban_kit.errors import Invalid
from giaoban_kit.events import (
    Event,
    consuming,
    ensure_dead_letters,
    ensure_stream,
    event_filter,
    new_event,
    publish,
    subject,
)
from giaoban_kit.ids import new_id
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tools.dead_letters import TooSoonError, hand_back, letters


async def forget_ids(js: JetStreamContext) -> None:
    """Lets the stream forget the ids it has seen, as two minutes would."""
    settings = (await js.stream_info("SCHEDULING")).config
    settings.duplicate_window = 0.1
    await js.update_stream(settings)
    await asyncio.sleep(0.3)


async def test_an_event_that_was_refused_is_used_after_it_was_handed_back(js: JetStreamContext) -> None:
    """The letter tells who could not use what and why; handed back, the very same event comes again, once."""
    await ensure_stream(js, "scheduling")
    await ensure_dead_letters(js)
    sent = new_event(subject("scheduling", "meeting", "ended", new_id()), MeetingEnded())
    seen: list[str] = []

    async def handle(event: Event) -> None:
        seen.append(event.id)
        if len(seen) == 1:
            raise Invalid("Not now.")

    filters = [event_filter("scheduling", "meeting", "ended")]
    async with consuming(
        js, stream="SCHEDULING", durable="notes-meetings", filter_subjects=filters, handler=handle
    ):
        await publish(js, sent)
        async with asyncio.timeout(10):
            while not (found := await letters(js)):
                await asyncio.sleep(0.05)
        (letter,) = found
        assert (letter.durable, letter.subject, letter.event_id) == ("notes-meetings", sent.subject, sent.id)
        assert (letter.reason, letter.type) == ("INVALID_ARGUMENT", "giaoban.scheduling.v1.MeetingEnded")
        with pytest.raises(TooSoonError):
            await hand_back(js, letter.sequence)
        assert await letters(js) == [letter]
        await forget_ids(js)
        assert await hand_back(js, letter.sequence) == sent.id
        async with asyncio.timeout(10):
            while len(seen) < 2:
                await asyncio.sleep(0.05)
    assert seen == [sent.id, sent.id]
    assert await letters(js) == []


async def test_a_letter_that_is_not_there_is_said_so(js: JetStreamContext) -> None:
    """A wrong number changes nothing."""
    await ensure_dead_letters(js)
    with pytest.raises(NotFoundError):
        await hand_back(js, 7)
