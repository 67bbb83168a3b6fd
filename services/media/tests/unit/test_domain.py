# SPDX-License-Identifier: Apache-2.0
"""What a participant receives, and when a change of the conference is one for its media."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from giaoban_media.conference.model import (
    Conference,
    Floor,
    FloorHolder,
    MicrophonePolicy,
    Participant,
    Party,
    PartyKind,
    Role,
    Room,
    Source,
    Stage,
    Stream,
)
from giaoban_media.domain import (
    RETURNS_PER_SECOND,
    Feed,
    Layer,
    View,
    concerned,
    desired,
    muted_mids,
    turn,
    wanted,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
MICROPHONE, CAMERA, SCREEN = (
    Stream("0", Source.MICROPHONE),
    Stream("1", Source.CAMERA),
    Stream("2", Source.SCREEN),
)


def person(name: str, role: Role = Role.DELEGATE, *streams: Stream) -> Participant:
    """A participant that sends these streams."""
    return Participant(name, Party(PartyKind.SITE, name, name), role, NOW, f"stay-{name}", streams=streams)


CHAIR = person("chair", Role.CHAIR, MICROPHONE, CAMERA)
ONE, TWO = person("one", Role.DELEGATE, MICROPHONE, CAMERA), person("two", Role.DELEGATE, MICROPHONE, CAMERA)
SILENT = person("silent")
EVERYONE = {each.id: each for each in (CHAIR, ONE, TWO, SILENT)}
MEETING = Conference(Room("meeting", "organisation", MicrophonePolicy.FLOOR, NOW), EVERYONE)


def feed(who: str, stream: Stream) -> Feed:
    """The stream as others receive it."""
    return Feed(who, stream.mid, 0, stream.source)


def with_floor(conference: Conference, *names: str) -> Conference:
    """The same with these having the floor."""
    return replace(conference, floor=Floor(holders=tuple(FloorHolder(each, NOW) for each in names)))


def put(conference: Conference, who: Participant) -> Conference:
    """The same with an entry written."""
    return replace(conference, participants={**conference.participants, who.id: who})


STEPS: tuple[Callable[[Conference], Conference], ...] = (
    lambda now: with_floor(now, "one"),
    lambda now: with_floor(now, "silent"),
    with_floor,
    lambda now: put(now, replace(ONE, muted=True)),
    lambda now: put(now, replace(ONE, publication=1)),
    lambda now: put(now, replace(TWO, removed=True)),
    lambda now: put(now, replace(ONE, node_id="b")),
    lambda now: put(now, replace(SILENT, node_id="a")),
    lambda now: put(now, replace(TWO, streams=(MICROPHONE, SCREEN))),
    lambda now: put(now, replace(SILENT, streams=(CAMERA,))),
    lambda now: replace(now, stage=Stage(participant_id="two")),
    lambda now: replace(now, stage=Stage(screen_participant_id="two")),
    lambda now: replace(
        now, participants={key: now.participants[key] for key in now.participants if key != "one"}
    ),
    lambda now: now and replace(now, room=now.room and replace(now.room, policy=MicrophonePolicy.OPEN)),
)
"""What may happen to a meeting, one after the other."""


def test_everybody_receives_the_audible_and_the_stage_but_nobody_themselves() -> None:
    """Heard and shown is who has the floor; the chair is heard too."""
    conference = with_floor(MEETING, "one")
    assert wanted(conference, "silent", View()) == {
        feed("chair", MICROPHONE): Layer.LOW,
        feed("one", MICROPHONE): Layer.LOW,
        feed("one", CAMERA): Layer.HIGH,
    }
    assert wanted(conference, "one", View()) == {feed("chair", MICROPHONE): Layer.LOW}
    assert wanted(conference, "chair", View(stage_height=180)) == {
        feed("one", MICROPHONE): Layer.LOW,
        feed("one", CAMERA): Layer.LOW,
    }


def test_tiles_come_small_and_the_stage_in_its_own_size() -> None:
    """A tile that is on the stage too comes in the size of the stage; a stranger's tile gives nothing."""
    got = wanted(MEETING, "silent", View(tiles=("chair", "two", "stranger"), stage_height=360))
    pictures = {key.participant_id: layer for key, layer in got.items() if key.source is Source.CAMERA}
    assert pictures == {"chair": Layer.MIDDLE, "two": Layer.LOW}


def test_a_shared_screen_comes_to_all_but_its_sharer_and_not_to_those_who_want_no_pictures() -> None:
    """What is shared is received once it is really sent."""
    sharing = replace(ONE, streams=(MICROPHONE, SCREEN))
    conference = replace(
        MEETING, participants={**EVERYONE, "one": sharing}, stage=Stage(screen_participant_id="one")
    )
    assert wanted(conference, "two", View())[feed("one", SCREEN)] is Layer.HIGH
    assert feed("one", SCREEN) not in wanted(conference, "one", View())
    assert wanted(conference, "two", View(audio_only=True)) == {feed("chair", MICROPHONE): Layer.LOW}


def test_nothing_comes_from_those_who_were_removed() -> None:
    """Neither voice nor picture, also where somebody has their tile."""
    conference = replace(
        with_floor(MEETING, "one"), participants={**EVERYONE, "one": replace(ONE, removed=True)}
    )
    assert not [
        each for each in wanted(conference, "two", View(tiles=("one",))) if each.participant_id == "one"
    ]


