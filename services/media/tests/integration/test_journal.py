# SPDX-License-Identifier: Apache-2.0
"""Who may act for a participant's media: epochs on a real bucket."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest
from giaoban_kit.ids import new_id
from giaoban_kit.kv import Bucket, ensure_bucket
from giaoban_media.errors import Replaced
from giaoban_media.holding import Holding
from giaoban_media.janus.node import Node
from giaoban_media.janus.peer import JanusPeer
from giaoban_media.journal import Journal, JournalEntry
from giaoban_media.sfu import RoomKey, Sfu, Ticket
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


async def test_who_was_taken_over_can_find_out(bucket: Bucket) -> None:
    """Also without having been told: the journal says whose the participant is, and whose it was is not."""
    journal = Journal(bucket, "one")
    mine = ticket(1)
    sfu = cast("Sfu", None)  # what is asked of the journal alone needs no node
    former = Holding(sfu, journal, mine.room.meeting_id, mine.participant_id)
    former._ownership = await journal.own(None, mine, former._holder)
    assert await former.is_ours()
    newer = await journal.take_over(await known(journal, mine), "newer")
    assert not await former.is_ours()
    await newer.release()
    assert not await former.is_ours()


async def test_a_newcomer_whom_the_journal_knows_all_the_same(bucket: Bucket) -> None:
    """It wins as if it had looked first, and learns what there was; who did look and was too late does not."""
    journal = Journal(bucket, "one")
    mine = ticket(1)
    ids, sfu = (mine.room.meeting_id, mine.participant_id), cast("Sfu", None)
    first = Holding(sfu, journal, *ids, newcomer=True)
    assert await first.before(resume=False) is None
    assert (await first._win(None, mine))[1] is None
    second = Holding(sfu, journal, *ids, newcomer=True)
    _, had = await second._win(await second.before(resume=False), replace(mine, session=2))
    assert had is not None
    assert had.ticket.session == 1
    assert (await known(journal, mine)).ticket.session == 2
    assert await second.is_ours()
    assert not await first.is_ours()
    returning = Holding(sfu, journal, *ids, newcomer=True)
    found = await returning.before(resume=True)
    assert found is not None
    late = await journal.take_over(found, "faster")
    with pytest.raises(Replaced):
        await returning._win(found, replace(mine, session=3))
    await late.release()


async def test_an_owner_does_not_overtake_itself(bucket: Bucket) -> None:
    """A peer whose publishing and receiving connections come up at once journals both, and stays the owner."""
    journal = Journal(bucket, "one")
    mine = ticket(1)
    owner = await journal.own(None, mine, "first")
    peer = JanusPeer(cast("Node", None), mine, owner.write, {})
    await asyncio.gather(peer.note(origin="o"), peer.note(receiver=7), peer.note(negotiation=1))
    entry = await known(journal, mine)
    assert entry.ticket == peer.ticket == replace(mine, origin="o", receiver=7, negotiation=1)


async def test_a_write_that_was_cancelled_leaves_the_owner_what_it_is(bucket: Bucket) -> None:
    """It may have been done all the same; nothing of the participant stays behind at the end."""
    journal = Journal(bucket, "one")
    mine = ticket(1)
    owner = await journal.own(None, mine, "first")
    before = owner._entry
    await owner.write(replace(mine, receiver=7))
    owner._entry = before  # the answer never came
    await owner.write(replace(mine, receiver=8))
    assert (await known(journal, mine)).ticket.receiver == 8
    owner._entry = before
    await owner.release()
    assert await journal.read(mine.room.meeting_id, mine.participant_id) is None
    again = await journal.own(None, mine, "again")
    await owner.release()  # a later stay is none of its business
    assert await journal.read(mine.room.meeting_id, mine.participant_id) is not None
    await again.release()


async def test_an_entry_that_somebody_deleted_is_not_written_again(bucket: Bucket) -> None:
    """The participant was sent home, or has left from elsewhere."""
    journal = Journal(bucket, "one")
    mine = ticket(1)
    owner = await journal.own(None, mine, "first")
    await bucket.delete(f"{mine.room.meeting_id}.{mine.participant_id}")
    with pytest.raises(Replaced):
        await owner.write(replace(mine, receiver=7))
    assert await journal.read(mine.room.meeting_id, mine.participant_id) is None


async def test_an_owner_outlives_a_store_that_is_lost(js: JetStreamContext) -> None:
    """Revisions begin anew, so nobody has deleted the entry: it is written again, and is its owner's."""
    bucket = await ensure_bucket(js, "test-lost-journal")
    journal = Journal(bucket, "one")
    mine = ticket(1)
    for _ in range(3):
        await journal.own(None, ticket(2), "other")
    owner = await journal.own(None, mine, "first")
    await js.delete_stream("KV_test-lost-journal")
    await ensure_bucket(js, "test-lost-journal")
    await owner.write(replace(mine, receiver=7))
    assert (await known(journal, mine)).ticket.receiver == 7
    assert (await known(journal, mine)).holder == "first"
    # And again: now its revision is one that another may have written before it.
    await js.delete_stream("KV_test-lost-journal")
    await ensure_bucket(js, "test-lost-journal")
    for number in range(3):
        await journal.own(None, ticket(3 + number), "other")
    await owner.restore()
    assert (await known(journal, mine)).ticket.receiver == 7
    await owner.write(replace(mine, receiver=8))
    assert (await known(journal, mine)).ticket.receiver == 8
    await owner.release()
    assert await journal.read(mine.room.meeting_id, mine.participant_id) is None


async def test_media_begins_anew_though_the_store_was_lost_meanwhile(js: JetStreamContext) -> None:
    """Nobody else has the participant, though the journal says nothing of it; but a deleted entry is another's doing."""
    bucket = await ensure_bucket(js, "test-lost-journal")
    journal = Journal(bucket, "one")
    mine = ticket(1)
    holding = Holding(cast("Sfu", _Node()), journal, mine.room.meeting_id, mine.participant_id)
    await holding.begin(None, "a", mine.room)
    await js.delete_stream("KV_test-lost-journal")
    await ensure_bucket(js, "test-lost-journal")
    await holding.begin_again("b", mine.room)
    assert (await known(journal, mine)).ticket.node_id == "b"
    await bucket.delete(f"{mine.room.meeting_id}.{mine.participant_id}")
    with pytest.raises(Replaced):
        await holding.begin_again("a", mine.room)


class _Node:
    """What `begin` asks of a node; none is needed for whose the journal's entry is."""

    async def open_room(self, *_: object) -> None: ...
    async def admit(self, *_: object) -> None: ...
    async def forget(self, *_: object) -> None: ...


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
