# SPDX-License-Identifier: Apache-2.0
"""The use cases on in-memory records, a directory double and a clock that stands still."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from giaoban_kit.errors import GiaobanError, Invalid
from giaoban_kit.ids import new_id
from giaoban_kit.testing.clock import FixedClock
from giaoban_scheduling.domain import (
    Admission,
    AdmissionState,
    Draft,
    Edit,
    Meeting,
    MicrophonePolicy,
    Party,
    PartyKind,
    PartyRef,
    Presence,
    Role,
    Status,
    Wish,
)
from giaoban_scheduling.entry import CHECK_HOLDS, Entry
from giaoban_scheduling.ports import Caller
from giaoban_scheduling.service import Scheduling
from giaoban_scheduling.testing import MemoryDirectory, MemoryTransactions, PlainGrants

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
GRACE = 30 * MINUTE


class House:
    """One organisation: a unit with a convener, chair, secretary and operator, a site, a guest, a stranger."""

    def __init__(self) -> None:
        self.organisation = new_id()
        self.clock, self.begin, self.directory = FixedClock(), MemoryTransactions(), MemoryDirectory()
        self.unit = self.party("Ủy ban", PartyKind.UNIT)
        self.chair, self.secretary, self.operator, self.delegate, self.guest = (
            self.party(name) for name in ("Chủ tọa", "Thư ký", "Kỹ thuật", "Đại biểu", "Khách")
        )
        self.site = self.party("Điểm cầu", PartyKind.SITE)
        self.directory.convenes = {self.unit.ref.id}
        self.scheduling = Scheduling(self.begin, self.directory, self.clock, new_id)
        self.entry = Entry(self.begin, self.directory, PlainGrants(), self.clock, new_id, participant_limit=3)

    def party(self, name: str, kind: PartyKind = PartyKind.USER, unit: str = "elsewhere") -> Party:
        ref = PartyRef(kind, new_id())
        unit = ref.id if kind is PartyKind.UNIT else unit
        return self.directory.add(Party(ref, name, "", unit, "Đơn vị"))

    def by(self, party: Party, *, organisation: str | None = None) -> Caller:
        return Caller(party.ref, organisation or self.organisation)

    def wishes(self) -> tuple[Wish, ...]:
        return (
            Wish(self.chair.ref, Role.CHAIR),
            Wish(self.secretary.ref, Role.SECRETARY),
            Wish(self.operator.ref, Role.OPERATOR),
            Wish(self.delegate.ref, Role.DELEGATE),
            Wish(self.site.ref, Role.DELEGATE),
        )

    def draft(self, **changed: Any) -> Draft:
        draft = Draft(
            unit_id=self.unit.ref.id,
            title="Giao ban",
            description="Nội dung",
            start=self.clock.now() + HOUR / 2,
            duration=HOUR,
            time_zone="Asia/Ho_Chi_Minh",
            microphone_policy=MicrophonePolicy.FLOOR,
            appointments=self.wishes(),
        )
        return replace(draft, **changed)

    async def call(self, key: str = "", **changed: Any) -> Meeting:
        meeting, _ = await self.scheduling.create(self.by(self.guest), self.draft(**changed), key)
        self.directory.convenes = set()  # from now on only appointments count
        return meeting

    async def run(self, meeting: Meeting, who: Party | None = None) -> Presence:
        """Somebody comes into the room."""
        stay = Presence(new_id(), meeting.id, new_id())
        now = self.clock.now()
        await self.entry.joined(self.organisation, stay, who or self.chair, Role.CHAIR, now)
        return stay

    async def stored(self, meeting: Meeting) -> Meeting:
        return (await self.scheduling.get(self.by(self.chair), meeting.id))[0]

    def told(self) -> list[str]:
        return [verb for verb, _ in self.begin.state.news]


@pytest.fixture(name="house")
def _house() -> House:
    return House()


async def refused(reason: str, doing: Any) -> GiaobanError:
    with pytest.raises(GiaobanError) as error:
        await doing
    assert error.value.reason == reason, error.value.detail
    return error.value


async def test_an_edit_keeps_what_it_does_not_name(house: House) -> None:
    """Appointments that stay keep their ids; what nobody must hear of leaves the sequence alone."""
    meeting = await house.call()
    chair = house.by(house.chair)
    quiet, _ = await house.scheduling.update(chair, meeting.id, "1", Edit(description="Khác"))
    assert (quiet.version, quiet.sequence, quiet.appointments) == (2, 0, meeting.appointments)
    wishes = (*house.wishes()[:3], Wish(house.guest.ref, Role.PRESS))
    changed, _ = await house.scheduling.update(chair, meeting.id, "2", Edit(appointments=wishes))
    assert changed.appointments[:3] == meeting.appointments[:3]
    assert (changed.version, changed.sequence, changed.title) == (3, 1, meeting.title)
    same, _ = await house.scheduling.update(chair, meeting.id, "3", Edit(title=meeting.title))
    assert same == changed
    moved, _ = await house.scheduling.update(
        chair, meeting.id, "3", Edit(start=meeting.start + HOUR, time_zone="UTC")
    )
    assert (moved.sequence, moved.end) == (2, meeting.end + HOUR)
    assert house.told() == ["scheduled", "changed -0 +0", "changed -2 +1", "changed -0 +0 to all"]


async def test_moving_a_meeting_moves_its_bookings(house: House) -> None:
    """The old time is free for others, the new one is taken, and an edit cannot take a taken site."""
    meeting = await house.call()
    chair = house.by(house.chair)
    await house.scheduling.update(chair, meeting.id, "1", Edit(start=meeting.start + 2 * HOUR))
    house.directory.convenes = {house.unit.ref.id}
    other = await house.call(title="Khác")
    clash = await refused(
        "SITE_BOOKED",
        house.scheduling.update(chair, meeting.id, "2", Edit(start=meeting.start + 30 * MINUTE)),
    )
    assert (clash.metadata["site_name"], clash.metadata["meeting_id"]) == ("Điểm cầu", other.id)
    assert (await house.stored(meeting)).version == 2


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("chair", None),
        ("secretary", None),
        ("operator", "EDIT_FORBIDDEN"),
        ("delegate", "EDIT_FORBIDDEN"),
        ("site", "EDIT_FORBIDDEN"),
        ("guest", "MEETING_NOT_FOUND"),
    ],
)
async def test_who_may_edit(house: House, who: str, expected: str | None) -> None:
    """Chair and secretary change and cancel; the invited are refused; for others there is no such meeting."""
    meeting = await house.call()
    caller = house.by(getattr(house, who))
    doings: list[Callable[[], Any]] = [
        lambda: house.scheduling.update(caller, meeting.id, "1", Edit(description="x")),
        lambda: house.scheduling.cancel(caller, meeting.id, "", "Hoãn"),
    ]
    for doing in doings:
        if expected is None:
            await doing()
        else:
            await refused(expected, doing())


async def test_permissions_in_the_unit(house: House) -> None:
    """A convener edits without an appointment; an overseer sees, and sees the attendance, but edits nothing."""
    meeting = await house.call()
    guest = house.by(house.guest)
    house.directory.oversees = {house.unit.ref.id}
    assert await house.scheduling.get(guest, meeting.id) == (meeting, None)
    assert len(await house.entry.attendance(guest, meeting.id)) == 5
    await refused("EDIT_FORBIDDEN", house.scheduling.update(guest, meeting.id, "1", Edit(title="x")))
    await refused("END_FORBIDDEN", house.scheduling.end(guest, meeting.id))
    await refused("ADMIT_FORBIDDEN", house.entry.waiting(guest, meeting.id, None))
    house.directory.oversees, house.directory.convenes = set(), {house.unit.ref.id}
    await house.scheduling.update(guest, meeting.id, "1", Edit(title="x"))
    await refused("END_FORBIDDEN", house.scheduling.end(guest, meeting.id))
    stranger = house.by(house.chair, organisation=new_id())
    await refused("MEETING_NOT_FOUND", house.scheduling.get(stranger, meeting.id))
    await refused("MEETING_NOT_FOUND", house.entry.request(stranger, meeting.id))


async def test_the_life_of_a_meeting(house: House) -> None:
    """Scheduled, running with the first who comes, ended once; then nothing changes any more."""
    meeting, chair = await house.call(), house.by(house.chair)
    await refused("MEETING_NOT_RUNNING", house.scheduling.end(chair, meeting.id))
    house.clock.advance(HOUR / 2)
    await house.run(meeting)
    running = await house.stored(meeting)
    assert (running.status, running.actual_start, running.etag) == (
        Status.RUNNING,
        house.clock.now(),
        meeting.etag,
    )
    await refused("MEETING_RUNNING", house.scheduling.cancel(chair, meeting.id, "", ""))
    late = await refused(
        "MEETING_INVALID", house.scheduling.update(chair, meeting.id, "1", Edit(start=meeting.start + HOUR))
    )
    assert isinstance(late, Invalid)
    assert late.violations[0].field == "start_time"
    longer, _ = await house.scheduling.update(chair, meeting.id, "1", Edit(duration=2 * HOUR))
    assert longer.status is Status.RUNNING
    ended, _ = await house.scheduling.end(chair, meeting.id)
    assert (ended.status, ended.actual_end) == (Status.ENDED, house.clock.now())
    house.clock.advance(MINUTE)
    assert (await house.scheduling.end(chair, meeting.id))[0] == ended
    await refused("MEETING_ENDED", house.scheduling.update(chair, meeting.id, ended.etag, Edit(title="x")))
    await refused("MEETING_ENDED", house.scheduling.cancel(chair, meeting.id, "", ""))
    await refused("MEETING_ENDED", house.entry.request(chair, meeting.id))
    assert house.told() == ["scheduled", "changed -0 +0 to all", "ended"]


async def test_a_cancelled_meeting(house: House) -> None:
    """Cancelling twice changes nothing, an old etag loses, the site is free, nobody comes in."""
    meeting, chair = await house.call(), house.by(house.chair)
    await refused("MEETING_CHANGED", house.scheduling.cancel(chair, meeting.id, "0", ""))
    cancelled, role = await house.scheduling.cancel(chair, meeting.id, "1", "Bão")
    assert (cancelled.cancel_reason, cancelled.sequence, role) == ("Bão", 1, Role.CHAIR)
    assert (await house.scheduling.cancel(chair, meeting.id, "1", "Lại"))[0] == cancelled
    await refused("MEETING_CANCELLED", house.scheduling.update(chair, meeting.id, "2", Edit(title="x")))
    await refused("MEETING_CANCELLED", house.entry.request(chair, meeting.id))
    await refused("MEETING_NOT_RUNNING", house.scheduling.end(chair, meeting.id))
    house.directory.convenes = {house.unit.ref.id}
    await house.call()
    assert house.told() == ["scheduled", "cancelled", "scheduled"]


async def test_a_key_answers_even_when_the_start_has_passed(house: House) -> None:
    """A repeated request gets the meeting it made, long after it could be made anew."""
    draft = house.draft()
    meeting = (await house.scheduling.create(house.by(house.guest), draft, "k"))[0]
    house.clock.advance(3 * HOUR)
    assert (await house.scheduling.create(house.by(house.guest), draft, "k"))[0] == meeting
    await refused("MEETING_INVALID", house.scheduling.create(house.by(house.delegate), draft, "k"))
    other = replace(draft, microphone_policy=MicrophonePolicy.OPEN)
    await refused("IDEMPOTENCY_KEY_REUSED", house.scheduling.create(house.by(house.guest), other, "k"))


async def test_the_limit_counts_parties_not_visits(house: House) -> None:
    """The same party comes again and again; the one too many is told so; deciding keeps the limit as well."""
    meeting = await house.call()
    guest = await house.entry.request(house.by(house.guest), meeting.id)
    for _ in range(2):
        for party in (house.chair, house.secretary, house.site):
            assert (await house.entry.request(house.by(party), meeting.id)).grant
    await refused("PARTICIPANT_LIMIT_REACHED", house.entry.request(house.by(house.delegate), meeting.id))
    chair = house.by(house.chair)
    await refused(
        "PARTICIPANT_LIMIT_REACHED",
        house.entry.decide(chair, meeting.id, guest.admission.id, admit=True),
    )
    await house.entry.decide(chair, meeting.id, guest.admission.id, admit=False)


async def test_the_waiting_are_limited(house: House) -> None:
    """The hundred-and-first who waits is told so; one who waits already is not."""
    meeting = await house.call()
    crowd = [house.party(f"Khách {n}") for n in range(101)]
    for party in crowd[:100]:
        await house.entry.request(house.by(party), meeting.id)
    await house.entry.request(house.by(crowd[0]), meeting.id)
    await refused("WAITING_LIMIT_REACHED", house.entry.request(house.by(crowd[100]), meeting.id))
    assert house.told().count("admission_requested") == 100


async def test_who_has_just_been_checked_comes_in_without_another_question(house: House) -> None:
    """Identity is asked once for a ticket and its join; later, or for another join, it is asked again."""
    meeting, chair = await house.call(), house.by(house.chair)
    known = dict(house.directory.known)
    for pause, comes_in in ((CHECK_HOLDS, True), (CHECK_HOLDS + HOUR / 3600, False)):
        house.directory.known = dict(known)
        await house.entry.check(chair, meeting.id)
        house.directory.known.pop(house.chair.ref)  # deactivated
        house.clock.advance(pause)
        if comes_in:
            await house.entry.request(chair, meeting.id)
        await refused("MEETING_NOT_FOUND", house.entry.request(chair, meeting.id))


async def test_a_check_decides_as_the_request_does_and_leaves_no_trace(house: House) -> None:
    """In every state of a meeting both refuse with the same error, or neither; a check makes nobody wait."""
    meeting, chair, guest = await house.call(), house.by(house.chair), house.by(house.guest)

    async def both_refuse(reason: str, caller: Caller, meeting_id: str = meeting.id) -> None:
        checked = await refused(reason, house.entry.check(caller, meeting_id))
        asked = await refused(reason, house.entry.request(caller, meeting_id))
        assert (checked.kind, checked.detail, checked.metadata) == (asked.kind, asked.detail, asked.metadata)

    for caller in (chair, guest):
        await house.entry.check(caller, meeting.id)
    assert not house.begin.state.admissions
    assert house.told() == ["scheduled"]
    await both_refuse("MEETING_NOT_FOUND", chair, new_id())
    await both_refuse("MEETING_NOT_FOUND", house.by(house.chair, organisation=new_id()))
    alone = (Wish(house.chair.ref, Role.CHAIR),)
    house.directory.convenes = {house.unit.ref.id}
    early = await house.call(start=house.clock.now() + 9 * HOUR, appointments=alone)
    await both_refuse("MEETING_NOT_OPEN", chair, early.id)
    await house.scheduling.cancel(chair, early.id, "1", "")
    await both_refuse("MEETING_CANCELLED", chair, early.id)
    waiting = (await house.entry.request(guest, meeting.id)).admission
    await house.entry.check(guest, meeting.id)
    await house.entry.decide(chair, meeting.id, waiting.id, admit=False)
    await both_refuse("ADMISSION_REFUSED", guest)
    for party in (house.chair, house.secretary, house.site):
        await house.entry.request(house.by(party), meeting.id)
    await both_refuse("PARTICIPANT_LIMIT_REACHED", house.by(house.delegate))
    await house.entry.check(chair, meeting.id)
    crowd = [house.party(f"Khách {n}") for n in range(101)]
    for party in crowd[:100]:
        await house.entry.request(house.by(party), meeting.id)
    await both_refuse("WAITING_LIMIT_REACHED", house.by(crowd[100]))
    house.clock.advance(14 * HOUR)
    await both_refuse("MEETING_ENDED", chair)
    house.directory.convenes = {house.unit.ref.id}
    other = await house.call(start=house.clock.now(), appointments=alone)
    await house.run(other)
    await house.scheduling.end(chair, other.id)
    await both_refuse("MEETING_ENDED", chair, other.id)


async def test_a_guest_reads_what_its_admission_gives(house: House) -> None:
    """Nothing before it asks, the title while it waits, all once it is in; afterwards only if it was there."""
    meeting, chair = await house.call(), house.by(house.chair)
    came, stayed_away, turned_away = house.guest, house.party("Khách hai"), house.party("Khách ba")

    async def nothing(party: Party) -> None:
        await refused("MEETING_NOT_FOUND", house.scheduling.read(house.by(party), meeting.id))

    for party in (came, stayed_away, turned_away):
        await nothing(party)
        admission = (await house.entry.request(house.by(party), meeting.id)).admission
        seen, role = await house.scheduling.read(house.by(party), meeting.id)
        assert (seen.title, seen.start, seen.unit_name, role) == (
            meeting.title,
            meeting.start,
            "Ủy ban",
            None,
        )
        assert (seen.description, seen.appointments) == ("", ())
        await house.entry.decide(chair, meeting.id, admission.id, admit=party is not turned_away)
    await nothing(turned_away)
    assert await house.scheduling.read(house.by(came), meeting.id) == (meeting, Role.OBSERVER)
    # Recordings and attendance are for the appointed: there the guest is still nobody.
    await refused("MEETING_NOT_FOUND", house.scheduling.get(house.by(came), meeting.id))
    await refused("MEETING_NOT_FOUND", house.entry.attendance(house.by(came), meeting.id))
    house.clock.advance(HOUR / 2)
    await house.run(meeting)
    entered = (await house.entry.request(house.by(came), meeting.id)).admission
    stay = Presence(new_id(), meeting.id, entered.participant_id)
    await house.entry.joined(house.organisation, stay, came, Role.OBSERVER, house.clock.now())
    for party in (came, stayed_away):
        assert (await house.scheduling.read(house.by(party), meeting.id))[0].status is Status.RUNNING
    await house.scheduling.end(chair, meeting.id)
    assert (await house.scheduling.read(house.by(came), meeting.id))[0].status is Status.ENDED
    await nothing(stayed_away)
    await nothing(turned_away)


async def test_who_waits_reads_nothing_once_the_doors_are_shut(house: House) -> None:
    """A meeting that is called off or over is none for those who waited for it."""
    meeting, guest = await house.call(), house.by(house.guest)
    await house.entry.request(guest, meeting.id)
    await house.scheduling.read(guest, meeting.id)
    await house.scheduling.cancel(house.by(house.chair), meeting.id, "1", "")
    await refused("MEETING_NOT_FOUND", house.scheduling.read(guest, meeting.id))


async def test_who_lost_the_appointment_is_no_guest(house: House) -> None:
    """Only whom a person let in reads as a guest: an appointment that was taken away leaves nothing."""
    meeting, delegate = await house.call(), house.by(house.delegate)
    await house.entry.request(delegate, meeting.id)
    without = Edit(appointments=tuple(w for w in house.wishes() if w.ref != house.delegate.ref))
    await house.scheduling.update(house.by(house.chair), meeting.id, "1", without)
    await refused("MEETING_NOT_FOUND", house.scheduling.read(delegate, meeting.id))


async def test_an_appointment_made_and_taken_away(house: House) -> None:
    """Who is appointed while waiting, or refused, comes in; who loses the appointment waits again, the same participant."""
    meeting, chair = await house.call(), house.by(house.chair)
    guest = house.by(house.guest)
    first = (await house.entry.request(guest, meeting.id)).admission
    assert first.state is AdmissionState.WAITING
    await house.entry.decide(chair, meeting.id, first.id, admit=False)
    await refused("ADMISSION_REFUSED", house.entry.request(guest, meeting.id))
    with_guest = Edit(appointments=(*house.wishes(), Wish(house.guest.ref, Role.PRESS)))
    await house.scheduling.update(chair, meeting.id, "1", with_guest)
    answer = await house.entry.request(guest, meeting.id)
    assert answer.grant == f"{meeting.id} {first.participant_id} press"
    delegate = house.by(house.delegate)
    was = (await house.entry.request(delegate, meeting.id)).admission
    without = Edit(appointments=tuple(w for w in house.wishes() if w.ref != house.delegate.ref))
    await house.scheduling.update(chair, meeting.id, "2", without)
    now = await house.entry.request(delegate, meeting.id)
    assert (now.admission.state, now.grant) == (AdmissionState.WAITING, "")
    assert (now.admission.participant_id, now.meeting.appointments) == (was.participant_id, ())


async def test_a_refusal_outlives_an_appointment(house: House) -> None:
    """Refused, then appointed, then not any more: the chair's refusal still stands."""
    meeting, chair, guest = await house.call(), house.by(house.chair), house.by(house.guest)
    first: Admission = (await house.entry.request(guest, meeting.id)).admission
    await house.entry.decide(chair, meeting.id, first.id, admit=False)
    for version, wishes in (
        ("1", (*house.wishes(), Wish(house.guest.ref, Role.PRESS))),
        ("2", house.wishes()),
    ):
        await house.scheduling.update(chair, meeting.id, version, Edit(appointments=wishes))
        if version == "1":
            await house.entry.request(guest, meeting.id)
    await refused("ADMISSION_REFUSED", house.entry.request(guest, meeting.id))