def test_microphones_are_closed_until_their_owner_may_be_heard() -> None:
    """The camera stays."""
    assert muted_mids(MEETING, "one") == {"0"}
    assert muted_mids(with_floor(MEETING, "one"), "one") == frozenset()
    assert muted_mids(MEETING, "stranger") == frozenset()


def test_a_change_that_is_none_for_a_participants_media_leaves_its_desired_state_equal() -> None:
    """Somebody else comes, raises a hand or loses packets: no other seat has anything to do."""
    before = desired(MEETING, "two", View())
    came = replace(MEETING, participants={**EVERYONE, "late": person("late", Role.DELEGATE, MICROPHONE)})
    poor = replace(came, participants={**came.participants, "one": replace(ONE, link_quality=20)})
    assert desired(came, "two", View()) == before
    assert desired(poor, "two", View()) == before
    assert desired(poor, "one", View()) != desired(came, "one", View())


def test_a_change_that_is_one_differs() -> None:
    """The floor for somebody who sends, another room, another view, a new publication."""
    before = desired(MEETING, "two", View())
    assert MEETING.room is not None
    moved = replace(MEETING, room=replace(MEETING.room, node_id="b", generation=1))
    again = replace(MEETING, participants={**EVERYONE, "chair": replace(CHAIR, publication=1)})
    for conference in (with_floor(MEETING, "one"), with_floor(MEETING, "two"), moved, again):
        assert desired(conference, "two", View()) != before
    assert desired(MEETING, "two", View(tiles=("one",))) != before


def test_a_meeting_on_several_nodes_passes_everybody_on_to_the_others() -> None:
    """To where somebody is who was not removed; whoever comes to a further node concerns all who send."""
    on = {"chair": "a", "one": "b", "two": "b", "silent": "a"}
    both = replace(MEETING, participants={key: replace(EVERYONE[key], node_id=on[key]) for key in on})
    relays = {key: found.relays for key in on if (found := desired(both, key, View())) is not None}
    assert relays == {"chair": {"b"}, "one": {"a"}, "two": {"a"}, "silent": {"b"}}
    assert {each.node_id for each in wanted(with_floor(both, "one"), "silent", View())} == {"a", "b"}
    third = put(both, replace(person("late"), node_id="c"))
    assert concerned(both, third) is None
    assert concerned(both, put(both, replace(person("late"), node_id="b"))) == frozenset({"late"})
    gone = put(third, replace(third.participants["late"], removed=True))
    assert concerned(third, gone) is None
    now = desired(gone, "chair", View())
    assert now is not None
    assert now.relays == {"b"}


def test_those_who_are_heard_come_back_first_and_those_who_watch_last() -> None:
    """After a node has died; who is on another node waits for nobody of this one."""
    there = {each.id: replace(each, node_id="a") for each in (SILENT, ONE, TWO, CHAIR)}
    conference = with_floor(replace(MEETING, participants=there), "two")
    order = sorted(there, key=lambda each: turn(conference, each))
    assert order == ["chair", "two", "one", "silent"]
    assert turn(conference, "chair") == 0
    assert turn(conference, "silent") == 3 / RETURNS_PER_SECOND
    assert turn(put(conference, replace(SILENT, node_id="b")), "silent") == 0
    assert turn(conference, "nobody") == 0


def test_nothing_is_desired_for_who_is_not_there() -> None:
    """Nor without a room."""
    assert desired(MEETING, "stranger", View()) is None
    assert desired(replace(MEETING, room=None), "two", View()) is None


def test_a_change_concerns_those_whose_entries_it_changed() -> None:
    """A hand raised or the floor for somebody who sends nothing concern nobody's media; a poor link its owner's."""
    assert concerned(MEETING, with_floor(MEETING, "silent")) is None  # the chair's picture leaves the stage
    blind = replace(MEETING, participants={**EVERYONE, "chair": replace(CHAIR, streams=(MICROPHONE,))})
    assert concerned(blind, with_floor(blind, "silent")) == frozenset()
    poor = {**EVERYONE, "one": replace(ONE, link_quality=20)}
    assert concerned(MEETING, replace(MEETING, participants=poor)) == frozenset({"one"})
    came = {**EVERYONE, "late": person("late")}
    assert concerned(MEETING, replace(MEETING, participants=came)) == frozenset({"late"})
    assert concerned(replace(MEETING, participants=came), MEETING) == frozenset({"late"})


@given(
    st.lists(st.sampled_from(range(len(STEPS))), min_size=1, max_size=6),
    st.lists(st.sampled_from(range(len(STEPS))), max_size=6),
)
def test_nobody_is_left_out_for_whom_something_else_follows(first: list[int], then: list[int]) -> None:
    """Whoever is not concerned by a change has the same desired state before and after it, whatever they look at."""
    before = after = MEETING
    for step in first:
        before = after = STEPS[step](before)
    for step in then:
        after = STEPS[step](after)
    whose = concerned(before, after)
    if whose is None:
        return
    for name in EVERYONE.keys() - whose:
        for view in (View(), View(tiles=("one", "two", "silent")), View(audio_only=True)):
            assert desired(before, name, view) == desired(after, name, view)
