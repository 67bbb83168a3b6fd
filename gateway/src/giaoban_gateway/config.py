# SPDX-License-Identifier: Apache-2.0
"""The configuration of the gateway."""

from __future__ import annotations

from pathlib import Path

from giaoban_kit.config import ServiceConfig
from pydantic import Field


class Config(ServiceConfig):
    """The gateway: the public REST and WebSocket API."""

    service_name: str = "gateway"
    http_listen: str = Field(default="127.0.0.1:8080", pattern=r"^.+:\d+$")
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    public_url: str = Field(default="http://localhost:8080", pattern=r"^https?://[^/]+$")
    """Where people find the gateway; decides whether cookies are `Secure`."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of the web client beside `public_url` (RFC 6454)."""
    web_directory: Path | None = None
    """The built web client; without it only the API is served."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose X-Forwarded-For is believed."""
    auth_requests_per_minute: int = Field(default=120, ge=1)
    """Sign-ins, refreshes and terminal sign-ins per client address and process."""
    requests_per_minute: int = Field(default=1_200, ge=1)
    """Requests per signed-in user or terminal and process."""
