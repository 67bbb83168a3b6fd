# SPDX-License-Identifier: Apache-2.0
"""Writes the generated pages, or with `--check` fails when one is not what the code says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import configuration_page, errors_page, events_page
from tools.house import ROOT

PAGES: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs/errors.md": errors_page.page,
    ROOT / "docs/events.md": events_page.page,
    ROOT / "docs/configuration.md": configuration_page.page,
}


def stale() -> list[Path]:
    """The pages that are not what they would be if written now."""
    return [path for path, page in PAGES.items() if not path.exists() or path.read_text() != page()]


def main() -> int:
    """0, or 1 when a page is stale and only checking was asked for."""
    parser = argparse.ArgumentParser(prog="bin/docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    checking = parser.parse_args().check
    for path in stale():
        name = path.relative_to(ROOT)
        if checking:
            sys.stderr.write(f"{name} is out of date; run bin/docs and commit it\n")
        else:
            path.write_text(PAGES[path]())
            sys.stdout.write(f"wrote {name}\n")
    return 1 if checking and stale() else 0


if __name__ == "__main__":
    sys.exit(main())
