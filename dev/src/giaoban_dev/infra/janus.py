# SPDX-License-Identifier: Apache-2.0
"""Owns one Janus node: its configuration, its process in a sandbox, its recordings directory."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import websockets

from giaoban_dev.infra.addresses import own_addresses
from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.janus_root import janus_root, sandbox
from giaoban_dev.infra.process import Process, ensure_port_free, raise_open_files_limit

HOST = "127.0.0.1"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")

# Everything the house does not use stays out of the process.
_DISABLED = {
    "plugins": (
        "audiobridge",
        "duktape",
        "echotest",
        "lua",
        "nosip",
        "recordplay",
        "sip",
        "textroom",
        "videocall",
        "voicemail",
    ),
    "transports": ("http", "mqtt", "nanomsg", "pfunix", "rabbitmq"),
    "loggers": ("jsonlog",),
    "events": ("gelfevh", "nanomsgevh", "rabbitmqevh", "sampleevh", "wsevh"),
}
# Janus refuses to record below these; the sandbox is read-only there anyway. /root and /var are left out:
# the state directory may lie there, and it is the only one the sandbox may write to.
_PROTECTED = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr")


@dataclass(frozen=True)
class JanusPorts:
    """Ports of one node: API and admin WebSocket on 127.0.0.1, UDP/TCP media range (inclusive) on the media address."""

    api: int
    admin: int
    rtp: tuple[int, int]


@dataclass(frozen=True)
class MqttEvents:
    """Where a node publishes its events: NATS' MQTT listener on 127.0.0.1, topic janus/<node>/<type>."""

    port: int
    username: str
    password: str


async def ask_admin(port: int, secret: str, **request: Any) -> dict[str, Any]:
    """Return a local node's answer to a request of its Admin API."""
    return await _ask(f"ws://{HOST}:{port}", "janus-admin-protocol", {**request, "admin_secret": secret})


async def _ask(url: str, protocol: str, request: dict[str, Any]) -> dict[str, Any]:
    async with websockets.connect(
        url, subprotocols=[websockets.Subprotocol(protocol)], open_timeout=2, proxy=None
    ) as socket:
        await socket.send(json.dumps({**request, "transaction": "asked"}))
        answer: dict[str, Any] = json.loads(await socket.recv())
        return answer


