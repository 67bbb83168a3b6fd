# SPDX-License-Identifier: Apache-2.0
"""The caller graph: what the parts' sources call is what kit/src/giaoban_kit/callers.toml allows."""

import ast
from importlib import import_module

import pytest
from giaoban_kit import callers

from tools.house import PARTS, SERVICES, nodes

EVERYBODY = {"giaoban.identity.v1.IdentityService/GetJwks"}
"""RPCs that the kit calls in the name of each part (`identity_jwks`)."""

_FOR_PEOPLE = "the gateway asks for people, with their own token: they may know this of themselves"
NOT_YET_CALLED = {
    ("gateway", "giaoban.identity.v1.IdentityService/BatchGetParties"): _FOR_PEOPLE,
    ("gateway", "giaoban.identity.v1.IdentityService/CheckPermission"): _FOR_PEOPLE,
    ("gateway", "giaoban.scheduling.v1.SchedulingService/GetMyAppointment"): _FOR_PEOPLE,
}
"""Allowed calls that no source makes, and why they are allowed."""


def methods() -> dict[str, str]:
    """Full name of every RPC of the services, by its bare name."""
    found: dict[str, str] = {}
    for service in SERVICES:
        module = import_module(f"giaoban.{service}.v1.{service}_service_pb2")
        for described in module.DESCRIPTOR.services_by_name.values():
            for method in described.methods:
                assert method.name not in found, f"two RPCs are called {method.name}: the scan needs one"
                found[method.name] = f"{described.full_name}/{method.name}"
    return found


def calls(part: str) -> set[str]:
    """Full names of the RPCs that a part's source uses on a stub (`anything.GetMeeting`)."""
    known = methods()
    return {
        known[node.attr] for node in nodes(part) if isinstance(node, ast.Attribute) and node.attr in known
    }


def allowed(part: str) -> set[str]:
    """Full names of the RPCs that a part may call."""
    return {
        method.lstrip("/")
        for method, rule in callers.rules().items()
        if rule.callers is not None and part in rule.callers
    }


@pytest.mark.parametrize("part", PARTS)
def test_a_part_calls_only_what_it_may(part: str) -> None:
    """No call would be refused by the other side."""
    assert not calls(part) - allowed(part)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_may_call_only_what_it_does(part: str) -> None:
    """An edge that nothing uses is taken away: deny by default."""
    unused = allowed(part) - calls(part) - EVERYBODY
    excused = {method for user, method in NOT_YET_CALLED if user == part}
    assert unused == excused


def test_the_gateway_really_calls_every_service() -> None:
    """The scan sees calls at all."""
    assert {method.split(".")[1] for method in calls("gateway")} == set(SERVICES)
