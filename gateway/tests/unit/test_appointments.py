# SPDX-License-Identifier: Apache-2.0
"""Tests of what a changed meeting means for those who are in it."""

import pytest
from giaoban.identity.v1 import identity_pb2
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1.events_pb2 import MeetingChanged
from giaoban_gateway.live.appointments import concerns, takes_away

USER, SITE, UNIT = identity_pb2.PARTY_KIND_USER, identity_pb2.PARTY_KIND_SITE, identity_pb2.PARTY_KIND_UNIT
DELEGATE, OBSERVER = scheduling_pb2.APPOINTMENT_ROLE_DELEGATE, scheduling_pb2.APPOINTMENT_ROLE_OBSERVER


def _party(kind: identity_pb2.PartyKind.ValueType, id_: str, unit_id: str = "unit") -> identity_pb2.Party:
    return identity_pb2.Party(ref=identity_pb2.PartyRef(kind=kind, id=id_), unit_id=unit_id)


def _appointed(
    kind: identity_pb2.PartyKind.ValueType,
    id_: str,
    role: scheduling_pb2.AppointmentRole.ValueType = DELEGATE,
) -> scheduling_pb2.Appointment:
    return scheduling_pb2.Appointment(party=_party(kind, id_), role=role)


USER_A, SITE_A = _party(USER, "a"), _party(SITE, "a")


@pytest.mark.parametrize(
    ("party", "removed", "added", "left", "concerned", "taken"),
    [
        (USER_A, [], [_appointed(USER, "b")], [_appointed(USER, "a")], False, False),
        (USER_A, [_appointed(USER, "a")], [], [], True, True),
        (
            USER_A,
            [_appointed(USER, "a")],
            [_appointed(USER, "a", OBSERVER)],
            [_appointed(USER, "a", OBSERVER)],
            True,
            False,
        ),
        (USER_A, [_appointed(USER, "a")], [], [_appointed(UNIT, "unit")], True, False),
        (USER_A, [_appointed(UNIT, "unit")], [], [], True, True),
        (SITE_A, [_appointed(UNIT, "unit")], [], [], False, False),
        (SITE_A, [_appointed(USER, "a")], [], [], False, False),
        (SITE_A, [_appointed(SITE, "a")], [], [], True, True),
    ],
    ids=[
        "another",
        "taken away",
        "another role",
        "the unit's remains",
        "the unit's",
        "a unit has no sites",
        "same id",
        "site",
    ],
)
def test_whom_a_change_concerns(
    party: identity_pb2.Party,
    removed: list[scheduling_pb2.Appointment],
    added: list[scheduling_pb2.Appointment],
    left: list[scheduling_pb2.Appointment],
    concerned: bool,
    taken: bool,
) -> None:
    """One's own appointment counts, and for users their unit's; taken away is what leaves none."""
    change = MeetingChanged(
        meeting=scheduling_pb2.Meeting(appointments=left),
        removed_appointments=removed,
        added_appointments=added,
    )
    assert concerns(change, party) is concerned
    assert takes_away(change, party) is taken
