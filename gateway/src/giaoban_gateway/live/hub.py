# SPDX-License-Identifier: Apache-2.0
"""The live state of the meetings that this gateway has clients in: watched once, encoded once, sent to all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

from giaoban.media.v1 import media_pb2
from giaoban.scheduling.v1.events_pb2 import AdmissionDecided, AdmissionRequested, MeetingChanged
from giaoban_kit.events import parse_event, signal_subject, subject_filter
from giaoban_kit.kv import RESTARTED, SYNCED, Bucket, Deleted, Entry
from giaoban_kit.logging import get_logger
from giaoban_kit.tasks import ended
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg

from giaoban_gateway.live import state as nouns
from giaoban_gateway.live.member import Member
from giaoban_gateway.live.outgoing import Delta, Outgoing, Participant, Stage, WaitingParty
from giaoban_gateway.live.state import LiveState

COALESCE_SECONDS = 0.05
"""Between two deltas of a meeting at least, and from a change until it is told at most."""

SETTLE_SECONDS = 0.01
"""From the last change until it is told, when it was quiet before: what one act writes comes within this time."""

KEPT_DELTAS = 256
RETRY_SECONDS = 1.0

_EMPTY: Delta = {"type": "delta", "revision": 0}

log = get_logger(__name__)


def encode(message: Outgoing | Participant) -> str:
    """The text of a message, or of a part of one."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Delta:
    since: int
    revision: int
    text: str
    press_text: str | None


