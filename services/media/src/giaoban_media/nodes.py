# SPDX-License-Identifier: Apache-2.0
"""The media nodes as all replicas agree on them: the bucket "media-nodes"."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog
from giaoban.media.v1 import media_pb2
from giaoban_kit.clock import Clock
from giaoban_kit.errors import Conflict, GiaobanError
from giaoban_kit.kv import RESTARTED, SYNCED, Bucket, Entry
from google.protobuf.message import DecodeError

from giaoban_media.conference import codec
from giaoban_media.domain import NodeHealth, NodeStatus
from giaoban_media.metrics import NODE_BUDGET, NODE_PACKETS, NODE_UP

LOAD_INTERVAL = 5.0
"""Seconds between two writes of a node's load; every node tells it to every replica."""

_HEALTH = {media_pb2.NodeHealth.Value(f"NODE_HEALTH_{each.name}"): each for each in NodeHealth}

_log = structlog.get_logger(__name__)


class Nodes:
    """Health and load of the nodes. `on_change` is called after every change and must not wait."""

    def __init__(
        self, bucket: Bucket, clock: Clock, on_change: Callable[[], None], budgets: Mapping[str, int]
    ) -> None:
        """Prepares; `run` watches. `budgets`: packets/s that each configured node may send."""
        self._bucket = bucket
        self._budgets = budgets
        self._clock = clock
        self._on_change = on_change
        self._known: dict[str, tuple[NodeStatus, int]] = {}
        self._told: dict[str, float] = {}
        self._reports: dict[str, NodeHealth] = {}
        """The newest of each node that is not written down yet: an older one must not come after it."""
        self._reported = asyncio.Event()
        self.synced = asyncio.Event()

    def all(self) -> list[NodeStatus]:
        """Every node that was ever seen; the budget is the configured one."""
        return [
            replace(status, budget=self._budgets.get(status.id, status.budget))
            for status, _ in self._known.values()
        ]

    def health(self, node_id: str) -> NodeHealth:
        """What the replicas agree on of a node."""
        return self._last_known(node_id).health

    def report(self, node_id: str, health: NodeHealth) -> None:
        """This replica's own experience with a node; written down by `run`."""
        self._reports[node_id] = health
        self._reported.set()

    async def run(self) -> None:
        """Follows the bucket and writes reports, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._write_reports())

    async def load(
        self, node_id: str, *, sessions: int, handles: int, peer_connections: int, received: int, sent: int
    ) -> None:
        """What a node said of its load; packets are per second."""
        now = time.monotonic()
        if now - self._told.get(node_id, 0.0) < LOAD_INTERVAL:
            return
        self._told[node_id] = now
        await self._change(
            node_id,
            lambda status: replace(
                status,
                sessions=sessions,
                handles=handles,
                peer_connections=peer_connections,
                received=received,
                sent=sent,
            ),
        )

    async def _watch(self) -> None:
        said = self._known
        async for change in self._bucket.watch(">"):
            if change is SYNCED:
                for lost in self._known.keys() - said.keys():
                    # No entry is ever deleted: the server has lost its store.
                    said[lost] = (self._known[lost][0], 0)
                    self.report(lost, self._reports.get(lost, self.health(lost)))
                self._known = said
                self.synced.set()
            elif change is RESTARTED:
                said = {}  # what was known holds until everything has been said again: no node is down meanwhile
            elif isinstance(change, Entry) and (status := _decode(change)) is not None:
                said[change.key] = (status, change.revision)
                NODE_UP.labels(change.key).set(status.health is not NodeHealth.DOWN)
                NODE_PACKETS.labels(change.key, "received").set(status.received)
                NODE_PACKETS.labels(change.key, "sent").set(status.sent)
                NODE_BUDGET.labels(change.key).set(status.budget)
            self._on_change()

    async def _write_reports(self) -> None:
        await self.synced.wait()
        while True:
            await self._reported.wait()
            self._reported.clear()
            for node_id, health in list(self._reports.items()):
                try:
                    await self._write_report(node_id, health)
                except GiaobanError:
                    await asyncio.sleep(1)
                    self._reported.set()

    async def _write_report(self, node_id: str, health: NodeHealth) -> None:
        before = self.health(node_id)
        await self._change(node_id, lambda status: replace(status, health=health))
        if self._reports[node_id] is health:  # else there is a newer one
            del self._reports[node_id]
        self._on_change()  # also when it is up as before: it may have come back empty
        if before is not health:
            _log.warning("media_node_health", node=node_id, before=before.value, now=health.value)

    async def _change(self, node_id: str, change: Callable[[NodeStatus], NodeStatus]) -> None:
        for _ in range(5):
            entry = await self._bucket.get(node_id)
            before = (_decode(entry) if entry else None) or self._last_known(node_id)
            after = replace(change(before), budget=self._budgets.get(node_id, before.budget))
            if entry is not None and after == before:
                return
            try:
                if entry is None:
                    revision = await self._bucket.create(node_id, self._encode(after))
                else:
                    revision = await self._bucket.update(node_id, self._encode(after), entry.revision)
            except Conflict:
                continue
            self._known[node_id] = (after, revision)
            self._on_change()
            return

    def _last_known(self, node_id: str) -> NodeStatus:
        """The node before its first entry, or before the server lost its store and nobody has noticed yet."""
        known = self._known.get(node_id)
        return known[0] if known else NodeStatus(node_id, NodeHealth.DOWN)

    def _encode(self, status: NodeStatus) -> bytes:
        state = to_proto(status)
        state.observe_time.CopyFrom(codec.timestamp(self._clock.now()))
        return state.SerializeToString()


def to_proto(status: NodeStatus) -> media_pb2.NodeState:
    """A node as the wire has it."""
    return media_pb2.NodeState(
        id=status.id,
        health=health_to_proto(status.health),
        sessions=status.sessions,
        handles=status.handles,
        peer_connections=status.peer_connections,
        janus_version=status.version,
        packets_received_per_second=status.received,
        packets_sent_per_second=status.sent,
        budget_packets_per_second=status.budget,
    )


def health_to_proto(health: NodeHealth) -> media_pb2.NodeHealth.ValueType:
    """The health as the wire has it."""
    return media_pb2.NodeHealth.Value(f"NODE_HEALTH_{health.name}")


def _decode(entry: Entry) -> NodeStatus | None:
    try:
        state = media_pb2.NodeState.FromString(entry.value)
    except DecodeError:
        _log.warning("node_entry_unreadable", node=entry.key)
        return None
    return NodeStatus(
        id=state.id,
        health=_HEALTH.get(state.health, NodeHealth.DOWN),
        peer_connections=state.peer_connections,
        sessions=state.sessions,
        handles=state.handles,
        version=state.janus_version,
        received=state.packets_received_per_second,
        sent=state.packets_sent_per_second,
        budget=state.budget_packets_per_second,
    )
