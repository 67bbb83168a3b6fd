# SPDX-License-Identifier: Apache-2.0
"""What must not be found in any log or span of the whole run; conftest.py puts this file last."""

import re
from collections.abc import Iterator

import pytest
from giaoban_dev.demo.directory import PASSWORD

from .house import CITY, House

FORBIDDEN = {
    "an access token": re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}"),
    "a mail address": re.compile(r"[\w.+-]+@[\w-]+\.example\b"),
    "a session description": re.compile(r"a=ice-pwd:|a=fingerprint:|v=0(\\r)?\\?\n?o=|a=candidate:"),
    "a password": re.compile(re.escape(PASSWORD)),
}
MIN_LOGS, MIN_SPANS, MIN_SECRETS = 10, 100, 3


def _findings(where: str, text: str, secrets: set[str]) -> Iterator[str]:
    for what, pattern in FORBIDDEN.items():
        if found := pattern.search(text):
            yield f"{where}: {what}: …{text[max(0, found.start() - 80) : found.start() + 12]}…"
    for secret in secrets:
        if (at := text.find(secret)) >= 0:
            yield f"{where}: a ticket, token or key that was given out: …{text[max(0, at - 80) : at + 6]}…"


@pytest.fixture
async def secrets(house: House) -> set[str]:
    """Tokens and tickets that people were given, and what the stack keeps in its own files of secrets."""
    async with house.api("chutich"):
        pass
    given = {each for each in house.secrets if len(each) >= 16}
    # A content ticket is given out as part of an address.
    given |= {each.rpartition("=")[2] for each in given if each.startswith(("/", "http"))}
    kept = {
        file.read_text().strip()
        for file in (house.state / "secrets").glob(f"site-{CITY}-*")
        if file.is_file()
    }
    assert len(given) >= MIN_SECRETS and kept
    return given | kept


def test_no_log_holds_secrets_or_addresses_of_people(house: House, secrets: set[str]) -> None:
    """No service's log holds a token, a ticket, a device key, a password, SDP, or a mail address."""
    logs = list(house.logs())
    assert len(logs) >= MIN_LOGS
    found = [
        finding
        for log in logs
        for finding in _findings(log.name, log.read_text(encoding="utf-8", errors="replace"), secrets)
    ]
    assert not found, "\n".join(found)


def test_no_span_holds_secrets_or_addresses_of_people(house: House, secrets: set[str]) -> None:
    """No span, its attributes and events included, holds any of these either."""
    assert len(house.collector.spans) >= MIN_SPANS
    found = [
        finding
        for span in house.collector.spans
        for finding in _findings(f"{span.service} {span.name}", span.text, secrets)
    ]
    assert not found, "\n".join(dict.fromkeys(found))
