# SPDX-License-Identifier: Apache-2.0
"""Owns docs/configuration.md: every key of every part, from the `Config` classes and the text beside each key."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from giaoban_kit.config import PREFIX, ServiceConfig
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tools.house import PARTS, table

WHAT = {
    "log_level": "debug, info, warning or error.",
    "grpc_listen": "Where the part serves gRPC: `host:port`, or `unix:` and a path; port 0 takes a free one.",
    "metrics_listen": "Where `/metrics`, `/healthz` and `/readyz` are served.",
    "nats_url": "The NATS server.",
    "nats_user": "The part's own NATS user; its permissions are limited to the part's subjects.",
    "nats_password_file": "File with the password of that user.",
    "database_url": "The part's own PostgreSQL database, without the password.",
    "database_password_file": "File with the password of the database's user.",
    "database_pool_size": "Most connections to the database that one process keeps.",
    "trace_sample_ratio": "The share of requests that are traced, 0 to 1, decided at the first part.",
    "identity_target": "Address of identity's gRPC.",
    "scheduling_target": "Address of scheduling's gRPC.",
    "media_target": "Address of media's gRPC.",
    "recording_target": "Address of recording's gRPC.",
    "notifications_target": "Address of notifications' gRPC.",
    "smtp_host": "The mail server.",
    "smtp_port": "Its port.",
    "smtp_tls": "Whether the connection is encrypted: not, by STARTTLS, or from the start.",
    "smtp_user": "The account at the mail server; none: without signing in.",
    "smtp_password_file": "File with the password of that account.",
    "smtp_timeout": "How long one mail may take.",
    "mail_from": "The sender's address.",
    "mail_from_name": "The sender's name.",
    "mail_max_delay": "The longest pause between two attempts; it doubles from the first delay.",
    "mail_max_attempts": "Attempts before a mail is given up (state `dead`).",
    "access_token_lifetime": "How long an access token holds; the web client refreshes it by itself.",
    "end_overdue_every": "How often overdue meetings are looked for.",
    "argon2_time_cost": "Passes over that memory.",
    "argon2_parallelism": "Lanes of one hash.",
    "argon2_concurrency": "Passwords checked at once by one process; each takes the memory above.",
    "argon2_queue": "Sign-ins that may wait for that; more are refused with SIGN_IN_BUSY.",
    "lockout_first_delay": "The first pause after the free failures; it doubles each time.",
    "lockout_max_delay": "The longest pause.",
    "lockout_forget_after": "Failures older than this are forgotten.",
    "http_listen": "Where the public API is served.",
    "tls_cert_file": "Certificate chain (PEM), when no proxy ends TLS in front.",
    "tls_key_file": "Its private key (PEM).",
}
"""What a key is for, where nothing stands beside it in the code."""

REQUIRED = {
    "service_key_file": "Nobody is called and no call is taken without an identity; `make run` makes the keys.",
    "service_jwks_file": "The public keys of all parts; the same file everywhere.",
    "sealing_key_file": "The default names a file that has to be made once; a secret has no default content.",
    "nodes": "Without one, media runs but every join is refused with NO_MEDIA_NODE.",
    "node_id": "The shipper refuses to start without the name of its node; the other processes need none.",
}
"""Keys whose default lets a process start its checks, but not do its work."""


@dataclass(frozen=True)
class Key:
    """One key of one part, as people read it."""

    name: str
    variable: str
    type: str
    default: str
    what: str


def config_of(part: str) -> type[ServiceConfig]:
    """The part's `Config`. Raises: ImportError if it has none."""
    found: type[ServiceConfig] = importlib.import_module(f"giaoban_{part}.config").Config
    return found


def keys(config: type[ServiceConfig]) -> list[Key]:
    """The keys that the class itself adds, in its order; the name of the service is not one."""
    beside = _texts(config)
    own = vars(config).get("__annotations__", {})
    return [
        Key(
            name,
            f"{PREFIX}{name.upper()}",
            _type(field),
            _default(field),
            beside.get(name) or WHAT.get(name, ""),
        )
        for name, field in config.model_fields.items()
        if name in own and name != "service_name"
    ]


def unexplained(config: type[ServiceConfig]) -> set[str]:
    """Keys without a text beside them in the code: `WHAT` must have exactly these."""
    beside = _texts(config)
    return {key.name for key in keys(config) if not beside.get(key.name)}


