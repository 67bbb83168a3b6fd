# SPDX-License-Identifier: Apache-2.0
"""Implements `sfu.Sfu` over a fixed set of Janus nodes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from giaoban_kit.tasks import beside

from giaoban_media.domain import NodeHealth
from giaoban_media.errors import MediaLost
from giaoban_media.janus import relays
from giaoban_media.janus.node import NO_SUCH_ROOM, Node, NodeAddress
from giaoban_media.janus.peer import JanusPeer
from giaoban_media.janus.wire import JanusError
from giaoban_media.sfu import Journal, RoomKey, Ticket


class JanusSfu:
    """All nodes of this installation."""

    def __init__(
        self, addresses: Sequence[NodeAddress], on_health: Callable[[str, NodeHealth], None]
    ) -> None:
        """`on_health` is told when a node comes, goes, or is to be emptied; it must not wait."""
        self._nodes = {each.id: Node(each, on_health) for each in addresses}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[JanusSfu]:
        """Keeps the sockets to all nodes open."""
        async with beside(*(node.run() for node in self._nodes.values())):
            yield self

    def node_ids(self) -> Sequence[str]:
        """Every configured node."""
        return list(self._nodes)

    def reachable(self, node_id: str) -> bool:
        """Whether the node answers now."""
        node = self._nodes.get(node_id)
        return node is not None and node.reachable

    async def open_room(self, node_id: str, room: RoomKey) -> None:
        """Creates a room; one that exists is left as it is."""
        await self._node(node_id).open_room(room)

    async def close_room(self, node_id: str, room: RoomKey) -> None:
        """Destroys a room; one that does not exist is no error."""
        node = self._node(node_id)
        try:
            await node.room_request(room, {"request": "destroy"})
        except JanusError as error:
            if error.code != NO_SUCH_ROOM:
                raise MediaLost("the media node refused to close a room", node=node_id) from error

    async def admit(self, ticket: Ticket, journal: Journal) -> JanusPeer:
        """A new peer on a session whose id was journalled by the caller."""
        peer = JanusPeer(self._node(ticket.node_id), ticket, journal, self._nodes)
        await peer.create()
        return peer

    async def claim(self, ticket: Ticket, journal: Journal) -> JanusPeer:
        """Takes a running peer over."""
        peer = JanusPeer(self._node(ticket.node_id), ticket, journal, self._nodes)
        await peer.take_over()
        return peer

    async def forget(self, ticket: Ticket) -> None:
        """Ends a session that nobody holds, and what was passed on of it."""
        await relays.end(ticket, ticket.relays, self._nodes)
        with contextlib.suppress(JanusError, MediaLost):
            await self._node(ticket.node_id).request({"janus": "destroy"}, session=ticket.session)

    def _node(self, node_id: str) -> Node:
        node = self._nodes.get(node_id)
        if node is None:
            raise MediaLost("no such media node is configured", node=node_id)
        return node
