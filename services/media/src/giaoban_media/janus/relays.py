# SPDX-License-Identifier: Apache-2.0
"""What a peer publishes, passed on to the rooms of other nodes (VideoRoom's remote publishers), encrypted with SRTP.

The far node shows it as a publisher of its own. Each publication has a name of its own there: what was passed on
before needs a second or two to go.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import structlog

from giaoban_media.errors import MediaLost
from giaoban_media.janus.node import NO_SUCH_FEED, NO_SUCH_ROOM, Node
from giaoban_media.janus.wire import JanusError, Message
from giaoban_media.sfu import Ticket

if TYPE_CHECKING:
    from giaoban_media.janus.peer import JanusPeer

SRTP_AES128_CM_SHA1_80 = 80
SRTP_KEY_BYTES = 30
"""Key and salt of that suite (RFC 4568, section 6.2)."""

_log = structlog.get_logger(__name__)


RELAYED = "~"


def relayed_id(participant_id: str, publication: int) -> str:
    """The id of a publication on a node that it is passed on to."""
    return f"{participant_id}{RELAYED}{publication}"


class Relays:
    """Keeps a peer's publication on the nodes where somebody of the meeting is."""

    def __init__(self, peer: JanusPeer, nodes: Mapping[str, Node]) -> None:
        """`nodes` are all nodes, by id. What the peer's ticket names may stand or not: it is looked at before use."""
        self._peer = peer
        self._nodes = nodes
        self._standing: dict[str, tuple[int, int, str]] = {}

    async def keep(self, node_ids: Collection[str], publication: int) -> None:
        """Passes the publication on to these nodes and to no other. Raises `MediaLost`; try again then."""
        ticket = self._peer.ticket
        targets = {each for each in node_ids if each in self._nodes} - {ticket.node_id}
        known = {_node_of(each): each for each in ticket.relays if _publication_of(each) == publication}
        kept = {known[each] for each in targets & known.keys()}
        if kept != set(ticket.relays):
            await end(ticket, set(ticket.relays) - kept, self._nodes)
            await self._peer.note(relays=tuple(sorted(kept)))
        self._standing = {each: state for each, state in self._standing.items() if each in targets}
        for node_id in sorted(targets):
            far = self._nodes[node_id]
            state = far.connections, publication, ticket.published
            if far.reachable and self._standing.get(node_id) != state:
                await self._stand(known.get(node_id, ""), far, publication)
                self._standing[node_id] = state

    async def end(self) -> None:
        """Takes back what is passed on."""
        await end(self._peer.ticket, self._peer.ticket.relays, self._nodes)

    async def _stand(self, relay: str, far: Node, publication: int) -> None:
        ticket = self._peer.ticket
        fresh = f"{far.address.id}~{publication}~{secrets.token_hex(8)}"
        try:
            await far.open_room(ticket.room)
            there = _far_id(ticket, fresh) in await far.publishers(ticket.room)
            if there and relay in await self._sent():
                await self._update(relay, far)
                return
            if there or relay:
                await end(ticket, [relay or fresh], self._nodes)
            if there:
                raise MediaLost("what was passed on before is not gone yet", node=far.address.id)
            others = [each for each in ticket.relays if each != relay]
            await self._peer.note(relays=(*others, fresh))  # before any node hears of it
            await self._begin(fresh, far)
        except JanusError as error:
            raise MediaLost("a media node refused to pass on", node=far.address.id) from error

    async def _sent(self) -> set[str]:
        ticket = self._peer.ticket
        body = {"request": "listremotes", "publisher_id": ticket.participant_id}
        answer = await self._peer.node.room_request(ticket.room, body)
        return {str(each.get("remote_id")) for each in answer.get("list", [])}

    async def _begin(self, relay: str, far: Node) -> None:
        ticket, port = self._peer.ticket, far.address.relay_port()
        protection = _protection(far, relay)
        await far.room_request(
            ticket.room,
            {
                "request": "add_remote_publisher",
                "id": _far_id(ticket, relay),
                "port": port,
                "rtcp_port": port + 1,
                "streams": json.loads(ticket.published),
                **protection,
            },
        )
        await self._peer.node.room_request(
            ticket.room,
            {
                "request": "publish_remotely",
                "admin_key": self._peer.node.address.admin_key,
                "publisher_id": ticket.participant_id,
                "remote_id": relay,
                "host": await _resolved(far.address.relay_host),
                "port": port,
                "rtcp_port": port + 1,
                **protection,
            },
        )
        _log.info(
            "relay_begun", node=ticket.node_id, far=far.address.id, participant_id=ticket.participant_id
        )

    async def _update(self, relay: str, far: Node) -> None:
        # The near node sends streams that were added by itself, under the same key.
        ticket = self._peer.ticket
        body: Message = {
            "request": "update_remote_publisher",
            "id": _far_id(ticket, relay),
            "streams": json.loads(ticket.published),
        }
        await far.room_request(ticket.room, body | _protection(far, relay))


async def end(ticket: Ticket, relays: Collection[str], nodes: Mapping[str, Node]) -> None:
    """Takes back what was passed on, at both ends; a node that is gone, or knows nothing of it, is no error."""
    for relay in relays:
        near, far = nodes.get(ticket.node_id), nodes.get(_node_of(relay))
        what: Message = {
            "request": "unpublish_remotely",
            "publisher_id": ticket.participant_id,
            "remote_id": relay,
        }
        there: Message = {"request": "remove_remote_publisher", "id": _far_id(ticket, relay)}
        for node, body in ((near, what), (far, there)):
            if node is None:
                continue
            try:
                await node.room_request(ticket.room, body)
            except JanusError as error:
                if error.code not in (NO_SUCH_FEED, NO_SUCH_ROOM):
                    _log.info("relay_not_ended", node=node.address.id, code=error.code)
            except MediaLost:
                continue


async def _resolved(host: str) -> str:
    # Here, because a node in its sandbox may know no names.
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise MediaLost(f"{host} has no address: relay_host of this media node") from error
    return str(min(found)[4][0])  # IPv4 before IPv6


def _protection(far: Node, relay: str) -> Message:
    """The key of one passing-on: derived, so that whoever takes over knows it, and never the same for two."""
    key = hmac.new(far.address.admin_key.encode(), f"relay {relay}".encode(), hashlib.sha256).digest()
    return {
        "srtp_suite": SRTP_AES128_CM_SHA1_80,
        "srtp_crypto": base64.b64encode(key[:SRTP_KEY_BYTES]).decode(),
    }


def _node_of(relay: str) -> str:
    return relay.split("~", maxsplit=1)[0]


def _publication_of(relay: str) -> int:
    return int(relay.split("~")[1])


def _far_id(ticket: Ticket, relay: str) -> str:
    return relayed_id(ticket.participant_id, _publication_of(relay))
