# SPDX-License-Identifier: Apache-2.0
"""The acts of a meeting: `(conference, act, actor, now) → Change`. Pure; owns every rule of floor and stage.

Each entry of the live state is written on its own, so an act that touches several puts its meaning into
one of them: calling a site is a floor entry with `called`, and the stage follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from giaoban_media.conference.model import (
    ChatMessage,
    Conference,
    Floor,
    FloorHolder,
    FloorRequest,
    Participant,
    Role,
    Stage,
)
from giaoban_media.conference.rules import CHATTERS, MODERATORS, REMOVERS, SPEAKERS, audible
from giaoban_media.errors import (
    CommandForbidden,
    CommandInvalid,
    FloorFull,
    FloorQueueFull,
    ParticipantNotFound,
)

MAX_QUEUE = 200
MAX_HOLDERS = 4
MAX_CHAT_CHARACTERS = 2_000
MIN_FLOOR = timedelta(seconds=10)
MAX_FLOOR = timedelta(hours=2)


# What people can do.


@dataclass(frozen=True, slots=True)
class RaiseHand:
    """Asks for the floor."""


@dataclass(frozen=True, slots=True)
class LowerHand:
    """Takes a request back; another's by a moderator."""

    participant_id: str = ""


@dataclass(frozen=True, slots=True)
class GrantFloor:
    """Gives the floor."""

    participant_id: str
    limit: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TakeFloor:
    """Takes the floor from one, or from everyone when empty."""

    participant_id: str = ""


@dataclass(frozen=True, slots=True)
class ReturnFloor:
    """Gives one's own floor back."""


@dataclass(frozen=True, slots=True)
class CallSite:
    """Floor to that participant alone, everyone else but the chair muted, on every main screen."""

    participant_id: str
    limit: timedelta | None = None


@dataclass(frozen=True, slots=True)
class EndCall:
    """Takes the floor of the called site back and leaves the stage to follow the floor."""


@dataclass(frozen=True, slots=True)
class MuteParticipant:
    """Closes or opens a microphone at the server."""

    participant_id: str
    muted: bool


@dataclass(frozen=True, slots=True)
class MuteAll:
    """Closes every microphone but the chair's."""


@dataclass(frozen=True, slots=True)
class RemoveParticipant:
    """Sends a participant out for good."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class SetStage:
    """Puts a participant on every main screen; automatic when empty."""

    participant_id: str = ""


@dataclass(frozen=True, slots=True)
class SendChat:
    """A message to all."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class SetOwnDevices:
    """Tells the others that one's own microphone or camera is switched off."""

    microphone_off: bool
    camera_off: bool


@dataclass(frozen=True, slots=True)
class ReorderQueue:
    """Puts the queue into another order."""

    participant_ids: tuple[str, ...]


