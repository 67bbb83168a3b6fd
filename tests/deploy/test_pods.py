# SPDX-License-Identifier: Apache-2.0
"""What every pod of the chart promises: probes, limits, no privilege, no secret in sight; and the one exception."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deploy import chart

README = (chart.CHART / "README.md").read_text(encoding="utf-8")
WORKLOADS = ("Deployment", "StatefulSet")
PODS = (*WORKLOADS, "Job", "Pod")


def pods(manifests: list[chart.Manifest], *kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and PodSpec of every object with pods."""
    for each in manifests:
        if each["kind"] in (kinds or PODS):
            spec = each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
            yield f"{each['kind']}/{each['metadata']['name']}", spec


def containers(manifests: list[chart.Manifest], *kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and description of every container, those that run first included."""
    for name, spec in pods(manifests, *kinds):
        for each in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{name}/{each['name']}", each


def test_every_part_is_there(defaults: list[chart.Manifest]) -> None:
    """Six parts, the composing worker, the media nodes and NATS run; every part migrates and is checked."""
    names = {name for name, _ in pods(defaults)}
    parts = {*chart.PARTS, "recording-worker"}
    assert {name for name in names if name.startswith("Deployment/")} == {
        f"Deployment/giaoban-{part}" for part in parts
    }
    assert {"StatefulSet/giaoban-media-node", "StatefulSet/giaoban-nats"} < names
    assert {f"Job/giaoban-{part}-migrate-1" for part in chart.PARTS} < names
    assert {f"Pod/giaoban-{part}-check-config" for part in chart.PARTS} < names


def test_two_media_nodes_by_default(defaults: list[chart.Manifest]) -> None:
    """There are two nodes, so that placement and failover are real."""
    node = next(
        each
        for each in defaults
        if each["metadata"]["name"] == "giaoban-media-node" and each["kind"] == "StatefulSet"
    )
    assert node["spec"]["replicas"] == 2


def test_every_container_is_restricted(manifests: list[chart.Manifest]) -> None:
    """Non-root, no privilege, no capability, a root file system nobody writes to, the runtime's seccomp profile."""
    seen = 0
    for name, spec in pods(manifests):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] >= 10000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert not {"hostPID", "hostIPC"} & set(spec), name
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"projected", "emptyDir", "configMap"}, name
    for name, container in containers(manifests):
        seen += 1
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
    assert seen == 23


def test_only_media_nodes_are_on_the_hosts_network(manifests: list[chart.Manifest]) -> None:
    """The media node is the one exception to "restricted", in exactly the fields the README names."""
    found = set()
    for name, spec in pods(manifests):
        if spec.get("hostNetwork"):
            found.add((name.rpartition("-")[2], "hostNetwork"))
    for name, container in containers(manifests):
        for port in container.get("ports", []):
            if "hostPort" in port:
                found.add(
                    (
                        name.partition("/")[2].partition("/")[0].removeprefix("giaoban-").removeprefix("gb-"),
                        f"hostPort {port['name']}",
                    )
                )
    table = README.partition("<!-- exceptions -->")[2].partition("<!-- end -->")[0]
    documented = set(re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE))
    assert found == {
        ("node", "hostNetwork"),
        ("media-node", "hostPort api"),
        ("media-node", "hostPort metrics"),
    }
    assert documented == {field for _, field in found}


