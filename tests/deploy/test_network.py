# SPDX-License-Identifier: Apache-2.0
"""Network policies: everything is denied but the caller graph's edges and the servers each part has."""

from typing import Any

import pytest
from giaoban_kit.callers import rules

from deploy import chart

LABEL = "app.kubernetes.io/component"
GRPC, NATS, DATABASE, STORE, SMTP, OTLP, JANUS = 9000, 4222, 5432, 443, 587, 4317, 8188
SERVERS = {
    "identity": {DATABASE},
    "scheduling": {DATABASE, NATS},
    "media": {NATS, JANUS},
    "recording": {DATABASE, NATS, STORE},
    "notifications": {DATABASE, NATS, SMTP},
    "gateway": {NATS},
    "recording-worker": {DATABASE, STORE},
}


def graph() -> set[tuple[str, str]]:
    """Caller and callee of every RPC that parts may call, read from the caller graph itself."""
    return {
        (caller, method.split(".")[1])
        for method, rule in rules().items()
        if method.startswith("/giaoban.")
        for caller in rule.callers or ()
        if caller in chart.PARTS
    }


def policies(manifests: list[chart.Manifest]) -> dict[str, dict[str, Any]]:
    """The policies by component; the one for all under "all"."""
    return {
        each["spec"]["podSelector"]["matchLabels"].get(LABEL, "all"): each["spec"]
        for each in manifests
        if each["kind"] == "NetworkPolicy"
    }


def components(peers: list[dict[str, Any]]) -> set[str]:
    return {
        peer["podSelector"]["matchLabels"][LABEL]
        for peer in peers
        if LABEL in peer.get("podSelector", {}).get("matchLabels", {})
    }


def test_everything_is_denied_first(manifests: list[chart.Manifest]) -> None:
    """One policy selects every pod of the release and allows nothing in or out."""
    deny = policies(manifests)["all"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)
    for each in manifests:
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            assert (
                deny["podSelector"]["matchLabels"].items()
                <= each["spec"]["template"]["metadata"]["labels"].items()
            )


def test_every_component_has_a_policy(manifests: list[chart.Manifest]) -> None:
    """Every workload in the pod network has its own policy, in both directions."""
    found = policies(manifests)
    assert set(found) == {"all", "nats", *SERVERS}
    assert all(each["policyTypes"] == ["Ingress", "Egress"] for each in found.values())


def test_calls_are_the_caller_graph(manifests: list[chart.Manifest]) -> None:
    """Who may call whom is exactly what the interceptors allow, at both ends."""
    into, out = set(), set()
    for component, spec in policies(manifests).items():
        for rule in spec.get("ingress", []):
            if rule["ports"] == [{"port": "grpc"}]:
                into |= {(caller, component) for caller in components(rule["from"])}
        for rule in spec.get("egress", []):
            if rule["ports"] == [{"port": GRPC}]:
                out |= {(component, callee) for callee in components(rule["to"])}
    assert into == graph()
    assert out == graph()


def test_servers_are_what_each_part_needs(defaults: list[chart.Manifest]) -> None:
    """Beside calls and DNS a part reaches its own servers only; nothing goes to everywhere."""
    for component, expected in SERVERS.items():
        spec = policies(defaults)[component]
        ports = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
        assert ports - {53, GRPC} == expected, component
        assert all(rule.get("to") for rule in spec["egress"]), component


def test_telemetry_opens_a_way_out_only_when_it_is_on(everything: list[chart.Manifest]) -> None:
    """With an OTLP endpoint, every part may reach it."""
    for component in SERVERS:
        ports = {port["port"] for rule in policies(everything)[component]["egress"] for port in rule["ports"]}
        assert OTLP in ports


def test_only_the_gateway_is_open(defaults: list[chart.Manifest]) -> None:
    """No way in without a named source, but the gateway's HTTP port; nobody scrapes by default."""
    open_to_all = [
        (component, port["port"])
        for component, spec in policies(defaults).items()
        for rule in spec.get("ingress", [])
        if not rule.get("from")
        for port in rule["ports"]
    ]
    assert open_to_all == [("gateway", "http")]
    scraped = [
        rule
        for spec in policies(defaults).values()
        for rule in spec.get("ingress", [])
        if rule["ports"] == [{"port": "metrics"}]
    ]
    assert scraped == []


def test_metrics_open_to_the_named_only(everything: list[chart.Manifest]) -> None:
    """With `metricsFrom`, the named peers reach every part's metrics, and nothing else of it."""
    peers = chart.EVERYTHING["networkPolicy"]["metricsFrom"]
    for component in SERVERS:
        rules_ = [rule for rule in policies(everything)[component]["ingress"] if rule.get("from") == peers]
        assert [rule["ports"] for rule in rules_] == [[{"port": "metrics"}]], component


def test_nats_is_reached_by_its_users_only(defaults: list[chart.Manifest]) -> None:
    """Clients are the parts that use NATS; MQTT is for the machines of the media nodes; NATS goes nowhere."""
    spec = policies(defaults)["nats"]
    client, mqtt = spec["ingress"]
    assert client["ports"] == [{"port": "client"}]
    assert components(client["from"]) == {part for part, ports in SERVERS.items() if NATS in ports}
    assert mqtt["ports"] == [{"port": "mqtt"}]
    assert [each["ipBlock"]["cidr"] for each in mqtt["from"]] == chart.default_values()["mediaNode"][
        "hostCidrs"
    ]
    assert spec["egress"] == []


def test_targets_are_the_caller_graph(defaults: list[chart.Manifest]) -> None:
    """A part is told the addresses of the parts it may call, and of no other."""
    told = set()
    for each in defaults:
        if each["kind"] == "Deployment":
            container = each["spec"]["template"]["spec"]["containers"][0]
            told |= {
                (container["name"], variable["name"].removeprefix("GIAOBAN_").removesuffix("_TARGET").lower())
                for variable in container["env"]
                if variable["name"].endswith("_TARGET")
            }
    assert told == graph()


@pytest.mark.parametrize("values", [{"networkPolicy": {"enabled": False}}])
def test_policies_can_be_left_out(values: dict[str, Any]) -> None:
    """A network without policies gets none."""
    assert not [each for each in chart.render(values) if each["kind"] == "NetworkPolicy"]
