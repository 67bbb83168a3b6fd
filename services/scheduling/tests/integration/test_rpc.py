# SPDX-License-Identifier: Apache-2.0
"""Scheduling as its callers meet it: real gRPC with the kit's interceptors, real identity, PostgreSQL and NATS."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import asyncpg
import pytest
from giaoban.identity.v1 import identity_pb2 as people
from giaoban.media.v1 import events_pb2 as media
from giaoban.scheduling.v1 import scheduling_pb2 as nouns
from giaoban.scheduling.v1 import scheduling_service_pb2 as calls
from giaoban_kit.errors import ErrorKind, GiaobanError, Invalid
from giaoban_kit.events import new_event, publish, subject
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import ServiceKeys
from giaoban_kit.tokens import verify_grant
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.js import JetStreamContext

HOUR = timedelta(hours=1)


class House(Protocol):
    """See conftest."""

    config: Any
    scheduling: Any
    keys: ServiceKeys
    js: JetStreamContext
    ids: dict[str, dict[str, str]]
    organisations: dict[str, str]

    async def asks(self, who: str) -> dict[str, Any]: ...


def at(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def lasting(length: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(length)
    return message


def soon(after: timedelta = timedelta(minutes=10)) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + after


ROLES = {
    "chair": nouns.APPOINTMENT_ROLE_CHAIR,
    "secretary": nouns.APPOINTMENT_ROLE_SECRETARY,
    "operator": nouns.APPOINTMENT_ROLE_OPERATOR,
    "delegate": nouns.APPOINTMENT_ROLE_DELEGATE,
    "press": nouns.APPOINTMENT_ROLE_PRESS,
}


def appointments(house: House, **who: str) -> list[calls.AppointmentInput]:
    """`an="chair"`, `dc_ubnd="delegate"`, `binhtan="delegate"`: user, site and unit by code."""
    found = []
    for name, role in who.items():
        code = name.replace("_", "-")
        kind = people.PARTY_KIND_SITE if code.startswith("dc-") else people.PARTY_KIND_USER
        kind = people.PARTY_KIND_UNIT if code in {"ubnd", "binhtan", "cuchi"} else kind
        ref = people.PartyRef(kind=kind, id=house.ids["city"][code])
        found.append(calls.AppointmentInput(party=ref, role=ROLES[role]))
    return found


def request(
    house: House, who: Sequence[calls.AppointmentInput] | None = None, **changed: Any
) -> calls.CreateMeetingRequest:
    default = appointments(house, an="chair", dao="secretary", dc_ubnd="delegate", binhtan="delegate")
    values = {
        "unit_id": house.ids["city"]["ubnd"],
        "title": "Giao ban tuần",
        "start_time": at(soon()),
        "duration": lasting(HOUR),
        "time_zone": "Asia/Ho_Chi_Minh",
        "appointments": default if who is None else who,
        **changed,
    }
    return calls.CreateMeetingRequest(**values)


async def call(house: House, by: str = "an", **changed: Any) -> nouns.Meeting:
    made: calls.CreateMeetingResponse = await house.scheduling.CreateMeeting(
        request(house, **changed), **await house.asks(by)
    )
    return made.meeting


async def come(house: House, by: str, meeting: nouns.Meeting) -> calls.RequestAdmissionResponse:
    asked = calls.RequestAdmissionRequest(meeting_id=meeting.id)
    answer: calls.RequestAdmissionResponse = await house.scheduling.RequestAdmission(
        asked, **await house.asks(by)
    )
    return answer


async def refused(reason: str, doing: Any) -> GiaobanError:
    with pytest.raises(GiaobanError) as error:
        await doing
    assert error.value.reason == reason, error.value.detail
    return error.value


async def told(house: House) -> list[str]:
    """The verbs of the events that reached the stream, in order."""
    info = await house.js.stream_info("SCHEDULING")
    messages = [await house.js.get_msg("SCHEDULING", number) for number in range(1, info.state.last_seq + 1)]
    return [str(message.subject).split(".")[4] for message in messages]


async def eventually(check: Any, expected: Any) -> None:
    for _ in range(200):
        if (found := await check()) == expected:
            return
        await asyncio.sleep(0.05)
    assert found == expected


async def enter(
    house: House, meeting: nouns.Meeting, answer: calls.RequestAdmissionResponse, when: datetime
) -> str:
    """Media says that the admitted party came into the room."""
    presence = new_id()
    fact = media.ParticipantJoined(
        meeting_id=meeting.id,
        organisation_id=meeting.organisation_id,
        participant_id=answer.admission.participant_id,
        presence_id=presence,
        party=answer.admission.party,
        role=answer.admission.role,
        join_time=at(when),
    )
    await publish(house.js, new_event(subject("media", "participant", "joined", meeting.id), fact))
    return presence


async def status(house: House, meeting: nouns.Meeting) -> int:
    asked = calls.GetMeetingRequest(meeting_id=meeting.id)
    found = await house.scheduling.GetMeeting(asked, **await house.asks("an"))
    return int(found.meeting.status)


async def test_a_meeting_is_called_seen_and_told(house: House) -> None:
    """The convener calls a meeting; chair, invited unit, site and overseer see it; others do not; it is told once."""
    meeting = await call(house, idempotency_key="k1")
    assert (meeting.unit_name, meeting.my_role) == ("Ủy ban nhân dân Thành phố", nouns.APPOINTMENT_ROLE_CHAIR)
    assert [each.party.name for each in meeting.appointments] == [
        "Nguyễn Văn An",
        "Trần Thị Đào",
        "Điểm cầu ubnd",
        "Quận Bình Tân",
    ]
    asked = calls.GetMeetingRequest(meeting_id=meeting.id)
    for who, role in (("binh", "delegate"), ("terminal:dc-ubnd", "delegate"), ("kythuat", None)):
        found = (await house.scheduling.GetMeeting(asked, **await house.asks(who))).meeting
        assert found.my_role == (ROLES[role] if role else 0)
        listed = await house.scheduling.ListMeetings(calls.ListMeetingsRequest(), **await house.asks(who))
        assert [(each.id, each.my_role, len(each.appointments)) for each in listed.meetings] == [
            (meeting.id, found.my_role, 0)
        ]
    for who in ("chi", "thu", "terminal:dc-cuchi", "ministry:minh"):
        await refused("MEETING_NOT_FOUND", house.scheduling.GetMeeting(asked, **await house.asks(who)))
        listed = await house.scheduling.ListMeetings(calls.ListMeetingsRequest(), **await house.asks(who))
        assert not listed.meetings
    again = await call(house, idempotency_key="k1", start_time=meeting.start_time)
    assert again.id == meeting.id
    await refused("IDEMPOTENCY_KEY_REUSED", call(house, idempotency_key="k1", title="Khác"))
    await eventually(lambda: told(house), ["scheduled"])


async def test_old_idempotency_keys_are_forgotten(house: House) -> None:
    """The running service forgets a key after a month, not before."""
    await call(house, idempotency_key="old", who=appointments(house, an="chair"))
    await call(house, idempotency_key="young", who=appointments(house, an="chair"))
    connection = await asyncpg.connect(house.config.database_url)
    try:
        age = "UPDATE idempotency_key SET created_at = now() - $2::interval WHERE key = $1"
        await connection.execute(age, "old", timedelta(days=31))
        await connection.execute(age, "young", timedelta(days=29))

        async def kept() -> list[str]:
            return [row["key"] for row in await connection.fetch("SELECT key FROM idempotency_key")]

        await eventually(kept, ["young"])
    finally:
        await connection.close()


async def test_who_may_not_convene(house: House) -> None:
    """Members, conveners of other units, terminals and strangers call no meeting for the unit."""
    for who, reason in (
        ("dao", "CONVENE_FORBIDDEN"),
        ("binh", "CONVENE_FORBIDDEN"),
        ("terminal:dc-ubnd", "CONVENE_FORBIDDEN"),
        ("ministry:minh", "UNIT_NOT_FOUND"),
    ):
        await refused(reason, call(house, by=who))


async def test_a_booked_site_is_named(house: House) -> None:
    """The second meeting at the same time learns which site is taken and when; the title only if it may."""
    first = await call(house)
    clash = await refused("SITE_BOOKED", call(house, title="Lần hai"))
    assert clash.metadata["site_name"] == "Điểm cầu ubnd"
    assert clash.metadata["meeting_title"] == first.title
    assert datetime.fromisoformat(clash.metadata["start_time"]) == first.start_time.ToDatetime(UTC)
    mine = {"unit_id": house.ids["city"]["binhtan"]}
    other = await call(
        house, **mine, who=appointments(house, an="chair", dc_cuchi="delegate"), start_time=first.start_time
    )
    hidden = await refused(
        "SITE_BOOKED",
        call(
            house,
            by="binh",
            **mine,
            who=appointments(house, binh="chair", dc_ubnd="delegate", an="secretary"),
        ),
    )
    assert hidden.metadata["meeting_title"] == first.title  # Bình Tân was invited to it
    cuchi = appointments(house, chi="chair", dc_binhtan="delegate", dc_ubnd="delegate")
    await house.scheduling.CancelMeeting(
        calls.CancelMeetingRequest(meeting_id=first.id, etag=first.etag, reason="Hoãn"),
        **await house.asks("dao"),
    )
    await call(house, by="binh", **mine, who=cuchi)
    secret = await call(
        house, who=appointments(house, an="chair", dc_cuchi="delegate"), start_time=at(soon(5 * HOUR))
    )
    blind = await refused(
        "SITE_BOOKED",
        call(
            house,
            by="binh",
            **mine,
            who=appointments(house, binh="chair", dc_cuchi="delegate"),
            start_time=secret.start_time,
        ),
    )
    assert {"meeting_title", "meeting_id"}.isdisjoint(blind.metadata)
    assert other.id != secret.id


async def test_two_bookings_at_once(house: House) -> None:
    """Of two overlapping meetings booked at the same moment exactly one is made, the other learns why."""
    results = await asyncio.gather(
        *(call(house, start_time=at(soon() + n * timedelta(minutes=7))) for n in range(4)),
        return_exceptions=True,
    )
    reasons = sorted(each.reason for each in results if isinstance(each, GiaobanError))
    assert reasons == ["SITE_BOOKED"] * 3


async def test_the_same_key_twice_at_once(house: House) -> None:
    """A request that is sent five times at once with one key makes one meeting."""
    start = at(soon())
    made = await asyncio.gather(*(call(house, idempotency_key="k", start_time=start) for _ in range(5)))
    assert len({meeting.id for meeting in made}) == 1
    await eventually(lambda: told(house), ["scheduled"])


async def test_two_edits_with_one_etag(house: House) -> None:
    """Of two edits made from the same reading one wins, the other must read again."""
    meeting = await call(house)

    async def edit(who: str, title: str) -> nouns.Meeting:
        asked = calls.UpdateMeetingRequest(meeting_id=meeting.id, etag=meeting.etag, title=title)
        answer: calls.UpdateMeetingResponse = await house.scheduling.UpdateMeeting(
            asked, **await house.asks(who)
        )
        return answer.meeting

    results = await asyncio.gather(edit("an", "Một"), edit("dao", "Hai"), return_exceptions=True)
    lost = [each for each in results if isinstance(each, GiaobanError)]
    won = [each for each in results if not isinstance(each, BaseException)]
    assert [each.reason for each in lost] == ["MEETING_CHANGED"]
    assert (won[0].etag, won[0].sequence) == ("2", 1)
    await eventually(lambda: told(house), ["scheduled", "changed"])
    await refused("EDIT_FORBIDDEN", edit("binh", "Ba"))
    await refused("MEETING_NOT_FOUND", edit("chi", "Ba"))


async def test_the_admission_limit_is_exact(house: House) -> None:
    """Of fifty who come at once exactly as many are admitted as the limit says; they stay admitted."""
    meeting = await call(house)
    names = [f"officer{n}" for n in range(50)]
    for name in names:
        await house.asks(name)
    results = await asyncio.gather(*(come(house, name, meeting) for name in names), return_exceptions=True)
    admitted = [name for name, each in zip(names, results, strict=True) if not isinstance(each, Exception)]
    reasons = {each.reason for each in results if isinstance(each, GiaobanError)}
    assert (len(admitted), reasons) == (13, {"PARTICIPANT_LIMIT_REACHED"})
    first, again = results[names.index(admitted[0])], await come(house, admitted[0], meeting)
    assert isinstance(first, calls.RequestAdmissionResponse)
    assert again.admission == first.admission


async def test_the_grant_says_who_comes_as_what(house: House) -> None:
    """Media can verify the grant by itself and reads participant, meeting, role, policy and party in it."""
    meeting = await call(house)
    answer = await come(house, "binh", meeting)
    claims = verify_grant(house.keys.identity("media"), answer.grant, issuer="scheduling", kind="admission")
    assert {key: claims[key] for key in ("sub", "mtg", "org", "role", "pol")} == {
        "sub": answer.admission.participant_id,
        "mtg": meeting.id,
        "org": house.organisations["city"],
        "role": "delegate",
        "pol": "floor",
    }
    assert claims["exp"] - claims["iat"] == 12 * 3600
    assert claims["party"] == {
        "kind": "user",
        "id": house.ids["city"]["binh"],
        "name": "Phạm Bình",
        "office": "Chánh Văn phòng",
        "unit_id": house.ids["city"]["binhtan"],
        "unit_name": "Quận Bình Tân",
    }
    assert answer.meeting.my_role == answer.admission.role
    assert not answer.meeting.appointments


async def test_waiting_and_deciding(house: House) -> None:
    """Who is not appointed waits; chair or secretary decide once; strangers learn nothing."""
    meeting = await call(house, description="Nội dung kín")
    reading = calls.GetMeetingRequest(meeting_id=meeting.id)
    checking = calls.RequestAdmissionRequest(meeting_id=meeting.id, validate_only=True)

    async def reads(who: str) -> nouns.Meeting:
        answer: calls.GetMeetingResponse = await house.scheduling.GetMeeting(reading, **await house.asks(who))
        return answer.meeting

    assert (
        await house.scheduling.RequestAdmission(checking, **await house.asks("chi"))
        == calls.RequestAdmissionResponse()
    )
    await refused("MEETING_NOT_FOUND", reads("chi"))
    chi, thu = await come(house, "chi", meeting), await come(house, "thu", meeting)
    seen = await reads("chi")
    assert (seen.title, seen.start_time, seen.unit_name) == (
        meeting.title,
        meeting.start_time,
        meeting.unit_name,
    )
    assert (seen.description, len(seen.appointments), seen.my_role) == ("", 0, 0)
    assert (chi.admission.state, chi.grant) == (nouns.ADMISSION_STATE_WAITING, "")
    assert not chi.meeting.appointments
    await refused("MEETING_NOT_FOUND", come(house, "ministry:minh", meeting))

    async def decide(who: str, admission: nouns.Admission, admit: bool) -> nouns.Admission:
        asked = calls.DecideAdmissionRequest(meeting_id=meeting.id, admission_id=admission.id, admit=admit)
        answer: calls.DecideAdmissionResponse = await house.scheduling.DecideAdmission(
            asked, **await house.asks(who)
        )
        return answer.admission

    listing = calls.ListAdmissionsRequest(meeting_id=meeting.id, state=nouns.ADMISSION_STATE_WAITING)
    waiting = await house.scheduling.ListAdmissions(listing, **await house.asks("dao"))
    assert [each.party.name for each in waiting.admissions] == ["Võ Chi", "Lê Minh Thư"]
    for who in ("binh", "chi"):
        expected = "ADMIT_FORBIDDEN" if who == "binh" else "MEETING_NOT_FOUND"
        await refused(expected, house.scheduling.ListAdmissions(listing, **await house.asks(who)))
        await refused(expected, decide(who, chi.admission, True))
    for _ in range(2):
        admitted = await decide("dao", chi.admission, True)
        assert admitted.state == nouns.ADMISSION_STATE_ADMITTED
        declined = await decide("an", thu.admission, False)
        assert declined.state == nouns.ADMISSION_STATE_REFUSED
    await refused("ADMISSION_DECIDED", decide("an", chi.admission, False))
    await refused("ADMISSION_DECIDED", decide("an", thu.admission, True))
    await refused("ADMISSION_NOT_FOUND", decide("an", nouns.Admission(id=new_id()), True))
    entered = await come(house, "chi", meeting)
    assert entered.grant
    assert entered.admission.participant_id == chi.admission.participant_id
    assert entered.admission.role == nouns.APPOINTMENT_ROLE_OBSERVER
    seen = await reads("chi")
    assert (seen.description, len(seen.appointments)) == ("Nội dung kín", 4)
    assert seen.my_role == nouns.APPOINTMENT_ROLE_OBSERVER
    mine = calls.GetMyAppointmentRequest(meeting_id=meeting.id)
    await refused("MEETING_NOT_FOUND", house.scheduling.GetMyAppointment(mine, **await house.asks("chi")))
    await refused("ADMISSION_REFUSED", come(house, "thu", meeting))
    await refused("ADMISSION_REFUSED", house.scheduling.RequestAdmission(checking, **await house.asks("thu")))
    await refused("MEETING_NOT_FOUND", reads("thu"))
    await eventually(
        lambda: told(house), ["scheduled", *["admission_requested"] * 2, *["admission_decided"] * 2]
    )


async def test_too_early(house: House) -> None:
    """Two hours before the start nobody comes in, and is told when to come back."""
    meeting = await call(house, start_time=at(soon(2 * HOUR)))
    for who in ("an", "chi", "terminal:dc-ubnd"):
        early = await refused("MEETING_NOT_OPEN", come(house, who, meeting))
        assert datetime.fromisoformat(early.metadata["opens_at"]) == meeting.start_time.ToDatetime(UTC) - HOUR


async def test_attendance_from_events(house: House) -> None:
    """Joins start the meeting, the end closes what is open, and the absent are named; staff alone see it."""
    meeting = await call(house)
    asked = calls.EndMeetingRequest(meeting_id=meeting.id)
    await refused("MEETING_NOT_RUNNING", house.scheduling.EndMeeting(asked, **await house.asks("an")))
    answer, start = await come(house, "terminal:dc-ubnd", meeting), datetime.now(UTC)
    presence = await enter(house, meeting, answer, start)
    officer = await come(house, "officer7", meeting)
    await enter(house, meeting, officer, start + timedelta(milliseconds=1))
    left = media.ParticipantLeft(
        meeting_id=meeting.id,
        organisation_id=meeting.organisation_id,
        presence_id=presence,
        leave_time=at(start + timedelta(milliseconds=5)),
        reason=media.LEAVE_REASON_LEFT,
    )
    event = new_event(subject("media", "participant", "left", meeting.id), left)
    await publish(house.js, event)
    await eventually(lambda: status(house, meeting), nouns.MEETING_STATUS_RUNNING)

    async def lines() -> list[tuple[str, bool, bool, bool]]:
        question = calls.GetAttendanceRequest(meeting_id=meeting.id)
        records = (await house.scheduling.GetAttendance(question, **await house.asks("kythuat"))).records
        return [
            (each.party.name, each.HasField("join_time"), each.HasField("leave_time"), each.absent)
            for each in records
        ]

    absent = [("Nguyễn Văn An", False, False, True), ("Trần Thị Đào", False, False, True)]
    came = [("Điểm cầu ubnd", True, True, False), ("Cán bộ 7", True, False, False)]
    await eventually(lines, [*came, *absent])  # Bình Tân is there through its officer
    question = calls.GetAttendanceRequest(meeting_id=meeting.id)
    await refused(
        "ATTENDANCE_FORBIDDEN", house.scheduling.GetAttendance(question, **await house.asks("binh"))
    )
    cancel = calls.CancelMeetingRequest(meeting_id=meeting.id)
    await refused("MEETING_RUNNING", house.scheduling.CancelMeeting(cancel, **await house.asks("an")))
    await refused("END_FORBIDDEN", house.scheduling.EndMeeting(asked, **await house.asks("binh")))
    for _ in range(2):
        ended = (await house.scheduling.EndMeeting(asked, **await house.asks("dao"))).meeting
        assert ended.status == nouns.MEETING_STATUS_ENDED
        assert abs(ended.actual_start_time.ToDatetime(UTC) - start) < timedelta(milliseconds=1)
    await eventually(lines, [came[0], ("Cán bộ 7", True, True, False), *absent])
    await refused("MEETING_ENDED", come(house, "an", meeting))
    await eventually(lambda: told(house), ["scheduled", "ended"])


async def test_a_meeting_that_all_have_left_ends_itself(house: House) -> None:
    """Past its planned end a meeting goes on while somebody is there, and ends by itself when they have left."""
    five = timedelta(minutes=5)
    meeting = await call(house, start_time=at(soon(timedelta(seconds=2) - five)), duration=lasting(five))
    answer = await come(house, "an", meeting)
    presence = await enter(house, meeting, answer, datetime.now(UTC))
    await eventually(lambda: status(house, meeting), nouns.MEETING_STATUS_RUNNING)
    await asyncio.sleep(3.5)
    assert await status(house, meeting) == nouns.MEETING_STATUS_RUNNING
    left = media.ParticipantLeft(
        meeting_id=meeting.id,
        organisation_id=meeting.organisation_id,
        presence_id=presence,
        leave_time=at(datetime.now(UTC)),
        reason=media.LEAVE_REASON_LOST,
    )
    await publish(house.js, new_event(subject("media", "participant", "left", meeting.id), left))
    await eventually(lambda: status(house, meeting), nouns.MEETING_STATUS_ENDED)
    await eventually(lambda: told(house), ["scheduled", "ended"])


async def test_the_press_does_not_see_who_is_invited(house: House) -> None:
    """Neither by reading the meeting nor by coming in; its own role it knows."""
    meeting = await call(house, who=appointments(house, an="chair", thu="press", dc_ubnd="delegate"))
    asked = calls.GetMeetingRequest(meeting_id=meeting.id)
    read = (await house.scheduling.GetMeeting(asked, **await house.asks("thu"))).meeting
    for seen in (read, (await come(house, "thu", meeting)).meeting):
        assert (seen.my_role, len(seen.appointments)) == (nouns.APPOINTMENT_ROLE_PRESS, 0)


async def test_my_appointment_and_pages(house: House) -> None:
    """Other services learn the caller's role; pages of one bring every meeting once, by start."""
    starts = [at(soon(n * timedelta(hours=2))) for n in (3, 1, 2)]
    made = [await call(house, start_time=start) for start in starts]
    asked = calls.GetMyAppointmentRequest(meeting_id=made[0].id)
    mine = await house.scheduling.GetMyAppointment(asked, **await house.asks("binh"))
    assert (mine.role, mine.meeting_title, mine.unit_id, mine.organisation_id) == (
        nouns.APPOINTMENT_ROLE_DELEGATE,
        made[0].title,
        made[0].unit_id,
        house.organisations["city"],
    )
    found, token = [], ""
    while True:
        page = calls.ListMeetingsRequest(page_size=1, page_token=token)
        answer = await house.scheduling.ListMeetings(page, **await house.asks("binh"))
        found += [meeting.id for meeting in answer.meetings]
        if not (token := answer.next_page_token):
            break
    assert found == [made[1].id, made[2].id, made[0].id]
    outside = calls.ListMeetingsRequest(from_time=at(soon(-9 * HOUR)), to_time=at(soon(-HOUR)))
    assert not (await house.scheduling.ListMeetings(outside, **await house.asks("binh"))).meetings


