# SPDX-License-Identifier: Apache-2.0
"""Recording's own processes, to be killed."""

import json
import os
import sys
from pathlib import Path

from giaoban_dev.infra.janus_root import pp_rec_command
from giaoban_dev.infra.process import Process
from giaoban_recording.config import Config


def shipper(name: str, recordings: Path, objects: Path, logs: Path) -> Process:
    """`ship` beside a node's folder: it gets no database and no NATS."""
    return _process(
        "ship",
        name,
        logs,
        _store(objects) | {"GIAOBAN_NODE_RECORDINGS": str(recordings), "GIAOBAN_NODE_ID": "a"},
    )


def worker(name: str, database_url: str, objects: Path, work: Path, logs: Path) -> Process:
    """`work` on a database."""
    environment = {
        "GIAOBAN_DATABASE_URL": database_url,
        "GIAOBAN_WORK_DIRECTORY": str(work),
        "GIAOBAN_PP_REC_COMMAND": json.dumps(pp_rec_command(work)),
    }
    return _process("work", name, logs, _store(objects) | environment)


def _store(objects: Path) -> dict[str, str]:
    return {"GIAOBAN_OBJECT_STORE_URL": objects.as_uri()}


def _process(verb: str, name: str, logs: Path, environment: dict[str, str]) -> Process:
    return Process(
        name=name,
        argv=[sys.executable, "-m", "giaoban_recording", verb],
        log_file=logs / f"{name}.log",
        env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environment},
    )


def serving(verb: str, config: Config, environment: dict[str, str], logs: Path) -> Process:
    """`serve`, with what a configuration says."""
    named = {
        f"GIAOBAN_{key.upper()}": str(getattr(config, key))
        for key in ("database_url", "nats_url", "object_store_url")
    }
    return _process(verb, verb, logs, named | environment)
