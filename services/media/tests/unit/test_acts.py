# SPDX-License-Identifier: Apache-2.0
"""The acts of a meeting: who may do what, and what it changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from giaoban_kit.errors import GiaobanError
from giaoban_media.conference import acts
from giaoban_media.conference.model import (
    Conference,
    Connection,
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
from giaoban_media.conference.rules import audible, may_share_screen, sharer, showing
from giaoban_media.errors import (
    CommandForbidden,
    CommandInvalid,
    FloorFull,
    FloorQueueFull,
    ParticipantNotFound,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
NOBODY_SPEAKS, AUTOMATIC = Floor(), Stage()
STREAMS = (Stream("0", Source.MICROPHONE), Stream("1", Source.CAMERA))


def somebody(name: str, role: Role = Role.DELEGATE) -> Participant:
    """A connected participant."""
    party = Party(PartyKind.SITE, f"site-{name}", name)
    return Participant(name, party, role, NOW, f"stay-{name}", Connection.CONNECTED, STREAMS)


def meeting(
    *people: Participant,
    policy: MicrophonePolicy = MicrophonePolicy.FLOOR,
    floor: Floor = NOBODY_SPEAKS,
    stage: Stage = AUTOMATIC,
) -> Conference:
    """A running meeting."""
    room = Room("M", "O", policy, NOW, "a", 1)
    return Conference(room, {each.id: each for each in people}, floor, stage)


CHAIR = somebody("chair", Role.CHAIR)
SECRETARY = somebody("secretary", Role.SECRETARY)
OPERATOR = somebody("operator", Role.OPERATOR)
ONE, TWO, THREE = somebody("one"), somebody("two"), somebody("three")
OBSERVER, PRESS = somebody("observer", Role.OBSERVER), somebody("press", Role.PRESS)
EVERYONE = (CHAIR, SECRETARY, OPERATOR, ONE, TWO, THREE, OBSERVER, PRESS)


def after(conference: Conference, act: acts.Act, actor: Participant, now: datetime = NOW) -> Conference:
    """The meeting once the act is done."""
    return applied(conference, acts.decide(conference, act, conference.participants[actor.id], now))


def applied(conference: Conference, change: acts.Change) -> Conference:
    """The meeting with a change written."""
    people = {**conference.participants, **{each.id: each for each in change.participants}}
    return replace(
        conference,
        floor=conference.floor if change.floor is None else change.floor,
        stage=conference.stage if change.stage is None else change.stage,
        participants=people,
    )


MODERATOR_ACTS = [
    acts.GrantFloor("one"),
    acts.TakeFloor(),
    acts.CallSite("one"),
    acts.EndCall(),
    acts.MuteParticipant("one", muted=True),
    acts.MuteAll(),
    acts.SetStage("one"),
    acts.ReorderQueue(()),
    acts.LowerHand("chair"),
]


class TestWhoMay:
    @pytest.mark.parametrize("act", MODERATOR_ACTS, ids=lambda act: type(act).__name__)
    @pytest.mark.parametrize("actor", EVERYONE, ids=lambda who: who.id)
    def test_chair_secretary_and_operator_moderate(self, act: acts.Act, actor: Participant) -> None:
        """Moderation is for chair, secretary and operator; everybody else is refused by role."""
        conference = meeting(*EVERYONE)
        if actor in (CHAIR, SECRETARY, OPERATOR):
            acts.decide(conference, act, actor, NOW)
        else:
            with pytest.raises(CommandForbidden):
                acts.decide(conference, act, actor, NOW)

    @pytest.mark.parametrize("actor", EVERYONE, ids=lambda who: who.id)
    def test_only_chair_and_secretary_remove(self, actor: Participant) -> None:
        """Removing is for chair and secretary alone."""
        conference = meeting(*EVERYONE)
        if actor in (CHAIR, SECRETARY):
            assert after(conference, acts.RemoveParticipant("two"), actor).participants["two"].removed
        else:
            with pytest.raises(CommandForbidden):
                acts.decide(conference, acts.RemoveParticipant("two"), actor, NOW)

    @pytest.mark.parametrize("actor", [OBSERVER, PRESS], ids=lambda who: who.id)
    def test_those_who_only_watch_cannot_ask_for_the_floor(self, actor: Participant) -> None:
        """Observers and press are refused, and giving them the floor is refused too."""
        conference = meeting(*EVERYONE)
        with pytest.raises(CommandForbidden):
            acts.decide(conference, acts.RaiseHand(), actor, NOW)
        with pytest.raises(CommandInvalid):
            acts.decide(conference, acts.GrantFloor(actor.id), CHAIR, NOW)

    def test_the_removed_can_do_nothing(self) -> None:
        """A removed participant's acts are refused."""
        with pytest.raises(CommandForbidden):
            acts.decide(meeting(CHAIR), acts.RaiseHand(), replace(ONE, removed=True), NOW)

    def test_nobody_but_the_chair_mutes_the_chair(self) -> None:
        """A secretary cannot silence or remove the chair; the chair can mute itself."""
        conference = meeting(*EVERYONE)
        for act in (acts.MuteParticipant("chair", muted=True), acts.RemoveParticipant("chair")):
            with pytest.raises(CommandForbidden):
                acts.decide(conference, act, SECRETARY, NOW)
        assert "chair" not in audible(after(conference, acts.MuteParticipant("chair", muted=True), CHAIR))

    @pytest.mark.parametrize(
        "act",
        [
            acts.GrantFloor("nobody"),
            acts.CallSite("nobody"),
            acts.MuteParticipant("nobody", muted=True),
            acts.RemoveParticipant("nobody"),
            acts.SetStage("nobody"),
        ],
        ids=lambda act: type(act).__name__,
    )
    def test_absent_participants_are_named_as_such(self, act: acts.Act) -> None:
        """An act about somebody who is not in the room says so."""
        with pytest.raises(ParticipantNotFound):
            acts.decide(meeting(*EVERYONE), act, CHAIR, NOW)