class JanusNode:
    """One Janus process; an asynchronous context manager that starts and stops it.

    `media_ip` is the local address media flows on (never loopback: Janus skips it); `public_ip` the one told to
    clients when a 1:1 NAT stands before the node. Secrets: janus-api, janus-admin, janus-room (the admin_key).

    Settings of janus.jcfg are tried out with a file `tried.json` in the directory, as {"general": {"event_loops": 1}};
    it counts from the next start.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        ports: JanusPorts,
        media_ip: str,
        credentials: Credentials,
        events: MqttEvents | None,
        public_ip: str | None = None,
        event_loops: int | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"node name {name!r}: use lower-case letters, digits and '-', 31 at most")
        if media_ip.startswith("127."):
            raise ValueError(
                f"media_ip {media_ip}: Janus cannot use a loopback address; give another of this machine's"
            )
        self.name = name
        self.directory = directory
        self.ports = ports
        self.media_ip = media_ip
        self.public_ip = public_ip
        self.event_loops = event_loops or os.cpu_count() or 1
        self.recordings = directory / "recordings"
        self._credentials = credentials
        self._events = events
        etc = directory / "etc"
        self.process = Process(
            name=f"janus-{name}",
            argv=[
                *sandbox(janus_root(), network=True, writable=[self.recordings], readable=[etc]),
                *("--", "/usr/bin/janus", f"--configs-folder={etc}", "--log-stdout", "--disable-colors"),
            ],
            log_file=directory / "janus.log",
            info_pipe=True,
        )

    @property
    def url(self) -> str:
        """WebSocket address of the API; subprotocol janus-protocol."""
        return f"ws://{HOST}:{self.ports.api}"

    @property
    def api_secret(self) -> str:
        return self._credentials.get("janus-api")

    @property
    def admin_secret(self) -> str:
        return self._credentials.get("janus-admin")

    @property
    def admin_key(self) -> str:
        """The key that creating rooms and mountpoints needs."""
        return self._credentials.get("janus-room")

    async def start(self) -> None:
        """Write the configuration and start the node; raises InfraError."""
        key = f"GIAOBAN_DEV_JANUS_{self.name.upper().replace('-', '_')}"
        ensure_port_free(HOST, self.ports.api, what=f"Janus node {self.name}", key=f"{key}_API_PORT")
        ensure_port_free(
            HOST, self.ports.admin, what=f"Janus node {self.name} (admin)", key=f"{key}_ADMIN_PORT"
        )
        # Also tells an address this machine does not have from a port in use.
        ensure_port_free(
            self.media_ip, self.ports.rtp[0], what=f"Janus node {self.name} (media)", key="MEDIA_IP"
        )
        raise_open_files_limit()
        self._write_configuration()
        await self.process.start()
        await self.process.wait_ready(self._answers)

    async def stop(self) -> None:
        """Stop the node; its recordings get their final names."""
        await self.process.stop()

    async def kill(self) -> None:
        """End the node without warning, as a crash would."""
        await self.process.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def info(self) -> dict[str, Any]:
        """Return the node's answer to `info` (version, settings, whether it accepts sessions)."""
        return await _ask(self.url, "janus-protocol", {"janus": "info", "apisecret": self.api_secret})

    async def admin(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request of the Admin API, as `await node.admin(janus="list_sessions")`."""
        return await ask_admin(self.ports.admin, self.admin_secret, **request)

    async def _answers(self) -> bool:
        try:
            return (await self.info()).get("janus") == "server_info"
        except websockets.WebSocketException:
            return False

    def _write_configuration(self) -> None:
        etc = self.directory / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        self.recordings.mkdir(parents=True, exist_ok=True)
        configuration = self._configuration()
        for section, settings in self._tried().items():
            configuration["janus.jcfg"].setdefault(section, {}).update(settings)
        for name, sections in configuration.items():
            file = etc / name
            file.unlink(missing_ok=True)
            # Secrets stand in these files: nobody else may read them, and nobody write them.
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(render(sections))

    def _tried(self) -> dict[str, dict[str, str | int | bool | list[str]]]:
        file = self.directory / "tried.json"
        if not file.exists():
            return {}
        try:
            tried: dict[str, dict[str, str | int | bool | list[str]]] = json.loads(file.read_text("utf-8"))
        except ValueError as error:
            raise InfraError(f"{file}: {error}. Mend it or delete it.") from error
        return tried

    def _configuration(self) -> dict[str, dict[str, dict[str, str | int | bool | list[str]]]]:
        nat: dict[str, str | int | bool | list[str]] = {
            "ice_enforce_list": self.media_ip,
            "ice_lite": True,
            "ice_tcp": True,
            "ice_consent_freshness": True,
            "full_trickle": False,
            "ignore_mdns": True,
        }
        # The enforce list matches prefixes: 10.77.0.1 lets 10.77.0.10 in as well. The ignore list is asked after it.
        also_matching = [
            own for own in own_addresses() if own.startswith(self.media_ip) and own != self.media_ip
        ]
        if also_matching:
            nat["ice_ignore_list"] = ",".join(also_matching)
        if self.public_ip and self.public_ip != self.media_ip:
            nat |= {"nat_1_1_mapping": self.public_ip, "keep_private_host": True}
        files: dict[str, dict[str, dict[str, str | int | bool | list[str]]]] = {
            "janus.jcfg": {
                "general": {
                    "server_name": self.name,
                    "debug_level": 4,
                    "debug_timestamps": True,
                    "api_secret": self.api_secret,
                    "admin_secret": self.admin_secret,
                    "session_timeout": 60,
                    "reclaim_session_timeout": 60,
                    "candidates_timeout": 45,
                    "recordings_tmp_ext": "tmp",
                    "event_loops": self.event_loops,
                    "opaqueid_in_api": True,
                    "hide_dependencies": True,
                    "protected_folders": list(_PROTECTED),
                },
                "media": {
                    "rtp_port_range": f"{self.ports.rtp[0]}-{self.ports.rtp[1]}",
                    "min_nack_queue": 500,
                    "no_media_timer": 2,
                    "slowlink_threshold": 4,
                    "twcc_period": 100,
                    "ipv6": False,
                },
                "nat": nat,
                "events": {
                    "broadcast": self._events is not None,
                    "combine_media_stats": True,
                    "stats_period": 5,
                },
            },
            "janus.transport.websockets.jcfg": {
                "general": {
                    "json": "compact",
                    "ws": True,
                    "ws_port": self.ports.api,
                    "ws_ip": HOST,
                    "wss": False,
                    "pingpong_trigger": 10,
                    "pingpong_timeout": 5,
                },
                "admin": {
                    "admin_ws": True,
                    "admin_ws_port": self.ports.admin,
                    "admin_ws_ip": HOST,
                    "admin_wss": False,
                },
            },
            "janus.plugin.videoroom.jcfg": {
                "general": {
                    "admin_key": self.admin_key,
                    "lock_rtp_forward": True,
                    "events": True,
                    "string_ids": True,
                }
            },
            "janus.plugin.streaming.jcfg": {
                "general": {"admin_key": self.admin_key, "events": True, "string_ids": True}
            },
            "janus.eventhandler.mqttevh.jcfg": {"general": self._mqtt()},
        }
        for section, names in _DISABLED.items():
            listed = ",".join(f"libjanus_{name}.so" for name in names)
            files["janus.jcfg"].setdefault(section, {})["disable"] = listed
        return files

    def _mqtt(self) -> dict[str, str | int | bool | list[str]]:
        if self._events is None:
            return {"enabled": False}
        return {
            "enabled": True,
            # No jsep: SDP is most of the bytes and names addresses.
            "events": "sessions,handles,webrtc,media,plugins,transports,core",
            "json": "compact",
            "url": f"tcp://{HOST}:{self._events.port}",
            "mqtt_version": "3.1.1",
            "client_id": f"janus-{self.name}",
            "keep_alive_interval": 10,
            "cleansession": 0,
            "qos": 1,
            "retain": 0,
            "max_inflight": 100,
            "max_buffered": 5000,
            "username": self._events.username,
            "password": self._events.password,
            "topic": f"janus/{self.name}",
            "addevent": True,
            "connect_status": json.dumps({"event": "connected", "node": self.name}),
            "disconnect_status": json.dumps({"event": "disconnected", "node": self.name}),
            "will_enabled": True,
            "will_retain": 0,
            "will_qos": 1,
        }


def render(sections: Mapping[str, Mapping[str, str | int | bool | list[str]]]) -> str:
    """Render sections in the format of libconfig, which Janus reads."""
    lines = []
    for section, settings in sections.items():
        lines.append(f"{section}: {{")
        lines += [f"  {key} = {_value(value)}" for key, value in settings.items()]
        lines.append("}")
    return "\n".join(lines) + "\n"


def _value(value: str | int | bool | list[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if any(ord(character) < 32 for character in value):
        raise ValueError("a configuration value holds a control character")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
