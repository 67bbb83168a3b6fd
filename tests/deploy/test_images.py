# SPDX-License-Identifier: Apache-2.0
"""The image recipes: non-root, without secrets, everything pinned by the lock; and the tool that picks the pins."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from deploy import chart

IMAGES = chart.CHART.parents[1] / "images"
ROOT = IMAGES.parents[1]
RECIPES = (IMAGES / "Containerfile", IMAGES / "media-node" / "Containerfile")


@pytest.fixture(scope="module")
def pins() -> ModuleType:
    """The program that picks pins from the lock."""
    spec = importlib.util.spec_from_file_location("pins", IMAGES / "pins.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statements(recipe: Path) -> list[tuple[str, str]]:
    """Instruction and arguments, continued lines joined, comments left out."""
    lines = [
        line for line in recipe.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("recipe", RECIPES, ids=["parts", "media-node"])
def test_images_do_not_run_as_root(recipe: Path) -> None:
    """The last stage ends as the user that the chart's pods run as."""
    users = [arguments for instruction, arguments in statements(recipe) if instruction == "USER"]
    assert users[-1] == "10001:10001"


@pytest.mark.parametrize("recipe", RECIPES, ids=["parts", "media-node"])
def test_images_take_no_secrets(recipe: Path) -> None:
    """No argument or variable is named like a secret, and what is copied in is named, never the whole checkout."""
    for instruction, arguments in statements(recipe):
        if instruction in ("ARG", "ENV"):
            assert not re.search(r"PASSWORD|SECRET|TOKEN|KEY", arguments.upper()), arguments
        if instruction in ("COPY", "ADD"):
            assert instruction == "COPY"
            *sources, _ = [each for each in arguments.split() if not each.startswith("--")]
            assert not set(sources) & {".", "./", "*"}, arguments
    ignored = (recipe.parent / f"{recipe.name}.containerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in ignored if not line.startswith("#")) == "*"


@pytest.mark.parametrize("recipe", RECIPES, ids=["parts", "media-node"])
def test_what_is_copied_exists(recipe: Path) -> None:
    """Every source that a recipe copies from the checkout is in the checkout."""
    for instruction, arguments in statements(recipe):
        if instruction == "COPY" and "--from=" not in arguments:
            *sources, _ = [each for each in arguments.split() if not each.startswith("--")]
            assert [each for each in sources if not (ROOT / each).exists()] == []


def test_python_packages_are_installed_with_hashes() -> None:
    """The recipe installs from the lock with hashes and nothing that the lock does not have."""
    text = (IMAGES / "Containerfile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install ([^&|]*)", text.replace("\\\n", " "))
    assert len(installs) == 3
    for each in installs:
        assert "--dry-run" in each or "--require-hashes" in each or "--no-index" in each, each


@pytest.mark.parametrize("part", chart.PARTS)
def test_every_part_has_an_image(pins: ModuleType, part: str) -> None:
    """The recipe's tool finds each part's members, and everything they ask for is in the lock."""
    assert pins.members(part, ROOT)[-1].name == part
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {pins.normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, flags=re.MULTILINE)}
    asked = {pins.normal(re.match(r"[A-Za-z0-9._-]+", each)[0]) for each in pins.wanted(part, ROOT)}  # type: ignore[index]
    assert {"grpcio", "pydantic-settings", "hatchling"} <= asked
    assert asked <= locked


def test_pins_come_with_their_hashes(pins: ModuleType) -> None:
    """What pip resolved is found in the lock whatever its spelling, with every hash."""
    lock = "a-b==1.0 \\\n    --hash=sha256:00\nc==2.0 ; python_version < '3.12' \\\n    --hash=sha256:11 \\\n    --hash=sha256:22\n"
    report = json.dumps(
        {
            "install": [
                {"metadata": {"name": "C", "version": "2.0"}},
                {"metadata": {"name": "A_b", "version": "1.0"}},
            ]
        }
    )
    assert pins.pinned(lock, report) == lock.split("\n", 2)[2].strip() + "\n" + "\n".join(
        lock.split("\n")[:2]
    )


def test_constraints_have_no_hashes(pins: ModuleType) -> None:
    """Versions and markers stay; pip refuses to resolve where hashes stand."""
    lock = "a-b==1.0 \\\n    --hash=sha256:00\nc==2.0 ; python_version < '3.12' \\\n    --hash=sha256:11\n"
    assert pins.constraints(lock) == "a-b==1.0\nc==2.0 ; python_version < '3.12'"


def test_what_the_lock_lacks_is_refused(pins: ModuleType) -> None:
    """A package in another version than the lock's stops the build by name; so does an unknown part."""
    report = json.dumps({"install": [{"metadata": {"name": "a", "version": "1.1"}}]})
    with pytest.raises(SystemExit, match=r"a 1\.1 is not in the lock"):
        pins.pinned("a==1.0 --hash=sha256:00", report)
    with pytest.raises(SystemExit, match="no part named"):
        pins.members("../x", ROOT)


def test_pins_of_the_real_lock(pins: ModuleType) -> None:
    """Every entry of the lock can be found, and has a hash."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock, flags=re.MULTILINE)
    assert len(entries) > 50
    for name, version in entries:
        report = json.dumps({"install": [{"metadata": {"name": name, "version": version}}]})
        assert "--hash=sha256:" in pins.pinned(lock, report)
