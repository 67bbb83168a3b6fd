# SPDX-License-Identifier: Apache-2.0
"""One client's WebSocket: ticket, admission, then relay between client, media and the meeting's feed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, WebSocket
from giaoban.identity.v1 import identity_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban.scheduling.v1 import scheduling_pb2
from giaoban.scheduling.v1 import scheduling_service_pb2 as scheduling
from giaoban.scheduling.v1.events_pb2 import MeetingChanged
from giaoban_kit.errors import GiaobanError, Unauthenticated
from giaoban_kit.events import subject_filter
from giaoban_kit.ids import is_id
from giaoban_kit.logging import get_logger
from giaoban_kit.tasks import ended
from giaoban_kit.tokens import acting_as
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from giaoban_gateway.limits import Bucket
from giaoban_gateway.live import appointments
from giaoban_gateway.live import state as nouns
from giaoban_gateway.live.hub import RoomFeed, encode
from giaoban_gateway.live.link import MediaLink
from giaoban_gateway.live.member import Member
from giaoban_gateway.live.messages import INCOMING, Command, Incoming, Join, Leave, ViewChange
from giaoban_gateway.live.outgoing import Code, Joined, Outgoing, ReplyError, WaitingParty
from giaoban_gateway.live.sockets import WRITE
from giaoban_gateway.metrics import MESSAGES_SENT, SOCKETS, SOCKETS_ENDED
from giaoban_gateway.routes.meetings import CONNECT
from giaoban_gateway.schemas.common import UNKNOWN, word
from giaoban_gateway.schemas.meetings import RoleWord
from giaoban_gateway.security import origins
from giaoban_gateway.services import Services
from giaoban_gateway.tickets import Held

JOIN_SECONDS = 5.0
MESSAGES_PER_SECOND, MESSAGE_BURST = 20, 60
MAX_MESSAGE_BYTES = 64 * 1024
MAX_FRAME_BYTES = 1024 * 1024
"""The server's own limit: a message between the two is refused with a reason, a greater one without."""
DECISION_POLL_SECONDS = 15.0
PRESENT_SECONDS = 2.0
END_SECONDS = 2.0
LEFT = "left"
"""How a connection ends that its client ends, beside the codes of `ended`."""
CLOSED_WITH_REASON = 4000
"""Close code after `ended` (RFC 6455, section 7.4.2: private use)."""

router = APIRouter()
log = get_logger(__name__)

CODES: Mapping[str, Code] = {
    "TICKET_INVALID": "ticket_invalid",
    "GRANT_INVALID": "ticket_invalid",
    "MEETING_NOT_FOUND": "meeting_not_found",
    "MEETING_NOT_OPEN": "meeting_not_open",
    "MEETING_ENDED": "meeting_ended",
    "MEETING_CANCELLED": "meeting_ended",
    "ADMISSION_REFUSED": "refused",
    "PARTICIPANT_LIMIT_REACHED": "participant_limit",
    "WAITING_LIMIT_REACHED": "participant_limit",
    "PARTICIPANT_REMOVED": "removed",
    "REPLACED": "replaced",
    "NO_MEDIA_NODE": "no_media_node",
    "MEDIA_CAPACITY": "media_capacity",
    "OFFER_INVALID": "message_invalid",
    "COMMAND_FORBIDDEN": "message_invalid",
    "JOIN_EXPECTED": "join_expected",
}
"""The `ended` code of each reason; anything else is `internal`."""


class End(Exception):  # noqa: N818 - not an error: the way a connection ends
    """The connection ends with this code."""

    def __init__(self, code: Code, detail: str) -> None:
        """As sent in `ended`."""
        super().__init__(detail)
        self.code, self.detail = code, detail

    @classmethod
    def of(cls, error: GiaobanError) -> End:
        """The end that an error means."""
        code = CODES.get(error.reason, "internal")
        return cls(code, error.detail if code != "internal" else "Something went wrong on our side.")


