# SPDX-License-Identifier: Apache-2.0
"""Ports, addresses, secrets and rendered configuration."""

import json
import stat
from pathlib import Path

import pytest
from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.janus import JanusNode, JanusPorts, render
from giaoban_dev.infra.nats import BUCKETS, SERVICES, STREAMS, permissions
from giaoban_dev.stack import settings
from giaoban_dev.stack.keys import service_jwks_file, tls_files
from giaoban_dev.stack.settings import Addresses, Ports


def test_every_default_port_is_different() -> None:
    """The table of ports is consistent, and the media ranges of the nodes do not overlap."""
    ports = Ports.from_environment({})
    assert ports.gateway == 8080
    assert ports.janus_a_rtp + Ports.RTP_RANGE <= ports.janus_b_rtp


@pytest.mark.parametrize("text", ["", "80", "65536", "8080x", "-1", "٨٠٨٠"])
def test_a_wrong_port_names_its_variable(text: str) -> None:
    """A port outside 1024 to 65535 is refused with the variable's name."""
    with pytest.raises(InfraError, match="GIAOBAN_DEV_GATEWAY_PORT"):
        Ports.from_environment({"GIAOBAN_DEV_GATEWAY_PORT": text})


def test_a_doubled_port_names_both_variables() -> None:
    """Two parts on one port are told apart before anything starts."""
    with pytest.raises(InfraError, match="GIAOBAN_DEV_SMTP_PORT and GIAOBAN_DEV_GATEWAY_PORT"):
        Ports.from_environment({"GIAOBAN_DEV_SMTP_PORT": "8080"})


def test_the_media_address_must_be_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """MEDIA_IP is an IPv4 address of this machine, never loopback; without it the first one is taken."""
    monkeypatch.setattr(settings, "own_addresses", lambda: ["10.1.2.3", "10.1.2.4"])
    assert Addresses.from_environment({}) == Addresses("10.1.2.3", shared=False)
    assert Addresses.from_environment({"MEDIA_IP": "10.1.2.4"}) == Addresses("10.1.2.4", shared=True)
    for wrong in ("127.0.0.1", "10.9.9.9", "host", ""):
        with pytest.raises(InfraError, match="MEDIA_IP"):
            Addresses.from_environment({"MEDIA_IP": wrong})
    monkeypatch.setattr(settings, "own_addresses", list)
    with pytest.raises(InfraError, match="no IPv4 address but loopback"):
        Addresses.from_environment({})


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    """A secret is random, stays the same, and only its owner can read it."""
    credentials = Credentials(tmp_path / "secrets")
    assert credentials.get("a") == credentials.get("a") != credentials.get("b")
    assert stat.S_IMODE(credentials.path("a").stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.directory.stat().st_mode) == 0o700
    for wrong in ("", "../x", "A", "a/b"):
        with pytest.raises(ValueError, match="lower-case"):
            credentials.get(wrong)


def test_service_keys_stay_and_name_every_service(tmp_path: Path) -> None:
    """The public keys are those of the private ones, the same after a restart."""
    credentials = Credentials(tmp_path)
    first = json.loads(service_jwks_file(credentials, ["media", "gateway"]).read_text())
    second = json.loads(service_jwks_file(credentials, ["media", "gateway"]).read_text())
    assert first == second
    assert set(first) == {"media", "gateway"}
    assert first["media"]["x"] != first["gateway"]["x"]


def test_the_certificate_follows_the_address(tmp_path: Path) -> None:
    """A certificate is kept for its address and made again for another."""
    credentials = Credentials(tmp_path)
    certificate, key = tls_files(credentials, "10.0.0.1")
    before = certificate.read_bytes()
    assert tls_files(credentials, "10.0.0.1")[0].read_bytes() == before
    assert tls_files(credentials, "10.0.0.2")[0].read_bytes() != before
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_configuration_values_are_quoted() -> None:
    """Quotes and backslashes cannot break out of a value; control characters are refused."""
    assert render({"general": {"a": 'x"\\y', "b": True, "c": 3, "d": ["p", "q"]}}) == (
        'general: {\n  a = "x\\"\\\\y"\n  b = true\n  c = 3\n  d = ["p", "q"]\n}\n'
    )
    with pytest.raises(ValueError, match="control character"):
        render({"general": {"a": "x\ny"}})


def test_a_node_is_started_with_what_is_tried_out(tmp_path: Path) -> None:
    """`tried.json` replaces settings of janus.jcfg and nothing else; one that cannot be read stops the node by name."""
    node = JanusNode(
        "a",
        tmp_path,
        ports=JanusPorts(api=8188, admin=7188, rtp=(20000, 24999)),
        media_ip="192.0.2.1",
        credentials=Credentials(tmp_path / "credentials"),
        events=None,
        event_loops=2,
    )
    file = tmp_path / "etc" / "janus.jcfg"
    node._write_configuration()
    ours = file.read_text(encoding="utf-8")
    (tmp_path / "tried.json").write_text('{"general": {"event_loops": 0}, "nat": {"ice_tcp": false}}')
    node._write_configuration()
    assert file.read_text(encoding="utf-8") == ours.replace("event_loops = 2", "event_loops = 0").replace(
        "ice_tcp = true", "ice_tcp = false"
    )
    (tmp_path / "tried.json").write_text("{")
    with pytest.raises(InfraError, match=r"tried\.json"):
        node._write_configuration()


def test_no_service_may_publish_under_anothers_name() -> None:
    """The permissions give each subject, stream and bucket one writer."""
    allowed = permissions()
    for name in SERVICES:
        others = [other for other in SERVICES if other != name]
        published = allowed[name]["publish"]
        assert f"giaoban.{name}.>" in published
        assert ">" not in published
        for other in others:
            assert not [subject for subject in published if subject.startswith(f"giaoban.{other}")]
            assert not [
                subject
                for subject in published
                if subject.startswith(tuple(f"$KV.{b}." for b in BUCKETS.get(other, ())))
            ]
            for stream in STREAMS[other]:
                assert f"$JS.API.STREAM.*.{stream}" not in published
            assert f"_INBOX_{other}.>" not in allowed[name]["subscribe"]
