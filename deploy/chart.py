# SPDX-License-Identifier: Apache-2.0
"""Owns how the chart is rendered and checked without a cluster, and what in it is generated.

Generated, so that it cannot drift: the caller graph's edges, the permissions of NATS' users, and the part of
values.schema.json that describes the parts' own settings.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import yaml
from giaoban_dev.infra.nats import permissions
from giaoban_kit.callers import rules
from giaoban_kit.config import ServiceConfig

CHART = Path(__file__).parent / "helm" / "giaoban"
PARTS = ("gateway", "identity", "media", "notifications", "recording", "scheduling")
TOOLS = ("dev",)  # the local stack; no part of a cluster
KUBERNETES = ("1.30", "1.33", "1.37")  # the oldest that Chart.yaml allows, one between, the newest known
_SCALED = {"autoscaling": {"enabled": True}}
EVERYTHING: dict[str, Any] = {
    "fullnameOverride": "gb",
    "config": {"otlp_endpoint": "http://otel.monitoring:4317"},
    "identity": _SCALED,
    "scheduling": _SCALED,
    "media": _SCALED,
    "recording": {**_SCALED, "worker": _SCALED},
    "notifications": {
        **_SCALED,
        "config": {"smtp_user": "giaoban"},
        "secretFiles": {"smtp_password_file": "smtp"},
    },
    "gateway": {
        **_SCALED,
        "ingress": {"enabled": True, "className": "public"},
        "service": {"type": "LoadBalancer"},
        "secretFiles": {"tls_cert_file": "tls.crt", "tls_key_file": "tls.key"},
    },
    "mediaNode": {
        "namespace": "media",
        "publicIps": {"machine-1": "203.0.113.7"},
        "recordings": {"storageClass": "local"},
        "nodeSelector": {"giaoban/media": "true"},
        "tolerations": [{"key": "media", "operator": "Exists"}],
    },
    "objectStore": {"env": {"AWS_REGION": "vn-south-1"}},
    "networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
    "image": {"pullSecrets": ["login"], "registry": "registry.example.org/giaoban"},
    "priorityClassName": "meetings",
    "podAnnotations": {"example.org/team": "meetings"},
}
"""Values that turn every option on."""
EXTERNAL_NATS: dict[str, Any] = {
    "nats": {
        "enabled": False,
        "external": {"url": "nats://nats.example.org:4222", "mqttHost": "mqtt.example.org"},
    }
}

Manifest = dict[str, Any]
# It would read megabytes of definitions anew for every object.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)
_DURATION = r"^P([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?$"


def render(values: Mapping[str, Any] | None = None, *, upgrade: bool = False) -> list[Manifest]:
    """Every object the chart makes of these values. Raises: helm_python.HelmError naming the wrong value."""
    given = dict(values or {})
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(given)
        files = chart.render(
            given,
            name="giaoban",
            namespace="meetings",
            revision=2 if upgrade else 1,
            is_install=not upgrade,
            is_upgrade=upgrade,
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        document
        for path, text in sorted(files.items())
        if path.endswith(".yaml")
        for document in yaml.load_all(text, Loader=loader)
        if document
    ]


def lint(values: Mapping[str, Any] | None = None) -> list[str]:
    """What Helm's linter has against the chart; informations left out."""
    report = helm_python.lint(CHART, dict(values or {}), strict=True, namespace="meetings")
    worse = [f"{each['path']}: {each['error']}" for each in report["messages"] if each["severity"] > 1]
    return worse + [str(each) for each in report["errors"]]


def validate(manifests: Sequence[Manifest], version: str) -> list[str]:
    """What Kubernetes' own schemas have against objects; unknown fields count."""
    wrong = []
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            where = f"{manifest.get('kind')} {manifest.get('metadata', {}).get('name')}"
            path = ".".join(str(part) for part in getattr(error, "path", ()))
            wrong.append(f"{version} {where}: {path}: {error.message}")
    return wrong


def edges() -> dict[str, list[str]]:
    """The caller graph: part -> the parts that call it."""
    graph: dict[str, set[str]] = {}
    for method, rule in rules().items():
        package = method.removeprefix("/").split(".")
        if package[0] == "giaoban" and rule.callers:  # None: anybody, as for health
            graph.setdefault(package[1], set()).update(set(rule.callers) - set(TOOLS))
    return {callee: sorted(callers) for callee, callers in sorted(graph.items()) if callers}


