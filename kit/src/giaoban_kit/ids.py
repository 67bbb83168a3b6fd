# SPDX-License-Identifier: Apache-2.0
"""Owns identifiers: ULIDs as 26 upper-case Crockford characters (https://github.com/ulid/spec)."""

import re

from ulid import ULID

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def new_id() -> str:
    """A new identifier; later ones sort after earlier ones (to the millisecond)."""
    return str(ULID())


def is_id(value: str) -> bool:
    """Whether the text is a canonical identifier."""
    return _ULID.fullmatch(value) is not None
