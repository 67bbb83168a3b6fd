# SPDX-License-Identifier: Apache-2.0
"""Owns where things lie: the checkout, its state directory, and the cache outside it."""

import os
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[4]


def cache_dir() -> Path:
    """Return the cache shared by every checkout of this user: $GIAOBAN_CACHE, else the XDG cache."""
    given = os.environ.get("GIAOBAN_CACHE")
    if given:
        return Path(given).absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").absolute() / "giaoban"


def state_dir() -> Path:
    """Return the directory of all data, secrets and logs of the local stack: $GIAOBAN_STATE, else .state."""
    given = os.environ.get("GIAOBAN_STATE")
    return Path(given).absolute() if given else PROJECT_ROOT / ".state"
