# SPDX-License-Identifier: Apache-2.0
"""Telemetry as data: what telemetry/ declares is what the code emits, and alerts and dashboards use nothing else."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from tools.events_page import signals
from tools.house import PARTS, ROOT, called, literal, modules, nodes

TELEMETRY = ROOT / "telemetry"
METRICS: dict[str, dict[str, Any]] = yaml.safe_load((TELEMETRY / "metrics.yaml").read_text())
INSTRUMENTS = METRICS["instruments"]
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
EXTRA_LABELS = {"le", "job", "instance"}  # of histograms, and of every scraped target
FUNCTIONS = {
    *("sum", "min", "max", "by", "rate", "increase", "histogram_quantile", "avg", "count"),
    *("and", "or", "unless", "on", "ignoring", "vector", "time", "absent"),
}


def registered() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Type, labels and module of every instrument of ours, by exported name."""
    for part in ("kit", *PARTS):
        modules(part)
    found = {}
    for collector in set(REGISTRY._collector_to_names):
        name = getattr(collector, "_name", "")
        if name.startswith("giaoban_"):
            kind = collector._type  # type: ignore[attr-defined]
            exported = f"{name}_total" if kind == "counter" else name
            found[exported] = (kind, tuple(collector._labelnames), name)  # type: ignore[attr-defined]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression with the place where it stands."""
    for group in yaml.safe_load((TELEMETRY / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for path in sorted((TELEMETRY / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def exported() -> dict[str, set[str]]:
    """Labels of every series that may be asked for."""
    series = {
        f"{name}{suffix}": {*declared["labels"], *EXTRA_LABELS}
        for name, declared in INSTRUMENTS.items()
        for suffix in SUFFIXES[declared["type"]]
    }
    return series | {name: set(declared["labels"]) for name, declared in METRICS["external"].items()}


def test_every_instrument_is_declared_and_every_declaration_is_real() -> None:
    """Names, types and labels agree, both ways."""
    real = {name: (kind, list(labels)) for name, (kind, labels, _) in registered().items()}
    assert real == {name: (each["type"], each["labels"]) for name, each in INSTRUMENTS.items()}


def test_an_instrument_is_declared_for_the_parts_that_have_it() -> None:
    """A part's own instruments carry its name; the kit's are those that several parts export."""
    for name, declared in INSTRUMENTS.items():
        own = [part for part in PARTS if name.startswith(f"giaoban_{part}_")]
        if own:
            assert declared["parts"] == own, name
        else:
            assert set(declared["parts"]) == users(name), name


def users(name: str) -> set[str]:
    """The parts whose sources start what a kit's instrument counts."""
    starts = {"giaoban_rpc_": "grpc_server", "giaoban_outbox_": "relaying", "giaoban_events_": "consuming"}
    start = next(function for prefix, function in starts.items() if name.startswith(prefix))
    return {part for part in PARTS if any(called(node) == start for node in nodes(part))}


def test_every_instrument_is_used() -> None:
    """Nothing is registered that no code ever changes."""
    for part in ("kit", *PARTS):
        made = {
            target.id
            for node in nodes(part)
            if isinstance(node, ast.Assign) and called(node.value) in ("Counter", "Gauge", "Histogram")
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        used = {
            node.id for node in nodes(part) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        assert made <= used, part


def test_names_follow_the_conventions() -> None:
    """Counters end in _total, times in _seconds, all begin with giaoban_, and each says what it means."""
    for name, declared in INSTRUMENTS.items():
        assert re.fullmatch(r"giaoban_[a-z0-9_]+", name)
        assert name.endswith("_total") == (declared["type"] == "counter"), name
        assert declared["meaning"].strip()


@pytest.mark.parametrize(("place", "expression"), list(expressions()), ids=lambda text: text[:40])
def test_expressions_use_declared_series_and_labels(place: str, expression: str) -> None:
    """No alert or panel asks for a series or label that nobody exports."""
    bare = re.sub(r'"[^"]*"', "", expression)
    words = set(re.findall(r"\b[a-z_][a-z0-9_]*\b", re.sub(r"\[[^\]]*\]", "", bare))) - FUNCTIONS
    series = words & set(exported())
    assert series, place
    labels = set().union(*(exported()[name] for name in series))
    assert words - series <= labels, place


def test_every_alert_leads_to_a_runbook() -> None:
    """Whoever is woken finds what to do."""
    for group in yaml.safe_load((TELEMETRY / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"].strip()
            assert (ROOT / rule["annotations"]["runbook"]).exists(), rule["alert"]


def test_span_attributes_are_declared() -> None:
    """The attributes that sources put on spans are those of telemetry/attributes.yaml, both ways."""
    declared = set(yaml.safe_load((TELEMETRY / "attributes.yaml").read_text()))
    named = {attribute for each in signals()["spans"] for attribute in each["attributes"]}
    assert declared == named == set().union(*(attributes(part) for part in ("kit", *PARTS)))


def attributes(part: str) -> set[str]:
    """Names given to `span`, `span_from_headers` and `set_attribute`."""
    found: set[str] = set()
    for node in nodes(part):
        if not isinstance(node, ast.Call):
            continue
        if called(node) in ("span", "span_from_headers"):
            for keyword in node.keywords:
                if keyword.arg:
                    found.add(keyword.arg)
                elif isinstance(keyword.value, ast.Dict):
                    found |= {literal(key) or "?" for key in keyword.value.keys}
        elif called(node) == "set_attribute":
            found.add(literal(node.args[0]) or "?")
    return found - {"kind"}


def test_spans_are_emitted_by_the_parts_that_are_declared() -> None:
    """Servers, callers and consumers are what the sources start."""
    starts = {"http": "add_middleware", "server": "grpc_server", "client": "channel", "consumer": "consuming"}
    for span in signals()["spans"]:
        real = {part for part in PARTS if any(called(node) == starts[span["kind"]] for node in nodes(part))}
        assert set(span["emitted_by"]) == real, span["name"]
