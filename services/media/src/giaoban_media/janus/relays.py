# SPDX-License-Identifier: Apache-2.0
"""What a peer publishes, passed on to the rooms of other nodes (VideoRoom's remote publishers), encrypted with SRTP.

The far node shows it as a publisher of its own. Each publication has a name of its own there: what was passed on
before needs a second or two to go.
"""

from __future__ import annotations

import base64
import json
import secrets
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
        self._standing: dict[str, tuple[int, str]] = {}

    async def keep(self, node_ids: Collection[str], publication: int) -> None:
        """Passes the publication on to these nodes and to no other. Raises `MediaLost`; try again then."""
        ticket = self._peer.ticket
        wanted = {_name(each, publication) for each in node_ids if each in self._nodes} - {
            _name(ticket.node_id, publication)
        }
        if wanted != set(ticket.relays):
            await end(ticket, [each for each in ticket.relays if each not in wanted], self._nodes)
            await self._peer.note(relays=tuple(sorted(wanted)))  # before any node hears of it
        for relay in sorted(wanted):
            far = self._nodes[_node_of(relay)]
            state = far.connections, ticket.published
            if far.reachable and self._standing.get(relay) != state:
                await self._stand(relay, far)
                self._standing[relay] = state

    async def end(self) -> None:
        """Takes back what is passed on."""
        await end(self._peer.ticket, self._peer.ticket.relays, self._nodes)

    async def _stand(self, relay: str, far: Node) -> None:
        ticket = self._peer.ticket
        try:
            await far.open_room(ticket.room)
            sent = await self._peer.node.room_request(
                ticket.room, {"request": "listremotes", "publisher_id": ticket.participant_id}
            )
            here = relay in {str(each.get("remote_id")) for each in sent.get("list", [])}
            there = _far_id(ticket, relay) in await far.publishers(ticket.room)
            if here and there:
                await self._update(relay, far)
                return
            if here or there:
                await end(ticket, [relay], self._nodes)
            if there:
                raise MediaLost("what was passed on before is not gone yet", node=far.address.id)
            await self._begin(relay, far)
        except JanusError as error:
            raise MediaLost("a media node refused to pass on", node=far.address.id) from error

    async def _begin(self, relay: str, far: Node) -> None:
        ticket = self._peer.ticket
        key = base64.b64encode(secrets.token_bytes(SRTP_KEY_BYTES)).decode()
        protection: Message = {"srtp_suite": SRTP_AES128_CM_SHA1_80, "srtp_crypto": key}
        added = await far.room_request(
            ticket.room,
            {
                "request": "add_remote_publisher",
                "id": _far_id(ticket, relay),
                "port": far.address.relay_port(),
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
                "host": far.address.relay_host,
                "port": added["port"],
                "rtcp_port": added["rtcp_port"],
                **protection,
            },
        )
        _log.info(
            "relay_begun", node=ticket.node_id, far=far.address.id, participant_id=ticket.participant_id
        )

    async def _update(self, relay: str, far: Node) -> None:
        ticket = self._peer.ticket
        await far.room_request(
            ticket.room,
            {
                "request": "update_remote_publisher",
                "id": _far_id(ticket, relay),
                "streams": json.loads(ticket.published),
            },
        )


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


def _name(node_id: str, publication: int) -> str:
    return f"{node_id}~{publication}"


def _node_of(relay: str) -> str:
    return relay.partition("~")[0]


def _far_id(ticket: Ticket, relay: str) -> str:
    return relayed_id(ticket.participant_id, int(relay.partition("~")[2]))