async def test_attendance_may_hear_an_event_twice(house: House) -> None:
    """The same event again changes nothing; news after the end is cut at the end; unknown meetings are refused."""
    meeting = await house.call()
    house.clock.advance(HOUR / 2)
    stay = await house.run(meeting)
    came, at = house.clock.now(), house.clock.now() + MINUTE
    for _ in range(2):
        await house.entry.left(house.organisation, stay, at)
        await house.entry.joined(house.organisation, stay, house.chair, Role.CHAIR, came)
    house.clock.advance(10 * MINUTE)
    await house.scheduling.end(house.by(house.chair), meeting.id)
    end = house.clock.now()
    late = Presence(new_id(), meeting.id, new_id())
    await house.entry.joined(house.organisation, late, house.delegate, Role.DELEGATE, end - MINUTE)
    lines = await house.entry.attendance(house.by(house.secretary), meeting.id)
    assert [(line.party.name, line.left_at) for line in lines[:2]] == [("Chủ tọa", at), ("Đại biểu", end)]
    for organisation, meeting_id in ((new_id(), meeting.id), (house.organisation, new_id())):
        unknown = replace(late, meeting_id=meeting_id)
        await refused(
            "MEETING_NOT_FOUND",
            house.entry.joined(organisation, unknown, house.chair, Role.CHAIR, end),
        )


async def test_a_meeting_that_all_have_left_ends_itself(house: House) -> None:
    """Half an hour after the planned end, if nobody is there; who is there keeps it open."""
    meeting = await house.call()
    house.clock.advance(HOUR / 2)
    stay = await house.run(meeting)
    house.clock.advance(2 * HOUR)
    assert await house.scheduling.end_overdue(GRACE) == 0
    await house.entry.left(house.organisation, stay, house.clock.now())
    assert await house.scheduling.end_overdue(2 * HOUR) == 0
    assert await house.scheduling.end_overdue(GRACE) == 1
    assert await house.scheduling.end_overdue(GRACE) == 0
    assert (await house.stored(meeting)).status is Status.ENDED
    assert house.told() == ["scheduled", "ended"]
