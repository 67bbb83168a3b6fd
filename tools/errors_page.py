# SPDX-License-Identifier: Apache-2.0
"""Owns docs/errors.md: every reason that a caller can see, with its kind, its HTTP status and its meaning."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass

from giaoban_gateway.problems import from_error
from giaoban_kit.errors import ErrorKind, GiaobanError
from giaoban_kit.status import CODES

from tools.house import PARTS, called, errors, first_line, literal, nodes, table

REASON = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")

SHARED = {
    "UNIT_NOT_FOUND": "identity refuses it first; scheduling refuses it for a meeting's unit",
    "MEETING_ENDED": "scheduling refuses entry; media ends the streams of those who are inside",
    "MEETING_NOT_RUNNING": "scheduling cannot end it; recording cannot record it",
    "RECORDING_NOT_READY": "recording refuses its bytes; the gateway refuses a link to them",
    "GRANT_INVALID": "the kit refuses the signature; media refuses what is signed for something else",
}
"""Reasons that more than one class carries, and why they mean the same."""

GATEWAY_ONLY = {
    "REQUEST_INVALID": "The payload has the wrong shape; `errors` names each field and its remedy.",
    "BODY_INVALID": "The body is not what its content type says.",
    "REQUEST_REFUSED": "The request cannot be served in this form.",
    "PATH_NOT_FOUND": "There is nothing at this address.",
    "METHOD_NOT_ALLOWED": "This address does not know the method.",
    "MEDIA_TYPE_WRONG": "The body is not of a type that is understood here.",
    "BODY_TOO_LARGE": "The body is larger than allowed.",
    "NOT_READY": "The gateway has not had the keys that verify tokens since its start.",
    "STOPPING": "This gateway is going down; another one takes the request.",
    "RANGE_INVALID": "The asked-for range lies outside of the file.",
}
"""Reasons that the gateway writes into a problem without an error of a class."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    reason: str
    kind: str
    status: str
    raised_by: str
    meaning: str


def classes() -> dict[type[GiaobanError], str]:
    """Every error of the house with the part that defines it."""
    return {cls: part for part in ("kit", *PARTS) for cls in errors(part)}


def http_status(cls: type[GiaobanError]) -> int:
    """The status of the problem that the gateway makes of such an error."""
    error = cls.__new__(cls)  # constructors differ; the status depends on the class alone
    GiaobanError.__init__(error, "")
    error.__dict__.update(violations=(), retry_after=None)
    return from_error(error).status_code


def gateway_reasons() -> dict[str, set[str]]:
    """Reasons that stand literally in the gateway's problems, with their statuses ("" where it varies)."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in nodes("gateway"):
        if called(node) == "problem" and isinstance(node, ast.Call) and len(node.args) > 1:
            reason = literal(node.args[1])
            if reason:
                found[reason].add(str(node.args[0].value) if isinstance(node.args[0], ast.Constant) else "")
        if isinstance(node, ast.Dict):  # a status's reason: {404: "PATH_NOT_FOUND"}
            for key, value in zip(node.keys, node.values, strict=True):
                text = literal(value)
                if isinstance(key, ast.Constant) and isinstance(key.value, int) and text and is_reason(text):
                    found[text].add(str(key.value))
        if called(node) == "get" and isinstance(node, ast.Call) and len(node.args) == 2:
            default = literal(node.args[1])
            if default and "_" in default and is_reason(default):
                found[default].add("")
    known = {cls.reason for cls in classes()}
    return {reason: statuses for reason, statuses in found.items() if reason not in known}


def field_reasons() -> dict[str, set[str]]:
    """Reasons of refused fields, with the parts that give them."""
    positions = {"FieldViolation": 1, "Problem": 1, "require": 2}
    found: dict[str, set[str]] = defaultdict(set)
    for part in ("kit", *PARTS):
        for node in nodes(part):
            position = positions.get(called(node))
            if position is not None and isinstance(node, ast.Call) and len(node.args) > position:
                reason = literal(node.args[position])
                if reason is not None:
                    found[reason].add(part)
    return found


def is_reason(text: str) -> bool:
    """Whether the text is written as reasons are."""
    return REASON.fullmatch(text) is not None


def rows() -> list[Row]:
    """The table, by reason."""
    found: dict[str, list[tuple[type[GiaobanError], str]]] = defaultdict(list)
    for cls, part in classes().items():
        found[cls.reason].append((cls, part))
    lines = []
    for reason, defined in found.items():
        cls = defined[0][0]
        meanings = dict.fromkeys(first_line(each) for each, _ in defined)
        parts = dict.fromkeys(part for _, part in defined)
        lines.append(Row(reason, cls.kind.name, str(http_status(cls)), ", ".join(parts), " ".join(meanings)))
    for reason, statuses in gateway_reasons().items():
        status = ", ".join(sorted(statuses - {""})) or "as the framework says"
        lines.append(Row(reason, "", status, "gateway", GATEWAY_ONLY.get(reason, "")))
    return sorted(lines, key=lambda row: row.reason)


def page() -> str:
    """The page."""
    kinds = [(kind.name, CODES[kind].name, str(http_status(_bare(kind)))) for kind in ErrorKind]
    reasons = [(f"`{row.reason}`", row.kind, row.status, row.raised_by, row.meaning) for row in rows()]
    fields = [(f"`{reason}`", ", ".join(sorted(parts))) for reason, parts in sorted(field_reasons().items())]
    return "\n".join(
        [
            "# Errors",
            "",
            (
                "Generated by `bin/docs` from the errors' classes. Callers see an RFC 9457 problem: `type` is "
                "`/problems/` and the reason in lower case with hyphens, `reason` is the word below, `detail` tells "
                "people what to do, `errors` names each refused field, `trace_id` finds the request in the logs. "
                "Reasons are part of the public contract. Why it is so: [ADR 0004](adr/0004-errors.md)."
            ),
            "",
            "## Kinds",
            "",
            "Only UNAVAILABLE is repeated by our own clients, and only for idempotent calls.",
            "",
            table(("kind", "gRPC", "HTTP"), kinds),
            "",
            "## Reasons",
            "",
            table(("reason", "kind", "HTTP", "raised by", "meaning"), reasons),
            "",
            "## Reasons of fields",
            "",
            (
                "In `errors[].reason`; `errors[].remedy` says what to do. Shapes that the gateway refuses with "
                "REQUEST_INVALID carry the reasons of its schema library in upper case, for example `MISSING`."
            ),
            "",
            table(("reason", "given by"), fields),
            "",
        ]
    )


def _bare(kind: ErrorKind) -> type[GiaobanError]:
    return type("Bare", (GiaobanError,), {"kind": kind, "reason": "BARE"})
