# SPDX-License-Identifier: Apache-2.0
"""The configuration of the gateway."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from giaoban_kit.config import ServiceConfig
from pydantic import Field, field_validator


class Config(ServiceConfig):
    """The gateway: the public REST and WebSocket API."""

    service_name: str = "gateway"
    http_listen: str = Field(default="127.0.0.1:8080", pattern=r"^.+:\d+$")
    http_reuse_port: bool = False
    """Whether other gateways of this machine may listen there too (SO_REUSEPORT, socket(7))."""
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    public_url: str = Field(default="http://localhost:8080", pattern=r"^https?://[^/]+$")
    """Where people find the gateway; decides whether cookies are `Secure`."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of the web client beside `public_url` (RFC 6454)."""
    web_directory: Path | None = None
    """The built web client; without it only the API is served."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks (`10.42.0.0/16`) whose X-Forwarded-For is believed."""
    auth_requests_per_minute: int = Field(default=120, ge=1)
    """Sign-ins of people and terminals per client address and process."""
    refreshes_per_minute: int = Field(default=60, ge=1)
    """Refreshes per session and process: one in about four minutes is needed for each open page."""
    refreshes_per_address_per_minute: int = Field(default=6_000, ge=1)
    """Refreshes per client address and process: a whole office may stand behind one address."""
    requests_per_minute: int = Field(default=1_200, ge=1)
    """Requests per signed-in user or terminal and process."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ipaddress.ip_network(each)  # raises a ValueError that names what is wrong with it
        return value
