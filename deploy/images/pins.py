# SPDX-License-Identifier: Apache-2.0  # noqa: INP001 - a script that is copied into the image by itself
"""Owns which packages go into a part's image: the members it consists of, and their pins out of the lock.

pins.py wanted SERVICE           requirements of the part, its members' own dependencies, as pip reads them
pins.py pinned LOCK REPORT       the lock's entries (with hashes) of what pip's --report resolved
pins.py members SERVICE          the directories to install, dependencies first
"""

import json
import re
import sys
import tomllib
from pathlib import Path

BUILD = ("hatchling", "editables")  # build the members; in the lock like everything else


def members(service: str, root: Path) -> list[Path]:
    """The workspace's directories a part consists of. Raises: SystemExit if there is no such part."""
    own = root / "gateway" if service == "gateway" else root / "services" / service
    if not re.fullmatch(r"[a-z]+", service) or not (own / "pyproject.toml").exists():
        raise SystemExit(f"pins.py: there is no part named {service!r}")
    return [root / "proto" / "python", root / "kit", own]


def wanted(service: str, root: Path) -> list[str]:
    """What these members ask for beside each other."""
    found = set(BUILD)
    for member in members(service, root):
        project = tomllib.loads((member / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found |= {each for each in project["dependencies"] if not each.startswith("giaoban-")}
    return sorted(found)


def constraints(lock: str) -> str:
    """The lock's entries as pip reads constraints: versions and markers, no hashes."""
    return "\n".join(line.rstrip(" \\") for line in lock.splitlines() if line[:1].isalnum())


def pinned(lock: str, report: str) -> str:
    """The lock's entries of the packages in pip's report.

    Raises: SystemExit naming a package that the lock does not have, or has in another version.
    """
    entries = {}
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.strip()):
        name, version = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", entry).groups()  # type: ignore[union-attr]
        entries[normal(name), version] = entry
    lines = []
    for each in json.loads(report)["install"]:
        name, version = each["metadata"]["name"], each["metadata"]["version"]
        if (normal(name), version) not in entries:
            raise SystemExit(f"pins.py: {name} {version} is not in the lock; run bin/lock")
        lines.append(entries[normal(name), version])
    return "\n".join(lines)


def normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: list[str]) -> None:
    """Writes what the verb asks for."""
    match arguments:
        case ["wanted", service]:
            text = "\n".join(wanted(service, Path()))
        case ["members", service]:
            text = "\n".join(f"./{each}" for each in members(service, Path()))
        case ["constraints", lock]:
            text = constraints(Path(lock).read_text(encoding="utf-8"))
        case ["pinned", lock, report]:
            text = pinned(Path(lock).read_text(encoding="utf-8"), Path(report).read_text(encoding="utf-8"))
        case _:
            raise SystemExit(__doc__)
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
