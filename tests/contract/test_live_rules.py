# SPDX-License-Identifier: Apache-2.0
"""The gateway shows what media enforces: both derive the same from the same live state."""

from datetime import UTC, datetime, timedelta

from giaoban_gateway.live.state import LiveState
from giaoban_gateway.live.state import audible as shown_as_audible
from giaoban_gateway.live.state import showing as shown
from giaoban_media.conference import codec
from giaoban_media.conference.model import (
    Conference,
    Connection,
    Floor,
    FloorHolder,
    FloorRequest,
    MicrophonePolicy,
    Participant,
    Party,
    PartyKind,
    Role,
    Room,
    Stage,
)
from giaoban_media.conference.rules import audible, showing
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
MEETING = "01J9ZQ4N0000000000000000ME"
# Few ids, so that floor, stage and roster often speak of the same participant, and sometimes of nobody.
IDS = [f"01J9ZQ4N00000000000000000{letter}" for letter in "ABCDEF"]

ids = st.sampled_from(IDS)
participants = st.builds(
    Participant,
    id=ids,
    party=st.just(Party(PartyKind.SITE, "01J9ZQ4N0000000000000000ST", "Quận Bình Tân")),
    role=st.sampled_from(Role),
    join_time=st.just(NOW),
    presence_id=st.just("01J9ZQ4N0000000000000000PR"),
    connection=st.sampled_from(Connection),
    muted=st.booleans(),
    microphone_off=st.booleans(),
    removed=st.booleans(),
)
floors = st.builds(
    Floor,
    queue=st.lists(st.builds(FloorRequest, ids, st.just(NOW)), max_size=3).map(tuple),
    holders=st.lists(
        st.builds(
            FloorHolder, ids, st.just(NOW), st.sampled_from([None, timedelta(minutes=3)]), st.booleans()
        ),
        max_size=3,
    ).map(tuple),
)
rooms = st.none() | st.builds(
    Room,
    meeting_id=st.just(MEETING),
    organisation_id=st.just("01J9ZQ4N0000000000000000RG"),
    policy=st.sampled_from(MicrophonePolicy),
    open_time=st.just(NOW),
    closed=st.booleans(),
)
stages = st.builds(Stage, st.just("") | ids, st.just("") | ids)
conferences = st.builds(
    Conference,
    room=rooms,
    participants=st.lists(participants, max_size=6).map(lambda all_: {each.id: each for each in all_}),
    floor=floors,
    stage=stages,
)


def as_the_gateway_sees_it(conference: Conference) -> LiveState:
    """The same state, through the bytes that media writes into the bucket."""
    state = LiveState()
    entries: list[tuple[str, str, Room | Participant | Floor | Stage]] = [
        ("floor", "", conference.floor),
        ("stage", "", conference.stage),
    ]
    entries += [("participant", key, each) for key, each in conference.participants.items()]
    if conference.room is not None:
        entries.append(("room", "", conference.room))
    for kind, entry_id, value in entries:
        state.apply(kind, entry_id, codec.encode(value))
    return state


@settings(max_examples=300, deadline=None)
@given(conferences)
def test_both_hear_the_same_participants(conference: Conference) -> None:
    """Who is audible on the screen is exactly whose audio media lets through."""
    state = as_the_gateway_sees_it(conference)
    assert shown_as_audible(state) == audible(conference)


@settings(max_examples=300, deadline=None)
@given(conferences)
def test_both_show_the_same_participant(conference: Conference) -> None:
    """The name under the stage is that of the picture which media sends."""
    assert shown(as_the_gateway_sees_it(conference)) == showing(conference)
