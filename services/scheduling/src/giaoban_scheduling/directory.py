# SPDX-License-Identifier: Apache-2.0
"""Owns the questions to identity: gRPC with the caller's own token, answers in our words."""

from collections.abc import Collection, Mapping

import grpc
from giaoban.identity.v1 import identity_pb2 as nouns
from giaoban.identity.v1 import identity_service_pb2 as calls
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban_kit.errors import NotFound

from giaoban_scheduling import convert
from giaoban_scheduling.domain import Party, PartyRef
from giaoban_scheduling.errors import UnitNotFound

BATCH = 500  # identity's limit
_WATCHING = (nouns.PERMISSION_CONVENE, nouns.PERMISSION_OVERSEE)


class IdentityDirectory:
    """The `Directory` port over the identity service. Raises besides: Unavailable, DeadlineExceeded."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._identity = IdentityServiceStub(channel)

    async def parties(self, refs: Collection[PartyRef]) -> Mapping[PartyRef, Party]:
        """Names; unknown, foreign and inactive references are left out."""
        wanted = [convert.ref_to_proto(ref) for ref in dict.fromkeys(refs)]
        found: dict[PartyRef, Party] = {}
        for start in range(0, len(wanted), BATCH):
            request = calls.BatchGetPartiesRequest(refs=wanted[start : start + BATCH])
            for message in (await self._identity.BatchGetParties(request)).parties:
                party = convert.party_from_proto(message)
                found[party.ref] = party
        return found

    async def may_convene(self, unit_id: str) -> bool:
        """Whether the caller may call meetings for the unit. Raises: UnitNotFound."""
        return await self._may(unit_id, nouns.PERMISSION_CONVENE)

    async def may_oversee(self, unit_id: str) -> bool:
        """Whether the caller may see the unit's meetings. Raises: UnitNotFound."""
        return await self._may(unit_id, nouns.PERMISSION_OVERSEE)

    async def own_and_watched_units(self) -> tuple[str, frozenset[str]]:
        """The caller's own unit, and every unit whose meetings it convenes or oversees. Raises: NotFound."""
        found = await self._identity.ListPermittedUnits(
            calls.ListPermittedUnitsRequest(permissions=_WATCHING)
        )
        return found.own_unit_id, frozenset(found.unit_ids)

    async def _may(self, unit_id: str, permission: nouns.Permission.ValueType) -> bool:
        try:
            request = calls.CheckPermissionRequest(unit_id=unit_id, permission=permission)
            return bool((await self._identity.CheckPermission(request)).allowed)
        except NotFound:
            raise UnitNotFound from None