class RoomFeed:
    """One meeting: its state, its members, and the deltas of the last while."""

    def __init__(self, bucket: Bucket, nats: Client, meeting_id: str) -> None:
        """`run` follows the meeting."""
        self._bucket = bucket
        self._nats = nats
        self._meeting_id = meeting_id
        self._state = LiveState()
        self._shown: dict[str, Participant] = {}
        self._texts: dict[
            str, str
        ] = {}  # of those who are shown, when asked for: each newcomer gets all of them
        self._heard: frozenset[str] = frozenset()
        self._stage: Stage = nouns.stage_json(self._state)
        self._press_sees: set[str] = set()
        self._revision = 0
        self._sent_revision = 0
        self._dirty: set[tuple[str, str]] = set()
        self._recent: deque[_Delta] = deque(maxlen=KEPT_DELTAS)
        self._flush: asyncio.TimerHandle | None = None
        self._flush_by = self._flushed = 0.0
        self._waiting: dict[str, WaitingParty] = {}
        self._decided: set[str] = set()
        self.members: set[Member] = set()
        self.on_changed: set[Callable[[MeetingChanged], None]] = set()
        """Called when the meeting was changed, its appointments among it."""
        self.synced = asyncio.Event()
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Follows the meeting until cancelled."""
        talking = signal_subject("media", "live", self._meeting_id)
        live = await self._nats.subscribe(talking, cb=self._on_live)
        meeting = subject_filter("scheduling", "meeting", "*", self._meeting_id)
        admissions = await self._nats.subscribe(meeting, cb=self._on_meeting)
        try:
            while True:
                try:
                    changes = self._bucket.watch(f"{self._meeting_id}.>")
                    async with contextlib.aclosing(changes):
                        async for change in changes:
                            await self._take(change)
                except Exception:  # whatever it was: reading everything again may help, giving up does not
                    log.exception("live_feed_failed", meeting_id=self._meeting_id)
                await asyncio.sleep(RETRY_SECONDS)
                await self._take(RESTARTED)
        finally:
            self._cancel_flush()
            for subscription in (live, admissions):
                with contextlib.suppress(Exception):
                    await subscription.unsubscribe()

    async def until_present(self, participant_id: str, seconds: float) -> None:
        """Waits until a participant is part of the state; gives up quietly after some time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: participant_id in self._state.participants)

    def add(self, member: Member, revision: int | None) -> None:
        """From now on the member is told: what it missed since `revision`, or everything."""
        if self.synced.is_set():
            self._flush_now()
            missed = None if revision is None else self._missed(revision)
            if missed is None:
                member.refresh(self.snapshot)
            else:
                for delta in missed:
                    member.tell(delta.press_text if member.press else delta.text)
        self.members.add(member)  # one that comes while the state is read again gets it with all others
        if member.moderator:
            member.tell_admissions(self._admissions())

    def _missed(self, revision: int) -> list[_Delta] | None:
        """The deltas since a revision; None when they are not all known any more."""
        if revision == self._sent_revision:
            return []
        if revision > self._sent_revision or not self._recent or self._recent[0].since > revision:
            return None
        return [each for each in self._recent if each.revision > revision]

    def waiting_ids(self) -> frozenset[str]:
        """Whom this gateway knows to be waiting."""
        return frozenset(self._waiting)

    def seed_waiting(self, waiting: list[WaitingParty], known: frozenset[str]) -> None:
        """Takes scheduling's list over; `known`: `waiting_ids` before it was asked for."""
        listed = {each["admission_id"]: each for each in waiting}
        for admission_id in known - listed.keys():
            self._waiting.pop(admission_id, None)
        for admission_id in listed.keys() - self._decided:
            self._waiting[admission_id] = listed[admission_id]

    def snapshot(self, member: Member) -> str:
        """The whole state as a member may see it."""
        if self.synced.is_set():
            self._flush_now()  # what is shown and what the revision says must be one
        room = self._state.room
        people: Iterable[str] = self._shown
        chat = [nouns.chat_json(each) for each in self._state.chat.values()]
        if member.press:
            people, chat = [each for each in self._shown if each in self._press_sees], []
        frame = encode(
            {
                "type": "snapshot",
                "revision": self._sent_revision,
                "room": nouns.room_json(room) if room else None,
                "floor": nouns.floor_json(self._state.floor),
                "stage": self._stage,
                "chat": sorted(chat, key=lambda each: each["id"]),
                "participants": [],  # last, to be filled with what is encoded already
            }
        )
        return f"{frame[:-2]}{','.join(map(self._text, people))}]}}"

    def _text(self, participant_id: str) -> str:
        text = self._texts.get(participant_id)
        if text is None:
            text = self._texts[participant_id] = encode(self._shown[participant_id])
        return text

    async def _take(self, change: object) -> None:
        if change is RESTARTED:
            self._cancel_flush()
            self._state, self._heard, self._dirty = LiveState(), frozenset(), set()
            self._shown, self._texts = {}, {}
            self._revision = self._sent_revision = 0
            self._recent.clear()
            self.synced.clear()
        elif change is SYNCED:
            self._delta(self._dirty)
            self._dirty, self._sent_revision = set(), self._revision
            self.synced.set()
            for member in self.members:
                member.refresh(self.snapshot)
        elif isinstance(change, Entry | Deleted):
            _, kind, *rest = change.key.split(".")
            entry_id = rest[0] if rest else ""
            try:
                self._state.apply(kind, entry_id, change.value if isinstance(change, Entry) else None)
            except DecodeError:  # one entry that nobody can read must not end the meeting for all
                log.error("live_entry_unreadable", key=change.key)  # noqa: TRY400 - the content tells nothing
            self._revision = change.revision
            self._dirty.add((kind, entry_id))
            if self.synced.is_set():
                self._flush_soon()
        async with self._changed:
            self._changed.notify_all()

    def _flush_soon(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._flush is None:
            self._flush_by = now + COALESCE_SECONDS
        self._cancel_flush()
        settled = max(now + SETTLE_SECONDS, self._flushed + COALESCE_SECONDS)
        self._flush = loop.call_at(min(settled, self._flush_by), self._flush_now)

    def _cancel_flush(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None

    def _flush_now(self) -> None:
        self._cancel_flush()
        dirty, self._dirty = self._dirty, set()
        since, self._sent_revision = self._sent_revision, self._revision
        delta, press = self._delta(dirty)
        if delta is None:
            return
        sent = _Delta(since, self._revision, encode(delta), encode(press) if press else None)
        self._recent.append(sent)
        self._flushed = asyncio.get_running_loop().time()
        for member in self.members:
            member.tell(sent.press_text if member.press else sent.text, self.snapshot)

    def _delta(self, dirty: set[tuple[str, str]]) -> tuple[Delta | None, Delta | None]:
        """What changed, for all and for the press; None: nothing of it shows."""
        delta: Delta = {"type": "delta", "revision": self._revision}
        kinds = {kind for kind, _ in dirty}
        if "room" in kinds and self._state.room is not None:
            delta["room"] = nouns.room_json(self._state.room)
        if "floor" in kinds:
            delta["floor"] = nouns.floor_json(self._state.floor)
        here, gone = self._update_people(dirty)
        if here:
            delta["participants"] = [self._shown[key] for key in here]
        if gone:
            delta["removed_participants"] = gone
        stage = nouns.stage_json(self._state)
        if stage != self._stage:
            self._stage = delta["stage"] = stage
        chat = [
            self._state.chat[key] for kind, key in sorted(dirty) if kind == "chat" and key in self._state.chat
        ]
        if chat:
            delta["chat"] = [nouns.chat_json(each) for each in chat]
        press = self._for_press(delta, here)
        return (delta if len(delta) > len(_EMPTY) else None, press if len(press) > len(_EMPTY) else None)

    def _update_people(self, dirty: set[tuple[str, str]]) -> tuple[list[str], list[str]]:
        """Who is shown anew or otherwise, and who is not any more."""
        heard = nouns.audible(self._state)
        changed = {entry_id for kind, entry_id in dirty if kind == "participant"} | (heard ^ self._heard)
        self._heard = heard
        present = {key: who for key in changed if (who := self._state.present(key)) is not None}
        gone, here = sorted(changed & self._shown.keys() - present.keys()), sorted(present)
        for key in (*gone, *here):
            self._texts.pop(key, None)
        for key in gone:
            del self._shown[key]
        self._shown |= {key: nouns.participant_json(present[key], audible=key in heard) for key in here}
        return here, gone

    def _for_press(self, delta: Delta, here: list[str]) -> Delta:
        """The part of a delta that the press sees: those on stage come, change and go."""
        press: Delta = {"type": "delta", "revision": delta["revision"]}
        if "room" in delta:
            press["room"] = delta["room"]
        if "floor" in delta:
            press["floor"] = delta["floor"]
        if "stage" in delta:
            press["stage"] = delta["stage"]
        on_stage = {self._stage["showing"], self._stage["screen_participant_id"]}
        sees = {each for each in on_stage if each is not None and each in self._shown}
        changed = sorted(sees - self._press_sees | sees & set(here))
        left = sorted(self._press_sees - sees)
        self._press_sees = sees
        if changed:
            press["participants"] = [self._shown[each] for each in changed]
        if left:
            press["removed_participants"] = left
        return press

    async def _on_live(self, message: Msg) -> None:
        signal = media_pb2.LiveSignal.FromString(message.data)
        text = encode({"type": "talking", "talking": list(signal.talking), "silent": list(signal.silent)})
        for member in self.members:
            if not member.press:
                member.tell_talking(text)

    async def _on_meeting(self, message: Msg) -> None:
        event = parse_event(message.subject, dict(message.headers or {}), message.data).message
        if isinstance(event, AdmissionRequested):
            admission = event.admission
            self._waiting[admission.id] = {
                "admission_id": admission.id,
                "party": nouns.party_json(admission.party),
                "request_time": nouns.time(admission.request_time),
            }
        elif isinstance(event, AdmissionDecided):
            self._decided.add(event.admission.id)
            self._waiting.pop(event.admission.id, None)
        else:
            if isinstance(event, MeetingChanged):
                for told in list(self.on_changed):
                    told(event)
            return
        text = self._admissions()
        for member in self.members:
            if member.moderator:
                member.tell_admissions(text)

    def _admissions(self) -> str:
        waiting = sorted(self._waiting.values(), key=lambda each: each["request_time"])
        return encode({"type": "admissions", "waiting": waiting})


class Hub:
    """The feeds of all meetings that this gateway has clients in."""

    def __init__(self, bucket: Bucket, nats: Client) -> None:
        """`bucket` is media's; the gateway only reads it."""
        self._bucket = bucket
        self.nats = nats
        self._feeds: dict[str, tuple[RoomFeed, asyncio.Task[None]]] = {}
        self._users: dict[str, int] = {}
        self._stoppers: set[Callable[[], None]] = set()
        self._stopping = False

    @contextlib.asynccontextmanager
    async def following(self, meeting_id: str) -> AsyncIterator[RoomFeed]:
        """The meeting's feed; it is followed for as long as anybody is in this context."""
        if meeting_id not in self._feeds:
            feed = RoomFeed(self._bucket, self.nats, meeting_id)
            self._feeds[meeting_id] = feed, asyncio.create_task(feed.run())
        self._users[meeting_id] = self._users.get(meeting_id, 0) + 1
        feed, task = self._feeds[meeting_id]
        try:
            yield feed
        finally:
            self._users[meeting_id] -= 1
            if not self._users[meeting_id]:
                del self._users[meeting_id], self._feeds[meeting_id]
                await ended(task)

    def follows(self, meeting_id: str) -> bool:
        """Whether anybody is in this meeting through this gateway."""
        return meeting_id in self._feeds

    @contextlib.contextmanager
    def connected(self, stop: Callable[[], None]) -> Iterator[None]:
        """A connection that wants to be told when the process stops."""
        self._stoppers.add(stop)
        if self._stopping:
            stop()
        try:
            yield
        finally:
            self._stoppers.discard(stop)

    async def stop(self) -> None:
        """Sends every client elsewhere."""
        self._stopping = True
        for stop in list(self._stoppers):
            stop()
        await asyncio.sleep(0.2)
