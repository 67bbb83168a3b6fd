#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Owns what a media node's pod does around Janus: `configure` before it, `probe` beside it, `drain` before its end.

Runs on the distribution's Python with its websockets package, and nothing of ours.
"""

import argparse
import ipaddress
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

TEMPLATES = Path("/etc/media-node")
CONFIGURATION = Path("/run/janus")
SECRETS = Path("/secrets")
SECRET_NAMES = ("api-secret", "admin-secret", "admin-key", "mqtt-password")
MIN_SECRET_CHARACTERS = 16
ANSWER_SECONDS = 4
POLL_SECONDS = 5

CONTROL = "control"  # the opaque id of the handle by which a media replica manages rooms
_GONE = {458, 459}  # no such session, no such handle: left while we looked
_PLACEHOLDER = re.compile(r"@([A-Z][A-Z_]*)@")


class NodeError(Exception):
    """The node cannot go on; the text names what is wrong and the remedy."""


def configure(
    environment: Mapping[str, str],
    addresses: list[str],
    *,
    templates: Path = TEMPLATES,
    target: Path = CONFIGURATION,
    secret_directory: Path = SECRETS,
) -> None:
    """Writes Janus' files (libconfig) for this machine, readable by nobody else.

    `addresses` are the machine's IPv4 addresses. Raises: NodeError.
    """
    host = environment["HOST_IP"]
    values = {name: environment[name] for name in ("NODE_ID", "HOST_IP", "MQTT_HOST", "MQTT_PORT")}
    values |= {_key(name): read_secret(secret_directory / name) for name in SECRET_NAMES}
    quoted = {name: quote(name, value) for name, value in values.items()}
    quoted["NAT"] = nat(host, addresses, json.loads(environment["PUBLIC_IPS"]).get(environment["MACHINE"]))
    for template in sorted(templates.glob("*.jcfg")):
        file = target / template.name
        file.unlink(missing_ok=True)  # the pod's init container may run again
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(_filled(template, quoted))


def nat(host: str, addresses: list[str], public: str | None) -> str:
    """The lines of Janus' `nat` section that depend on the machine. Raises: NodeError."""
    try:
        loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        raise NodeError(f"HOST_IP is {host}: media needs an IPv4 address of the machine") from None
    if loopback or host not in addresses:
        raise NodeError(f"HOST_IP is {host}, which is no address of this machine: is hostNetwork on?")
    lines = []
    # The enforce list matches prefixes: 10.0.0.1 lets 10.0.0.10 in as well. The ignore list is asked after it,
    # and matches prefixes too: an address that is itself a prefix of ours cannot be put there.
    also = [each for each in addresses if each.startswith(host) and each != host]
    if also:
        lines.append(f'  ice_ignore_list = "{",".join(also)}"')
    if public is not None and public != host:
        lines.append(f'  nat_1_1_mapping = "{ipaddress.IPv4Address(public)}"')
        lines.append("  keep_private_host = true")
    return "\n".join(lines)


def own_addresses(table: Path = Path("/proc/net/fib_trie")) -> list[str]:
    """The IPv4 addresses of this network namespace, as the kernel's routing table has them."""
    found = re.findall(r"\|-- ([0-9.]+)\n +/32 host LOCAL", table.read_text(encoding="ascii"))
    return sorted(set(found))


def read_secret(file: Path) -> str:
    """A secret without the final line break. Raises: NodeError."""
    try:
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise NodeError(f"cannot read {file}: {type(error).__name__}") from None
    if len(text) < MIN_SECRET_CHARACTERS:
        raise NodeError(f"{file}: at least {MIN_SECRET_CHARACTERS} characters are needed")
    return text


def quote(name: str, value: str) -> str:
    """What stands between the quotes of a libconfig string. Raises: NodeError."""
    if any(ord(character) < 32 for character in value):
        raise NodeError(f"{name} holds a control character")
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _filled(template: Path, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        try:
            return values[match[1]]
        except KeyError:
            raise NodeError(f"{template.name}: nothing is known for {match[0]}") from None

    text = template.read_text(encoding="utf-8")
    # Comments may speak of placeholders.
    lines = [line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#")]
    return _PLACEHOLDER.sub(value, "".join(lines))


def _key(name: str) -> str:
    return name.upper().replace("-", "_")


def ask(url: str, subprotocol: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Janus' answer to one request. Raises: NodeError."""
    transaction = secrets.token_hex(8)
    try:
        with connect(
            url,
            subprotocols=[Subprotocol(subprotocol)],
            open_timeout=ANSWER_SECONDS,
            close_timeout=1,
            proxy=None,
        ) as socket:
            socket.send(json.dumps({**request, "transaction": transaction}))
            while True:
                answer: dict[str, Any] = json.loads(socket.recv(timeout=ANSWER_SECONDS))
                if answer.get("transaction") == transaction:
                    return answer
    except (OSError, WebSocketException, ValueError) as error:
        raise NodeError(f"{url}: no answer ({type(error).__name__})") from None


def probe(environment: Mapping[str, str], *, accepting: bool) -> None:
    """Returns when Janus answers (and takes sessions). Raises: NodeError."""
    url = f"ws://{environment['HOST_IP']}:{environment['API_PORT']}"
    answer = ask(url, "janus-protocol", {"janus": "info"})
    if answer.get("janus") != "server_info":
        raise NodeError(f"unexpected answer: {answer.get('janus')}")
    if accepting and not answer.get("accepting-new-sessions", True):
        raise NodeError("the node is draining")


def drain(environment: Mapping[str, str], admin_secret: str) -> None:
    """Takes no more sessions and returns when the last participant has left, or after DRAIN_SECONDS.

    The media service sees that the node takes no sessions, and moves its meetings. Raises: NodeError.
    """
    url = f"ws://127.0.0.1:{environment['ADMIN_PORT']}"

    def admin(request: Mapping[str, Any]) -> dict[str, Any]:
        answer = ask(url, "janus-admin-protocol", {**request, "admin_secret": admin_secret})
        if answer.get("janus") != "success" and answer.get("error", {}).get("code") not in _GONE:
            raise NodeError(f"{request['janus']}: {answer.get('error', {}).get('reason', 'no success')}")
        return answer

    def carries_somebody() -> bool:
        # The media service's own sessions stay as long as the node; their handles say so.
        for session in admin({"janus": "list_sessions"})["sessions"]:
            for handle in admin({"janus": "list_handles", "session_id": session}).get("handles", []):
                told = admin({"janus": "handle_info", "session_id": session, "handle_id": handle})
                if told.get("info", {}).get("opaque_id", CONTROL) != CONTROL:
                    return True
        return False

    admin({"janus": "accept_new_sessions", "accept": False})
    end = time.monotonic() + float(environment["DRAIN_SECONDS"])
    while carries_somebody() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def main() -> None:
    """`media-node configure | probe [--accepting] | drain`. Exit status 1: it failed, and why."""
    parser = argparse.ArgumentParser(prog="media-node")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("configure")
    verbs.add_parser("probe").add_argument("--accepting", action="store_true")
    verbs.add_parser("drain")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "configure":
            configure(os.environ, own_addresses())
        elif arguments.verb == "probe":
            probe(os.environ, accepting=arguments.accepting)
        else:
            drain(os.environ, read_secret(SECRETS / "admin-secret"))
    except NodeError as error:
        sys.exit(f"media-node {arguments.verb}: {error}")
    except KeyError as error:
        sys.exit(f"media-node {arguments.verb}: the environment variable {error} is missing")


if __name__ == "__main__":
    main()