def page() -> str:
    """The page."""
    lines = [
        "# Configuration",
        "",
        (
            "Generated by `bin/docs` from the `Config` classes. Every part reads its environment once, at the start; "
            "`python -m giaoban_<part> check-config` reads it and says what is wrong, with the variable and the remedy. "
            "Secrets come as files (`*_FILE`). Durations are ISO 8601 (`PT5M`) or seconds; lists and objects are JSON. "
            "A key marked ● has to be given for real work: the reasons stand at the end."
        ),
        "",
        "## Every part",
        "",
        _section(keys(ServiceConfig)),
        "",
    ]
    for part in PARTS:
        lines += [f"## {part}", "", _section(keys(config_of(part))), ""]
        for model in _models(config_of(part)):
            lines += [f"An entry of `{model.__name__}`:", "", _model(model), ""]
    lines += ["## Keys to give", "", *(f"- `{PREFIX}{k.upper()}`: {why}" for k, why in REQUIRED.items()), ""]
    return "\n".join(lines)


def _section(found: list[Key]) -> str:
    if not found:
        return "None of its own."
    return table(
        ("variable", "type", "default", "what"),
        [
            (f"`{key.variable}`{' ●' if key.name in REQUIRED else ''}", key.type, key.default, key.what)
            for key in found
        ],
    )


def _models(config: type[ServiceConfig]) -> list[type[BaseModel]]:
    module = importlib.import_module(config.__module__)
    found = inspect.getmembers(module, inspect.isclass)
    return [
        cls
        for _, cls in found
        if issubclass(cls, BaseModel)
        and not issubclass(cls, ServiceConfig)
        and cls.__module__ == module.__name__
    ]


def _model(model: type[BaseModel]) -> str:
    rows = [(f"`{name}`", _type(field), _default(field)) for name, field in model.model_fields.items()]
    return table(("field", "type", "default"), rows)


def _type(field: FieldInfo) -> str:
    text = str(field.annotation) if not isinstance(field.annotation, type) else field.annotation.__name__
    text = re.sub(r"\b\w+\.", "", text).removesuffix(" | None")
    for python, word in (("Path", "path"), ("timedelta", "duration"), ("str", "text"), ("int", "number")):
        text = re.sub(rf"\b{python}\b", word, text)
    limits = [_limit(each) for each in field.metadata]
    return ", ".join([text, *(each for each in limits if each)])


def _limit(constraint: Any) -> str:
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        value = getattr(constraint, name, None)
        if value is not None:
            return f"{sign} {_value(value)}"
    pattern = getattr(constraint, "pattern", None)
    if pattern:
        return f"`{pattern}`"
    length = getattr(constraint, "max_length", None)
    return f"at most {length} characters" if length else ""


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "none: must be given"
    return "–" if field.default in (None, (), "") else f"`{_value(field.default)}`"


def _value(value: Any) -> str:
    if isinstance(value, timedelta):
        return _iso(value)
    return (
        value if isinstance(value, str) else json.dumps(value) if not isinstance(value, Path) else str(value)
    )


def _iso(span: timedelta) -> str:
    """ISO 8601, in the largest unit that divides the span."""
    seconds = int(span.total_seconds())
    if seconds and seconds % 86400 == 0:
        return f"P{seconds // 86400}D"
    for size, letter in ((3600, "H"), (60, "M")):
        if seconds and seconds % size == 0:
            return f"PT{seconds // size}{letter}"
    return f"PT{seconds}S"


def _texts(config: type[ServiceConfig]) -> dict[str, str]:
    """The text beside each key: a string below it, a comment above it, or one at the end of its line."""
    path = Path(inspect.getsourcefile(config) or "")
    lines = path.read_text().splitlines()
    body = next(
        node.body
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == config.__name__
    )
    found: dict[str, str] = {}
    for number, node in enumerate(body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        after = body[number + 1] if number + 1 < len(body) else None
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = str(after.value.value)
        else:
            tail = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :]
            text = tail.partition("#")[2] or _above(lines, node.lineno - 2)
        if text.strip():
            found[node.target.id] = " ".join(text.split())
    return found


def _above(lines: list[str], last: int) -> str:
    first = last
    while lines[first].lstrip().startswith("#"):
        first -= 1
    return " ".join(line.strip().lstrip("# ") for line in lines[first + 1 : last + 1])