class TestFloor:
    def test_hands_queue_in_order_and_once(self) -> None:
        """The queue keeps the order of raising; raising again changes nothing."""
        conference = meeting(*EVERYONE)
        for who in (TWO, ONE, TWO):
            conference = after(conference, acts.RaiseHand(), who)
        assert [each.participant_id for each in conference.floor.queue] == ["two", "one"]

    def test_the_queue_is_bounded(self) -> None:
        """One more than the limit is refused."""
        crowd = [somebody(f"p{number}") for number in range(acts.MAX_QUEUE + 1)]
        conference = meeting(*crowd)
        for who in crowd[:-1]:
            conference = after(conference, acts.RaiseHand(), who)
        with pytest.raises(FloorQueueFull):
            acts.decide(conference, acts.RaiseHand(), crowd[-1], NOW)

    def test_granting_takes_the_hand_down_and_opens_the_microphone(self) -> None:
        """Who gets the floor leaves the queue and is heard, even if muted before."""
        conference = meeting(CHAIR, replace(ONE, muted=True), TWO)
        conference = after(conference, acts.RaiseHand(), ONE)
        conference = after(conference, acts.GrantFloor("one"), CHAIR)
        assert conference.floor.queue == ()
        assert audible(conference) == {"chair", "one"}

    def test_the_floor_is_returned_taken_and_limited(self) -> None:
        """Floor ends by the speaker, by a moderator, or by time."""
        held = after(meeting(*EVERYONE), acts.GrantFloor("one", timedelta(minutes=1)), CHAIR)
        assert audible(after(held, acts.ReturnFloor(), ONE)) == {"chair"}
        assert audible(after(held, acts.TakeFloor("one"), OPERATOR)) == {"chair"}
        assert acts.expired(held, NOW + timedelta(seconds=59)) == acts.Change()
        over = acts.expired(held, NOW + timedelta(seconds=60))
        assert applied(held, over).floor.holders == ()
        assert over.effects == (acts.Returned("one"),)

    @pytest.mark.parametrize("limit", [timedelta(seconds=9), timedelta(hours=3), timedelta(seconds=-1)])
    def test_impossible_speaking_times_name_the_field(self, limit: timedelta) -> None:
        """A limit out of bounds names the field."""
        with pytest.raises(CommandInvalid) as caught:
            acts.decide(meeting(*EVERYONE), acts.GrantFloor("one", limit), CHAIR, NOW)
        assert caught.value.violations[0].field == "limit_seconds"

    def test_only_a_few_have_the_floor_at_once(self) -> None:
        """One holder more than the limit is refused."""
        crowd = [somebody(f"p{number}") for number in range(acts.MAX_HOLDERS + 1)]
        conference = meeting(CHAIR, *crowd)
        for who in crowd[:-1]:
            conference = after(conference, acts.GrantFloor(who.id), CHAIR)
        with pytest.raises(FloorFull):
            acts.decide(conference, acts.GrantFloor(crowd[-1].id), CHAIR, NOW)

    def test_the_queue_is_reordered_as_a_whole(self) -> None:
        """A new order must name everyone in the queue exactly once."""
        conference = meeting(*EVERYONE)
        for who in (ONE, TWO, THREE):
            conference = after(conference, acts.RaiseHand(), who)
        moved = after(conference, acts.ReorderQueue(("three", "one", "two")), CHAIR)
        assert [each.participant_id for each in moved.floor.queue] == ["three", "one", "two"]
        for wrong in (("one", "two"), ("one", "one", "two"), ("one", "two", "chair")):
            with pytest.raises(CommandInvalid):
                acts.decide(conference, acts.ReorderQueue(wrong), CHAIR, NOW)


