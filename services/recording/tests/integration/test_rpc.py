# SPDX-License-Identifier: Apache-2.0
"""Recording over real gRPC: its own surface, and its questions to neighbours that answer as they are told."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as identity
from giaoban.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceServicer,
    add_IdentityServiceServicer_to_server,
)
from giaoban.media.v1 import media_service_pb2 as media
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceServicer, add_MediaServiceServicer_to_server
from giaoban.recording.v1 import recording_pb2
from giaoban.recording.v1 import recording_service_pb2 as pb
from giaoban.recording.v1.recording_service_pb2_grpc import (
    RecordingServiceStub,
    add_RecordingServiceServicer_to_server,
)
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1 import scheduling_service_pb2 as scheduling
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import (
    SchedulingServiceServicer,
    add_SchedulingServiceServicer_to_server,
)
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ServiceConfig
from giaoban_kit.errors import GiaobanError, Invalid, NotFound, Unauthenticated
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.telemetry import Readiness
from giaoban_kit.testing.keys import ServiceKeys, UserTokens
from giaoban_kit.tokens import TokenVerifier, current_principal, sign_grant
from giaoban_recording.clients import GrpcMeetings, GrpcRooms
from giaoban_recording.domain import Recording, State
from giaoban_recording.grants import SignedGrants
from giaoban_recording.rpc import RecordingServicer
from giaoban_recording.service import Recorder
from giaoban_recording.testing import MemoryLibrary, MemoryTransactions

ORG, UNIT, CHAIR = new_id(), new_id(), new_id()


class MeetingNotFound(NotFound):
    reason = "MEETING_NOT_FOUND"


class UnitNotFound(NotFound):
    reason = "UNIT_NOT_FOUND"


@dataclass
class Neighbours(SchedulingServiceServicer, IdentityServiceServicer, MediaServiceServicer):
    """Scheduling, identity and media as far as recording asks them."""

    roles: dict[tuple[str, str], str] = field(default_factory=dict)  # (meeting, user) -> role
    overseers: set[str] = field(default_factory=set)
    recorded: list[tuple[str, str, bool]] = field(default_factory=list)

    async def GetMyAppointment(self, request: Any, context: Any) -> scheduling.GetMyAppointmentResponse:
        role = self.roles.get((request.meeting_id, current_principal().subject))
        if role is None:
            raise MeetingNotFound("There is no such meeting.")
        return scheduling.GetMyAppointmentResponse(
            role=scheduling_pb2.AppointmentRole.Value(f"APPOINTMENT_ROLE_{role}"),
            organisation_id=ORG,
            unit_id=UNIT,
            meeting_title="Giao ban tuần",
            status=scheduling_pb2.MEETING_STATUS_RUNNING,
        )

    async def CheckPermission(self, request: Any, context: Any) -> identity.CheckPermissionResponse:
        assert request.permission == identity_pb2.PERMISSION_OVERSEE
        if request.unit_id != UNIT:
            raise UnitNotFound("There is no such unit.")
        return identity.CheckPermissionResponse(allowed=current_principal().subject in self.overseers)

    async def SetRecording(self, request: Any, context: Any) -> media.SetRecordingResponse:
        self.recorded.append((request.meeting_id, request.recording_id, request.active))
        return media.SetRecordingResponse()


@dataclass
class House:
    """Recording between a gateway and its neighbours."""

    neighbours: Neighbours
    begin: MemoryTransactions
    library: MemoryLibrary
    stub: RecordingServiceStub
    tokens: UserTokens

    def asks(self, who: str, organisation_id: str = ORG) -> dict[str, Any]:
        token = self.tokens.token(subject=who, organisation_id=organisation_id)
        return {"metadata": (("authorization", f"Bearer {token}"),)}

    def meeting(self, role: str = "CHAIR", who: str = CHAIR) -> str:
        meeting = new_id()
        self.neighbours.roles[meeting, who] = role
        return meeting

    def ready(self, meeting: str, content: bytes = b"", **changes: Any) -> Recording:
        values: dict[str, Any] = {"id": new_id(), "unit_id": UNIT, "size_bytes": len(content)} | changes
        made = Recording(
            organisation_id=ORG,
            meeting_id=meeting,
            meeting_title="Giao ban tuần",
            state=State.READY,
            started_by=CHAIR,
            start_time=datetime.now(UTC),
            sha256="ab",
            media_type="video/mp4",
            duration=timedelta(seconds=90),
            **values,
        )
        self.begin.stored.recordings[made.id] = made
        self.library.results[made.id, "ab"] = content
        return made


@pytest.fixture
async def house(service_keys: ServiceKeys, user_tokens: UserTokens) -> AsyncIterator[House]:
    """Everything on free ports of this machine."""
    neighbours = Neighbours()  # type: ignore[abstract]  # asked for nothing else
    begin, library = MemoryTransactions(), MemoryLibrary()
    verifier = TokenVerifier(user_tokens.jwks)
    config = ServiceConfig(service_name="test")
    parts: dict[str, Callable[..., None]] = {
        "scheduling": add_SchedulingServiceServicer_to_server,
        "identity": add_IdentityServiceServicer_to_server,
        "media": add_MediaServiceServicer_to_server,
    }
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        me, to = service_keys.identity("recording"), {}
        for name, add in parts.items():
            port = await enter(
                grpc_server(
                    config,
                    service_keys.identity(name),
                    verifier,
                    readiness=Readiness(),
                    add=[(add, neighbours)],
                )
            )
            to[name] = await enter(channel(f"127.0.0.1:{port}", me))
        recorder = Recorder(
            begin,
            GrpcMeetings(to["scheduling"], to["identity"]),
            GrpcRooms(to["media"]),
            library,
            SystemClock(),
            new_id,
        )
        add_recording = [
            (add_RecordingServiceServicer_to_server, RecordingServicer(recorder, SignedGrants(me)))
        ]
        port = await enter(grpc_server(config, me, verifier, readiness=Readiness(), add=add_recording))
        gateway = await enter(channel(f"127.0.0.1:{port}", service_keys.identity("gateway")))
        yield House(neighbours, begin, library, RecordingServiceStub(gateway), user_tokens)


async def test_a_recording_is_started_and_stopped(house: House) -> None:
    """The caller's own token asks scheduling; media hears of start and stop; all fields come back."""
    meeting = house.meeting("SECRETARY")
    request = pb.StartRecordingRequest(meeting_id=meeting)
    made = (await house.stub.StartRecording(request, **house.asks(CHAIR))).recording
    assert (made.meeting_id, made.organisation_id, made.meeting_title) == (meeting, ORG, "Giao ban tuần")
    assert (made.state, made.started_by) == (recording_pb2.RECORDING_STATE_CAPTURING, CHAIR)
    stop = pb.StopRecordingRequest(recording_id=made.id)
    stopped = (await house.stub.StopRecording(stop, **house.asks(CHAIR))).recording
    assert stopped.state == recording_pb2.RECORDING_STATE_SHIPPING
    assert stopped.HasField("stop_time")
    assert not stopped.HasField("duration")
    assert house.neighbours.recorded == [(meeting, made.id, True), (meeting, made.id, False)]
    assert [verb for verb, _ in house.begin.stored.news] == ["started", "stopped"]


