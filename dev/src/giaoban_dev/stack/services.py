# SPDX-License-Identifier: Apache-2.0
"""Owns what the house consists of, as data: its services, their ports, and the environment each gets.

To change a service's environment, change its entry here; nothing else knows the keys.
"""

import base64
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.janus import JanusNode
from giaoban_dev.infra.janus_root import pp_rec_command
from giaoban_dev.infra.nats import Nats
from giaoban_dev.infra.postgres import HOST, Postgres
from giaoban_dev.stack.keys import service_jwks_file, service_key_file, tls_files
from giaoban_dev.stack.settings import Addresses, Ports, base_environment

MAIL_FROM = "giaoban@localhost"


@dataclass(frozen=True)
class House:
    """Everything an environment is made of: settings, secrets, and the running servers."""

    state: Path
    root: Path
    ports: Ports
    addresses: Addresses
    credentials: Credentials
    postgres: Postgres
    nats: Nats
    nodes: Mapping[str, JanusNode]

    @property
    def public_url(self) -> str:
        """Where a browser on this machine finds the house; localhost is a secure context."""
        return f"http://localhost:{self.ports.gateway}"

    @property
    def shared_url(self) -> str | None:
        """Where other devices find it, when an address is given to them."""
        return (
            f"https://{self.addresses.media_ip}:{self.ports.gateway_tls}" if self.addresses.shared else None
        )


@dataclass(frozen=True)
class Service:
    """One process of a service: `python -m module verb`; `name` is the process and the log.

    `user` is who it is towards NATS and other services; `grpc` and `metrics` name ports of the table;
    `database` says it has one of its own; `ready` is the URL that answers 200 when it is ready.
    """

    name: str
    module: str
    user: str
    metrics: str
    grpc: str | None = None
    database: bool = False
    environment: Callable[[House], Mapping[str, str]] = lambda _: {}
    verb: str = "serve"
    wanted: Callable[[House], bool] = lambda _: True

    def ready_url(self, house: House) -> str:
        return f"http://{HOST}:{house.ports.of(self.metrics)}/readyz"


def _identity(house: House) -> Mapping[str, str]:
    file = house.credentials.directory / "identity-sealing-key"
    if not file.exists():
        house.credentials.write(file.name, base64.b64encode(secrets.token_bytes(32)))
    return {"GIAOBAN_SEALING_KEY_FILE": str(file)}


def _media(house: House) -> Mapping[str, str]:
    # Load tests fill nodes sooner than real ones would be full.
    budget = os.environ.get("GIAOBAN_NODE_BUDGET", "")
    if budget and not budget.isdecimal():
        raise InfraError(f"GIAOBAN_NODE_BUDGET={budget!r}: give packets per second, or leave it away")
    limited = {"budget_packets_per_second": int(budget)} if budget else {}
    nodes: list[dict[str, object]] = [
        {
            "id": node.name,
            "url": node.url,
            "api_secret_file": str(house.credentials.path("janus-api")),
            "admin_key_file": str(house.credentials.path("janus-room")),
            "rec_dir": str(node.recordings),
            **limited,
        }
        for node in house.nodes.values()
    ]
    return {"GIAOBAN_NODES": json.dumps(nodes)}


def _recording(house: House) -> Mapping[str, str]:
    directory = house.state / "objects"
    directory.mkdir(parents=True, exist_ok=True)
    return {"GIAOBAN_OBJECT_STORE_URL": directory.as_uri()}


def _shipper(name: str) -> Callable[[House], Mapping[str, str]]:
    def environment(house: House) -> Mapping[str, str]:
        folder = house.nodes[name].recordings
        return {**_recording(house), "GIAOBAN_NODE_ID": name, "GIAOBAN_NODE_RECORDINGS": str(folder)}

    return environment


def _composer(house: House) -> Mapping[str, str]:
    work = house.state / "compose"
    work.mkdir(parents=True, exist_ok=True)
    return {
        **_recording(house),
        "GIAOBAN_WORK_DIRECTORY": str(work),
        "GIAOBAN_PP_REC_COMMAND": json.dumps(pp_rec_command(work)),
    }


def _notifications(house: House) -> Mapping[str, str]:
    return {
        "GIAOBAN_SMTP_HOST": HOST,
        "GIAOBAN_SMTP_PORT": str(house.ports.smtp),
        "GIAOBAN_SMTP_TLS": "none",  # the sink is on loopback
        "GIAOBAN_MAIL_FROM": MAIL_FROM,
        "GIAOBAN_PUBLIC_URL": house.shared_url or house.public_url,
    }


