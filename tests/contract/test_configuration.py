# SPDX-License-Identifier: Apache-2.0
"""Configuration: one table of keys that people can read, and defaults that work."""

import os

import pytest
from giaoban_kit.config import PREFIX, ServiceConfig, load_config

from tools.configuration_page import REQUIRED, WHAT, config_of, keys, unexplained
from tools.house import PARTS

CONFIGS: list[type[ServiceConfig]] = [ServiceConfig, *(config_of(part) for part in PARTS)]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_reads_an_empty_environment(part: str) -> None:
    """Every key has a default that passes its own checks; the name of the service is the part's."""
    assert load_config(config_of(part)).service_name == part


@pytest.mark.parametrize("part", PARTS)
def test_no_part_changes_a_shared_key(part: str) -> None:
    """What the kit declares for all is the same for all: type, limits and default."""
    own = config_of(part).model_fields
    for name, field in ServiceConfig.model_fields.items():
        if name != "service_name":
            assert repr(own[name]) == repr(field), name


def test_every_key_is_explained_once() -> None:
    """The text stands beside the key in the code, or in the page's own table, never in both or neither."""
    silent = set().union(*(unexplained(config) for config in CONFIGS))
    assert silent == set(WHAT)


def test_keys_to_give_exist() -> None:
    """Keys that are named as required are keys."""
    known = {key.name for config in CONFIGS for key in keys(config)}
    assert set(REQUIRED) <= known


def test_secrets_come_as_files() -> None:
    """No key holds a secret itself: its name would have to end in `_file`."""
    for config in CONFIGS:
        for key in keys(config):
            if any(word in key.name for word in ("password", "secret", "private")):
                assert key.name.endswith("_file"), key.name
