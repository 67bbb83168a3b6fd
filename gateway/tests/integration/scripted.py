# SPDX-License-Identifier: Apache-2.0
"""The services behind the gateway, scripted by the test; they answer over real gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import jwt
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as directory
from giaoban.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceServicer,
)
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceServicer
from giaoban.recording.v1 import recording_pb2
from giaoban.recording.v1 import recording_service_pb2 as library
from giaoban.recording.v1.recording_service_pb2_grpc import (
    RecordingServiceServicer,
)
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1 import scheduling_service_pb2 as scheduling
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import (
    SchedulingServiceServicer,
)
from giaoban_kit.errors import GiaobanError
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import UserTokens
from giaoban_kit.tokens import principal_or_none

CONTENT = bytes(range(256)) * 8
SHA256 = "ab" * 32


def _answer(script: dict[str, Any], name: str, otherwise: Any) -> Any:
    found = script.get(name, otherwise)
    if isinstance(found, GiaobanError):
        raise found
    return found


@dataclass
class Identity(IdentityServiceServicer):
    """Real keys; sign-ins as scripted."""

    tokens: UserTokens
    script: dict[str, Any] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)

    async def GetJwks(self, request: Any, context: Any) -> directory.GetJwksResponse:
        return directory.GetJwksResponse(jwks_json=await self.tokens.jwks())

    def _tokens(self) -> identity_pb2.SessionTokens:
        tokens = identity_pb2.SessionTokens(
            access_token=self.tokens.token(), refresh_token="next-" + "r" * 30
        )
        tokens.refresh_token_expires_at.FromJsonString("2040-01-01T00:00:00Z")
        return tokens

    async def SignIn(self, request: Any, context: Any) -> directory.SignInResponse:
        self.asked.append(request)
        return _answer(self.script, "SignIn", directory.SignInResponse(tokens=self._tokens()))  # type: ignore[no-any-return]

    async def RefreshSession(self, request: Any, context: Any) -> directory.RefreshSessionResponse:
        answer = directory.RefreshSessionResponse(tokens=self._tokens())
        return _answer(self.script, "RefreshSession", answer)  # type: ignore[no-any-return]

    async def SignOut(self, request: Any, context: Any) -> directory.SignOutResponse:
        self.asked.append(request)
        return directory.SignOutResponse()

    async def GetMe(self, request: Any, context: Any) -> directory.GetMeResponse:
        if "hang" in self.script:
            await asyncio.sleep(self.script["hang"])
        user = identity_pb2.User(id=new_id(), display_name="Nguyễn Văn An")
        return _answer(self.script, "GetMe", directory.GetMeResponse(user=user))  # type: ignore[no-any-return]


@dataclass
class Scheduling(SchedulingServiceServicer):
    """Admits everyone with the role in `roles`, or as scripted."""

    script: dict[str, Any] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    admissions: int = 0
    checks: int = 0

    async def RequestAdmission(self, request: Any, context: Any) -> scheduling.RequestAdmissionResponse:
        self.admissions += not request.validate_only
        self.checks += request.validate_only
        found = self.script.get("admission", scheduling_pb2.APPOINTMENT_ROLE_DELEGATE)
        if callable(found):
            found = found()
        if isinstance(found, GiaobanError):
            raise found
        if found is None:
            waiting = scheduling_pb2.Admission(id="A" * 26, state=scheduling_pb2.ADMISSION_STATE_WAITING)
            return scheduling.RequestAdmissionResponse(admission=waiting)
        admission = scheduling_pb2.Admission(
            id="A" * 26, state=scheduling_pb2.ADMISSION_STATE_ADMITTED, role=found
        )
        return scheduling.RequestAdmissionResponse(admission=admission, grant="grant")

    async def ListAdmissions(self, request: Any, context: Any) -> scheduling.ListAdmissionsResponse:
        return scheduling.ListAdmissionsResponse(admissions=self.script.get("waiting", []))

    async def CreateMeeting(self, request: Any, context: Any) -> scheduling.CreateMeetingResponse:
        self.asked.append(request)
        meeting = self._meeting()
        return _answer(self.script, "CreateMeeting", scheduling.CreateMeetingResponse(meeting=meeting))  # type: ignore[no-any-return]

    async def UpdateMeeting(self, request: Any, context: Any) -> scheduling.UpdateMeetingResponse:
        self.asked.append(request)
        answer = scheduling.UpdateMeetingResponse(meeting=self._meeting())
        return _answer(self.script, "UpdateMeeting", answer)  # type: ignore[no-any-return]

    def _meeting(self) -> scheduling_pb2.Meeting:
        meeting = scheduling_pb2.Meeting(
            id=new_id(),
            title="Giao ban",
            etag="v1",
            status=scheduling_pb2.MEETING_STATUS_SCHEDULED,
            microphone_policy=scheduling_pb2.MICROPHONE_POLICY_FLOOR,
        )
        meeting.start_time.FromJsonString("2026-12-01T01:00:00Z")
        return meeting


class Recording(RecordingServiceServicer):
    """One recording whose content is `CONTENT`."""

    def __init__(self) -> None:
        self.state = recording_pb2.RECORDING_STATE_READY
        self.cancelled = asyncio.Event()
        self.fails: GiaobanError | None = None
        self.endless = False
        self.grants: list[str] = []
        self.lifetime = timedelta(hours=2)
        self.by: list[tuple[str, bool]] = []

    async def CreateContentGrant(self, request: Any, context: Any) -> library.CreateContentGrantResponse:
        claims = {"rec": request.recording_id, "exp": int(time.time() + self.lifetime.total_seconds())}
        self.grants.append(jwt.encode(claims, "x" * 32, algorithm="HS256"))
        return library.CreateContentGrantResponse(grant=self.grants[-1])

    async def GetRecording(self, request: Any, context: Any) -> library.GetRecordingResponse:
        self.by.append((request.grant, principal_or_none() is not None))
        found = recording_pb2.Recording(
            id=request.recording_id,
            state=self.state,
            size_bytes=len(CONTENT),
            media_type="video/mp4",
            sha256=SHA256,
        )
        return library.GetRecordingResponse(recording=found)

    async def ReadContent(self, request: Any, context: Any) -> AsyncIterator[library.ReadContentResponse]:
        self.by.append((request.grant, principal_or_none() is not None))
        if self.fails is not None:
            raise self.fails
        wanted = CONTENT[request.offset : request.offset + request.length]
        try:
            for at in range(0, len(wanted), 1000):
                yield library.ReadContentResponse(data=wanted[at : at + 1000])
            while self.endless:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass(eq=False)
class Seat:
    """One participant's stream, seen from media."""

    join: pb.Join
    requests: Any
    context: Any
    outbox: asyncio.Queue[pb.ConnectResponse | GiaobanError | None] = field(default_factory=asyncio.Queue)
    heard: asyncio.Queue[pb.ConnectRequest] = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def hears(self) -> pb.ConnectRequest:
        return await asyncio.wait_for(self.heard.get(), 5)


