# SPDX-License-Identifier: Apache-2.0
"""Owns who may see and do what with a meeting: by appointment first, else by permission in its unit."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from giaoban_kit.errors import Forbidden

from giaoban_scheduling.domain import Meeting, PartyKind, Role, guest_view
from giaoban_scheduling.errors import MeetingNotFound
from giaoban_scheduling.ports import Caller, Directory, Transactions

LEADERS = frozenset({Role.CHAIR, Role.SECRETARY})
STAFF = LEADERS | {Role.OPERATOR}


class _Refusal(Protocol):
    def __call__(self) -> Forbidden: ...


class Access:
    """Answers for the caller of the current call, whose token the directory forwards."""

    def __init__(self, begin: Transactions, directory: Directory) -> None:
        self._begin = begin
        self._directory = directory

    async def find(self, caller: Caller, meeting_id: str) -> Meeting:
        """A meeting of the caller's organisation, seen or not. Raises: MeetingNotFound."""
        async with self._begin.reading() as records:
            meeting = await records.meetings.get(caller.organisation_id, meeting_id)
        if meeting is None:
            raise MeetingNotFound
        return meeting

    async def unit_of(self, caller: Caller) -> str | None:
        """The caller's own unit."""
        found = await self._directory.parties([caller.ref])
        return found[caller.ref].unit_id if caller.ref in found else None

    async def role(self, caller: Caller, meeting: Meeting) -> Role | None:
        """The caller's role by appointment; asks for the unit only where that can matter."""
        direct = meeting.role_of(caller.ref, None)
        if direct is not None or caller.ref.kind is not PartyKind.USER:
            return direct
        if all(appointment.party.ref.kind is not PartyKind.UNIT for appointment in meeting.appointments):
            return None
        return meeting.role_of(caller.ref, await self.unit_of(caller))

    async def convenes(self, caller: Caller, meeting: Meeting) -> bool:
        """Whether the caller calls meetings for the meeting's unit."""
        return caller.ref.kind is PartyKind.USER and await self._directory.may_convene(meeting.unit_id)

    async def watches(self, caller: Caller, meeting: Meeting) -> bool:
        """Whether the caller convenes for, or oversees, the meeting's unit."""
        if caller.ref.kind is not PartyKind.USER:
            return False
        unit = meeting.unit_id
        return await self._directory.may_convene(unit) or await self._directory.may_oversee(unit)

    async def see(self, caller: Caller, meeting_id: str) -> tuple[Meeting, Role | None]:
        """The meeting and the caller's role in it. Raises: MeetingNotFound, also if it is not to be seen."""
        meeting = await self.find(caller, meeting_id)
        role = await self.role(caller, meeting)
        if role is None and not await self.watches(caller, meeting):
            raise MeetingNotFound
        return meeting, role

    async def read(self, caller: Caller, meeting_id: str, now: datetime) -> tuple[Meeting, Role | None]:
        """As `see`; and for those who came without an appointment what `guest_view` says. Raises: MeetingNotFound."""
        try:
            return await self.see(caller, meeting_id)
        except MeetingNotFound:
            pass
        async with self._begin() as records:
            meeting = await records.meetings.get(caller.organisation_id, meeting_id)
            admission = await records.admissions.of(meeting_id, caller.ref)
            if meeting is None or admission is None:
                raise MeetingNotFound
            stays = await records.presences.all(meeting_id)
        took_part = any(each.participant_id == admission.participant_id and each.joined_at for each in stays)
        found = guest_view(meeting, admission, took_part=took_part, now=now)
        if found is None:
            raise MeetingNotFound
        return found

    async def guard(
        self,
        caller: Caller,
        meeting_id: str,
        roles: Collection[Role],
        refusal: _Refusal,
        *,
        or_convener: bool = False,
        or_watcher: bool = False,
    ) -> tuple[Meeting, Role | None]:
        """The meeting, if the caller has one of the roles or the named permission.

        Raises: MeetingNotFound if it is not to be seen; `refusal` if it is.
        """
        meeting = await self.find(caller, meeting_id)
        role = await self.role(caller, meeting)
        if role in roles or (or_convener and await self.convenes(caller, meeting)):
            return meeting, role
        watches = await self.watches(caller, meeting)
        if watches and or_watcher:
            return meeting, role
        if role is None and not watches:
            raise MeetingNotFound
        raise refusal()