class TestCallSite:
    @pytest.mark.parametrize("policy", list(MicrophonePolicy))
    def test_calling_gives_the_floor_to_that_site_alone_and_shows_it(self, policy: MicrophonePolicy) -> None:
        """One act: floor, silence of everyone but the chair, and the main screens."""
        conference = meeting(*EVERYONE, policy=policy, stage=Stage("two"))
        conference = after(conference, acts.GrantFloor("three"), CHAIR)
        conference = after(conference, acts.CallSite("one"), CHAIR)
        assert audible(conference) == {"chair", "one"}
        assert showing(conference) == "one"
        assert [each.participant_id for each in conference.floor.holders] == ["one"]

    def test_ending_the_call_gives_the_stage_back(self) -> None:
        """After the call the stage follows the floor, and so the chair."""
        conference = after(meeting(*EVERYONE), acts.CallSite("one"), CHAIR)
        conference = after(conference, acts.EndCall(), CHAIR)
        assert audible(conference) == {"chair"}
        assert showing(conference) == "chair"

    def test_calling_the_next_site_ends_the_call_before(self) -> None:
        """Sites are called one after the other without an act in between."""
        conference = after(meeting(*EVERYONE), acts.CallSite("one"), CHAIR)
        change = acts.decide(conference, acts.CallSite("two"), CHAIR, NOW)
        assert audible(applied(conference, change)) == {"chair", "two"}
        assert change.effects[0] == acts.Returned("one")


class TestSilence:
    def test_formal_meetings_are_silent_but_for_the_chair(self) -> None:
        """Without the floor nobody but the chair is heard; with open microphones all who may speak are."""
        assert audible(meeting(*EVERYONE)) == {"chair"}
        everyone = audible(meeting(*EVERYONE, policy=MicrophonePolicy.OPEN))
        assert everyone == {"chair", "secretary", "operator", "one", "two", "three"}

    def test_muting_all_spares_the_chair(self) -> None:
        """After muting all only the chair is heard, and each can be opened again."""
        conference = after(meeting(*EVERYONE, policy=MicrophonePolicy.OPEN), acts.MuteAll(), SECRETARY)
        assert audible(conference) == {"chair"}
        opened = after(conference, acts.MuteParticipant("one", muted=False), CHAIR)
        assert audible(opened) == {"chair", "one"}


class TestStage:
    def test_a_called_site_goes_before_the_pinned_before_the_floor_before_the_chair(self) -> None:
        """The order of who is shown."""
        assert showing(meeting(ONE)) is None
        assert showing(meeting(*EVERYONE)) == "chair"
        with_floor = after(meeting(*EVERYONE), acts.GrantFloor("one"), CHAIR)
        assert showing(with_floor) == "one"
        pinned = after(with_floor, acts.SetStage("two"), OPERATOR)
        assert showing(pinned) == "two"
        called = replace(pinned, floor=Floor((), (FloorHolder("three", NOW, called=True),)))
        assert showing(called) == "three"

    def test_a_screen_is_shared_by_those_who_have_the_floor(self) -> None:
        """Delegates need the floor; moderators do not; watchers never."""
        conference = meeting(*EVERYONE)
        assert may_share_screen(conference, OPERATOR)
        assert not may_share_screen(conference, ONE)
        assert not may_share_screen(conference, OBSERVER)
        assert may_share_screen(after(conference, acts.GrantFloor("one"), CHAIR), ONE)

    def test_a_shared_screen_counts_only_while_its_stream_is_there(self) -> None:
        """A sharer whose stream is gone shares nothing."""
        sharing = replace(ONE, streams=(*STREAMS, Stream("2", Source.SCREEN)))
        conference = meeting(CHAIR, sharing)
        conference = applied(conference, acts.screen_shared(conference, "one", sharing=True))
        found = sharer(conference)
        assert found is not None
        assert found.id == "one"
        assert sharer(replace(conference, participants={"one": ONE})) is None
        assert acts.screen_shared(conference, "one", sharing=False).stage == Stage()