@router.websocket("/v1/meetings/{meeting_id}/connect")
async def connect(websocket: WebSocket, meeting_id: str) -> None:
    """The meeting WebSocket."""
    services: Services = websocket.app.state.services
    if websocket.headers.get("origin") not in origins(services.config):
        await websocket.close(4403)  # before it is accepted: HTTP 403
        return
    await websocket.accept()
    connection = _Connection(websocket, services, meeting_id)
    try:
        with SOCKETS.track_inprogress():
            await connection.run()
        SOCKETS_ENDED.labels(LEFT).inc()
    except End as end:
        await connection.end(end)
    except WebSocketDisconnect:
        SOCKETS_ENDED.labels(LEFT).inc()
    except GiaobanError as error:
        await connection.end(End.of(error))
    except Exception:
        log.exception("live_connection_failed", meeting_id=meeting_id)
        await connection.end(End("internal", "Something went wrong on our side."))


class _Connection:
    def __init__(self, websocket: WebSocket, services: Services, meeting_id: str) -> None:
        self._socket = websocket
        self._services = services
        self._meeting_id = meeting_id
        self._bucket = Bucket(MESSAGES_PER_SECOND, MESSAGE_BURST)
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._member = Member(press=False, moderator=False)

    async def run(self) -> None:
        """Until the client is gone or the connection ends."""
        join = await self._first()
        if not is_id(self._meeting_id):
            raise End("meeting_not_found", "There is no such meeting.")
        held = await self._services.tickets.use_once(join.ticket, CONNECT, self._meeting_id)
        with self._services.hub.connected(self._stop):
            admission, grant = await self._admission(held)
            async with self._services.hub.following(self._meeting_id) as feed:
                await self._take_part(join, held, admission, grant, feed)

    async def end(self, end: End) -> None:
        """Says why, and closes."""
        SOCKETS_ENDED.labels(end.code).inc()
        if self._socket.client_state is not WebSocketState.CONNECTED:
            return
        with contextlib.suppress(Exception):  # a client that is gone, or reads nothing, is not waited for
            async with asyncio.timeout(END_SECONDS):
                await self._say_end(end)

    async def _say_end(self, end: End) -> None:
        for text in self._member.take_all():
            await self._socket.send_text(text)
        await self._socket.send_text(encode({"type": "ended", "code": end.code, "detail": end.detail}))
        await self._socket.close(CLOSED_WITH_REASON)

    def _stop(self) -> None:
        if not self._stopping.done():
            self._stopping.set_result(None)

    async def _first(self) -> Join:
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise End("join_expected", "Send a join message within five seconds.") from None
        if not isinstance(message, Join):
            raise End("join_expected", "Begin with a join message.")
        return message

    async def _receive(self) -> Incoming:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1006))
        if self._bucket.take():
            raise End("rate_limited", "Too many messages; slow down.")
        text = received.get("text")
        if text is None or len(text.encode()) > MAX_MESSAGE_BYTES:
            raise End("message_invalid", "Send JSON text messages of at most 64 KiB.")
        try:
            return INCOMING.validate_json(text)
        except (ValidationError, RecursionError) as error:
            raise End("message_invalid", _what(error)) from None

    async def _admission(self, held: Held) -> tuple[scheduling_pb2.Admission, str]:
        """The admission; waits with the client for as long as nobody has decided."""
        answer = await self._request_admission(held, waited=False)
        if answer.admission.state == scheduling_pb2.ADMISSION_STATE_WAITING:
            await self._socket.send_text(encode({"type": "waiting", "admission_id": answer.admission.id}))
            answer = await self._decided(held)
        return answer.admission, answer.grant

    async def _decided(self, held: Held) -> scheduling.RequestAdmissionResponse:
        """Scheduling's answer once somebody has decided."""
        decided = asyncio.Event()

        async def on_decision(_: object) -> None:
            decided.set()

        subject = subject_filter("scheduling", "meeting", "admission_decided", self._meeting_id)
        subscription = await self._services.hub.nats.subscribe(subject, cb=on_decision)
        try:
            while True:  # asked again first: the decision may have come before we listened
                decided.clear()
                answer = await self._request_admission(held, waited=True)
                if answer.admission.state != scheduling_pb2.ADMISSION_STATE_WAITING:
                    return answer
                await self._wait_for(decided)
        finally:
            with contextlib.suppress(Exception):
                await subscription.unsubscribe()

    async def _request_admission(self, held: Held, *, waited: bool) -> scheduling.RequestAdmissionResponse:
        try:
            with acting_as(held.principal, held.token):
                return await self._services.scheduling.RequestAdmission(
                    scheduling.RequestAdmissionRequest(meeting_id=self._meeting_id)
                )
        except Unauthenticated:
            if not waited:
                raise
            # The access token did not outlive the waiting: the client comes again with a fresh ticket.
            raise End("server_stopping", "Connect again.") from None

    async def _wait_for(self, decided: asyncio.Event) -> None:
        """Until a decision was made in this meeting, or long enough to ask without one."""
        event = asyncio.create_task(decided.wait())
        listening = asyncio.create_task(self._until_leave())
        waits: list[asyncio.Future[Any]] = [event, listening, self._stopping]
        try:
            await asyncio.wait(waits, timeout=DECISION_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.done():
                raise End("server_stopping", "Connect again.")
            if listening.done():
                listening.result()
        finally:
            await ended(event, listening)

    async def _until_leave(self) -> None:
        while not isinstance(await self._receive(), Leave):
            pass  # nothing else has a meaning before the decision
        raise WebSocketDisconnect(1000)

    async def _take_part(
        self, join: Join, held: Held, admission: scheduling_pb2.Admission, grant: str, feed: RoomFeed
    ) -> None:
        role: RoleWord = word(scheduling_pb2.AppointmentRole, admission.role)
        # A role that has no word here sees what those see who may see least.
        member = Member(
            press=role in ("press", UNKNOWN),
            moderator=role in ("chair", "secretary", "operator"),
            write=self._socket.scope["extensions"][WRITE]["write"],
        )
        self._member = member
        request = pb.Join(grant=grant, resume=join.resume, view=join.view.to_proto())
        if join.offer is not None:
            request.offer_sdp = join.offer.sdp
            request.streams.extend(each.to_proto() for each in join.offer.streams)
        told = False

        def tell_joined() -> None:
            nonlocal told
            if not told and link.joined.done() and link.joined.exception() is None:
                told = True
                member.send(encode(_joined(link.joined.result(), role)))

        def relay(message: Outgoing) -> None:
            tell_joined()  # media's first offer may be read in the same breath as its answer to the join
            member.send(encode(message))

        link = MediaLink(self._services.media, request, relay)
        tasks = [
            asyncio.create_task(self._stay(link, feed, admission.party)),
            asyncio.create_task(self._read(link)),
        ]
        try:
            await self._first_of(link.joined, *tasks)
            if not link.joined.done():
                return  # it left before it was in
            joined = link.joined.result()
            tell_joined()
            tasks.append(asyncio.create_task(self._send(member)))
            following = asyncio.create_task(
                self._follow(feed, join.revision if join.resume else None, joined.participant_id, held)
            )
            tasks.append(following)
            await self._first_of(following, *tasks)
            await self._first_of(*(each for each in tasks if each is not following))
        finally:
            feed.members.discard(member)
            if link.leaving:  # clients close at once: the farewell must be read before the stream is cut
                await asyncio.wait(tasks[:1], timeout=PRESENT_SECONDS)
            await ended(*tasks)

    async def _first_of(self, *waits: asyncio.Future[Any]) -> None:
        """Until one is done; raises what any of them raised."""
        await asyncio.wait([*waits, self._stopping], return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.done():
            raise End("server_stopping", "This gateway is stopping; connect again.")
        for each in waits:
            if each.done():
                each.result()

    async def _follow(self, feed: RoomFeed, revision: int | None, participant_id: str, held: Held) -> None:
        """Lets the member have the meeting's state, as soon as it is known and the member part of it."""
        if self._member.moderator:
            known = feed.waiting_ids()
            feed.seed_waiting(await self._waiting(held), known)
        await feed.synced.wait()
        await feed.until_present(participant_id, PRESENT_SECONDS)
        feed.add(self._member, revision)

    async def _stay(self, link: MediaLink, feed: RoomFeed, party: identity_pb2.Party) -> None:
        """Relays until either side ends it, or the party's appointment changes: then admission decides anew."""
        running = asyncio.create_task(link.run())
        changing = asyncio.create_task(_change_for(party, feed))
        try:
            await asyncio.wait([running, changing], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            if appointments.takes_away(changing.result(), party):
                # Its media ends here and now, not when the client chooses to come again.
                link.request(pb.ConnectRequest(leave=pb.Leave()))
                await asyncio.wait([running], timeout=PRESENT_SECONDS)
            raise End("appointment_changed", "Your appointment in this meeting was changed; connect again.")
        finally:
            await ended(running, changing)

    async def _waiting(self, held: Held) -> list[WaitingParty]:
        with acting_as(held.principal, held.token):
            answer = await self._services.scheduling.ListAdmissions(
                scheduling.ListAdmissionsRequest(
                    meeting_id=self._meeting_id, state=scheduling_pb2.ADMISSION_STATE_WAITING
                )
            )
        return [
            {
                "admission_id": each.id,
                "party": nouns.party_json(each.party),
                "request_time": nouns.time(each.request_time),
            }
            for each in answer.admissions
        ]

    async def _send(self, member: Member) -> None:
        while True:
            await self._socket.send_text(await member.next())
            MESSAGES_SENT.inc()

    async def _read(self, link: MediaLink) -> None:
        while True:
            message = await self._receive()
            match message:
                case Join():
                    raise End("message_invalid", "A connection is joined once.")
                case ViewChange():
                    link.request(pb.ConnectRequest(view=message.to_proto()))
                case Command():
                    self._command(link, message)
                case Leave():
                    link.request(message.to_proto())
                    await asyncio.sleep(PRESENT_SECONDS)  # media ends the stream, and this with it
                    return
                case _:
                    link.request(message.to_proto(), getattr(message, "id", ""))

    def _command(self, link: MediaLink, command: Command) -> None:
        try:
            request = command.to_proto()
        except ValidationError as error:
            refused: ReplyError = {"reason": "COMMAND_INVALID", "detail": _what(error), "metadata": {}}
            self._member.send(encode({"type": "reply", "id": command.id, "answer": None, "error": refused}))
            return
        link.request(request, command.id)


async def _change_for(party: identity_pb2.Party, feed: RoomFeed) -> MeetingChanged:
    changes: asyncio.Queue[MeetingChanged] = asyncio.Queue()
    feed.on_changed.add(changes.put_nowait)
    try:
        while not appointments.concerns(change := await changes.get(), party):
            pass
        return change
    finally:
        feed.on_changed.discard(changes.put_nowait)


def _joined(joined: pb.Joined, role: RoleWord) -> Joined:
    return {
        "type": "joined",
        "participant_id": joined.participant_id,
        "role": role,
        "answer": {"sdp": joined.answer_sdp} if joined.answer_sdp else None,
        "resumed": joined.resumed,
        "ice_servers": [
            {"urls": list(each.urls), "username": each.username, "credential": each.credential}
            if each.username
            else {"urls": list(each.urls)}
            for each in joined.ice_servers
        ],
    }


def _what(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "The message is nested too deeply."
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(each) for each in first["loc"]) or "message"
    return f"{field}: {first['msg']}"
