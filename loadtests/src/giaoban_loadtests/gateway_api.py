# SPDX-License-Identifier: Apache-2.0
"""Owns the few REST calls that a simulated participant needs: signing in, and a ticket for a meeting."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

TIMEOUT = 10.0  # seconds a call may take
_RETRIED_STATUS = {408, 425, 429}


class ApiError(Exception):
    """The gateway refused: HTTP `status`, machine-readable `reason`; `final` when trying again is no use."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(f"{reason} ({status}): {detail}")
        self.status = status
        self.reason = reason
        self.final = 400 <= status < 500 and status not in _RETRIED_STATUS


@dataclass(frozen=True)
class SiteIdentity:
    """A site with its terminal's device key."""

    site_id: str
    name: str
    device_key: str = field(repr=False)


@dataclass(frozen=True)
class UserIdentity:
    """A person with an account."""

    organisation_code: str
    username: str
    password: str = field(repr=False)

    @property
    def name(self) -> str:
        """What a log line calls this participant."""
        return self.username


Identity = SiteIdentity | UserIdentity


class GatewayApi:
    """The REST side of one gateway at `base_url` (http or https, no path); an asynchronous context manager.

    `origin` is that of the page (RFC 6454), when it comes from elsewhere. Every call raises ApiError, or
    httpx.HTTPError when there was no answer.
    """

    def __init__(self, base_url: str, origin: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self.origin = origin or self.base_url
        self._client = httpx.AsyncClient(base_url=self.base_url, timeout=TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def sign_in(self, identity: Identity) -> str:
        """Return an access token."""
        if isinstance(identity, SiteIdentity):
            body = {"site_id": identity.site_id, "device_key": identity.device_key}
            answer = await self._post("/v1/auth/terminal", body)
        else:
            body = {
                "organisation_code": identity.organisation_code,
                "username": identity.username,
                "password": identity.password,
            }
            answer = await self._post("/v1/auth/sign-in", body)
        return _text(answer, "access_token")

    async def connect_ticket(self, meeting_id: str, access_token: str) -> str:
        """Return a ticket for one connection to a meeting."""
        return _text(
            await self._post(f"/v1/meetings/{meeting_id}/connect-tickets", {}, access_token), "ticket"
        )

    async def _post(self, path: str, body: dict[str, str], access_token: str = "") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {access_token}"} if access_token else {}
        response = await self._client.post(path, json=body, headers=headers)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            answer = {}
        if not response.is_success:
            reason, detail = answer.get("reason") or "UNKNOWN", answer.get("detail") or response.reason_phrase
            raise ApiError(response.status_code, str(reason), str(detail))
        return answer


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise ApiError(502, "ANSWER_INVALID", f"the gateway's answer has no {name}")
    return value
