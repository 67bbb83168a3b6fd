# SPDX-License-Identifier: Apache-2.0
"""Who may act for a participant's media: epochs on a real bucket."""

from dataclasses import replace

import pytest
from giaoban_kit.ids import new_id
from giaoban_kit.kv import Bucket, ensure_bucket
from giaoban_media.errors import Replaced
from giaoban_media.journal import Journal, JournalEntry
from giaoban_media.sfu import RoomKey, Ticket
from nats.js import JetStreamContext


@pytest.fixture
async def bucket(js: JetStreamContext) -> Bucket:
    """A bucket of tickets."""
    return await ensure_bucket(js, "test-journal")


def ticket(session: int) -> Ticket:
    """A ticket for a session in a meeting of its own."""
    return Ticket("a", RoomKey(new_id(), 1), new_id(), session)


async def known(journal: Journal, of: Ticket) -> JournalEntry:
    """The entry of a ticket's participant."""
    entry = await journal.read(of.room.meeting_id, of.participant_id)
    assert entry is not None
    return entry


async def test_an_owner_that_journals_does_not_keep_a_newcomer_out(bucket: Bucket) -> None:
    """A write of the owner between the newcomer's look and its claim wins nothing; the newest ticket is taken over."""
    one, two = Journal(bucket, "one"), Journal(bucket, "two")
    mine = ticket(1)
    owner = await one.own(None, mine, "first")
    seen = await known(two, mine)
    await owner.write(replace(mine, receiver=7))
    won = await two.take_over(seen, "second")
    assert (won.epoch, won.ticket.receiver) == (2, 7)
    with pytest.raises(Replaced):
        await owner.write(replace(mine, receiver=8))


async def test_of_two_newcomers_one_wins(bucket: Bucket) -> None:
    """Whoever looked before the other won is told that the participant is joining from elsewhere."""
    journal = Journal(bucket, "one")
    mine = ticket(1)
    await journal.own(None, mine, "first")
    seen = await known(journal, mine)
    await journal.own(seen, replace(mine, session=2), "second")
    with pytest.raises(Replaced):
        await journal.own(seen, replace(mine, session=3), "third")
    with pytest.raises(Replaced):
        await journal.own(None, replace(mine, session=4), "fourth")


async def test_what_this_version_cannot_read_is_passed_over(bucket: Bucket) -> None:
    """An entry of another version, or none at all, hides no other."""
    journal = Journal(bucket, "one")
    mine = ticket(1)
    await journal.own(None, mine, "first")
    await bucket.put(f"{new_id()}.{new_id()}", b"not an entry")
    await bucket.put(new_id(), b"{}")
    later = (await bucket.get(f"{mine.room.meeting_id}.{mine.participant_id}")).value  # type: ignore[union-attr]
    await bucket.put(f"{new_id()}.{new_id()}", later.replace(b'"session"', b'"session_of_v2"'))
    assert mine.participant_id in {each.participant_id for each in await journal.all()}
