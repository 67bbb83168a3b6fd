# SPDX-License-Identifier: Apache-2.0
"""Services are alike because this says so, not because they inherit anything."""

import ast
from collections.abc import Iterator

import pytest
import yaml

from tools.house import PARTS, ROOT, SERVICES, first_line, home, modules, package, sources, tree

FILES = (
    "__init__.py",
    "__main__.py",
    "py.typed",
    "main.py",
    "config.py",
    "domain.py",
    "errors.py",
    "ports.py",
    "service.py",
    "store.py",
    "rpc.py",
    "consumers.py",
    "publish.py",
    "metrics.py",
    "migrations/versions/0001_initial.py",
)

ABSENT = {
    ("identity", "consumers.py"): "identity hears no events",
    ("identity", "publish.py"): "identity tells no events",
    ("media", "store.py"): "media has no database; its state is in KV (conference/, journal.py)",
    ("media", "migrations/versions/0001_initial.py"): "media has no database",
    ("notifications", "publish.py"): "notifications tells no events",
}

HEADINGS = ("Rules worth knowing", "Configuration", "When things fail")
MAX_README_WORDS = 900  # a page or so
MAX_LINES = 450


def missing(service: str) -> Iterator[str]:
    return (name for name in FILES if not (package(service) / name).exists())


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_files(service: str) -> None:
    """A reader who knows one service finds everything in another; what is not there is not there for a reason."""
    assert set(missing(service)) == {name for part, name in ABSENT if part == service}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_explains_itself_on_one_page(service: str) -> None:
    """The README has the service's name, the shared headings, and an end."""
    text = (home(service) / "README.md").read_text()
    assert text.startswith(f"# {service}\n")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert sorted(each for each in headings if each in HEADINGS) == sorted(HEADINGS), headings
    assert len(text.split()) <= MAX_README_WORDS


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_keeps_its_tests_where_the_others_do(service: str) -> None:
    """Every service has unit and integration tests of its own."""
    for layer in ("unit", "integration"):
        assert list((home(service) / "tests" / layer).glob("test_*.py")), f"no {layer} tests"


@pytest.mark.parametrize("part", ["kit", *PARTS])
def test_every_module_says_what_it_owns(part: str) -> None:
    """Each module has a docstring."""
    silent = [module.__name__ for module in modules(part) if not first_line(module)]
    assert not silent


@pytest.mark.parametrize("part", ["kit", *PARTS])
def test_no_file_outgrows_a_reader(part: str) -> None:
    """Files stay short enough to be read in one go."""
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in sources(part)
    }
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


@pytest.mark.parametrize("part", PARTS)
def test_only_stores_know_the_tables(part: str) -> None:
    """SQLModel is imported by `store*.py` alone."""
    importers = {
        path.name
        for path in sources(part)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sqlmodel"
    }
    assert not [name for name in importers if not name.startswith("store")]


def test_data_files_are_readable_yaml() -> None:
    """Every file of telemetry/ parses."""
    found = sorted((ROOT / "telemetry").glob("*.yaml"))
    assert found
    for path in found:
        assert yaml.safe_load(path.read_text())
