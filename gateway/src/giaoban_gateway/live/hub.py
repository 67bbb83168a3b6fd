# SPDX-License-Identifier: Apache-2.0
"""The live state of the meetings that this gateway has clients in: watched once, encoded once, sent to all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from giaoban.media.v1 import media_pb2
from giaoban.scheduling.v1.events_pb2 import AdmissionDecided, AdmissionRequested
from giaoban_kit.events import parse_event
from giaoban_kit.kv import RESTARTED, SYNCED, Bucket, Deleted, Entry
from giaoban_kit.logging import get_logger
from nats.aio.client import Client
from nats.aio.msg import Msg

from giaoban_gateway.live import state as nouns
from giaoban_gateway.live.member import Member
from giaoban_gateway.live.state import LiveState

COALESCE_SECONDS = 0.05
KEPT_DELTAS = 256

log = get_logger(__name__)


def encode(message: dict[str, Any]) -> str:
    """A message's text."""
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
        self._shown: dict[str, dict[str, Any]] = {}
        self._stage: dict[str, Any] = nouns.stage_json(self._state)
        self._revision = 0
        self._sent_revision = 0
        self._dirty: set[tuple[str, str]] = set()
        self._recent: deque[_Delta] = deque(maxlen=KEPT_DELTAS)
        self._flush: asyncio.TimerHandle | None = None
        self._waiting: dict[str, dict[str, Any]] = {}
        self.members: set[Member] = set()
        self.synced = asyncio.Event()
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Follows the meeting until cancelled."""
        subject = f"giaoban.scheduling.v1.meeting.*.{self._meeting_id}"
        live = await self._nats.subscribe(f"giaoban.media.live.{self._meeting_id}", cb=self._on_live)
        admissions = await self._nats.subscribe(subject, cb=self._on_admission)
        try:
            async for change in self._bucket.watch(f"{self._meeting_id}.>"):
                await self._take(change)
        finally:
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
        missed = [each for each in self._recent if revision is not None and each.revision > revision]
        complete = (
            revision is not None
            and revision <= self._sent_revision
            and (revision == self._sent_revision or (self._recent and self._recent[0].since <= revision))
        )
        if complete:
            for delta in missed:
                member.tell(delta.press_text if member.press else delta.text)
        else:
            member.refresh(self.snapshot)
        self.members.add(member)
        if member.moderator and self._waiting:
            member.tell(self._admissions())

    def seed_waiting(self, waiting: list[dict[str, Any]]) -> None:
        """Who waits, as scheduling had it when a moderator came."""
        for each in waiting:
            self._waiting.setdefault(each["admission_id"], each)

    def snapshot(self, member: Member) -> str:
        """The whole state as a member may see it."""
        room = self._state.room
        stage = self._stage
        people = list(self._shown.values())
        chat = [nouns.chat_json(each) for each in self._state.chat.values()]
        if member.press:
            on_stage = {stage["showing"], stage["screen_participant_id"]}
            people, chat = [each for each in people if each["id"] in on_stage], []
        return encode(
            {
                "type": "snapshot",
                "revision": self._sent_revision,
                "room": nouns.room_json(room) if room else None,
                "participants": people,
                "floor": nouns.floor_json(self._state.floor),
                "stage": stage,
                "chat": sorted(chat, key=lambda each: str(each["id"])),
            }
        )

    async def _take(self, change: object) -> None:
        if change is RESTARTED:
            self._state, self._shown, self._dirty = LiveState(), {}, set()
            self._recent.clear()
            self.synced.clear()
        elif change is SYNCED:
            self._flush_now(quiet=True)
            self.synced.set()
            for member in self.members:
                member.refresh(self.snapshot)
        elif isinstance(change, Entry | Deleted):
            _, kind, *rest = change.key.split(".")
            entry_id = rest[0] if rest else ""
            self._state.apply(kind, entry_id, change.value if isinstance(change, Entry) else None)
            self._revision = change.revision
            self._dirty.add((kind, entry_id))
            if self.synced.is_set() and self._flush is None:
                loop = asyncio.get_running_loop()
                self._flush = loop.call_later(COALESCE_SECONDS, self._flush_now)
        async with self._changed:
            self._changed.notify_all()

    def _flush_now(self, *, quiet: bool = False) -> None:
        self._flush = None
        dirty, self._dirty = self._dirty, set()
        since, self._sent_revision = self._sent_revision, self._revision
        delta = self._delta(dirty)
        if quiet or not delta:
            return
        common = {"type": "delta", "revision": self._revision}
        text = encode(common | delta)
        press = {key: value for key, value in delta.items() if key in ("room", "floor", "stage")}
        if "stage" in press or "participants" in delta:
            on_stage = {self._stage["showing"], self._stage["screen_participant_id"]}
            press["participants"] = [
                self._shown[each] for each in sorted(filter(None, on_stage)) if each in self._shown
            ]
        self._recent.append(_Delta(since, self._revision, text, encode(common | press) if press else None))
        for member in self.members:
            member.tell(self._recent[-1].press_text if member.press else text, self.snapshot)

    def _delta(self, dirty: set[tuple[str, str]]) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        kinds = {kind for kind, _ in dirty}
        if "room" in kinds and self._state.room is not None:
            delta["room"] = nouns.room_json(self._state.room)
        if "floor" in kinds:
            delta["floor"] = nouns.floor_json(self._state.floor)
        present = self._state.present()
        changed = {entry_id for kind, entry_id in dirty if kind == "participant"}
        if kinds & {"room", "floor"}:
            changed |= {
                key
                for key, each in present.items()
                if self._shown.get(key, {}).get("audible") != nouns.is_audible(self._state, each)
            }
        gone = sorted(changed & self._shown.keys() - present.keys())
        here = sorted(changed & present.keys())
        for key in gone:
            del self._shown[key]
        self._shown |= {key: nouns.participant_json(self._state, present[key]) for key in here}
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
        return delta

    async def _on_live(self, message: Msg) -> None:
        signal = media_pb2.LiveSignal.FromString(message.data)
        text = encode({"type": "talking", "talking": list(signal.talking), "silent": list(signal.silent)})
        for member in self.members:
            if not member.press:
                member.tell(text)

    async def _on_admission(self, message: Msg) -> None:
        event = parse_event(message.subject, dict(message.headers or {}), message.data).message
        if isinstance(event, AdmissionRequested):
            admission = event.admission
            self._waiting[admission.id] = {
                "admission_id": admission.id,
                "party": nouns.party_json(admission.party),
                "request_time": nouns.time(admission.request_time),
            }
        elif isinstance(event, AdmissionDecided):
            self._waiting.pop(event.admission.id, None)
        else:
            return
        text = self._admissions()
        for member in self.members:
            if member.moderator:
                member.tell(text)

    def _admissions(self) -> str:
        waiting = sorted(self._waiting.values(), key=lambda each: str(each["request_time"]))
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
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @contextlib.contextmanager
    def connected(self, stop: Callable[[], None]) -> Any:
        """A connection that wants to be told when the process stops."""
        self._stoppers.add(stop)
        try:
            yield
        finally:
            self._stoppers.discard(stop)

    async def stop(self) -> None:
        """Sends every client elsewhere."""
        for stop in list(self._stoppers):
            stop()
        await asyncio.sleep(0.2)
