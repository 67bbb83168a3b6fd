# SPDX-License-Identifier: Apache-2.0
"""Owns what a scenario is: a hypothesis with limits from the table of goals, tried in bounded time and traffic.

A module here is a scenario when it has HYPOTHESIS, PARAMETERS (name → default, all numbers), SECONDS (at most) and
`run(context)`. Its docstring says what is done and what must hold. One that does something to several parts has PARTS,
of which `parts=a,b` selects some. One that needs a private stack of its own kind has STACK, environment variables of it.
"""

import asyncio
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from giaoban_loadtests.results import Figure
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.systems import System, SystemFailedError


class UnknownScenarioError(ValueError):
    """There is no scenario of that name; the message lists those there are."""


@dataclass(frozen=True)
class Context:
    """What a scenario works with. `stack` is None when the system runs elsewhere; `say` tells progress.

    `parts` are those of the scenario's PARTS that were asked for. `beside` is another system that runs here, to
    compare with; None when none was given. `enough` is set when no further trial is wanted: what was tried is reported.
    """

    system: System
    local_ip: str
    parameters: Mapping[str, int]
    stack: LocalStack | None
    say: Callable[[str], None]
    parts: Sequence[str] = ()
    beside: System | None = None
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def private_stack(self, why: str) -> LocalStack:
        """Return the private stack. Raises SystemFailedError, beginning with `why`, when the system runs elsewhere."""
        if self.stack is None:
            raise SystemFailedError(f"{why}: it needs a private stack, leave --target away")
        return self.stack


@dataclass(frozen=True)
class Outcome:
    """What came out. `watched` is what the machine did while it was measured; see results.Result for the rest."""

    figures: Sequence[Figure]
    watched: Mapping[str, object]
    distributions: Mapping[str, Sequence[float]] = field(default_factory=dict)
    timelines: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


class Scenario(Protocol):
    """A module of this package."""

    HYPOTHESIS: str
    PARAMETERS: Mapping[str, int]
    SECONDS: int
    __doc__: str

    async def run(self, context: Context) -> Outcome: ...


def names() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(each.name for each in pkgutil.iter_modules(__path__))


def parts_of(scenario: Scenario) -> tuple[str, ...]:
    """Return what a scenario can be limited to with `parts=a,b`; nothing for most."""
    return tuple(getattr(scenario, "PARTS", ()))


def settings_of(scenario: Scenario) -> Mapping[str, str]:
    """Return how the private stack of a scenario differs from that of others; nothing for most."""
    return dict(getattr(scenario, "STACK", {}))


def find(name: str) -> Scenario:
    """Return a scenario by its name; raises UnknownScenarioError with the names there are."""
    if name not in names():
        raise UnknownScenarioError(
            f"SCENARIO={name}: there is no such scenario; there are {', '.join(names())}"
        )
    scenario: Scenario = importlib.import_module(f"{__name__}.{name}")
    return scenario