@pytest.mark.parametrize(("role", "reason"), [("DELEGATE", "RECORD_FORBIDDEN"), (None, "MEETING_NOT_FOUND")])
async def test_who_may_not_is_refused(house: House, role: str | None, reason: str) -> None:
    """The reason travels to the caller, and nothing happens."""
    meeting = house.meeting(role) if role else new_id()
    with pytest.raises(GiaobanError) as refused:
        await house.stub.StartRecording(pb.StartRecordingRequest(meeting_id=meeting), **house.asks(CHAIR))
    assert refused.value.reason == reason
    assert house.neighbours.recorded == []


async def test_nobody_is_nobody(house: House) -> None:
    """Without a user's token no RPC does anything."""
    calls: list[Any] = [
        house.stub.StartRecording(pb.StartRecordingRequest(meeting_id=new_id())),
        house.stub.StopRecording(pb.StopRecordingRequest(recording_id=new_id())),
        house.stub.GetRecording(pb.GetRecordingRequest(recording_id=new_id())),
        house.stub.ListRecordings(pb.ListRecordingsRequest()),
        house.stub.RetryRecording(pb.RetryRecordingRequest(recording_id=new_id())),
        house.stub.ReadContent(pb.ReadContentRequest(recording_id=new_id())).read(),
    ]
    for call in calls:
        with pytest.raises(Unauthenticated):
            await call