def nats_permissions() -> dict[str, Any]:
    """What each user of NATS may publish and subscribe, as on the local stack; its tools left out."""
    return {user: allowed for user, allowed in sorted(permissions().items()) if user not in TOOLS}


@cache
def config_class(part: str) -> type[ServiceConfig]:
    """A part's configuration."""
    found: type[ServiceConfig] = importlib.import_module(f"giaoban_{part}.config").Config
    return found


def default_values() -> dict[str, Any]:
    """values.yaml."""
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return values


def schema() -> dict[str, Any]:
    """values.schema.json with the parts' settings as their classes have them now."""
    written: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = default_values()
    shared = set(values["config"])
    for part in PARTS:
        described = config_class(part).model_json_schema()
        properties = described["properties"]
        names = sorted((shared | set(values[part]["config"])) & set(properties))
        files = sorted(name for name in properties if name.endswith("_file") and name != "service_jwks_file")
        written["$defs"][f"{part}Config"] = _closed(
            {name: _setting(properties[name], described.get("$defs", {})) for name in names}
        )
        written["$defs"][f"{part}SecretFiles"] = _closed(
            {name: {"$ref": "#/$defs/secretKey"} for name in files}
        )
    common = ServiceConfig.model_json_schema()["properties"]
    written["$defs"]["config"] = _closed({name: _setting(common[name], {}) for name in sorted(shared)})
    return written


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _setting(described: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A setting's JSON schema for a values file: null leaves the default, durations are ISO 8601."""
    kept = {key: value for key, value in described.items() if key not in ("default", "title", "description")}
    if "$ref" in kept:
        kept = dict(definitions[kept["$ref"].rpartition("/")[2]])
        return {key: value for key, value in kept.items() if key not in ("title", "description")}
    if "anyOf" in kept:
        kept = next(dict(each) for each in kept["anyOf"] if each.get("type") != "null")
    if kept.get("format") == "duration":
        kept = {"type": "string", "pattern": _DURATION}
    kept.pop("format", None)
    if "items" in kept:
        kept["items"] = _nested(kept["items"], definitions)
    if "type" in kept:
        kept["type"] = [kept["type"], "null"]
    if "enum" in kept:
        kept["enum"] = [*kept["enum"], None]
    return kept


def _nested(described: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in described:
        return dict(described)
    found = definitions[described["$ref"].rpartition("/")[2]]
    properties = {
        name: {key: value for key, value in each.items() if key not in ("default", "title")}
        for name, each in found["properties"].items()
    }
    return {**_closed(properties), "required": found.get("required", [])}


def generated() -> dict[Path, str]:
    """The generated files, as they must be."""
    contents = {
        "files/callers.json": edges(),
        "files/nats-permissions.json": nats_permissions(),
        "values.schema.json": schema(),
    }
    return {CHART / path: json.dumps(content, indent=2) + "\n" for path, content in contents.items()}


def outdated() -> list[str]:
    """The generated files that are not as they must be."""
    return [
        f"{path.relative_to(CHART.parent)} is out of date; run bin/chart --update"
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def check() -> list[str]:
    """Everything that is wrong with the chart."""
    wrong = outdated() + lint()
    oldest, newest = KUBERNETES[0], KUBERNETES[-1]
    for values, upgrade, versions in (
        ({}, False, KUBERNETES),
        (EVERYTHING, True, (oldest, newest)),
        (EXTERNAL_NATS, False, (newest,)),
    ):
        manifests = render(values, upgrade=upgrade)
        for version in versions:
            wrong += validate(manifests, version)
    return wrong


def main() -> None:
    """`bin/chart [--update | --print]`."""
    parser = argparse.ArgumentParser(
        prog="bin/chart", description="Lint, render and validate the Helm chart."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--update", action="store_true", help="write the generated files")
    what.add_argument("--print", action="store_true", help="print the objects of the default values")
    arguments = parser.parse_args()
    if arguments.update:
        for path, text in generated().items():
            path.write_text(text, encoding="utf-8")
        return
    if arguments.print:
        sys.stdout.write(yaml.safe_dump_all(render(), sort_keys=False, allow_unicode=True))
        return
    started = time.monotonic()
    try:
        wrong = check()
    except helm_python.HelmError as error:
        wrong = [str(error)]
    if wrong:
        sys.exit("\n".join(wrong))
    sys.stdout.write(
        f"chart: linted, rendered, valid for Kubernetes {', '.join(KUBERNETES)} in {time.monotonic() - started:.1f} s\n"
    )


if __name__ == "__main__":
    main()
