# SPDX-License-Identifier: Apache-2.0
"""The configuration of media."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from giaoban_kit.config import ServiceConfig, read_secret
from pydantic import BaseModel, Field, field_validator

from giaoban_media.janus.node import NodeAddress

BUDGET_PACKETS_PER_SECOND = 140_000
"""What a node may send before it takes no newcomers: 8 cores, used to 70 %, at 40 µs of a core per forwarded packet."""


class MediaNode(BaseModel, frozen=True):
    """How to reach one media node."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    url: str = Field(pattern=r"^wss?://")
    api_secret_file: Path
    admin_key_file: Path
    rec_dir: str = "/recordings"
    relay_host: str = ""
    """Where other nodes send the media of a meeting that is on several; the host of `url` when empty."""
    relay_ports: tuple[int, int] = (25000, 25999)
    """UDP ports for it, the first and the last: two for each sender and further node."""
    budget_packets_per_second: int = Field(default=BUDGET_PACKETS_PER_SECOND, ge=1, le=10_000_000)

    @field_validator("relay_ports")
    @classmethod
    def _pairs(cls, ports: tuple[int, int]) -> tuple[int, int]:
        if not 1024 <= ports[0] < ports[1] <= 65535:
            raise ValueError("give the first and the last port, from 1024 to 65535")
        return ports

    def address(self) -> NodeAddress:
        """The address with its secrets read."""
        return NodeAddress(
            self.id,
            self.url,
            read_secret(self.api_secret_file),
            read_secret(self.admin_key_file),
            self.rec_dir,
            self.relay_host or urlsplit(self.url).hostname or "",
            self.relay_ports,
        )


class IceServer(BaseModel, frozen=True):
    """A STUN or TURN server told to clients (RFC 7064, RFC 7065)."""

    urls: list[str]
    username: str = ""
    credential: str = ""


class Config(ServiceConfig):
    """Media: rooms, nodes, participants, floor and stage."""

    service_name: str = "media"
    nodes: tuple[MediaNode, ...] = ()
    """`GIAOBAN_NODES`: a JSON list of media nodes."""
    ice_servers: tuple[IceServer, ...] = ()
    """`GIAOBAN_ICE_SERVERS`: a JSON list, as RTCIceServer in WebRTC."""
    replica: str = Field(default="", pattern=r"^[A-Za-z0-9-]{0,63}$")
    """Name of this process, unique while it lives; a random one when empty."""