@pytest.mark.parametrize("bad", ["", "x", "../../etc", "01m8350yx8a29g82r0prmn433f", "0" * 27])
async def test_a_bad_id_is_named(house: House, bad: str) -> None:
    """Every RPC with an id says which field is wrong."""
    asks = house.asks(CHAIR)
    calls: list[tuple[str, Any]] = [
        ("meeting_id", house.stub.StartRecording(pb.StartRecordingRequest(meeting_id=bad), **asks)),
        ("recording_id", house.stub.StopRecording(pb.StopRecordingRequest(recording_id=bad), **asks)),
        ("recording_id", house.stub.GetRecording(pb.GetRecordingRequest(recording_id=bad), **asks)),
        ("meeting_id", house.stub.ListRecordings(pb.ListRecordingsRequest(meeting_id=bad), **asks)),
        ("recording_id", house.stub.RetryRecording(pb.RetryRecordingRequest(recording_id=bad), **asks)),
        ("recording_id", house.stub.ReadContent(pb.ReadContentRequest(recording_id=bad), **asks).read()),
    ]
    for name, call in calls:
        with pytest.raises(Invalid) as refused:
            await call
        assert [each.field for each in refused.value.violations] == [name]


async def test_the_library_shows_what_may_be_seen(house: House) -> None:
    """Appointed or overseeing; of other units, meetings and organisations there is nothing."""
    meeting, viewer, overseer = house.meeting(), new_id(), new_id()
    house.neighbours.roles[meeting, viewer] = "OBSERVER"
    made = house.ready(meeting)
    house.neighbours.roles[meeting, overseer] = "UNSPECIFIED"
    house.neighbours.overseers.add(overseer)
    elsewhere = house.ready(house.meeting("UNSPECIFIED", overseer), unit_id=new_id())
    for who, seen in ((CHAIR, [made.id]), (viewer, [made.id]), (overseer, [made.id]), (new_id(), [])):
        page = await house.stub.ListRecordings(pb.ListRecordingsRequest(), **house.asks(who))
        assert [each.id for each in page.recordings] == seen
    stranger = house.asks(CHAIR, organisation_id=new_id())
    assert not (await house.stub.ListRecordings(pb.ListRecordingsRequest(), **stranger)).recordings
    with pytest.raises(GiaobanError) as refused:
        get = pb.GetRecordingRequest(recording_id=elsewhere.id)
        await house.stub.GetRecording(get, **house.asks(overseer))
    assert refused.value.reason == "RECORDING_NOT_FOUND"


async def test_pages_follow_on(house: House) -> None:
    """Tokens lead through all of them, newest first; a forged token is refused by name."""
    meeting = house.meeting()
    made = [house.ready(meeting).id for _ in range(5)]
    seen, token = [], ""
    while True:
        request = pb.ListRecordingsRequest(meeting_id=meeting, page_size=2, page_token=token)
        page = await house.stub.ListRecordings(request, **house.asks(CHAIR))
        assert len(page.recordings) <= 2
        seen += [each.id for each in page.recordings]
        if not (token := page.next_page_token):
            break
    assert seen == made[::-1]
    for changes in ({"page_token": "e30"}, {"page_size": 201}, {"page_size": -1}):
        with pytest.raises(Invalid) as refused:
            await house.stub.ListRecordings(pb.ListRecordingsRequest(**changes), **house.asks(CHAIR))
        assert [each.field for each in refused.value.violations] == list(changes)


