# SPDX-License-Identifier: Apache-2.0
"""Owns a crowd of endpoints in meetings of one system: letting them in at a rate, and what became of their media."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from giaoban_loadtests.clips import Clip
from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.publish import Pacer
from giaoban_loadtests.results import Figure, Generator
from giaoban_loadtests.systems import Attendee, Media, Meeting, SystemFailedError

FIRST_PICTURE_SECONDS = 15.0
_POLL_SECONDS = 0.05
PREPARED_AT_ONCE = 8
DECRYPT_EVERY = 20  # one packet in twenty is decrypted and looked into; all are counted


@dataclass(frozen=True)
class Totals:
    """Counters over all connections of a crowd; differences of two moments are what happened between them."""

    received: int = 0
    lost: int = 0
    decrypted: int = 0
    undecryptable: int = 0
    sent: int = 0
    send_errors: int = 0
    kernel_drops: int = 0
    retransmitted: int = 0
    keyframe_requests: int = 0
    late_ticks: int = 0
    skipped_ticks: int = 0
    ticks: int = 0

    def since(self, before: "Totals") -> "Totals":
        """Return what came on top of `before`."""
        return Totals(*(getattr(self, each.name) - getattr(before, each.name) for each in fields(self)))

    @property
    def loss(self) -> float:
        """The share of expected packets that did not come; nothing is asked for again, so each loss counts."""
        expected = self.received + self.lost
        return max(0, self.lost) / expected if expected else 0.0

    @property
    def lateness(self) -> Figure:
        """How punctual the generator was: a high share makes every time in the run look worse than it was."""
        share = self.late_ticks / self.ticks if self.ticks else 0.0
        return Figure("", "generator: share of ticks sent over 20 ms late", share, "")

    def generator(self) -> Generator:
        """Return what the generator did to itself."""
        return Generator(
            receive_buffer_errors=self.kernel_drops,
            send_buffer_errors=0,  # a full send buffer is an error of send()
            send_errors=self.send_errors,
            skipped_ticks=self.skipped_ticks,
            late_ticks=self.late_ticks,
            ticks=self.ticks,
        )


class Crowd:
    """Endpoints that share a pacer; `delays` are forward latencies of sound, in seconds."""

    def __init__(self, local_ip: str, *, decrypt_every: int = DECRYPT_EVERY) -> None:
        self.pacer = Pacer()
        self.delays: list[float] = []
        self.attendees: list[Attendee] = []
        self.media = Media(self.pacer, local_ip, decrypt_every, self.delays.append)

    async def enter(
        self,
        meeting: Meeting,
        clips: Sequence[Clip | None],
        *,
        per_second: float,
        say: Callable[[str], None] = lambda _: None,
    ) -> list[Attendee]:
        """Prepare and admit one endpoint per clip; raises SystemFailedError."""
        made = await self.prepare(meeting, clips)
        await self.admit(made, per_second=per_second, say=say)
        return made

    async def prepare(self, meeting: Meeting, clips: Sequence[Clip | None]) -> list[Attendee]:
        """Return one attendee per clip, signed in; raises SystemFailedError.

        Whoever comes in has signed in long before: that has a goal of its own and is not the price of coming in.
        """
        made = [meeting.attendee(clip) for clip in clips]
        self.attendees += made
        for start in range(0, len(made), PREPARED_AT_ONCE):
            await asyncio.gather(*(each.prepare() for each in made[start : start + PREPARED_AT_ONCE]))
        return made

    async def admit(
        self,
        made: Sequence[Attendee],
        *,
        per_second: float,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Let them in at a steady rate, without waiting for those before; raises SystemFailedError."""
        loop = asyncio.get_running_loop()
        start, tasks = loop.time(), list[asyncio.Task[None]]()
        for number, attendee in enumerate(made):
            await asyncio.sleep(start + number / per_second - loop.time())
            tasks.append(asyncio.create_task(attendee.enter()))
            if number and number % 50 == 0:
                say(f"{number} of {len(made)} asked to come in")
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def connections(self) -> list[PeerConnection]:
        """Every peer connection that stands now."""
        found = []
        for attendee in self.attendees:
            found += [peer for peer in (attendee.publisher, attendee.receiver) if peer is not None]
        return found

    def without_media(self) -> int:
        """Return how many attendees have no connection that stands, or one that does not."""
        count = 0
        for attendee in self.attendees:
            peers = [peer for peer in (attendee.publisher, attendee.receiver) if peer is not None]
            count += not peers or any(peer.state != "connected" for peer in peers)
        return count

    def totals(self) -> Totals:
        """Return the counters of this moment; connections that were replaced or closed no longer count."""
        every = [connection.stats() for connection in self.connections()]
        return Totals(
            received=sum(each.received_packets for each in every),
            lost=sum(each.lost_packets for each in every),
            decrypted=sum(stream.decrypted for each in every for stream in each.streams),
            undecryptable=sum(each.undecryptable for each in every),
            sent=sum(each.sent_packets for each in every),
            send_errors=sum(each.send_errors for each in every),
            kernel_drops=sum(each.kernel_drops for each in every),
            retransmitted=sum(each.retransmitted for each in every),
            keyframe_requests=sum(each.keyframe_requests for each in every),
            late_ticks=self.pacer.late_ticks,
            skipped_ticks=self.pacer.skipped_ticks,
            ticks=self.pacer.ticks,
        )


def first_picture(attendee: Attendee) -> float | None:
    """Return the seconds from entering to the first whole, decrypted keyframe; None when there is none yet."""
    if attendee.receiver is None:
        return None
    times = [
        stream.first_keyframe_time
        for stream in attendee.receiver.stats().streams
        if stream.first_keyframe_time is not None
    ]
    return min(times) - attendee.entering_time if times else None


async def first_pictures(attendees: Sequence[Attendee]) -> list[float]:
    """Wait until every attendee has seen a picture and return the seconds it took each; raises SystemFailedError."""
    deadline = asyncio.get_running_loop().time() + FIRST_PICTURE_SECONDS
    while True:
        blind = [each for each in attendees if first_picture(each) is None]
        if not blind:
            return [seconds for each in attendees if (seconds := first_picture(each)) is not None]
        if asyncio.get_running_loop().time() > deadline:
            raise SystemFailedError(
                f"{len(blind)} of {len(attendees)} saw no picture within {FIRST_PICTURE_SECONDS:g} s, "
                f"among them {blind[0].name}; its last problem: {blind[0].problem or 'none'}"
            )
        await asyncio.sleep(_POLL_SECONDS)