async def test_every_mistake_is_named_at_once(house: House) -> None:
    """One answer names every wrong field with its remedy."""
    wrong = calls.CreateMeetingRequest(
        unit_id="../../etc",
        title=" \u202e ",
        description="x" * 5001,
        duration=lasting(timedelta(seconds=1)),
        time_zone="../../etc/passwd",
        microphone_policy=99,  # type: ignore[arg-type]
        appointments=[calls.AppointmentInput(role=98)],  # type: ignore[arg-type]
        idempotency_key="k" * 201,
    )
    error = await refused("MEETING_INVALID", house.scheduling.CreateMeeting(wrong, **await house.asks("an")))
    assert isinstance(error, Invalid)
    assert {violation.field for violation in error.violations} == {
        "unit_id",
        "title",
        "description",
        "start_time",
        "duration",
        "time_zone",
        "microphone_policy",
        "appointments[0].party.kind",
        "appointments[0].party.id",
        "appointments[0].role",
        "idempotency_key",
    }
    assert all(violation.remedy for violation in error.violations)
    foreign = calls.AppointmentInput(
        party=people.PartyRef(kind=people.PARTY_KIND_USER, id=house.ids["ministry"]["minh"]),
        role=nouns.APPOINTMENT_ROLE_DELEGATE,
    )
    late = await refused(
        "MEETING_INVALID",
        call(house, who=[*appointments(house, an="secretary"), foreign], start_time=at(soon(-HOUR))),
    )
    assert isinstance(late, Invalid)
    assert [(each.field, each.reason) for each in late.violations] == [
        ("start_time", "IN_THE_PAST"),
        ("appointments", "ONE_CHAIR"),
        ("appointments[1].party", "UNKNOWN_PARTY"),
    ]


