# SPDX-License-Identifier: Apache-2.0
"""The chart is valid for Helm and for Kubernetes, its generated files are current, and wrong values are refused."""

import copy
import subprocess
from typing import Any

import helm_python
import pytest

from deploy import chart


def test_helm_has_nothing_against_the_chart() -> None:
    """Helm's linter, warnings included, is content with the defaults and with every option on."""
    assert chart.lint() == []
    assert chart.lint(chart.EVERYTHING) == []


@pytest.mark.parametrize("version", chart.KUBERNETES)
def test_kubernetes_knows_every_field(defaults: list[chart.Manifest], version: str) -> None:
    """Every object of the defaults fits the schemas of that Kubernetes; unknown fields count."""
    assert chart.validate(defaults, version) == []


def test_kubernetes_knows_every_option(everything: list[chart.Manifest]) -> None:
    """So does every object with all options on."""
    assert chart.validate(everything, chart.KUBERNETES[-1]) == []


def test_the_check_sees_what_is_wrong(defaults: list[chart.Manifest]) -> None:
    """A misspelt field, a wrong type and an unknown kind are found, so that a green check means something."""
    deployment = copy.deepcopy(next(each for each in defaults if each["kind"] == "Deployment"))
    deployment["spec"]["replica"] = 2
    service = copy.deepcopy(next(each for each in defaults if each["kind"] == "Service"))
    service["spec"]["ports"][0]["port"] = "many"
    unknown = {"apiVersion": "v1", "kind": "Deploymint", "metadata": {"name": "x"}}
    assert len(chart.validate([deployment, service, unknown], chart.KUBERNETES[-1])) == 3


def test_generated_files_are_current() -> None:
    """The caller graph, NATS' permissions and the settings' schema in the chart are those of the code."""
    assert chart.outdated() == []


def test_helm_understands_the_chart_requirements() -> None:
    """The chart asks for the oldest Kubernetes it is checked against."""
    with helm_python.Chart.load(chart.CHART) as loaded:
        assert loaded.metadata["kubeVersion"] == f">={chart.KUBERNETES[0]}.0-0"


def test_every_key_of_the_manual_is_commented_or_obvious() -> None:
    """Every top-level key of values.yaml stands under a comment or beside one."""
    lines = (chart.CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    sections = [index for index, line in enumerate(lines) if line[:1].isalpha()]
    explained = (
        "scheduling:",
        "notifications:",
        "recording:",
        "identity:",
    )  # under the comment on every part
    bare = [
        lines[index]
        for index in sections
        if "#" not in lines[index] and not lines[index - 1].startswith("#") and lines[index] not in explained
    ]
    assert bare == []


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("unknown key", {"gatway": {}}, "gatway"),
    ("unknown part key", {"gateway": {"replica": 3}}, "replica"),
    ("unknown setting", {"identity": {"config": {"argon_memory": 1}}}, "argon_memory"),
    ("setting out of range", {"identity": {"config": {"argon2_memory_kib": 1}}}, "argon2_memory_kib"),
    (
        "setting of another type",
        {"scheduling": {"config": {"participant_limit": "many"}}},
        "participant_limit",
    ),
    (
        "no duration",
        {"identity": {"config": {"access_token_lifetime": "5 minutes"}}},
        "access_token_lifetime",
    ),
    ("unknown enumeration", {"notifications": {"config": {"smtp_tls": "maybe"}}}, "smtp_tls"),
    ("log level", {"config": {"log_level": "loud"}}, "log_level"),
    ("what the chart sets", {"media": {"config": {"nodes": []}}}, "nodes"),
    ("unknown secret file", {"identity": {"secretFiles": {"smtp_password_file": "x"}}}, "smtp_password_file"),
    ("secret file's path", {"identity": {"secretFiles": {"sealing_key_file": "../x"}}}, "sealing_key_file"),
    ("plain http", {"publicUrl": "http://giaoban.example.org"}, "publicUrl"),
    ("path in the address", {"publicUrl": "https://giaoban.example.org/x"}, "publicUrl"),
    ("password in an address", {"identity": {"database": {"url": "postgresql://a:b@c/d"}}}, "database/url"),
    ("password in NATS' address", {"nats": {"external": {"url": "nats://a:b@c:4222"}}}, "external/url"),
    (
        "secret in the environment",
        {"objectStore": {"env": {"AWS_SECRET_ACCESS_KEY": "x"}}},
        "AWS_SECRET_ACCESS_KEY",
    ),
    ("local folder as store", {"objectStore": {"url": "file:///tmp"}}, "objectStore/url"),
    ("negative replicas", {"media": {"replicas": -1}}, "replicas"),
    ("fraction of a replica", {"media": {"replicas": 1.5}}, "replicas"),
    ("no machines", {"mediaNode": {"hostCidrs": []}}, "hostCidrs"),
    ("no network", {"mediaNode": {"hostCidrs": ["10.0.0.1"]}}, "hostCidrs"),
    ("privileged port", {"mediaNode": {"apiPort": 80}}, "apiPort"),
    ("short farewell", {"mediaNode": {"terminationGracePeriodSeconds": 30}}, "terminationGracePeriodSeconds"),
    ("no memory limit", {"media": {"resources": {"limits": {"memory": None}}}}, "resources/limits"),
    ("empty peer", {"networkPolicy": {"metricsFrom": [{}]}}, "metricsFrom"),
    ("long name", {"fullnameOverride": "a" * 41}, "fullnameOverride"),
    ("range upside down", {"mediaNode": {"rtpPorts": {"from": 30000, "to": 20000}}}, "mediaNode.rtpPorts"),
    ("port inside the range", {"mediaNode": {"apiPort": 20001}}, "mediaNode.apiPort"),
    (
        "relay ports among clients'",
        {"mediaNode": {"relayPorts": {"from": 24999, "to": 25100}}},
        "mediaNode.relayPorts",
    ),
    ("port among relay ports", {"mediaNode": {"adminPort": 25001}}, "mediaNode.adminPort"),
    ("NATS nowhere", {"nats": {"enabled": False}}, "nats.external.url"),
]


@pytest.mark.parametrize(("values", "named"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    """A wrong value stops the rendering with an error that names the key."""
    with pytest.raises(helm_python.HelmError) as refused:
        chart.render(values)
    assert named in str(refused.value)


def test_the_command_prints_the_objects(defaults: list[chart.Manifest]) -> None:
    """`bin/chart --print` shows what the default values make (and `make check` runs the whole of it)."""
    root = chart.CHART.parents[2]
    ended = subprocess.run([root / "bin" / "chart", "--print"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\nkind: ") == len(defaults)
