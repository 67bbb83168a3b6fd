# SPDX-License-Identifier: Apache-2.0
"""Owns the NATS server: JetStream, the MQTT listener for Janus, and who may say what.

Who owns which stream and bucket is data below; the permissions follow from it. A subject is published by its
owner alone; nobody but the named readers sees a bucket; nobody sees another's inbox.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.process import Process, ensure_port_free

HOST = "127.0.0.1"
PORT_KEY = "GIAOBAN_DEV_NATS_PORT"
SERVICES = ("identity", "scheduling", "media", "recording", "notifications", "gateway")

# Event streams by owner; every service may read them.
STREAMS: Mapping[str, Sequence[str]] = {
    "identity": ("IDENTITY",),
    "scheduling": ("SCHEDULING",),
    "media": ("MEDIA",),
    "recording": ("RECORDING",),
    "notifications": ("NOTIFICATIONS",),
    "gateway": (),
}
DEAD_LETTERS = "DEAD_LETTERS"
DEAD_LETTERS_SUBJECT = "giaoban.dlq"

# Key-value buckets by owner, each with the services that may read (never write) it.
BUCKETS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "media": {
        "media-live": ("gateway",),  # the live state of meetings
        "media-journal": (),  # session and handle ids, before use
        "media-nodes": (),
        "media-replicas": (),
        "media-reservations": (),
    },
    "gateway": {"gateway-tickets": ()},
}


@dataclass(frozen=True)
class NatsPorts:
    """The listening ports on 127.0.0.1: clients, MQTT (Janus), monitoring (HTTP)."""

    client: int
    mqtt: int
    monitor: int


class Nats:
    """A NATS server on 127.0.0.1; an asynchronous context manager that starts and stops it."""

    def __init__(self, directory: Path, *, ports: NatsPorts, credentials: Credentials) -> None:
        self.directory = directory
        self.ports = ports
        self._credentials = credentials
        self.process = Process(
            name="nats",
            argv=[str(binary()), "--config", str(directory / "nats.conf")],
            log_file=directory / "nats.log",
            parent_death_signal="TERM",
        )

    @property
    def url(self) -> str:
        """The address without credentials."""
        return f"nats://{HOST}:{self.ports.client}"

    def password(self, user: str) -> str:
        return self._credentials.get(f"nats-{user}")

    def password_file(self, user: str) -> Path:
        return self._credentials.path(f"nats-{user}")

    def connect_options(self, user: str) -> dict[str, Any]:
        """Return the keyword arguments of nats.connect for a user: servers, user, password, inbox_prefix."""
        return {
            "servers": [self.url],
            "user": user,
            "password": self.password(user),
            "inbox_prefix": inbox_prefix(user),
        }

    async def start(self) -> None:
        """Write the configuration and start the server; raises InfraError."""
        keys = (
            (self.ports.client, "NATS", PORT_KEY),
            (self.ports.mqtt, "NATS (MQTT)", "GIAOBAN_DEV_MQTT_PORT"),
            (self.ports.monitor, "NATS (monitoring)", "GIAOBAN_DEV_NATS_MONITOR_PORT"),
        )
        for port, what, key in keys:
            ensure_port_free(HOST, port, what=what, key=key)
        self.directory.mkdir(parents=True, exist_ok=True)
        passwords = {user: self.password(user) for user in permissions()}
        file = self.directory / "nats.conf"
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        # The configuration language accepts JSON; a JSON encoder quotes better than we would.
        file.write_text(json.dumps(render(self.directory, self.ports, passwords), indent=2), encoding="utf-8")
        await self.process.start()
        await self.process.wait_ready(self._healthy)

    async def stop(self) -> None:
        await self.process.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _healthy(self) -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                answer = await client.get(f"http://{HOST}:{self.ports.monitor}/healthz")
            except httpx.TransportError:
                return False
        return answer.status_code == httpx.codes.OK


def inbox_prefix(user: str) -> str:
    """Return the subject prefix of a user's replies: each has its own, so nobody reads another's answers."""
    return f"_INBOX_{user}"


def permissions() -> dict[str, dict[str, list[str]]]:
    """Return what each user may publish and subscribe: the services, `janus` (MQTT) and `dev` (tools of the local stack, tests)."""
    users = {name: _service(name) for name in SERVICES}
    # $MQTT.> is the MQTT session state the server keeps on the client's behalf.
    users["janus"] = {"publish": ["janus.>", "$MQTT.>"], "subscribe": ["$MQTT.>", "_INBOX.>"]}
    users["dev"] = {"publish": [">"], "subscribe": [">"]}
    return users


def _service(name: str) -> dict[str, list[str]]:
    publish = [f"giaoban.{name}.>", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.ACK.>", "$JS.FC.>"]
    own = [*STREAMS[name], *(f"KV_{bucket}" for bucket in BUCKETS.get(name, {}))]
    for stream in own:
        publish += [
            f"$JS.API.STREAM.*.{stream}",
            f"$JS.API.STREAM.MSG.*.{stream}",
            *_watching(stream),
            f"$JS.API.CONSUMER.*.{stream}.*",
        ]
        publish += [f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>"]
    publish += [f"$KV.{bucket}.>" for bucket in BUCKETS.get(name, {})]
    # What a consumer cannot use goes to one stream for all, which any migration may make and nobody deletes.
    publish += [f"{DEAD_LETTERS_SUBJECT}.>"]
    publish += [f"$JS.API.STREAM.{verb}.{DEAD_LETTERS}" for verb in ("INFO", "CREATE", "UPDATE")]
    for owner, streams in STREAMS.items():
        if owner != name:
            for stream in streams:
                publish += [f"$JS.API.STREAM.INFO.{stream}", *_reading(stream)]
    for buckets in BUCKETS.values():
        for bucket, readers in buckets.items():
            if name in readers:
                stream = f"KV_{bucket}"
                publish += [
                    f"$JS.API.STREAM.INFO.{stream}",
                    f"$JS.API.STREAM.MSG.GET.{stream}",
                    *_watching(stream),
                ]
                publish += [f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>"]
    subscribe = ["giaoban.>", f"{inbox_prefix(name)}.>"]
    if name == "media":
        subscribe.append("janus.>")
    return {"publish": publish, "subscribe": subscribe}


def _reading(stream: str) -> list[str]:
    """Return the API subjects to make and read consumers of a stream, but not to delete or pause them.

    Wildcards stand for whole tokens, so consumers cannot be told apart by a prefix of their names: who may read
    a stream could read with another's consumer, yet cannot take it away.
    """
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
    ]


def _watching(stream: str) -> list[str]:
    """Return the API subjects to watch a bucket: its consumers are ephemeral and deleted by their maker."""
    return [*_reading(stream), f"$JS.API.CONSUMER.DELETE.{stream}.*"]


def render(directory: Path, ports: NatsPorts, passwords: Mapping[str, str]) -> dict[str, Any]:
    """Return the server's configuration; `passwords` by user name."""
    return {
        "server_name": "giaoban-dev",
        "listen": f"{HOST}:{ports.client}",
        "http": f"{HOST}:{ports.monitor}",
        "max_payload": 1024 * 1024,
        "max_connections": 500,
        "jetstream": {
            "store_dir": str(directory / "data"),
            "max_memory_store": 64 * 1024**2,
            "max_file_store": 2 * 1024**3,
        },
        "mqtt": {"listen": f"{HOST}:{ports.mqtt}", "ack_wait": "30s", "max_ack_pending": 1000},
        "accounts": {
            "GIAOBAN": {
                "jetstream": "enabled",
                "users": [
                    {"user": user, "password": passwords[user], "permissions": allowed}
                    for user, allowed in permissions().items()
                ],
            }
        },
    }


def binary() -> Path:
    """Return the nats-server program; raises InfraError when it is missing."""
    # The wheel puts the program beside the interpreter; that directory need not be on PATH.
    beside = Path(sys.executable).with_name("nats-server")
    if beside.exists():
        return beside
    found = shutil.which("nats-server")
    if found is None:
        raise InfraError("nats-server is missing; run bin/setup")
    return Path(found)
