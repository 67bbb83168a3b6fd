# SPDX-License-Identifier: Apache-2.0
"""What the chart configures is what was tried: Janus' files are the local stack's, NATS' own server reads its file."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.janus import JanusNode, JanusPorts, MqttEvents, render
from giaoban_dev.infra.nats import binary

from deploy import chart

TOOL = chart.CHART.parents[1] / "images" / "media-node" / "media_node.py"
HOST = "10.0.0.1"
SECRET = 'quote " and \\ back'
ENVIRONMENT = {
    "NODE_ID": "node-0",
    "HOST_IP": HOST,
    "MACHINE": "machine-1",
    "PUBLIC_IPS": '{"machine-1": "203.0.113.7"}',
    "MQTT_HOST": "giaoban-nats",
    "MQTT_PORT": "1883",
}
# Where a cluster differs from one machine, and why.
DIFFERENT = {
    "ws_ip": "media is on other machines",
    "ws_port": "one node per machine",
    "admin_ws_port": "one node per machine",
    "rtp_port_range": "one node per machine",
    "url": "the broker is on another machine",
    "api_secret": "the local stack makes its own",
    "admin_secret": "the local stack makes its own",
    "admin_key": "the local stack makes its own",
    "password": "the local stack makes its own",
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The program of the media node's image."""
    spec = importlib.util.spec_from_file_location("media_node", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def directories(tmp_path: Path, defaults: list[chart.Manifest], tool: ModuleType) -> dict[str, Path]:
    """The pod's volumes: the chart's templates, secrets, and the place for the configuration."""
    found = {
        "templates": tmp_path / "templates",
        "target": tmp_path / "target",
        "secret_directory": tmp_path / "secrets",
    }
    for each in found.values():
        each.mkdir()
    files = config_map(defaults, "giaoban-media-node")
    for name, text in files.items():
        (found["templates"] / name).write_text(text, encoding="utf-8")
    for name in tool.SECRET_NAMES:
        (found["secret_directory"] / name).write_text(f"{name} {SECRET}\n", encoding="utf-8")
    return found


def config_map(manifests: list[chart.Manifest], name: str) -> dict[str, str]:
    data: dict[str, str] = next(
        each["data"] for each in manifests if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name
    )
    return data


def settings(text: str) -> dict[tuple[str, str], str]:
    """A libconfig file as (section, key) -> value, as far as ours go."""
    found, section = {}, ""
    for line in text.splitlines():
        if opened := re.fullmatch(r"(\w+): \{", line):
            section = opened[1]
        elif setting := re.fullmatch(r"\s+(\w+) = (.+)", line):
            found[section, setting[1]] = setting[2]
        else:
            assert line in ("}", ""), line
    return found


def test_janus_is_configured_as_on_the_local_stack(
    tool: ModuleType, directories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every setting of every file is the one that the tests of the media path run with, but for the named ones."""
    addresses = [HOST, "10.0.0.10", "192.168.1.1"]
    monkeypatch.setattr("giaoban_dev.infra.janus.own_addresses", lambda: addresses)
    local = JanusNode(
        "node-0",
        tmp_path / "node",
        ports=JanusPorts(api=8188, admin=7188, rtp=(20000, 24999)),
        media_ip=HOST,
        public_ip="203.0.113.7",
        credentials=Credentials(tmp_path / "credentials"),
        events=MqttEvents(port=1883, username="janus", password="secret"),
        event_loops=2,
    )
    tool.configure(ENVIRONMENT, addresses, **directories)
    files = local._configuration()
    assert set(files) == {each.name for each in directories["target"].iterdir()}
    for name, sections in files.items():
        tried = settings(render(sections))
        ours = settings((directories["target"] / name).read_text(encoding="utf-8"))
        assert set(ours) == set(tried), name
        assert {key for key in ours if ours[key] != tried[key]} <= {
            key for key in ours if key[1] in DIFFERENT
        }, name
    assert 'ice_ignore_list = "10.0.0.10"' in (directories["target"] / "janus.jcfg").read_text(
        encoding="utf-8"
    )


def test_secrets_are_quoted_and_for_nobody_else(tool: ModuleType, directories: dict[str, Path]) -> None:
    """A secret with quotes stays one value, and only the process may read the files; a second start works."""
    for _ in range(2):
        tool.configure(ENVIRONMENT, [HOST], **directories)
    for file in directories["target"].iterdir():
        assert file.stat().st_mode & 0o777 == 0o400
        assert "@" not in file.read_text(encoding="utf-8")
    text = (directories["target"] / "janus.jcfg").read_text(encoding="utf-8")
    assert 'api_secret = "api-secret quote \\" and \\\\ back"' in text


@pytest.mark.parametrize(
    ("change", "addresses", "named"),
    [
        ({"HOST_IP": "10.0.0.2"}, [HOST], "hostNetwork"),
        ({"HOST_IP": "127.0.0.1"}, ["127.0.0.1"], "HOST_IP"),
        ({"HOST_IP": "fd00::1"}, ["fd00::1"], "IPv4"),
    ],
)
def test_a_wrong_address_stops_the_node(
    tool: ModuleType,
    directories: dict[str, Path],
    change: Mapping[str, str],
    addresses: list[str],
    named: str,
) -> None:
    """An address the machine does not have, or media cannot use, is refused by name."""
    with pytest.raises(tool.NodeError, match=named):
        tool.configure({**ENVIRONMENT, **change}, addresses, **directories)


@pytest.mark.parametrize("content", [None, "short", "a line\nand another, long enough"])
def test_a_bad_secret_stops_the_node(
    tool: ModuleType, directories: dict[str, Path], content: str | None
) -> None:
    """A secret that is missing, too short or of two lines is refused without being told."""
    file = directories["secret_directory"] / "api-secret"
    file.unlink()
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(tool.NodeError, match=r"api-secret|API_SECRET") as refused:
        tool.configure(ENVIRONMENT, [HOST], **directories)
    assert content is None or content not in str(refused.value)


def test_the_tool_knows_this_machines_addresses(tool: ModuleType) -> None:
    """Addresses come from the kernel; loopback is one of them."""
    assert "127.0.0.1" in tool.own_addresses()


async def test_a_real_node_is_probed_and_drained(tool: ModuleType, janus_nodes: dict[str, JanusNode]) -> None:
    """Against a real Janus: it answers, drains, then takes no sessions; a dead one is told from a living one."""
    node = janus_nodes["b"]
    environment = {
        "HOST_IP": "127.0.0.1",
        "API_PORT": str(node.ports.api),
        "ADMIN_PORT": str(node.ports.admin),
        "DRAIN_SECONDS": "5",
    }
    tool.probe(environment, accepting=True)
    with pytest.raises(tool.NodeError):
        tool.drain(environment, "a wrong secret, long enough")
    tool.drain(environment, node.admin_secret)
    tool.probe(environment, accepting=False)
    with pytest.raises(tool.NodeError, match="draining"):
        tool.probe(environment, accepting=True)
    await node.stop()
    with pytest.raises(tool.NodeError, match="no answer"):
        tool.probe(environment, accepting=False)
    await node.start()
    tool.probe(environment, accepting=True)


def test_nats_reads_its_configuration(tmp_path: Path, defaults: list[chart.Manifest]) -> None:
    """The real server accepts the rendered file with the Secret's passwords beside it, hashed ones too."""
    users = ("GATEWAY", "IDENTITY", "JANUS", "MEDIA", "NOTIFICATIONS", "RECORDING", "SCHEDULING")
    hashed = "$2a$11$OZAsQGTkcWEOmkgLMbaCMe8DfpUAgDxVLAzVsdHlPk4GmPzYkpkWa"
    passwords = "\n".join(f'{user}_PASSWORD: "{hashed}"' for user in users)
    assert nats_check(tmp_path, config_map(defaults, "giaoban-nats")["nats.conf"], passwords) == ""


def test_nats_misses_a_password(tmp_path: Path, defaults: list[chart.Manifest]) -> None:
    """A password that the Secret does not have is named by the server."""
    wrong = nats_check(tmp_path, config_map(defaults, "giaoban-nats")["nats.conf"], 'GATEWAY_PASSWORD: "x"')
    assert "IDENTITY_PASSWORD" in wrong


def nats_check(directory: Path, config: str, passwords: str) -> str:
    """What nats-server has against the files; nothing is started."""
    (directory / "nats.conf").write_text(config, encoding="utf-8")
    (directory / "passwords.conf").write_text(passwords, encoding="utf-8")
    ended: Any = subprocess.run(
        [binary(), "-t", "--config", directory / "nats.conf"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr
