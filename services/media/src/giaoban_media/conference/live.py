# SPDX-License-Identifier: Apache-2.0
"""The live state of one meeting as this replica sees it: a watch on the bucket, and writes that
compare and set. Every replica may write every entry; whoever loses a race decides again on the newer state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog
from giaoban_kit.errors import Conflict, GiaobanError
from giaoban_kit.kv import RESTARTED, SYNCED, Bucket, Deleted, Entry
from google.protobuf.message import DecodeError

from giaoban_media.conference import codec
from giaoban_media.conference.acts import Change
from giaoban_media.conference.model import ChatMessage, Conference, Floor, Participant, Room, Stage
from giaoban_media.errors import LiveStateBusy

_log = structlog.get_logger(__name__)

ATTEMPTS = 20
"""Lost races until a command gives up. Fifty people raising a hand at once lose a few each."""

MAX_CHAT_MESSAGES = 500
"""Messages kept per meeting; the eldest go first."""


@dataclass(slots=True)
class _Known:
    """What was said of a meeting so far."""

    conference: Conference = field(default_factory=Conference)
    revisions: dict[str, int] = field(default_factory=dict)
    chat: list[str] = field(default_factory=list)

    def learn(self, entry_key: str, data: bytes, revision: int) -> None:
        """Takes an entry; our own write, come back, or one older than it changes nothing."""
        if revision <= self.revisions.get(entry_key, 0):
            return
        conference = self.conference
        try:
            _, kind, entry_id = codec.split(entry_key)
            if kind == codec.ROOM:
                self.conference = replace(conference, room=codec.room_from(data))
            elif kind == codec.FLOOR:
                self.conference = replace(conference, floor=codec.floor_from(data))
            elif kind == codec.STAGE:
                self.conference = replace(conference, stage=codec.stage_from(data))
            elif kind == codec.PARTICIPANT:
                participants = {**conference.participants, entry_id: codec.participant_from(data)}
                self.conference = replace(conference, participants=participants)
            elif kind == codec.CHAT:
                self.chat.append(entry_id)
        except (DecodeError, ValueError) as error:
            _log.warning("live_entry_unreadable", key=entry_key, error=type(error).__name__)
            return
        self.revisions[entry_key] = revision

    def forget(self, entry_key: str, revision: int) -> None:
        """Drops an entry, unless it was written again since."""
        if entry_key not in self.revisions or revision < self.revisions[entry_key]:
            return
        del self.revisions[entry_key]
        _, kind, entry_id = codec.split(entry_key)
        if kind == codec.PARTICIPANT:
            others = {pid: each for pid, each in self.conference.participants.items() if pid != entry_id}
            self.conference = replace(self.conference, participants=others)
        elif kind == codec.ROOM:
            self.conference = replace(self.conference, room=None)
        elif kind == codec.FLOOR:
            self.conference = replace(self.conference, floor=Floor())
        elif kind == codec.STAGE:
            self.conference = replace(self.conference, stage=Stage())


class LiveMeeting:
    """Live state with its revisions. `on_change` is called after every change and must not wait."""

    def __init__(self, bucket: Bucket, meeting_id: str, on_change: Callable[[], None]) -> None:
        """Prepares; `run` watches, `synced` tells when the first whole state is here."""
        self._bucket = bucket
        self._meeting_id = meeting_id
        self._on_change = on_change
        self._known = _Known()
        self._anew: _Known | None = None
        self.synced = asyncio.Event()

    @property
    def conference(self) -> Conference:
        """The newest whole state; while a watch begins again, what was known before holds."""
        return self._known.conference

    async def run(self) -> None:
        """Follows the bucket until cancelled."""
        async for change in self._bucket.watch(f"{self._meeting_id}.>"):
            if change is SYNCED:
                before, self._known, self._anew = self._known, self._anew or self._known, None
                if self.conference.room is None and before.conference.room is not None:
                    self._known = before  # the server has lost its store
                    await self._write_again()
                self.synced.set()
                self._on_change()
            elif change is RESTARTED:
                self._anew = _Known()
            elif isinstance(change, Entry):
                self._learn(change.key, change.value, change.revision)
            elif isinstance(change, Deleted):
                self._forget(change.key, change.revision)

    async def apply(self, decide: Callable[[Conference], Change]) -> Change:
        """Writes what `decide` says of the newest state; decides again whenever a race is lost.

        Raises `LiveStateBusy` after too many lost races, and whatever `decide` raises.
        """
        for attempt in range(ATTEMPTS):
            change = decide(self.conference)
            try:
                if change.floor is not None:
                    await self._write(codec.FLOOR, "", change.floor)
                if change.stage is not None:
                    await self._write(codec.STAGE, "", change.stage)
                for participant in change.participants:
                    await self._write(codec.PARTICIPANT, participant.id, participant)
                if change.chat is not None:
                    await self._write(codec.CHAT, change.chat.id, change.chat)
                    await self._prune_chat()
            except Conflict:
                await asyncio.sleep(0.002 * attempt)
                continue
            return change
        raise LiveStateBusy("the meeting changes too fast at the moment; try again")

    async def update_room(self, change: Callable[[Room | None], Room | None]) -> Room | None:
        """Writes the room that `change` makes of the newest one; None or the same: nothing to do."""
        for attempt in range(ATTEMPTS):
            room = change(self.conference.room)
            if room is None or room == self.conference.room:
                return self.conference.room
            try:
                await self._write(codec.ROOM, "", room)
            except Conflict:
                await asyncio.sleep(0.002 * attempt)
                continue
            return room
        raise LiveStateBusy("the room changes too fast at the moment; try again")

    async def update_participant(
        self, participant_id: str, change: Callable[[Participant | None], Participant | None]
    ) -> Participant | None:
        """Like `update_room`, for one participant."""

        def decide(conference: Conference) -> Change:
            before = conference.participants.get(participant_id)
            after = change(before)
            return Change(participants=() if after is None or after == before else (after,))

        await self.apply(decide)
        return self.conference.participants.get(participant_id)

    async def remove_participant(self, participant_id: str) -> None:
        """Deletes the participant's entry."""
        entry_key = codec.key(self._meeting_id, codec.PARTICIPANT, participant_id)
        for _ in range(ATTEMPTS):
            revision = self._known.revisions.get(entry_key)
            if revision is None:
                return
            try:
                await self._bucket.delete(entry_key, revision)
            except Conflict:
                await self._refresh(entry_key)
                continue
            self._forget(entry_key, revision)
            return

    async def _write(
        self, kind: str, entry_id: str, value: Room | Participant | Floor | Stage | ChatMessage
    ) -> None:
        entry_key = codec.key(self._meeting_id, kind, entry_id)
        data = codec.encode(value)
        revision = self._known.revisions.get(entry_key)
        try:
            if revision is None:
                revision = await self._bucket.create(entry_key, data)
            else:
                revision = await self._bucket.update(entry_key, data, revision)
        except Conflict:
            await self._refresh(entry_key)
            raise
        self._learn(entry_key, data, revision)

    async def _is_lost(self) -> bool:
        """Whether the server has lost its store: a room is never deleted."""
        if self.conference.room is None:
            return False
        return await self._bucket.get(codec.key(self._meeting_id, codec.ROOM, "")) is None

    async def _write_again(self) -> None:
        known, whole = self._known, self.conference
        known.revisions.clear()
        entries: list[tuple[str, str, Room | Participant | Floor | Stage]] = [
            (codec.FLOOR, "", whole.floor),
            (codec.STAGE, "", whole.stage),
            *((codec.PARTICIPANT, each.id, each) for each in whole.participants.values()),
        ]
        if whole.room is not None:
            entries.append(
                (codec.ROOM, "", whole.room)
            )  # last: a room that is there says that nothing is lost
        for kind, entry_id, value in entries:
            with suppress(
                GiaobanError
            ):  # another replica was faster; or the watch begins again, and this with it
                await self._write(kind, entry_id, value)
        _log.warning("live_state_written_again", meeting_id=self._meeting_id, entries=len(entries))

    async def _refresh(self, entry_key: str) -> None:
        entry = await self._bucket.get(entry_key)
        if entry is None and await self._is_lost():
            # The watch has not seen it yet: what was forgotten here nobody would write again.
            await self._write_again()
            return
        # What the server says counts, even if it is older than what we knew: a killed server may lose its last writes.
        for known in self._states():
            if entry_key in known.revisions:
                known.revisions[entry_key] = 0
        if entry is None:
            self._forget(entry_key, 0)
        else:
            self._learn(entry_key, entry.value, entry.revision)

    async def _prune_chat(self) -> None:
        chat = self._known.chat
        while len(chat) > MAX_CHAT_MESSAGES:
            await self._bucket.delete(codec.key(self._meeting_id, codec.CHAT, chat.pop(0)))

    def _learn(self, entry_key: str, data: bytes, revision: int) -> None:
        before = self.conference
        for known in self._states():
            known.learn(entry_key, data, revision)
        self._tell_since(before)

    def _forget(self, entry_key: str, revision: int) -> None:
        before = self.conference
        for known in self._states():
            known.forget(entry_key, revision)
        self._tell_since(before)

    def _tell_since(self, before: Conference) -> None:
        # Our own writes come twice, from here and from the watch; what is said in the chat changes no conference.
        if self.synced.is_set() and self.conference is not before:
            self._on_change()

    def _states(self) -> tuple[_Known, ...]:
        return (self._known,) if self._anew is None else (self._known, self._anew)
