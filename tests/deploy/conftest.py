# SPDX-License-Identifier: Apache-2.0
"""What the chart's tests share: the objects it makes of its default values, and of every option at once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # `deploy` is no member of the workspace

from deploy import chart


@pytest.fixture(scope="session")
def defaults() -> list[chart.Manifest]:
    """The objects of the default values, as a first install."""
    return chart.render()


@pytest.fixture(scope="session")
def everything() -> list[chart.Manifest]:
    """The objects of an upgrade with every option on."""
    return chart.render(chart.EVERYTHING, upgrade=True)


@pytest.fixture(scope="session", params=["defaults", "everything"])
def manifests(request: pytest.FixtureRequest) -> list[chart.Manifest]:
    """Both, one after the other."""
    found: list[chart.Manifest] = request.getfixturevalue(request.param)
    return found
