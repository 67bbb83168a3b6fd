# SPDX-License-Identifier: Apache-2.0
"""Owns the questions to identity."""

from collections.abc import Collection, Sequence

import grpc
from giaoban.identity.v1 import identity_pb2 as nouns
from giaoban.identity.v1.identity_service_pb2 import ResolveRecipientsRequest
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from giaoban_notifications.domain import Locale, PartyRef, Recipient

REFS_PER_CALL = 1000


class IdentityPeople:
    """The `People` port over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = IdentityServiceStub(channel)

    async def behind(self, organisation_id: str, refs: Collection[PartyRef]) -> Sequence[Recipient]:
        """The people behind parties, each once. Errors: as identity's."""
        wanted = sorted(set(refs), key=lambda ref: (ref.kind, ref.id))
        people: dict[str, Recipient] = {}
        for start in range(0, len(wanted), REFS_PER_CALL):
            request = ResolveRecipientsRequest(
                organisation_id=organisation_id,
                refs=[
                    nouns.PartyRef(kind=nouns.PartyKind.ValueType(ref.kind), id=ref.id)
                    for ref in wanted[start : start + REFS_PER_CALL]
                ],
            )
            for found in (await self._stub.ResolveRecipients(request)).recipients:
                people[found.user_id] = Recipient(
                    user_id=found.user_id,
                    organisation_id=found.organisation_id,
                    display_name=found.display_name,
                    email=found.email,
                    locale=Locale.EN if found.locale == nouns.LOCALE_EN else Locale.VI,
                    time_zone=found.time_zone,
                )
        return list(people.values())
