# SPDX-License-Identifier: Apache-2.0
"""Owns what every fault is judged by: how long members hear nothing, who is back, and whether all see the same."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx
import websockets

from giaoban_loadtests.endpoint import PeerConnection
from giaoban_loadtests.gateway_api import ApiError
from giaoban_loadtests.signalling import SignallingError
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import GiaobanAttendee

STEP_SECONDS = 0.02
SILENT_SECONDS = 0.5  # without a packet of sound, of which there are 50 a second: not back
# What one trial may end with while parts are being killed; hours of others go on.
TRIAL_FAILURES = (
    SystemFailedError,
    SignallingError,
    ApiError,
    httpx.HTTPError,
    websockets.WebSocketException,
    OSError,
    TimeoutError,
)


class Silences:
    """Watches how long each member hears nothing, from the last packet of sound before to the first one after."""

    def __init__(self, listeners: Sequence[GiaobanAttendee]) -> None:
        self._listeners = list(listeners)
        now = asyncio.get_running_loop().time()
        self._heard = {each: (heard(each), now) for each in self._listeners}
        self._longest = dict.fromkeys(self._listeners, 0.0)
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(STEP_SECONDS)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for each in self._listeners:
            packets, since = heard(each), self._heard[each]
            self._longest[each] = max(self._longest[each], now - since[1])
            if heard_more(packets, since[0]):
                self._heard[each] = (packets, now)

    async def heard_by(self, members: Sequence[GiaobanAttendee], seconds: float) -> list[GiaobanAttendee]:
        """Wait at most `seconds` until all of them are back and hear; return those who do not."""
        loop = asyncio.get_running_loop()
        until, missing = loop.time() + seconds, list(members)
        while missing and loop.time() < until:
            await asyncio.sleep(STEP_SECONDS)
            missing = [each for each in members if not is_back(each) or self._silent(each)]
        return missing

    def _silent(self, member: GiaobanAttendee) -> bool:
        return asyncio.get_running_loop().time() - self._heard[member][1] > SILENT_SECONDS

    async def stop(self) -> list[float]:
        """Return the longest silence of every member, in seconds; one that lasts counts up to now."""
        self._look()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return list(self._longest.values())


def heard(member: GiaobanAttendee) -> dict[PeerConnection, int]:
    """Packets of sound so far, on the receiving connection and on the one before while it still stands."""
    connections = (member.receiver, member.participant.former_receiver)
    return {
        each: sum(stream.packets for stream in each.stats().streams if stream.kind == "audio")
        for each in connections
        if each is not None
    }


def heard_more(now: Mapping[PeerConnection, int], before: Mapping[PeerConnection, int]) -> bool:
    """Whether a packet came between two looks: a connection that is new or gone is none."""
    return any(packets > before.get(each, 0) for each, packets in now.items())


def is_back(member: GiaobanAttendee) -> bool:
    """Whether somebody is in the meeting and all its media stands and carries sound."""
    peers = [peer for peer in (member.publisher, member.receiver) if peer is not None]
    return (
        member.participant.joined.is_set()
        and member.receiver is not None
        and all(peer.state == "connected" for peer in peers)
        and heard(member)[member.receiver] > 0
    )


async def all_back(members: Sequence[GiaobanAttendee], seconds: float) -> bool:
    """Wait at most `seconds` until everybody is back; return whether they are."""
    for _ in range(int(seconds / STEP_SECONDS)):
        if all(is_back(each) for each in members):
            return True
        await asyncio.sleep(STEP_SECONDS)
    return False


async def all_agree(members: Sequence[GiaobanAttendee], seconds: float) -> int:
    """Wait at most `seconds` until all show the same meeting; return how many show another than most do."""
    different = 0
    for _ in range(int(seconds / STEP_SECONDS)):
        shown = [_shown(each) for each in members]
        different = len(shown) - max(map(shown.count, shown))
        if not different:
            return 0
        await asyncio.sleep(STEP_SECONDS)
    return different


def _shown(member: GiaobanAttendee) -> tuple[str, ...]:
    state = member.participant.state
    participants = [state.participants[each] for each in sorted(state.participants)]
    return (repr(participants), repr(state.floor), repr(state.stage), repr(state.room))


def nodes_of(*members: GiaobanAttendee) -> set[str]:
    """Return the media nodes of a private stack that members are connected with."""
    peers = [peer for each in members for peer in (each.publisher, each.receiver) if peer is not None]
    return {LocalStack.node_of(peer.remote_address[1]) for peer in peers if peer.remote_address is not None}


def carrying_node(*members: GiaobanAttendee) -> str:
    """Return the media node that carries all of the members; raises SystemFailedError when several do, or none."""
    nodes = nodes_of(*members)
    if len(nodes) != 1:
        who = members[0].name if len(members) == 1 else "the meeting"
        raise SystemFailedError(f"{who} is on {len(nodes)} media nodes, expected one: {sorted(nodes)}")
    return nodes.pop()