@dataclass
class Media(MediaServiceServicer):
    """Lets everyone in as participant `participant_id`; the test speaks for media after that."""

    resumed: bool = True
    at_once: tuple[pb.ConnectResponse, ...] = ()  # said in the same breath as `joined`
    refuse: GiaobanError | None = None
    full: GiaobanError | None = None
    room_for: int = 0
    asked: int = 0  # whether there is room
    silent: bool = False
    echo: bool = True
    seats: list[Seat] = field(default_factory=list)
    came: asyncio.Queue[Seat] = field(default_factory=asyncio.Queue)
    participant_ids: Mapping[str, str] = field(default_factory=dict)

    async def CheckCapacity(self, request: Any, context: Any) -> pb.CheckCapacityResponse:
        self.asked += 1
        if self.full is not None:
            raise self.full
        return pb.CheckCapacityResponse(room_for=self.room_for)

    async def Connect(self, requests: Any, context: Any) -> AsyncIterator[pb.ConnectResponse]:
        first = await anext(aiter(requests))
        if self.refuse is not None:
            raise self.refuse
        seat = Seat(first.join, requests, context)
        self.seats.append(seat)
        self.came.put_nowait(seat)
        listening = asyncio.create_task(self._listen(seat))
        try:
            if self.silent:
                await asyncio.sleep(60)
            resumed = first.join.resume and self.resumed
            yield pb.ConnectResponse(
                joined=pb.Joined(
                    participant_id="P" * 26,
                    resumed=resumed,
                    answer_sdp="" if resumed or not first.join.offer_sdp else "answer",
                    ice_servers=[pb.IceServer(urls=["stun:10.0.0.1"])],
                )
            )
            for response in self.at_once:
                yield response
            while (message := await seat.outbox.get()) is not None:
                if isinstance(message, GiaobanError):
                    raise message
                yield message
        finally:
            listening.cancel()
            seat.over.set()
            self.seats.remove(seat)

    async def _listen(self, seat: Seat) -> None:
        async for message in seat.requests:
            seat.heard.put_nowait(message)
            kind = message.WhichOneof("message")
            if kind == "leave":
                seat.outbox.put_nowait(None)
            elif kind == "command" and self.echo:
                reply = pb.Reply(request_id=message.command.request_id)
                seat.outbox.put_nowait(pb.ConnectResponse(reply=reply))