HOSTILE = st.text(max_size=300).map(lambda text: text.encode("utf-8", "ignore").decode()) | st.sampled_from(
    ["'; DROP TABLE meeting;--", "\x00", "01J" + "0" * 23, "𠜎" * 90, "eyJpZCI6IngiLCJzdGFydCI6IngifQ"]
)
SECONDS = st.integers(-(2**63), 2**63 - 1) | st.integers(-62135596800, 253402300799)
INT32 = st.integers(-(2**31), 2**31 - 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=HOSTILE, start=SECONDS, nanos=INT32, length=SECONDS, number=INT32, title=st.text(max_size=50))
async def test_hostile_values_do_no_harm(
    house: House, text: str, start: int, nanos: int, length: int, number: int, title: str
) -> None:
    """Whatever text, number or time comes in any field, it is taken or refused clearly, never a failure."""
    when, long = Timestamp(seconds=start, nanos=nanos), Duration(seconds=length, nanos=nanos)
    ref = people.PartyRef(kind=number, id=text)  # type: ignore[arg-type]
    odd = [calls.AppointmentInput(party=ref, role=number)]  # type: ignore[arg-type]
    title = title.encode("utf-8", "ignore").decode()
    me, service = await house.asks("an"), house.scheduling
    attempts = (
        service.CreateMeeting(request(house, title=text, start_time=when), **me),
        service.CreateMeeting(request(house, title=title, start_time=at(soon()), duration=long), **me),
        service.CreateMeeting(request(house, unit_id=text, description=text, time_zone=text), **me),
        service.CreateMeeting(request(house, who=odd, idempotency_key=text), **me),
        service.GetMeeting(calls.GetMeetingRequest(meeting_id=text), **me),
        service.ListMeetings(calls.ListMeetingsRequest(from_time=when, page_size=number), **me),
        service.ListMeetings(calls.ListMeetingsRequest(to_time=when, page_token=text), **me),
        service.UpdateMeeting(calls.UpdateMeetingRequest(meeting_id=text, etag=text, title=text), **me),
        service.CancelMeeting(calls.CancelMeetingRequest(meeting_id=text, reason=text), **me),
        service.RequestAdmission(calls.RequestAdmissionRequest(meeting_id=text), **me),
        service.ListAdmissions(
            calls.ListAdmissionsRequest(meeting_id=text, state=number),  # type: ignore[arg-type]
            **me,
        ),
        service.DecideAdmission(calls.DecideAdmissionRequest(meeting_id=text, admission_id=text), **me),
    )
    for attempt in attempts:
        try:
            await attempt
        except GiaobanError as error:
            assert error.kind in {ErrorKind.INVALID, ErrorKind.NOT_FOUND, ErrorKind.EXISTS}, error.detail
