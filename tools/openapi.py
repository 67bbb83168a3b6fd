# SPDX-License-Identifier: Apache-2.0
"""Writes the descriptions of the public API, or with `--check` fails when one is not what the code says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from giaoban_gateway.app import create_app
from giaoban_gateway.config import Config
from giaoban_gateway.live import asyncapi

from tools.house import ROOT


def _openapi() -> str:
    description = create_app(Config()).openapi()
    return json.dumps(description, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _asyncapi() -> str:
    head = "# Written by bin/openapi from gateway/src/giaoban_gateway/live: change it there.\n"
    return head + yaml.safe_dump(asyncapi.document(), allow_unicode=True, sort_keys=False, width=110)


FILES: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs/openapi.json": _openapi,
    ROOT / "docs/asyncapi.yaml": _asyncapi,
}


def stale() -> list[Path]:
    """The files that are not what they would be if written now."""
    return [path for path, write in FILES.items() if not path.exists() or path.read_text() != write()]


def main() -> int:
    """0, or 1 when a file is stale and only checking was asked for."""
    parser = argparse.ArgumentParser(prog="bin/openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    checking = parser.parse_args().check
    found = stale()
    for path in found:
        name = path.relative_to(ROOT)
        if checking:
            sys.stderr.write(f"{name} is out of date; run bin/openapi and commit it\n")
        else:
            path.write_text(FILES[path]())
            sys.stdout.write(f"wrote {name}\n")
    return 1 if checking and found else 0


if __name__ == "__main__":
    sys.exit(main())
