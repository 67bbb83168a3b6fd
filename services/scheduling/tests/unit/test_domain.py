# SPDX-License-Identifier: Apache-2.0
"""The rules of meetings, and the whole table of the decision about who comes in."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from giaoban_kit.ids import new_id
from giaoban_scheduling.domain import (
    CLOSES_AFTER,
    MAX_OPERATORS,
    MAX_SECRETARIES,
    OPENS_BEFORE,
    WAITING_LIMIT,
    AdmissionFacts,
    AdmissionState,
    Appointment,
    Attendance,
    Meeting,
    MicrophonePolicy,
    Outcome,
    Party,
    PartyKind,
    PartyRef,
    Presence,
    Role,
    Status,
    Wish,
    attendance,
    decide_admission,
    is_overdue,
    problems_of_appointments,
    problems_of_start,
    time_zones,
)
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + HOUR
SECOND = timedelta(seconds=1)
LIMIT = 3

TIMES = {
    "before": START - OPENS_BEFORE - SECOND,
    "opening": START - OPENS_BEFORE,
    "during": START + HOUR / 2,
    "last": END + CLOSES_AFTER - SECOND,
    "after": END + CLOSES_AFTER,
}
PREVIOUS = list(
    itertools.product((None, *AdmissionState), (None, AdmissionState.ADMITTED, AdmissionState.REFUSED))
)


def expected(
    when: str,
    status: Status,
    same: bool,
    role: Role | None,
    before: tuple[AdmissionState | None, AdmissionState | None],
    full: bool,
    crowded: bool,
) -> Outcome:
    """The table once more, as the documents tell it, written another way than the code."""
    state, decision = before
    rules = [
        (not same, Outcome.NOT_FOUND),
        (status is Status.CANCELLED, Outcome.CANCELLED),
        (status is Status.ENDED or when == "after", Outcome.ENDED),
        (when == "before" and status is Status.SCHEDULED, Outcome.NOT_OPEN),
        (role is None and decision is AdmissionState.REFUSED, Outcome.REFUSED),
        (role is None and decision is not AdmissionState.ADMITTED, None),
        (state is AdmissionState.ADMITTED, Outcome.ADMITTED),
        (full, Outcome.PARTICIPANTS_FULL),
        (True, Outcome.ADMITTED),
    ]
    outcome = next(outcome for holds, outcome in rules if holds)
    if outcome is None:  # nobody has let them in
        waits = state is AdmissionState.WAITING or not crowded
        return Outcome.WAITING if waits else Outcome.WAITING_FULL
    return outcome


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("when", TIMES)
def test_who_comes_in(when: str, status: Status) -> None:
    """Every combination of time, state, organisation, role, earlier answer and crowd has its one outcome."""
    seen = set()
    table = itertools.product((True, False), (None, *Role), PREVIOUS, (True, False), (True, False))
    for same, role, before, full, crowded in table:
        facts = AdmissionFacts(
            now=TIMES[when],
            status=status,
            start=START,
            end=END,
            same_organisation=same,
            role=role,
            previous=before[0],
            decision=before[1],
            admitted=LIMIT if full else LIMIT - 1,
            waiting=WAITING_LIMIT if crowded else WAITING_LIMIT - 1,
            participant_limit=LIMIT,
        )
        outcome = decide_admission(facts)
        assert outcome is expected(when, status, same, role, before, full, crowded), facts
        seen.add(outcome)
    if when == "during" and status is Status.RUNNING:
        assert seen == set(Outcome) - {Outcome.NOT_OPEN, Outcome.ENDED, Outcome.CANCELLED}


def ref(kind: PartyKind = PartyKind.USER) -> PartyRef:
    return PartyRef(kind, new_id())


def party(kind: PartyKind = PartyKind.USER, unit: str = "unit", name: str = "An") -> Party:
    return Party(ref(kind), name, "", unit, "Đơn vị")


def wishes(*roles: Role, kind: PartyKind = PartyKind.USER) -> list[Wish]:
    return [Wish(ref(kind), role) for role in roles]


TWICE = ref()


@pytest.mark.parametrize(
    ("asked", "reasons"),
    [
        (wishes(Role.CHAIR), []),
        (wishes(Role.CHAIR, kind=PartyKind.SITE), []),
        (wishes(Role.CHAIR, kind=PartyKind.UNIT), ["CHAIR_IS_UNIT"]),
        (wishes(Role.DELEGATE), ["ONE_CHAIR"]),
        (wishes(Role.CHAIR, Role.CHAIR), ["ONE_CHAIR"]),
        (wishes(Role.CHAIR, *[Role.SECRETARY] * MAX_SECRETARIES, *[Role.OPERATOR] * MAX_OPERATORS), []),
        (wishes(Role.CHAIR, *[Role.SECRETARY] * (MAX_SECRETARIES + 1)), ["TOO_MANY_SECRETARIES"]),
        (wishes(Role.CHAIR, *[Role.OPERATOR] * (MAX_OPERATORS + 1)), ["TOO_MANY_OPERATORS"]),
        ([*wishes(Role.CHAIR), Wish(TWICE, Role.PRESS), Wish(TWICE, Role.DELEGATE)], ["DUPLICATE"]),
        ([], ["ONE_CHAIR"]),
    ],
)
def test_who_can_be_appointed(asked: list[Wish], reasons: list[str]) -> None:
    """One chair, who is no unit; few secretaries and operators; nobody twice."""
    assert [problem.reason for problem in problems_of_appointments(asked)] == reasons


@pytest.mark.parametrize(
    ("ahead", "reasons"),
    [
        (timedelta(minutes=-5), []),
        (timedelta(minutes=-5, seconds=-1), ["IN_THE_PAST"]),
        (timedelta(days=730), []),
        (timedelta(days=730, seconds=1), ["TOO_FAR_AHEAD"]),
    ],
)
def test_when_a_meeting_can_start(ahead: timedelta, reasons: list[str]) -> None:
    """From five minutes ago, for slow clocks, to two years ahead."""
    assert [problem.reason for problem in problems_of_start(START + ahead, START)] == reasons


@given(
    zone=st.sampled_from(sorted(time_zones())),
    wall=st.datetimes(datetime(2020, 1, 1), datetime(2037, 12, 31)),  # noqa: DTZ001  (a wall clock's time)
    fold=st.sampled_from([0, 1]),
    length=st.timedeltas(timedelta(minutes=5), timedelta(hours=24)),
)
def test_summer_time_changes_no_duration(zone: str, wall: datetime, fold: int, length: timedelta) -> None:
    """A meeting across a change of clocks lasts as long as it was called for, in every zone."""
    start = wall.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
    called = meeting(start=start, duration=length, zone=zone)
    assert called.end.timestamp() - called.start.timestamp() == pytest.approx(length.total_seconds())
    assert is_overdue(called, somebody_there=False, now=called.end, grace=timedelta())
    assert not is_overdue(called, somebody_there=False, now=called.end - SECOND, grace=timedelta())


def meeting(
    *appointments: Appointment, start: datetime = START, duration: timedelta = HOUR, zone: str = "UTC"
) -> Meeting:
    return Meeting(
        id=new_id(),
        organisation_id=new_id(),
        unit_id=new_id(),
        unit_name="",
        title="",
        description="",
        start=start,
        duration=duration,
        time_zone=zone,
        microphone_policy=MicrophonePolicy.FLOOR,
        appointments=appointments,
        created_by=new_id(),
        created_at=start,
        updated_at=start,
        status=Status.RUNNING,
    )


@pytest.mark.parametrize(
    ("status", "there", "after", "over"),
    [
        (Status.RUNNING, False, 30, True),
        (Status.RUNNING, False, 29, False),
        (Status.RUNNING, True, 30, False),
        (Status.RUNNING, True, 719, False),
        (Status.RUNNING, True, 720, True),
        (Status.SCHEDULED, False, 30, False),
        (Status.ENDED, False, 30, False),
    ],
)
def test_overdue(status: Status, there: bool, after: int, over: bool) -> None:
    """Left by all it ends after the grace; a stay that never ended counts until the doors close."""
    held = replace(meeting(), status=status)
    now, grace = END + timedelta(minutes=after), timedelta(minutes=30)
    assert is_overdue(held, somebody_there=there, now=now, grace=grace) is over


def test_a_unit_speaks_for_its_users_only() -> None:
    """The own appointment goes before the unit's; a site gets nothing from its unit."""
    unit, user = party(PartyKind.UNIT), party()
    of_unit, own = Appointment("1", unit, Role.DELEGATE), Appointment("2", user, Role.PRESS)
    called, both = meeting(of_unit), meeting(of_unit, own)
    assert called.role_of(user.ref, unit.ref.id) is Role.DELEGATE
    assert both.role_of(user.ref, unit.ref.id) is Role.PRESS
    assert called.role_of(user.ref, "other") is None
    assert called.role_of(user.ref, None) is None
    assert called.role_of(ref(PartyKind.SITE), unit.ref.id) is None


