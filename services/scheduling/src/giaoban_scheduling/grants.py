# SPDX-License-Identifier: Apache-2.0
"""Owns the grant that media demands: its claims and how long it holds."""

from datetime import timedelta

from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.tokens import sign_grant

from giaoban_scheduling.domain import Admission, Meeting

LIFETIME = timedelta(hours=12)


class SignedGrants:
    """The `Grants` port: EdDSA JWTs signed with the service's own key (scheduling_service.proto has the claims)."""

    def __init__(self, identity: ServiceIdentity) -> None:
        self._identity = identity

    def sign(self, meeting: Meeting, admission: Admission) -> str:
        """The grant of an admitted party."""
        party = admission.party
        claims = {
            "sub": admission.participant_id,
            "mtg": meeting.id,
            "org": meeting.organisation_id,
            "role": admission.role.value,
            "pol": meeting.microphone_policy.value,
            "party": {
                "kind": party.ref.kind.value,
                "id": party.ref.id,
                "name": party.name,
                "office": party.office,
                "unit_id": party.unit_id,
                "unit_name": party.unit_name,
            },
        }
        return sign_grant(
            self._identity, audience="media", kind="admission", claims=claims, lifetime=LIFETIME
        )