Act = (
    RaiseHand | LowerHand | GrantFloor | TakeFloor | ReturnFloor | CallSite | EndCall | MuteParticipant
    | MuteAll | RemoveParticipant | SetStage | SendChat | SetOwnDevices | ReorderQueue
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Granted:
    """Somebody got the floor."""

    holder: FloorHolder


@dataclass(frozen=True, slots=True)
class Returned:
    """Somebody's floor ended."""

    participant_id: str


Effect = Granted | Returned


@dataclass(frozen=True, slots=True)
class Change:
    """Entries to write, in this order: floor, stage, participants, chat. None and empty: unchanged."""

    floor: Floor | None = None
    stage: Stage | None = None
    participants: tuple[Participant, ...] = ()
    chat: ChatMessage | None = None
    effects: tuple[Effect, ...] = field(default=())


def decide(conference: Conference, act: Act, actor: Participant, now: datetime) -> Change:
    """What an act changes.

    Raises:
        CommandForbidden: the actor's role does not allow it.
        CommandInvalid: a value is out of bounds; names the field and the remedy.
        ParticipantNotFound: the participant it is about is not in the room.
        FloorQueueFull, FloorFull: a limit is reached.

    """
    return _DECISIONS[type(act)](conference, act, actor, now)


def _raise_hand(conference: Conference, _: RaiseHand, actor: Participant, now: datetime) -> Change:
    _need(actor, SPEAKERS, "raise_hand")
    floor = conference.floor
    if floor.holds(actor.id) or any(each.participant_id == actor.id for each in floor.queue):
        return Change()
    if len(floor.queue) >= MAX_QUEUE:
        raise FloorQueueFull(f"{MAX_QUEUE} requests are waiting; try again when some have spoken")
    return Change(floor=replace(floor, queue=(*floor.queue, FloorRequest(actor.id, now))))


def _lower_hand(conference: Conference, act: LowerHand, actor: Participant, _: datetime) -> Change:
    whose = act.participant_id or actor.id
    if whose != actor.id:
        _need(actor, MODERATORS, "lower_hand")
    queue = tuple(each for each in conference.floor.queue if each.participant_id != whose)
    return _changed(conference, replace(conference.floor, queue=queue))


def _grant_floor(conference: Conference, act: GrantFloor, actor: Participant, now: datetime) -> Change:
    _need(actor, MODERATORS, "grant_floor")
    speaker = _speaker(conference, act.participant_id)
    limit = _limit(act.limit)
    floor = conference.floor
    if not floor.holds(speaker.id) and len(floor.holders) >= MAX_HOLDERS:
        raise FloorFull(f"{MAX_HOLDERS} have the floor; take it from one of them first")
    others = tuple(each for each in floor.holders if each.participant_id != speaker.id)
    holder = FloorHolder(speaker.id, now, limit)
    return Change(
        floor=Floor(_without(floor, speaker.id), (*others, holder)),
        participants=_unmuted(speaker),
        effects=(Granted(holder),),
    )


def _call_site(conference: Conference, act: CallSite, actor: Participant, now: datetime) -> Change:
    _need(actor, MODERATORS, "call_site")
    site = _speaker(conference, act.participant_id)
    holder = FloorHolder(site.id, now, _limit(act.limit), called=True)
    ended = tuple(
        Returned(each.participant_id) for each in conference.floor.holders if each.participant_id != site.id
    )
    return Change(
        floor=Floor(_without(conference.floor, site.id), (holder,)),
        stage=_unpinned(conference),
        participants=_unmuted(site),
        effects=(*ended, Granted(holder)),
    )


def _end_call(conference: Conference, _: EndCall, actor: Participant, __: datetime) -> Change:
    _need(actor, MODERATORS, "end_call")
    called = {each.participant_id for each in conference.floor.holders if each.called}
    return _take(conference, called, stage=_unpinned(conference))


def _take_floor(conference: Conference, act: TakeFloor, actor: Participant, _: datetime) -> Change:
    _need(actor, MODERATORS, "take_floor")
    holders = {each.participant_id for each in conference.floor.holders}
    return _take(conference, holders & {act.participant_id} if act.participant_id else holders)


def _return_floor(conference: Conference, _: ReturnFloor, actor: Participant, __: datetime) -> Change:
    return _take(conference, {actor.id} if conference.floor.holds(actor.id) else set())


def _mute(conference: Conference, act: MuteParticipant, actor: Participant, _: datetime) -> Change:
    _need(actor, MODERATORS, "mute_participant")
    who = _present(conference, act.participant_id)
    if who.role is Role.CHAIR and who.id != actor.id:
        raise CommandForbidden("only the chair can mute the chair", act="mute_participant")
    return Change(participants=() if who.muted == act.muted else (replace(who, muted=act.muted),))


def _mute_all(conference: Conference, _: MuteAll, actor: Participant, __: datetime) -> Change:
    _need(actor, MODERATORS, "mute_all")
    heard = (conference.participants[each] for each in sorted(audible(conference)))
    return Change(
        participants=tuple(replace(each, muted=True) for each in heard if each.role is not Role.CHAIR)
    )


def _remove(conference: Conference, act: RemoveParticipant, actor: Participant, _: datetime) -> Change:
    _need(actor, REMOVERS, "remove_participant")
    who = _present(conference, act.participant_id)
    if who.role is Role.CHAIR:
        raise CommandForbidden("the chair cannot be removed", act="remove_participant")
    gone = without_participant(conference, who.id)
    return replace(gone, participants=(replace(who, removed=True, streams=()),))


def _set_stage(conference: Conference, act: SetStage, actor: Participant, _: datetime) -> Change:
    _need(actor, MODERATORS, "set_stage")
    if act.participant_id:
        _present(conference, act.participant_id)
    stage = replace(conference.stage, participant_id=act.participant_id)
    return Change(stage=None if stage == conference.stage else stage)


def _send_chat(_: Conference, act: SendChat, actor: Participant, now: datetime) -> Change:
    _need(actor, CHATTERS, "send_chat")
    text = act.text.strip()
    if not 1 <= len(text) <= MAX_CHAT_CHARACTERS:
        raise CommandInvalid.field("text", f"write 1 to {MAX_CHAT_CHARACTERS:,} characters")
    return Change(chat=ChatMessage(act.message_id, actor.id, actor.party.name, text, now))


def _set_own_devices(_: Conference, act: SetOwnDevices, actor: Participant, __: datetime) -> Change:
    updated = replace(actor, microphone_off=act.microphone_off, camera_off=act.camera_off)
    return Change(participants=() if updated == actor else (updated,))


def _reorder_queue(conference: Conference, act: ReorderQueue, actor: Participant, _: datetime) -> Change:
    _need(actor, MODERATORS, "reorder_queue")
    waiting = {each.participant_id: each for each in conference.floor.queue}
    if len(set(act.participant_ids)) != len(act.participant_ids) or set(act.participant_ids) != set(waiting):
        raise CommandInvalid.field("participant_ids", "name everyone in the queue exactly once")
    return _changed(
        conference, replace(conference.floor, queue=tuple(waiting[each] for each in act.participant_ids))
    )


_DECISIONS: dict[type, Callable[..., Change]] = {
    RaiseHand: _raise_hand,
    LowerHand: _lower_hand,
    GrantFloor: _grant_floor,
    TakeFloor: _take_floor,
    ReturnFloor: _return_floor,
    CallSite: _call_site,
    EndCall: _end_call,
    MuteParticipant: _mute,
    MuteAll: _mute_all,
    RemoveParticipant: _remove,
    SetStage: _set_stage,
    SendChat: _send_chat,
    SetOwnDevices: _set_own_devices,
    ReorderQueue: _reorder_queue,
}


# What happens without anybody's act.


def without_participant(conference: Conference, participant_id: str) -> Change:
    """Floor and stage once a participant is gone. The participant's own entry is the caller's."""
    change = _take(conference, {participant_id} if conference.floor.holds(participant_id) else set())
    floor = change.floor or conference.floor
    floor = replace(floor, queue=_without(floor, participant_id))
    stage = Stage(*("" if each == participant_id else each for each in _stage_ids(conference)))
    return replace(
        change,
        floor=None if floor == conference.floor else floor,
        stage=None if stage == conference.stage else stage,
    )


def expired(conference: Conference, now: datetime) -> Change:
    """The floor of those whose time is over, taken back."""
    over = {
        each.participant_id
        for each in conference.floor.holders
        if each.limit is not None and each.grant_time + each.limit <= now
    }
    return _take(conference, over)


def screen_shared(conference: Conference, participant_id: str, *, sharing: bool) -> Change:
    """The stage once a participant has started or stopped to share a screen."""
    mine = conference.stage.screen_participant_id == participant_id
    if sharing == mine:
        return Change()
    return Change(stage=replace(conference.stage, screen_participant_id=participant_id if sharing else ""))


def _need(actor: Participant, roles: frozenset[Role], act: str) -> None:
    if actor.removed or actor.role not in roles:
        raise CommandForbidden(f"a participant with the role {actor.role} may not do this", act=act)


def _present(conference: Conference, participant_id: str) -> Participant:
    participant = conference.participants.get(participant_id)
    if participant is None or participant.removed:
        raise ParticipantNotFound(
            "nobody with this id is in the room; see the roster", participant_id=participant_id
        )
    return participant


def _speaker(conference: Conference, participant_id: str) -> Participant:
    participant = _present(conference, participant_id)
    if participant.role not in SPEAKERS:
        raise CommandInvalid.field(
            "participant_id", f"a participant with the role {participant.role} cannot speak"
        )
    return participant


def _limit(limit: timedelta | None) -> timedelta | None:
    if limit is not None and not MIN_FLOOR <= limit <= MAX_FLOOR:
        raise CommandInvalid.field(
            "limit_seconds", "choose 10 seconds to 2 hours, or leave it out for no limit"
        )
    return limit


def _without(floor: Floor, participant_id: str) -> tuple[FloorRequest, ...]:
    return tuple(each for each in floor.queue if each.participant_id != participant_id)


def _unmuted(participant: Participant) -> tuple[Participant, ...]:
    return (replace(participant, muted=False),) if participant.muted else ()


def _unpinned(conference: Conference) -> Stage | None:
    return replace(conference.stage, participant_id="") if conference.stage.participant_id else None


def _stage_ids(conference: Conference) -> tuple[str, str]:
    return conference.stage.participant_id, conference.stage.screen_participant_id


def _changed(conference: Conference, floor: Floor) -> Change:
    return Change(floor=None if floor == conference.floor else floor)


def _take(conference: Conference, from_whom: set[str], stage: Stage | None = None) -> Change:
    if not from_whom:
        return Change(stage=stage)
    keep = tuple(each for each in conference.floor.holders if each.participant_id not in from_whom)
    return Change(
        floor=replace(conference.floor, holders=keep),
        stage=stage,
        effects=tuple(Returned(each) for each in sorted(from_whom)),
    )
