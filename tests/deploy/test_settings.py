# SPDX-License-Identifier: Apache-2.0
"""Every setting of every part has a home in the chart, and what the chart gives them is accepted by their classes."""

from pathlib import Path

import pytest

from deploy import chart

ROOT = chart.CHART.parents[2]


def environments(manifests: list[chart.Manifest], part: str) -> list[dict[str, str]]:
    """The variables of every container that runs the part's program."""
    found = []
    for each in manifests:
        if each["kind"] in ("Deployment", "StatefulSet", "Job", "Pod"):
            spec = each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
            for container in [*spec.get("initContainers", []), *spec["containers"]]:
                if container.get("command") == ["python", "-m", f"giaoban_{part}"]:
                    # What Kubernetes fills in at the start.
                    fill = {"$(NODE_INDEX)": "0", "$(HOST_IP)": "10.0.0.1"}
                    values = {each["name"]: each.get("value", "") for each in container["env"]}
                    for reference, value in fill.items():
                        values = {name: text.replace(reference, value) for name, text in values.items()}
                    found.append({name: text for name, text in values.items() if name.startswith("GIAOBAN_")})
    return found


def unused(part: str) -> set[str]:
    """Settings of the common class that a part has no use for: servers it lacks, parts it does not call, what pods do not share."""
    callers = chart.edges()
    settings = {f"{each}_target" for each in (set(chart.PARTS) - {"gateway"}) if part not in callers[each]}
    given = chart.default_values()[part]
    if "database" not in given:
        settings |= {"database_url", "database_password_file", "database_pool_size"}
    if "nats_password_file" not in given["secretFiles"]:
        settings |= {"nats_url", "nats_user", "nats_password_file"}
    if part == "gateway":
        settings |= {"grpc_listen", "http_reuse_port"}  # every pod has ports of its own
    return settings


def test_the_list_of_parts_is_the_house() -> None:
    """The chart covers every part there is."""
    services = {file.parents[2].name for file in ROOT.glob("services/*/src/*/config.py")}
    assert services | {"gateway"} == set(chart.PARTS)


@pytest.mark.parametrize("part", chart.PARTS)
def test_every_setting_has_a_home(defaults: list[chart.Manifest], part: str) -> None:
    """A field of a part's class is a key in values.yaml, or the chart itself sets it."""
    values = chart.default_values()
    homes = set(values["config"]) | set(values[part]["config"]) | set(values[part]["secretFiles"])
    for environment in environments(defaults, part):
        homes |= {name.removeprefix("GIAOBAN_").lower() for name in environment}
    assert set(chart.config_class(part).model_fields) - homes - unused(part) == set()


@pytest.mark.parametrize("part", chart.PARTS)
def test_no_key_is_dead(manifests: list[chart.Manifest], part: str) -> None:
    """Every setting in values.yaml, and every variable a part gets, is a field of its class."""
    values = chart.default_values()
    fields = set(chart.config_class(part).model_fields)
    assert (
        set(values["config"]) | set(values[part]["config"]) | set(values[part]["secretFiles"])
    ) - fields == set()
    for environment in environments(manifests, part):
        assert {name.removeprefix("GIAOBAN_").lower() for name in environment} - fields == set()


@pytest.mark.parametrize("part", chart.PARTS)
def test_the_parts_accept_what_they_get(
    manifests: list[chart.Manifest], part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The part's own class reads the chart's environment, and says it is this part."""
    monkeypatch.chdir(tmp_path)
    found = environments(manifests, part)
    assert len(found) >= 3  # serve, migrate, check-config
    for environment in found:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            config = chart.config_class(part)()
        assert config.service_name == part
        assert not config.metrics_listen.startswith("127.")


def test_values_keep_the_parts_defaults(
    defaults: list[chart.Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where values.yaml repeats a part's default it repeats it rightly; what differs is meant to."""
    meant = {"smtp_host", "smtp_port", "smtp_tls", "mail_from"}
    for part in chart.PARTS:
        kind = chart.config_class(part)
        plain = kind()
        given = chart.default_values()[part]["config"]
        environment = environments(defaults, part)[0]
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            config = kind()
        different = {name for name in given if getattr(config, name) != getattr(plain, name)}
        assert different <= meant, part


def test_numbers_are_not_rounded() -> None:
    """A large integer reaches the part as digits, not as 1.048576e+06."""
    found = chart.render({"identity": {"config": {"argon2_memory_kib": 1_048_576}}})
    assert {each["GIAOBAN_ARGON2_MEMORY_KIB"] for each in environments(found, "identity")} == {"1048576"}


def test_a_part_overrides_the_common_setting() -> None:
    """`media.config.log_level` wins over `config.log_level`, for media only."""
    found = chart.render({"media": {"config": {"log_level": "debug"}}})
    assert {each["GIAOBAN_LOG_LEVEL"] for each in environments(found, "media")} == {"debug"}
    assert {each["GIAOBAN_LOG_LEVEL"] for each in environments(found, "identity")} == {"info"}
