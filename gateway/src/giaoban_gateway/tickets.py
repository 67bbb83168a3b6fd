# SPDX-License-Identifier: Apache-2.0
"""Tickets: what opens a WebSocket once, or plays a recording for a while, without a header.

A ticket is 256 random bits; only its SHA-256 is a key of the bucket, which forgets it after its time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cachetools import TTLCache
from giaoban_kit.errors import GiaobanError, Unauthenticated, Unavailable
from giaoban_kit.kv import Bucket, Entry
from giaoban_kit.tokens import Principal
from nats.aio.client import Client

from giaoban_gateway.metrics import TICKETS_REFUSED

CONNECT_LIFETIME = timedelta(seconds=30)
CONTENT_LIFETIME = timedelta(hours=12)
"""The longest that recording's grant holds, and so the longest that the bucket keeps anything."""
MIN_LIFETIME = timedelta(seconds=1)
MAX_TICKET_CHARACTERS = 128
ISSUED_KEPT = 10_000
"""Tickets of which this gateway remembers what it has written, and need not read it again."""


class TicketInvalid(Unauthenticated):
    """The ticket is unknown, used, expired or for something else."""

    reason = "TICKET_INVALID"


@dataclass(frozen=True)
class Held:
    """What a ticket stands for: whose token or grant, for what."""

    purpose: str
    subject: str
    token: str
    principal: Principal


@contextmanager
def refusals(purpose: str) -> Iterator[None]:
    """Counts what is refused around tickets for this purpose, by reason."""
    try:
        yield
    except GiaobanError as error:
        TICKETS_REFUSED.labels(purpose, error.reason).inc()
        raise


class Tickets:
    """The bucket of tickets."""

    def __init__(self, bucket: Bucket, nats: Client) -> None:
        """`bucket` belongs to the gateway alone. Without `nats` every method raises `Unavailable` at once."""
        self._bucket = bucket
        self._nats = nats
        self._issued: TTLCache[str, Entry] = TTLCache(ISSUED_KEPT, CONNECT_LIFETIME.total_seconds())

    async def issue(
        self, purpose: str, subject: str, principal: Principal, token: str, lifetime: timedelta
    ) -> tuple[str, datetime]:
        """A new ticket and when it expires: after `lifetime`, or with the token that it stands for."""
        self._require_nats()
        ends = datetime.fromtimestamp(_claims(token)["exp"], UTC)
        lifetime = max(min(lifetime, ends - datetime.now(UTC)), MIN_LIFETIME)
        ticket = secrets.token_urlsafe(32)
        held = {"purpose": purpose, "subject": subject, "token": token, "principal": asdict(principal)}
        key, data = _key(ticket), json.dumps(held).encode()
        ttl = timedelta(seconds=int(lifetime.total_seconds()))
        self._issued[key] = Entry(key, data, await self._bucket.create(key, data, ttl=ttl))
        return ticket, datetime.now(UTC) + lifetime

    async def use_once(self, ticket: str, purpose: str, subject: str) -> Held:
        """What the ticket stands for; it is gone with this. Raises `TicketInvalid`."""
        with refusals(purpose):
            self._require_nats()
            key = _key(ticket)
            known = self._issued.pop(key, None)
            data = await (self._bucket.take(key) if known is None else self._bucket.take_known(known))
            return _held(data, purpose, subject)

    async def look(self, ticket: str, purpose: str, subject: str) -> Held:
        """What the ticket stands for; it stays until it expires. Raises `TicketInvalid`."""
        with refusals(purpose):
            self._require_nats()
            entry = await self._bucket.get(_key(ticket))
            return _held(entry.value if entry else None, purpose, subject)

    def _require_nats(self) -> None:
        if not self._nats.is_connected:  # rather than wait for the end of its patience
            raise Unavailable("Tickets are not available at this moment. Try again.")


def _key(ticket: str) -> str:
    return hashlib.sha256(ticket[:MAX_TICKET_CHARACTERS].encode()).hexdigest()


def _claims(token: str) -> dict[str, Any]:
    """What a token says that was verified before."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _held(data: bytes | None, purpose: str, subject: str) -> Held:
    if data is not None:
        fields = json.loads(data)
        held = Held(fields["purpose"], fields["subject"], fields["token"], Principal(**fields["principal"]))
        if held.purpose == purpose and held.subject == subject:
            return held
    raise TicketInvalid("The ticket is used up or expired. Ask for a new one.")
