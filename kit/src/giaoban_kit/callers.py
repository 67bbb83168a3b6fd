# SPDX-License-Identifier: Apache-2.0
"""Owns the reading of the caller graph: who may call which RPC, for whom, and whether it may be repeated."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

USERS = ("required", "optional", "none")


@dataclass(frozen=True)
class Rule:
    """What `callers.toml` says about one RPC. `callers` is None for RPCs open to anybody (health)."""

    callers: frozenset[str] | None
    user: Literal["required", "optional", "none"]
    idempotent: bool


def parse_rules(text: str) -> dict[str, Rule]:
    """Rules by full method (`/package.Service/Method`).

    Raises: ValueError naming the entry that is wrong.
    """
    rules: dict[str, Rule] = {}
    for service, methods in tomllib.loads(text).items():
        for method, entry in methods.items():
            name = f"/{service}/{method}"
            unknown = set(entry) - {"callers", "user", "idempotent"}
            if unknown or entry.get("user") not in USERS or "callers" not in entry:
                raise ValueError(
                    f"{name}: give callers and user (one of {', '.join(USERS)}); unknown: {unknown}"
                )
            callers = entry["callers"]
            rules[name] = Rule(
                None if callers == "anybody" else frozenset(callers),
                entry["user"],
                entry.get("idempotent", False),
            )
    return rules


@cache
def rules() -> dict[str, Rule]:
    """The caller graph of the package."""
    return parse_rules(resources.files("giaoban_kit").joinpath("callers.toml").read_text(encoding="utf-8"))
