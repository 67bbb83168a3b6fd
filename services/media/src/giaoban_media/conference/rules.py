# SPDX-License-Identifier: Apache-2.0
"""Who is heard, who is shown, who may do what: questions that live state answers by itself. Pure."""

from __future__ import annotations

from giaoban_media.conference.model import Conference, MicrophonePolicy, Participant, Role, Source

MODERATORS = frozenset({Role.CHAIR, Role.SECRETARY, Role.OPERATOR})
REMOVERS = frozenset({Role.CHAIR, Role.SECRETARY})
SPEAKERS = frozenset({Role.CHAIR, Role.SECRETARY, Role.OPERATOR, Role.DELEGATE})
CHATTERS = frozenset({Role.CHAIR, Role.SECRETARY, Role.OPERATOR, Role.DELEGATE, Role.OBSERVER})


def is_audible(conference: Conference, participant: Participant) -> bool:
    """Whether the participant's audio may reach anybody now.

    The chair is always heard unless muted. While a site is called, only it and those given the floor
    after it are heard beside the chair, whatever the policy.
    """
    return _is_audible(participant, _heard_beside_the_chair(conference))


def audible(conference: Conference) -> frozenset[str]:
    """The ids of everyone whose audio may be heard now."""
    heard = _heard_beside_the_chair(conference)
    return frozenset(each.id for each in conference.participants.values() if _is_audible(each, heard))


def _is_audible(participant: Participant, heard: frozenset[str] | None) -> bool:
    # In this order: asked of everybody in the meeting after each change, it is mostly the floor that says no.
    return (
        (heard is None or participant.id in heard or participant.role is Role.CHAIR)
        and not participant.muted
        and not participant.removed
        and participant.role in SPEAKERS
    )


def _heard_beside_the_chair(conference: Conference) -> frozenset[str] | None:
    """The ids of those whom floor and policy let be heard; None: everybody."""
    room, holders = conference.room, conference.floor.holders
    called = any(holder.called for holder in holders)
    if not called and room is not None and room.policy is MicrophonePolicy.OPEN:
        return None
    return frozenset(holder.participant_id for holder in holders)


def showing(conference: Conference) -> str | None:
    """Whose camera is on every main screen; None in an empty room.

    A called site goes before the one that was pinned, before the first who has the floor, before the chair.
    """
    called = [holder.participant_id for holder in conference.floor.holders if holder.called]
    holders = [holder.participant_id for holder in conference.floor.holders]
    for candidate in (*called, conference.stage.participant_id, *holders):
        who = conference.participants.get(candidate)
        if who is not None and not who.removed:
            return candidate
    people = conference.participants.values()
    return min((each.id for each in people if each.role is Role.CHAIR and not each.removed), default=None)


def may_share_screen(conference: Conference, participant: Participant) -> bool:
    """Moderators always; speakers while they have the floor, or whenever microphones are open."""
    if participant.role in MODERATORS:
        return True
    if participant.role not in SPEAKERS:
        return False
    room = conference.room
    open_policy = room is not None and room.policy is MicrophonePolicy.OPEN
    return open_policy or conference.floor.holds(participant.id)


def sharer(conference: Conference) -> Participant | None:
    """Who shares a screen now, if that stream is really there."""
    sharing = conference.participants.get(conference.stage.screen_participant_id)
    if sharing is None or sharing.removed:
        return None
    return sharing if any(each.source is Source.SCREEN for each in sharing.streams) else None
