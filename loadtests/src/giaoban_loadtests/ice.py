# SPDX-License-Identifier: Apache-2.0
"""Owns one ICE agent: controlling, host candidate only, towards an ICE-lite peer; checks, nomination, consent
(RFC 8445, RFC 7675). Sans-IO: it returns datagrams, the connection sends them.
"""

import os
import random
import secrets
from collections import OrderedDict

from giaoban_loadtests import stun

Address = tuple[str, int]

CHECK_INTERVAL = 0.05  # seconds; RFC 8445 section 14.2
SLOW_CHECK_INTERVAL = 0.5
FAST_CHECKS = 20
CONSENT_INTERVAL = (4.0, 6.0)  # seconds, drawn anew each time; RFC 7675 section 5.1
CONSENT_TIMEOUT = 30.0
MAX_OUTSTANDING = 64  # transactions remembered; older answers no longer count


class IceAgent:
    """Times are seconds on the caller's monotonic clock."""

    __slots__ = (
        "_checks",
        "_key",
        "_outstanding",
        "_tie_breaker",
        "_username",
        "candidates",
        "consent_until",
        "password",
        "rejected",
        "selected",
        "ufrag",
    )

    def __init__(self) -> None:
        self.ufrag = ""
        self.password = ""
        self.candidates: list[Address] = []
        self.selected: Address | None = None
        self.consent_until = 0.0
        self.rejected = 0  # STUN messages thrown away: not ours, or not authentic
        self._tie_breaker = os.urandom(8)
        self._username = ""
        self._key = b""
        self._checks = 0
        self._outstanding: OrderedDict[bytes, Address] = OrderedDict()
        self.renew_credentials()

    def renew_credentials(self) -> None:
        """Draw a ufrag and a password, for a new session or an ICE restart (RFC 8445 section 5.3)."""
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(12)

    def set_remote(self, ufrag: str, password: str, candidates: tuple[Address, ...]) -> None:
        """Take the peer's credentials and candidates; checks begin with the next `next_checks`."""
        self._username = f"{ufrag}:{self.ufrag}"
        self._key = password.encode()
        self.candidates = list(candidates)
        self._checks = 0

    def add_candidate(self, address: Address) -> None:
        """Take one more candidate of the peer."""
        if address not in self.candidates:
            self.candidates.append(address)

    def next_checks(self) -> tuple[list[tuple[bytes, Address]], float]:
        """Return the checks to send now with their destinations, and the seconds until the next ones."""
        if self.selected is not None:
            return [(self._request(self.selected, nominate=True), self.selected)], random.uniform(
                *CONSENT_INTERVAL
            )
        self._checks += 1
        # A lone candidate is nominated at once: one round trip less.
        nominate = len(self.candidates) == 1
        checks = [(self._request(address, nominate=nominate), address) for address in self.candidates]
        return checks, CHECK_INTERVAL if self._checks <= FAST_CHECKS else SLOW_CHECK_INTERVAL

    def receive(self, datagram: bytes, source: Address, now: float) -> list[tuple[bytes, Address]]:
        """Take a STUN datagram and return what to answer; bad ones are counted, never raised."""
        try:
            message = stun.parse(datagram)
        except stun.StunError:
            self.rejected += 1
            return []
        if message.type == stun.Type.BINDING_REQUEST:
            return self._answer(message, source)
        if message.type == stun.Type.BINDING_SUCCESS:
            return self._success(message, now)
        if message.type != stun.Type.BINDING_INDICATION:
            self.rejected += 1
        return []

    def _request(self, address: Address, *, nominate: bool) -> bytes:
        transaction = stun.new_transaction()
        self._outstanding[transaction] = address
        if len(self._outstanding) > MAX_OUTSTANDING:
            self._outstanding.popitem(last=False)
        return stun.binding_request(
            transaction,
            username=self._username,
            key=self._key,
            tie_breaker=self._tie_breaker,
            nominate=nominate,
        )

    def _answer(self, message: stun.Message, source: Address) -> list[tuple[bytes, Address]]:
        key = self.password.encode()
        if message.username.partition(":")[0] != self.ufrag or not message.has_integrity(key):
            self.rejected += 1
            return []
        return [(stun.binding_success(message.transaction, address=source, key=key), source)]

    def _success(self, message: stun.Message, now: float) -> list[tuple[bytes, Address]]:
        address = self._outstanding.pop(message.transaction, None)
        if address is None or not message.has_integrity(self._key):
            self.rejected += 1
            return []
        self.consent_until = now + CONSENT_TIMEOUT
        if self.selected is not None:
            return []
        self.selected = address
        if len(self.candidates) == 1:
            return []
        return [(self._request(address, nominate=True), address)]
