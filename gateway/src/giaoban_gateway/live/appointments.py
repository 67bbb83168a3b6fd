# SPDX-License-Identifier: Apache-2.0
"""What a change of a meeting means for somebody who is in it. Pure.

Scheduling alone decides on admission; this only tells whom it must be asked about again.
"""

from __future__ import annotations

from collections.abc import Iterable

from giaoban.identity.v1 import identity_pb2
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1.events_pb2 import MeetingChanged


def concerns(change: MeetingChanged, party: identity_pb2.Party) -> bool:
    """Whether an appointment was given or taken away that the party may have by itself or by its unit."""
    return _names(change.removed_appointments, party) or _names(change.added_appointments, party)


def takes_away(change: MeetingChanged, party: identity_pb2.Party) -> bool:
    """Whether the party has no appointment any more that it had before."""
    return _names(change.removed_appointments, party) and not _names(change.meeting.appointments, party)


def _names(appointments: Iterable[scheduling_pb2.Appointment], party: identity_pb2.Party) -> bool:
    unit = (identity_pb2.PARTY_KIND_UNIT, party.unit_id)
    own = (party.ref.kind, party.ref.id)
    mine = {own, unit} if party.ref.kind == identity_pb2.PARTY_KIND_USER else {own}
    return any((each.party.ref.kind, each.party.ref.id) in mine for each in appointments)
