# SPDX-License-Identifier: Apache-2.0
"""Owns how the code of all parts is walked: their packages, modules and sources. Reads, never writes."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from giaoban_kit.errors import GiaobanError

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("identity", "scheduling", "media", "recording", "notifications")
PARTS = (*SERVICES, "gateway")

_NOT_RUNNING_CODE = frozenset({"__main__", "testing", "migrations", "alembic"})


def home(part: str) -> Path:
    """The folder of a part ("kit" too): its README, `src` and `tests`."""
    return ROOT / part if part in ("kit", "gateway") else ROOT / "services" / part


def package(part: str) -> Path:
    """The folder of a part's Python package."""
    return home(part) / "src" / f"giaoban_{part}"


def sources(part: str) -> Iterator[Path]:
    """Every Python file that runs in a part; test doubles and migrations do not."""
    for path in sorted(package(part).rglob("*.py")):
        if not _NOT_RUNNING_CODE & set(path.relative_to(package(part)).with_suffix("").parts):
            yield path


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(), filename=str(path))


def nodes(part: str) -> Iterator[ast.AST]:
    """Every node of every syntax tree of a part."""
    for path in sources(part):
        yield from ast.walk(tree(path))


@cache
def modules(part: str) -> tuple[ModuleType, ...]:
    """Every module of a part, imported."""
    root = importlib.import_module(f"giaoban_{part}")
    names = sorted(info.name for info in pkgutil.walk_packages(root.__path__, f"{root.__name__}."))
    running = [name for name in names if not _NOT_RUNNING_CODE & set(name.split("."))]
    return root, *(importlib.import_module(name) for name in running)


def errors(part: str) -> list[type[GiaobanError]]:
    """The errors that a part defines, without private base classes, by name."""
    found: set[type[GiaobanError]] = set()
    for module in modules(part):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, GiaobanError) and cls.__module__ == module.__name__:
                found.add(cls)
    public = (cls for cls in found if not cls.__name__.startswith("_") and cls is not GiaobanError)
    return sorted(public, key=lambda cls: cls.__name__)


def first_line(documented: object) -> str:
    """The first line of a docstring; empty without one of its own."""
    own = vars(documented).get("__doc__") if isinstance(documented, type) else documented.__doc__
    return inspect.cleandoc(own).partition("\n")[0] if own else ""


def called(node: ast.AST) -> str:
    """The last part of the name of what a call calls; empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def literal(node: ast.AST | None) -> str | None:
    """A literal string's value; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
