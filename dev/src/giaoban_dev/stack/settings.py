# SPDX-License-Identifier: Apache-2.0
"""Owns the ports and addresses of the local stack; each can be moved by an environment variable."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from giaoban_dev.infra.addresses import own_addresses
from giaoban_dev.infra.errors import InfraError


@dataclass(frozen=True)
class Ports:
    """TCP ports on loopback, but for the RTP ranges (UDP and TCP on the media address).

    GIAOBAN_DEV_<NAME>_PORT moves a port, e.g. GIAOBAN_DEV_GATEWAY_PORT.
    """

    gateway: int = 8080
    gateway_tls: int = 8443
    mail_page: int = 8025
    smtp: int = 17025
    postgres: int = 17432
    nats: int = 17422
    mqtt: int = 17483
    nats_monitor: int = 17482
    identity: int = 17001
    scheduling: int = 17002
    media: int = 17003
    recording: int = 17004
    notifications: int = 17005
    identity_metrics: int = 17101
    scheduling_metrics: int = 17102
    media_metrics: int = 17103
    recording_metrics: int = 17104
    notifications_metrics: int = 17105
    gateway_metrics: int = 17106
    gateway_tls_metrics: int = 17107
    gateway_2_metrics: int = 17111
    shipper_a_metrics: int = 17108
    shipper_b_metrics: int = 17109
    composer_metrics: int = 17110
    janus_a_api: int = 17188
    janus_a_admin: int = 17189
    janus_a_rtp: int = 20000
    janus_b_api: int = 17288
    janus_b_admin: int = 17289
    janus_b_rtp: int = 22000

    RTP_RANGE = 2000  # ports of one node, from janus_*_rtp on

    def of(self, name: str) -> int:
        """Return a port by its name in this table."""
        return int(getattr(self, name))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Ports":
        """Read the table; raises InfraError naming the variable with a wrong or doubled port."""
        given = {}
        for field in fields(cls):
            key = port_key(field.name)
            if key in environment:
                given[field.name] = _port(key, environment[key])
        ports = cls(**given)
        taken: dict[int, str] = {}
        for field in fields(cls):
            other = taken.setdefault(ports.of(field.name), field.name)
            if other != field.name:
                raise InfraError(
                    f"{port_key(field.name)} and {port_key(other)} are both {ports.of(other)}: choose two ports"
                )
        return ports


def port_key(name: str) -> str:
    """Return the environment variable that moves a port."""
    return f"GIAOBAN_DEV_{name.upper()}_PORT"


def _port(key: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1024 <= int(text) <= 65535:
        raise InfraError(f"{key}={text!r}: give a port from 1024 to 65535")
    return int(text)


@dataclass(frozen=True)
class Addresses:
    """Where people and media reach the stack.

    Browsers give camera and microphone only to a secure context: localhost is one, another device needs https.
    So the stack listens on loopback, and with MEDIA_IP given also, with TLS, on that address.
    """

    media_ip: str
    shared: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Addresses":
        """Read MEDIA_IP, else take this machine's first address; raises InfraError."""
        given = environment.get("MEDIA_IP")
        own = own_addresses()
        if given is None:
            if not own:
                raise InfraError(
                    "this machine has no IPv4 address but loopback, which media cannot use: connect it to a "
                    "network, or give it a private one: ip link add gb0 type veth peer name gb1 && "
                    "ip address add 10.77.0.1/24 dev gb0 && ip link set gb0 up && ip link set gb1 up"
                )
            return cls(media_ip=own[0], shared=False)
        try:
            address = ipaddress.IPv4Address(given)
        except ValueError:
            raise InfraError(f"MEDIA_IP={given!r}: give an IPv4 address of this machine") from None
        if address.is_loopback or given not in own:
            raise InfraError(
                f"MEDIA_IP={given}: not an address of this machine; it has {', '.join(own) or 'none'}"
            )
        return cls(media_ip=given, shared=True)


# What a person may set for all services, beside what the stack sets for each.
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("SITES", "XDG_CACHE_HOME"),
    *("GIAOBAN_LOG_LEVEL", "GIAOBAN_OTLP_ENDPOINT", "GIAOBAN_TRACE_SAMPLE_RATIO", "GIAOBAN_CACHE"),
    *("GIAOBAN_AUTH_REQUESTS_PER_MINUTE", "GIAOBAN_PARTICIPANT_LIMIT"),  # load tests come from one address
)


def base_environment() -> dict[str, str]:
    """Return the part of our environment that services see: nothing else leaks in from the person's shell."""
    return {key: os.environ[key] for key in _PASSED_ON if key in os.environ} | {"PYTHONUNBUFFERED": "1"}