def test_media_nodes_have_time_and_ports(defaults: list[chart.Manifest]) -> None:
    """A media node knows its host's address, drains before it ends, and names its UDP range."""
    spec = next(spec for name, spec in pods(defaults, "StatefulSet") if name.endswith("media-node"))
    janus = spec["containers"][0]
    assert spec["terminationGracePeriodSeconds"] >= 3600
    assert janus["lifecycle"]["preStop"]["exec"]["command"] == ["media-node", "drain"]
    environment = {each["name"]: each for each in janus["env"]}
    assert environment["HOST_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"
    assert int(environment["DRAIN_SECONDS"]["value"]) < spec["terminationGracePeriodSeconds"]
    config = next(
        each
        for each in defaults
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "giaoban-media-node"
    )
    assert 'rtp_port_range = "20000-24999"' in config["data"]["janus.jcfg"]
    # Ended after Janus, so that the last file is shipped.
    shipper = next(each for each in spec["initContainers"] if each["name"] == "shipper")
    assert shipper["restartPolicy"] == "Always"
    anti = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [each["topologyKey"] for each in anti] == ["kubernetes.io/hostname"]


def test_every_server_is_probed(manifests: list[chart.Manifest]) -> None:
    """Start, life and readiness of every container that stays are asked; parts at their metrics port."""
    seen = 0
    for name, container in containers(manifests, *WORKLOADS):
        if container["name"] == "configure":
            continue
        seen += 1
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert probe in container, (name, probe)
        if container["command" if "command" in container else "args"][0] == "python":
            paths = [
                container[probe]["httpGet"]["path"]
                for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            ]
            assert paths == ["/healthz", "/healthz", "/readyz"], name
            assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {
                "metrics"
            }
            assert "metrics" in {port["name"] for port in container["ports"]}, name
    assert seen == 10


def test_every_container_has_requests_and_a_memory_limit(manifests: list[chart.Manifest]) -> None:
    """CPU and memory are asked for and memory is bounded; temporary space too."""
    for name, container in containers(manifests):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
        assert "memory" in container["resources"]["limits"], name
    for name, spec in pods(manifests):
        for volume in spec["volumes"]:
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"], name


def test_every_workload_has_a_budget_and_is_spread(manifests: list[chart.Manifest]) -> None:
    """A machine's maintenance takes one pod of each at a time, and replicas stand on different machines."""
    budgets = [each["spec"] for each in manifests if each["kind"] == "PodDisruptionBudget"]
    workloads = [each for each in manifests if each["kind"] in WORKLOADS]
    assert len(budgets) == len(workloads)
    for each in workloads:
        labels = each["spec"]["selector"]["matchLabels"]
        assert labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        assert [budget for budget in budgets if budget["selector"]["matchLabels"] == labels] == [
            {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
        ]
        keys = {rule["topologyKey"] for rule in each["spec"]["template"]["spec"]["topologySpreadConstraints"]}
        assert "kubernetes.io/hostname" in keys


def test_no_selector_takes_anothers_pods(manifests: list[chart.Manifest]) -> None:
    """A Service finds the pods of exactly one workload, and no job's."""
    for service in (each for each in manifests if each["kind"] == "Service"):
        found = [
            f"{each['kind']}/{each['metadata']['name']}"
            for each in manifests
            if each["kind"] in (*WORKLOADS, "Job")
            and service["spec"]["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(found) == 1, (service["metadata"]["name"], found)
        assert not found[0].startswith("Job/")


def test_autoscaling_takes_over_the_replicas(everything: list[chart.Manifest]) -> None:
    """With autoscaling on, a Deployment leaves its size to its autoscaler."""
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]
        for each in everything
        if each["kind"] == "HorizontalPodAutoscaler"
    }
    deployments = {
        each["metadata"]["name"]: each["spec"] for each in everything if each["kind"] == "Deployment"
    }
    assert scaled == set(deployments)
    assert not [name for name, spec in deployments.items() if "replicas" in spec]


def test_grpc_is_balanced_by_the_caller(defaults: list[chart.Manifest]) -> None:
    """Parts that serve gRPC have headless Services, and are called through DNS that names every pod."""
    services = {each["metadata"]["name"]: each["spec"] for each in defaults if each["kind"] == "Service"}
    for part in set(chart.PARTS) - {"gateway"}:
        assert services[f"giaoban-{part}"]["clusterIP"] == "None"
    for _, container in containers(defaults, "Deployment"):
        for each in container["env"]:
            if each["name"].endswith("_TARGET"):
                name = re.fullmatch(r"dns:///(giaoban-[a-z]+):9000", each["value"])
                assert name, each
                assert name[1] in services


@pytest.mark.parametrize(
    ("nats", "upgrade", "hook"),
    [(True, False, False), (True, True, True), (False, False, True), (False, True, True)],
)
def test_migrations_run_before_the_pods(*, nats: bool, upgrade: bool, hook: bool) -> None:
    """Migrations are Helm hooks before install and upgrade; only beside a NATS that must start first they are not."""
    jobs = [
        each
        for each in chart.render({} if nats else chart.EXTERNAL_NATS, upgrade=upgrade)
        if each["kind"] == "Job"
    ]
    assert len(jobs) == len(chart.PARTS)
    for job in jobs:
        annotations = job["metadata"].get("annotations", {})
        assert (annotations.get("helm.sh/hook") == "pre-install,pre-upgrade") is hook
        # What a hook needs must exist before the release's own objects.
        assert "serviceAccountName" not in job["spec"]["template"]["spec"]
        assert job["metadata"]["name"].endswith("-2" if upgrade else "-1")


def test_secrets_are_files_from_secrets_that_exist(manifests: list[chart.Manifest]) -> None:
    """The chart makes no Secret; no variable takes one, but for the object store's library, as the README says."""
    assert "Secret" not in {each["kind"] for each in manifests}
    for name, container in containers(manifests):
        for each in container.get("env", []):
            assert "secretKeyRef" not in each.get("valueFrom", {}), name
            if re.search(r"PASSWORD|SECRET|_KEY(_FILE)?$", each["name"]):
                assert each["name"].endswith("_FILE"), (name, each)
                assert each["value"].startswith("/secrets/"), (name, each)
        if "envFrom" in container:
            assert container["envFrom"] == [{"secretRef": {"name": "giaoban-object-store"}}], name
            assert container["name"] in ("recording", "shipper"), name
    assert "objectStore.existingSecret" in README


def test_every_secret_file_is_mounted(manifests: list[chart.Manifest]) -> None:
    """A `*_FILE` variable names a file that the pod's Secrets bring; and the README names every key."""
    for name, spec in pods(manifests):
        files = set()
        for volume in spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                for item in source.get("secret", {}).get("items", []):
                    files.add(f"/secrets/{item['path']}")
                    assert f"`{item['key']}`" in README or item["key"] == "smtp", (name, item)
        for container in spec["containers"]:
            named = {
                each["value"]
                for each in container.get("env", [])
                if each["name"].startswith("GIAOBAN_") and each["name"].endswith("_FILE")
            }
            named |= set(
                re.findall(
                    r'"(/secrets/[^"]+)"',
                    " ".join(each.get("value", "") for each in container.get("env", [])),
                )
            )
            assert named <= files, name


def test_a_worker_has_no_keys(defaults: list[chart.Manifest]) -> None:
    """What opens hostile recordings holds neither the part's key nor NATS' password."""
    spec = next(spec for name, spec in pods(defaults, "Deployment") if name.endswith("recording-worker"))
    mounted = yaml.safe_dump(spec["volumes"])
    assert "database-password" in mounted
    assert "service-key" not in mounted
    assert "nats-password" not in mounted


def test_a_media_namespace_takes_all_of_the_node(everything: list[chart.Manifest]) -> None:
    """With a namespace of its own, everything of the media node is there, and media finds it there."""
    there = {each["kind"] for each in everything if each["metadata"].get("namespace") == "media"}
    assert there == {"ConfigMap", "Service", "ServiceAccount", "PodDisruptionBudget", "StatefulSet"}
    _, media = next(each for each in containers(everything, "Deployment") if each[1]["name"] == "media")
    nodes = next(each["value"] for each in media["env"] if each["name"] == "GIAOBAN_NODES")
    assert "ws://gb-media-node-0.gb-media-node.media.svc:8188" in nodes
