# SPDX-License-Identifier: Apache-2.0
"""What waits for one client: order, bounds, and what replaces what."""

import asyncio

import pytest
from giaoban_gateway.live.member import MAX_DIRECT, MAX_WAITING, Member


@pytest.fixture
def member() -> Member:
    return Member(press=False, moderator=True)


async def everything(member: Member) -> list[str]:
    """Whatever is ready to be sent."""
    found: list[str] = []
    while True:
        try:
            found.append(await asyncio.wait_for(member.next(), 0.01))
        except TimeoutError:
            return found


def whole(_: Member) -> str:
    return "snapshot"


async def test_answers_go_before_state(member: Member) -> None:
    """A reply does not wait behind the meeting's deltas; each kind keeps its order."""
    member.tell("delta 1", whole)
    member.tell("delta 2", whole)
    member.tell_admissions("admissions")
    member.send("reply 1")
    member.send("reply 2")
    assert await everything(member) == ["reply 1", "reply 2", "delta 1", "delta 2", "admissions"]


class Socket:
    """What can be written at once, and what was."""

    def __init__(self) -> None:
        self.writable = True
        self.written: list[str] = []

    def write(self, text: str) -> bool:
        """As `LiveSocket.write`."""
        if self.writable:
            self.written.append(text)
        return self.writable


async def test_state_goes_out_at_once_when_nothing_waits() -> None:
    """Nobody is woken for it; neither it nor what comes after it is sent again."""
    socket = Socket()
    member = Member(press=False, moderator=False, write=socket.write)
    member.tell("delta 1", whole)
    member.tell_talking("talking")
    assert socket.written == ["delta 1", "talking"]
    assert await everything(member) == []


async def test_state_does_not_overtake_what_waits() -> None:
    """Also not what was taken from the outbox and is being sent: only who asks for the next has sent the one before."""
    socket = Socket()
    member = Member(press=False, moderator=False, write=socket.write)
    member.send("joined")
    member.tell("delta 1", whole)
    assert await member.next() == "joined"
    member.tell("delta 2", whole)
    assert [await member.next(), await member.next()] == ["delta 1", "delta 2"]
    member.tell("delta 3", whole)
    assert await everything(member) == ["delta 3"]
    member.tell("delta 4", whole)
    assert socket.written == ["delta 4"]


async def test_state_waits_for_a_client_that_does_not_read() -> None:
    """In order, and bounded as ever; once all of it was read, what follows goes out at once again."""
    socket = Socket()
    member = Member(press=False, moderator=False, write=socket.write)
    socket.writable = False
    member.tell("delta 1", whole)
    socket.writable = True
    member.tell("delta 2", whole)
    assert socket.written == []
    assert await everything(member) == ["delta 1", "delta 2"]
    member.tell("delta 3", whole)
    assert socket.written == ["delta 3"]


async def test_too_many_deltas_become_one_snapshot(member: Member) -> None:
    """A slow reader gets the state as it is when it reads, not all that led there."""
    for number in range(MAX_WAITING * 3):
        member.tell(f"delta {number}", whole)
    assert await everything(member) == ["snapshot"]
    member.tell("delta next", whole)
    assert await everything(member) == ["delta next"]


async def test_a_snapshot_is_made_when_it_is_sent(member: Member) -> None:
    """Deltas that come before it is read are part of it, not repeated after it."""
    current = "state 1"
    member.refresh(lambda _: current)
    current = "state 2"
    member.tell("delta", whole)
    assert await everything(member) == ["state 2"]


async def test_deltas_told_by_making_the_snapshot_are_not_repeated(member: Member) -> None:
    """Making a snapshot may flush what has changed to everyone, this client included."""

    def flushing(asking: Member) -> str:
        asking.tell("delta that the snapshot holds", whole)
        return "snapshot"

    member.refresh(flushing)
    assert await everything(member) == ["snapshot"]


async def test_nothing_for_this_client_is_nothing(member: Member) -> None:
    """A delta without anything for the press sends nothing and wakes nobody."""
    member.tell(None, whole)
    assert await everything(member) == []


async def test_only_the_newest_waiting_list_is_sent(member: Member) -> None:
    """The list is whole each time, so older ones are of no use."""
    member.tell_admissions("one waits")
    member.tell_admissions("nobody waits")
    assert await everything(member) == ["nobody waits"]


async def test_who_talks_is_dropped_for_a_slow_reader(member: Member) -> None:
    """Talking is of the moment; it neither piles up nor brings a snapshot."""
    for number in range(MAX_WAITING * 2):
        member.tell_talking(f"talking {number}")
    found = await everything(member)
    assert len(found) == MAX_WAITING
    assert "snapshot" not in found


async def test_memory_for_one_client_is_bounded(member: Member) -> None:
    """Whatever is said to a client that reads nothing, only so much is kept."""
    for number in range(MAX_DIRECT * 2):
        member.send(f"reply {number}")
    assert len(await everything(member)) == MAX_DIRECT


async def test_what_was_answered_is_not_lost_at_the_end(member: Member) -> None:
    """When the connection ends, replies go out before the word about the end; state does not."""
    member.send("reply")
    member.tell("delta", whole)
    assert member.take_all() == ["reply"]
    assert member.take_all() == []
