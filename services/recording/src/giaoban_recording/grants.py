# SPDX-License-Identifier: Apache-2.0
"""Owns the grant that plays one recording: its claims, and how it is checked."""

from __future__ import annotations

from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.tokens import GrantInvalid, Principal, sign_grant, verify_grant

from giaoban_recording.domain import Recording, watching_time

KIND = "content"


class SignedGrants:
    """The `Grants` port: EdDSA JWTs of this service for itself (recording_service.proto has the claims)."""

    def __init__(self, identity: ServiceIdentity) -> None:
        """Signs and checks with the service's own key."""
        self._identity = identity

    def sign(self, caller: Principal, recording: Recording) -> str:
        """The grant of somebody who may see the recording."""
        claims = {"sub": caller.subject, "org": caller.organisation_id, "rec": recording.id}
        lifetime = watching_time(recording.duration)
        return sign_grant(
            self._identity, audience=self._identity.name, kind=KIND, claims=claims, lifetime=lifetime
        )

    def check(self, grant: str, recording_id: str) -> None:
        """Raises `GrantInvalid` unless it is a grant for this recording that holds."""
        claims = verify_grant(self._identity, grant, issuer=self._identity.name, kind=KIND)
        if claims.get("rec") != recording_id:
            raise GrantInvalid("The grant is for another recording. Ask for a new one.")