@given(
    come=st.integers(0, 100),
    ends=st.lists(st.integers(0, 100), min_size=1, max_size=4),
    turn=st.integers(0, 4),
)
def test_a_stay_is_the_same_in_any_order(come: int, ends: list[int], turn: int) -> None:
    """Coming and leaving may be heard of in any order and often; the earliest leaving counts, never before coming."""
    acts: list[int | None] = [*ends]
    acts.insert(turn, None)
    stay, who = Presence("p", "m", "x"), party()
    for act in acts:
        if act is None:
            stay = stay.joined(who, Role.DELEGATE, START + come * SECOND)
        else:
            stay = stay.left(START + act * SECOND)
    assert stay.left_at == START + max(min(ends), come) * SECOND
    assert not stay.is_open


def test_the_attendance() -> None:
    """Those who came by time, then the invited who never came; a unit is there through any of its people."""
    unit, absent_unit = party(PartyKind.UNIT, "u1"), party(PartyKind.UNIT, "u2")
    unit = Party(PartyRef(PartyKind.UNIT, "u1"), "Quận", "", "u1", "Quận")
    user, absent, guest = party(unit="u1"), party(name="Vắng"), party(unit="u3", name="Khách")
    called = [Appointment(new_id(), each, Role.DELEGATE) for each in (absent, unit, absent_unit, user)]
    stays = [
        Presence("1", "m", "p", guest, Role.OBSERVER, START + SECOND, None),
        Presence("2", "m", "q", user, Role.DELEGATE, START, END),
        Presence("3", "m", "q", left_at=END),
    ]
    assert attendance(called, stays) == [
        Attendance(user, Role.DELEGATE, START, END),
        Attendance(guest, Role.OBSERVER, START + SECOND, None),
        Attendance(absent, Role.DELEGATE, None, None),
        Attendance(absent_unit, Role.DELEGATE, None, None),
    ]


def test_zones() -> None:
    """Real zones are known, also by the older names that browsers give; file names are not."""
    assert {"Asia/Ho_Chi_Minh", "Asia/Saigon", "UTC", "America/New_York"} <= time_zones()
    assert {"", "localtime", "../UTC", "asia/ho_chi_minh"}.isdisjoint(time_zones())
