# SPDX-License-Identifier: Apache-2.0
"""The gRPC surface of media: messages in, use cases, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
from giaoban.identity.v1.identity_pb2 import PERMISSION_OPERATE
from giaoban.media.v1 import media_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban.media.v1.media_service_pb2_grpc import MediaServiceServicer
from giaoban_kit.errors import Forbidden, GiaobanError
from giaoban_kit.ids import new_id
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.tasks import ended
from giaoban_kit.tokens import current_principal, verify_grant
from giaoban_kit.validate import Violations

from giaoban_media.conference import acts, codec
from giaoban_media.conference.model import MicrophonePolicy, Party, PartyKind, Role
from giaoban_media.config import IceServer
from giaoban_media.domain import MAX_TILES, Feed, Grant, View
from giaoban_media.errors import CommandInvalid, GrantInvalid, JoinExpected
from giaoban_media.messages import Ended, RejoinNeeded, SeatMessage
from giaoban_media.metrics import ACTS
from giaoban_media.nodes import to_proto
from giaoban_media.seat import Seat
from giaoban_media.service import Media
from giaoban_media.sfu import FeedsChanged, ReceiveOffer

JOIN_TIMEOUT = 10.0
MAX_REPLIES = 32
"""Replies that wait for their reader; who takes none is not read either."""

Replies = asyncio.Queue[pb.ConnectResponse]


class MediaServicer(MediaServiceServicer):
    """Implements `giaoban.media.v1.MediaService`."""

    def __init__(
        self,
        media: Media,
        identity: ServiceIdentity,
        ice_servers: Sequence[IceServer],
        may_operate: Callable[[int], Awaitable[bool]],
    ) -> None:
        """`may_operate` asks identity whether the caller holds a permission somewhere."""
        self._media = media
        self._identity = identity
        self._ice_servers = [
            pb.IceServer(urls=each.urls, username=each.username, credential=each.credential)
            for each in ice_servers
        ]
        self._may_operate = may_operate

    async def Connect(  # noqa: N802 - gRPC
        self,
        request_iterator: AsyncIterator[pb.ConnectRequest],  # noqa: ARG002 - read through the context
        context: Any,
    ) -> AsyncIterator[pb.ConnectResponse]:
        """One participant's stream."""
        join = await self._first(context)
        grant = self._grant(join.grant)
        streams = codec.streams_from(join.streams)
        async with self._media.connect(
            grant, join.offer_sdp, streams, resume=join.resume, view=view_from(join.view)
        ) as (seat, entered):
            yield pb.ConnectResponse(
                joined=pb.Joined(
                    participant_id=entered.participant_id,
                    answer_sdp=entered.answer_sdp,
                    resumed=entered.resumed,
                    ice_servers=self._ice_servers,
                )
            )
            replies: Replies = asyncio.Queue(MAX_REPLIES)
            reader = asyncio.ensure_future(_read(seat, context, replies))
            try:
                async for response in _merge(seat, replies, reader):
                    yield response
            finally:
                await ended(reader)
            if not reader.cancelled():
                reader.result()  # what failed there fails the stream

    async def CheckCapacity(  # noqa: N802 - gRPC
        self,
        request: pb.CheckCapacityRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.CheckCapacityResponse:
        """Whether there is room for the caller."""
        check = Violations()
        meeting_id = check.id("meeting_id", request.meeting_id)
        check.raise_if_any()
        caller = current_principal()
        more = await self._media.check_capacity(meeting_id, PartyKind(caller.kind), caller.subject)
        return pb.CheckCapacityResponse(room_for=more)

    async def SetRecording(  # noqa: N802 - gRPC
        self,
        request: pb.SetRecordingRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.SetRecordingResponse:
        """Whether the room is being recorded."""
        check = Violations()
        meeting_id = check.id("meeting_id", request.meeting_id)
        recording_id = check.id("recording_id", request.recording_id)
        check.raise_if_any()
        when = await self._media.set_recording(meeting_id, recording_id, active=request.active)
        return pb.SetRecordingResponse(effective_time=codec.timestamp(when))

    async def ListNodes(  # noqa: N802 - gRPC
        self,
        request: pb.ListNodesRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> pb.ListNodesResponse:
        """Media nodes with their load."""
        if not await self._may_operate(PERMISSION_OPERATE):
            raise Forbidden("only operators may see the media nodes")
        return pb.ListNodesResponse(nodes=[to_proto(each) for each in self._media.nodes()])

    async def _first(self, context: Any) -> pb.Join:
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                request = await context.read()
        except TimeoutError:
            request = grpc.aio.EOF
        if request is grpc.aio.EOF or request.WhichOneof("message") != "join":
            raise JoinExpected("begin the stream with a join message")
        join: pb.Join = request.join
        return join

    def _grant(self, token: str) -> Grant:
        claims = verify_grant(self._identity, token, issuer="scheduling", kind="admission")
        try:
            party = claims["party"]
            return Grant(
                meeting_id=claims["mtg"],
                organisation_id=claims["org"],
                participant_id=claims["sub"],
                role=Role(claims["role"]),
                policy=MicrophonePolicy(claims["pol"]),
                party=Party(
                    PartyKind(party["kind"]),
                    party["id"],
                    party["name"],
                    party.get("office", ""),
                    party.get("unit_id", ""),
                    party.get("unit_name", ""),
                ),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise GrantInvalid("the admission grant lacks a claim; ask for admission again") from error


async def _read(seat: Seat, context: Any, replies: Replies) -> None:
    """Works off what the client sends, in order, until it stops sending; waits while it does not take the replies."""
    while (request := await context.read()) is not grpc.aio.EOF:
        reply = await _handle(seat, request)
        if reply is not None:
            await replies.put(pb.ConnectResponse(reply=reply))
        if request.WhichOneof("message") == "leave":
            return


async def _handle(seat: Seat, request: pb.ConnectRequest) -> pb.Reply | None:
    kind = request.WhichOneof("message")
    request_id = {"publish": request.publish, "command": request.command, "restart_ice": request.restart_ice}
    reply = pb.Reply(request_id=request_id[kind].request_id) if kind in request_id else None  # type: ignore[attr-defined]
    try:
        match kind:
            case "publish":
                streams = codec.streams_from(request.publish.streams)
                answer = await seat.publish(request.publish.offer_sdp, streams)
                assert reply is not None  # noqa: S101 - publish has a request id
                reply.answer_sdp = answer
            case "answer":
                await seat.answer(request.answer.negotiation, request.answer.answer_sdp)
            case "view":
                seat.set_view(view_from(request.view))
            case "restart_ice":
                await seat.restart_ice()
            case "command":
                await _act(seat, request.command)
            case "leave":
                await seat.leave()
            case _:
                raise JoinExpected("a stream is joined once; send another message")
    except GiaobanError as error:
        if reply is None:
            reply = pb.Reply()
        reply.error.CopyFrom(pb.Error(reason=error.reason, detail=error.detail, metadata=error.metadata))
    return reply


async def _act(seat: Seat, command: pb.Command) -> None:
    act = act_from(command)
    name = command.WhichOneof("act")
    try:
        await seat.act(act)
    except GiaobanError as error:
        ACTS.labels(name, error.reason).inc()
        raise
    ACTS.labels(name, "done").inc()


async def _merge(
    seat: Seat, replies: Replies, reader: asyncio.Future[None]
) -> AsyncIterator[pb.ConnectResponse]:
    """What goes to the client: replies and what the seat tells, until the seat or the reader ends."""
    reply = asyncio.ensure_future(replies.get())
    message = asyncio.ensure_future(seat.messages.get())
    try:
        while True:
            waits: list[asyncio.Future[Any]] = [reply, message, reader]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if message.done():
                yield _seat_message(message.result())
                message = asyncio.ensure_future(seat.messages.get())
            if reply.done():
                yield reply.result()
                reply = asyncio.ensure_future(replies.get())
            elif reader.done() and replies.empty():
                return
    finally:
        reply.cancel()
        message.cancel()


def _seat_message(message: SeatMessage) -> pb.ConnectResponse:
    match message:
        case ReceiveOffer():
            return pb.ConnectResponse(
                offer=pb.Offer(
                    negotiation=message.negotiation,
                    offer_sdp=message.sdp,
                    feeds=[_feed(*each) for each in message.feeds],
                    new_connection=message.new_connection,
                )
            )
        case FeedsChanged():
            return pb.ConnectResponse(feeds=pb.Feeds(feeds=[_feed(*each) for each in message.feeds]))
        case RejoinNeeded():
            return pb.ConnectResponse(rejoin=pb.Rejoin(reason=message.reason))
        case Ended():
            raise message.error


def _feed(mid: str, feed: Feed) -> pb.Feed:
    source = media_pb2.StreamSource.Value(f"STREAM_SOURCE_{feed.source.name}")
    return pb.Feed(mid=mid, participant_id=feed.participant_id, source=source)


def view_from(view: pb.View) -> View:
    """The view of a message; more tiles than allowed are cut off, most wanted first."""
    return View(tuple(view.tiles[:MAX_TILES]), view.audio_only, view.stage_height or 720)


def act_from(command: pb.Command) -> acts.Act:
    """The act of a command. Raises `CommandInvalid` for one without, or one of a newer version."""
    name = command.WhichOneof("act")
    if name is None:
        raise CommandInvalid.field("act", "name an act that this version knows")
    return _ACTS[name](getattr(command, name))


_ACTS: dict[str, Callable[[Any], acts.Act]] = {
    "raise_hand": lambda _: acts.RaiseHand(),
    "lower_hand": lambda it: acts.LowerHand(it.participant_id),
    "grant_floor": lambda it: acts.GrantFloor(it.participant_id, _limit(it)),
    "take_floor": lambda it: acts.TakeFloor(it.participant_id),
    "return_floor": lambda _: acts.ReturnFloor(),
    "call_site": lambda it: acts.CallSite(it.participant_id, _limit(it)),
    "end_call": lambda _: acts.EndCall(),
    "mute_participant": lambda it: acts.MuteParticipant(it.participant_id, it.muted),
    "mute_all": lambda _: acts.MuteAll(),
    "remove_participant": lambda it: acts.RemoveParticipant(it.participant_id),
    "set_stage": lambda it: acts.SetStage(it.participant_id),
    "send_chat": lambda it: acts.SendChat(new_id(), it.text),
    "set_own_devices": lambda it: acts.SetOwnDevices(it.microphone_off, it.camera_off),
    "reorder_queue": lambda it: acts.ReorderQueue(tuple(it.participant_ids)),
}


def _limit(message: Any) -> Any:
    return message.limit.ToTimedelta() if message.HasField("limit") else None