class TestGoing:
    def test_who_goes_leaves_nothing_behind(self) -> None:
        """Hand, floor, pin and shared screen go with a participant."""
        conference = meeting(*EVERYONE, stage=Stage("one", "one"))
        conference = after(conference, acts.RaiseHand(), TWO)
        conference = after(conference, acts.GrantFloor("one"), CHAIR)
        gone = applied(conference, acts.without_participant(conference, "one"))
        assert gone.floor.holders == ()
        assert gone.stage == Stage()
        gone = applied(gone, acts.without_participant(gone, "two"))
        assert gone.floor.queue == ()

    def test_being_removed_ends_everything_at_once(self) -> None:
        """A removed participant is silent, unseen and out of the queue."""
        conference = after(meeting(*EVERYONE), acts.CallSite("one"), CHAIR)
        conference = after(conference, acts.RemoveParticipant("one"), CHAIR)
        assert audible(conference) == {"chair"}
        assert showing(conference) == "chair"


class TestChat:
    def test_a_message_carries_its_senders_name(self) -> None:
        """Text is stripped and signed."""
        change = acts.decide(meeting(ONE), acts.SendChat("m1", "  xin chào "), ONE, NOW)
        assert change.chat is not None
        assert (change.chat.text, change.chat.sender_name) == ("xin chào", "one")

    @pytest.mark.parametrize("text", ["", "   ", "a" * (acts.MAX_CHAT_CHARACTERS + 1)])
    def test_empty_and_endless_messages_are_refused(self, text: str) -> None:
        """The field and the remedy are named."""
        with pytest.raises(CommandInvalid):
            acts.decide(meeting(ONE), acts.SendChat("m1", text), ONE, NOW)


IDS = st.sampled_from([each.id for each in EVERYONE] + ["nobody"])
ACTS = st.one_of(
    st.just(acts.RaiseHand()),
    st.builds(acts.LowerHand, IDS),
    st.builds(acts.GrantFloor, IDS),
    st.builds(acts.TakeFloor, IDS),
    st.just(acts.TakeFloor()),
    st.just(acts.ReturnFloor()),
    st.builds(acts.CallSite, IDS),
    st.just(acts.EndCall()),
    st.builds(acts.MuteParticipant, IDS, st.booleans()),
    st.just(acts.MuteAll()),
    st.builds(acts.RemoveParticipant, IDS),
    st.builds(acts.SetStage, IDS),
    st.builds(acts.SetOwnDevices, st.booleans(), st.booleans()),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(MicrophonePolicy)), st.lists(st.tuples(IDS, ACTS), max_size=30))
def test_whatever_people_do_the_meeting_stays_in_order(
    policy: MicrophonePolicy, done: list[tuple[str, acts.Act]]
) -> None:
    """Random acts by anybody never break the rules of floor, silence and stage."""
    conference = meeting(*EVERYONE, policy=policy)
    for who, act in done:
        if who not in conference.participants:
            continue
        try:
            conference = after(conference, act, conference.participants[who])
        except GiaobanError:
            continue
        floor, present = conference.floor, conference.present()
        waiting = [each.participant_id for each in floor.queue]
        holding = [each.participant_id for each in floor.holders]
        assert len(set(waiting)) == len(waiting)
        assert len(set(holding)) == len(holding) <= acts.MAX_HOLDERS
        assert not set(waiting) & set(holding)
        assert {*waiting, *holding} <= set(present)
        heard = audible(conference)
        assert heard <= {each.id for each in present.values() if each.role not in (Role.OBSERVER, Role.PRESS)}
        assert showing(conference) in present
        if any(each.called for each in floor.holders):
            assert heard <= {"chair", *holding}