def _two_gateways(_: House) -> bool:
    # As in a cluster: when one dies, its clients go to the other. Load tests of kills want it.
    wanted = os.environ.get("GIAOBAN_GATEWAYS", "1")
    if wanted not in {"1", "2"}:
        raise InfraError(f"GIAOBAN_GATEWAYS={wanted!r}: give 1 or 2, or leave it away")
    return wanted == "2"


def _gateway(house: House) -> Mapping[str, str]:
    return {
        **_web(house),
        "GIAOBAN_HTTP_LISTEN": f"{HOST}:{house.ports.gateway}",
        "GIAOBAN_HTTP_REUSE_PORT": str(_two_gateways(house)),
    }


def _gateway_tls(house: House) -> Mapping[str, str]:
    certificate, key = tls_files(house.credentials, house.addresses.media_ip)
    return {
        **_web(house),
        "GIAOBAN_HTTP_LISTEN": f"{house.addresses.media_ip}:{house.ports.gateway_tls}",
        "GIAOBAN_TLS_CERT_FILE": str(certificate),
        "GIAOBAN_TLS_KEY_FILE": str(key),
    }


def _web(house: House) -> Mapping[str, str]:
    origins = [house.public_url, f"http://{HOST}:{house.ports.gateway}"]
    if house.shared_url:
        origins.append(house.shared_url)
    return {
        "GIAOBAN_PUBLIC_URL": house.shared_url or house.public_url,
        "GIAOBAN_ALLOWED_ORIGINS": json.dumps(origins),
        "GIAOBAN_WEB_DIRECTORY": str(house.root / "web" / "dist"),
    }


SERVICES = (
    Service("identity", "giaoban_identity", "identity", "identity_metrics", "identity", True, _identity),
    Service(
        *("scheduling", "giaoban_scheduling", "scheduling", "scheduling_metrics", "scheduling"), database=True
    ),
    Service("media", "giaoban_media", "media", "media_metrics", "media", False, _media),
    Service(
        "recording", "giaoban_recording", "recording", "recording_metrics", "recording", True, _recording
    ),
    Service(
        *("shipper-a", "giaoban_recording", "recording", "shipper_a_metrics"),
        environment=_shipper("a"),
        verb="ship",
    ),
    Service(
        *("shipper-b", "giaoban_recording", "recording", "shipper_b_metrics"),
        environment=_shipper("b"),
        verb="ship",
    ),
    Service(
        *("composer", "giaoban_recording", "recording", "composer_metrics"),
        database=True,
        environment=_composer,
        verb="work",
    ),
    Service(
        *(
            "notifications",
            "giaoban_notifications",
            "notifications",
            "notifications_metrics",
            "notifications",
        ),
        database=True,
        environment=_notifications,
    ),
    Service("gateway", "giaoban_gateway", "gateway", "gateway_metrics", environment=_gateway),
    Service(
        *("gateway-2", "giaoban_gateway", "gateway", "gateway_2_metrics"),
        environment=_gateway,
        wanted=_two_gateways,
    ),
    # A further replica for other devices: the gateway has no state, so it needs no second listener.
    Service(
        *("gateway-tls", "giaoban_gateway", "gateway", "gateway_tls_metrics"),
        environment=_gateway_tls,
        wanted=lambda house: house.addresses.shared,
    ),
)
# Who may hold a key of its own beside the services: the demo data's import.
TOOLS = ("dev",)


def environment(service: Service, house: House) -> dict[str, str]:
    """Return the whole environment of a service's process."""
    names = sorted({each.user for each in SERVICES} | set(TOOLS))
    given = {
        **base_environment(),
        "GIAOBAN_SERVICE_NAME": service.user,
        "GIAOBAN_METRICS_LISTEN": f"{HOST}:{house.ports.of(service.metrics)}",
        "GIAOBAN_NATS_URL": house.nats.url,
        "GIAOBAN_NATS_USER": service.user,
        "GIAOBAN_NATS_PASSWORD_FILE": str(house.nats.password_file(service.user)),
        "GIAOBAN_SERVICE_KEY_FILE": str(service_key_file(house.credentials, service.user)),
        "GIAOBAN_SERVICE_JWKS_FILE": str(service_jwks_file(house.credentials, names)),
    }
    for other in SERVICES:
        if other.grpc:
            given[f"GIAOBAN_{other.name.upper()}_TARGET"] = f"{HOST}:{house.ports.of(other.grpc)}"
    if service.grpc:
        given["GIAOBAN_GRPC_LISTEN"] = f"{HOST}:{house.ports.of(service.grpc)}"
    if service.database:
        given["GIAOBAN_DATABASE_URL"] = (
            f"postgresql://{service.user}@{HOST}:{house.ports.postgres}/{service.user}"
        )
        given["GIAOBAN_DATABASE_PASSWORD_FILE"] = str(house.postgres.password_file(service.user))
    return {**given, **service.environment(house)}
