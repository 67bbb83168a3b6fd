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
    if participant.muted or participant.removed or participant.role not in SPEAKERS:
        return False
    if participant.role is Role.CHAIR or conference.floor.holds(participant.id):
        return True
    called = any(holder.called for holder in conference.floor.holders)
    room = conference.room
    return not called and room is not None and room.policy is MicrophonePolicy.OPEN


def audible(conference: Conference) -> frozenset[str]:
    """The ids of everyone whose audio may be heard now."""
    return frozenset(each.id for each in conference.participants.values() if is_audible(conference, each))


def showing(conference: Conference) -> str | None:
    """Whose camera is on every main screen; None in an empty room.

    A called site goes before the one that was pinned, before the first who has the floor, before the chair.
    """
    present = conference.present()
    called = [holder.participant_id for holder in conference.floor.holders if holder.called]
    holders = [holder.participant_id for holder in conference.floor.holders]
    chairs = sorted(each.id for each in present.values() if each.role is Role.CHAIR)
    for candidate in (*called, conference.stage.participant_id, *holders, *chairs):
        if candidate in present:
            return candidate
    return None


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