async def test_content_is_read_in_ranges(house: House) -> None:
    """Bytes from an offset, to the end or as many as asked for; outside of the file there is nothing."""
    made = house.ready(house.meeting(), b"0123456789")
    for offset, length, wanted in ((0, 0, b"0123456789"), (4, 3, b"456"), (9, 99, b"9")):
        request = pb.ReadContentRequest(recording_id=made.id, offset=offset, length=length)
        stream = house.stub.ReadContent(request, **house.asks(CHAIR))
        assert b"".join([each.data async for each in stream]) == wanted
    for offset, length in ((11, 0), (-1, 0), (0, -1)):
        request = pb.ReadContentRequest(recording_id=made.id, offset=offset, length=length)
        with pytest.raises(Invalid) as refused:
            await house.stub.ReadContent(request, **house.asks(CHAIR)).read()
        assert refused.value.reason == "RANGE_INVALID"


async def _granted(house: House, recording_id: str, who: str = CHAIR) -> str:
    request = pb.CreateContentGrantRequest(recording_id=recording_id)
    return str((await house.stub.CreateContentGrant(request, **house.asks(who))).grant)


async def test_a_grant_plays_one_recording_without_the_user(house: House) -> None:
    """Ranges and fields by the grant alone, for its recording only, until the recording is gone."""
    meeting = house.meeting()
    made, other = house.ready(meeting, b"0123456789"), house.ready(meeting, b"other")
    grant = await _granted(house, made.id)
    read = pb.ReadContentRequest(recording_id=made.id, offset=4, length=3, grant=grant)
    assert b"".join([each.data async for each in house.stub.ReadContent(read)]) == b"456"
    found = await house.stub.GetRecording(pb.GetRecordingRequest(recording_id=made.id, grant=grant))
    assert found.recording.size_bytes == 10
    foreign = [
        (other.id, grant),
        (made.id, grant[:-4]),
        (made.id, house.tokens.token(subject=CHAIR, organisation_id=ORG)),
        (made.id, "x"),
    ]
    for recording_id, token in foreign:
        with pytest.raises(Unauthenticated) as refused:
            await house.stub.ReadContent(pb.ReadContentRequest(recording_id=recording_id, grant=token)).read()
        assert refused.value.reason == "GRANT_INVALID"
        with pytest.raises(Unauthenticated):
            await house.stub.GetRecording(pb.GetRecordingRequest(recording_id=recording_id, grant=token))
    del house.begin.stored.recordings[made.id]
    with pytest.raises(NotFound):
        await house.stub.ReadContent(read).read()


async def test_grants_of_other_kinds_play_nothing(house: House, service_keys: ServiceKeys) -> None:
    """Neither another service's grant nor one of ours for another purpose, nor one that is over."""
    made = house.ready(house.meeting())
    claims = {"sub": CHAIR, "org": ORG, "rec": made.id}
    me, hour = service_keys.identity("recording"), timedelta(hours=1)
    for issuer, audience, kind, lifetime in (
        (service_keys.identity("scheduling"), "recording", "content", hour),
        (me, "recording", "admission", hour),
        (me, "media", "content", hour),
        (me, "recording", "content", -hour),
    ):
        grant = sign_grant(issuer, audience=audience, kind=kind, claims=claims, lifetime=lifetime)
        with pytest.raises(Unauthenticated) as refused:
            await house.stub.ReadContent(pb.ReadContentRequest(recording_id=made.id, grant=grant)).read()
        assert refused.value.reason == "GRANT_INVALID"


async def test_who_gets_a_grant_and_for_how_long(house: House) -> None:
    """Who may see the recording, once it is composed: its duration and an hour, never more than twelve."""
    meeting = house.meeting()
    for duration, hours in ((timedelta(hours=2), 3), (timedelta(hours=11.5), 12), (timedelta(days=1), 12)):
        made = house.ready(meeting)
        house.begin.stored.recordings[made.id] = replace(made, duration=duration)
        claims = jwt.decode(await _granted(house, made.id), options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == hours * 3600
        assert (claims["sub"], claims["rec"], claims["aud"]) == (CHAIR, made.id, "recording")
    with pytest.raises(NotFound):
        await _granted(house, made.id, new_id())
    house.begin.stored.recordings[made.id] = replace(made, state=State.COMPOSING)
    with pytest.raises(GiaobanError) as refused:
        await _granted(house, made.id)
    assert refused.value.reason == "RECORDING_NOT_READY"
    with pytest.raises(Unauthenticated):
        await house.stub.CreateContentGrant(pb.CreateContentGrantRequest(recording_id=made.id))
