# SPDX-License-Identifier: Apache-2.0
"""Owns the collecting of field violations, so that a caller learns of all mistakes at once."""

import unicodedata

from giaoban_kit.errors import FieldViolation, Invalid
from giaoban_kit.ids import is_id

_DIRECTION = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # make a name read as another


class Violations:
    """Collects what is wrong with a request; every check returns the cleaned value."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def require(self, condition: bool, field: str, reason: str, remedy: str) -> None:
        """Notes a violation unless the condition holds."""
        if not condition:
            self._found.append(FieldViolation(field, reason, remedy))

    def text(self, field: str, value: str, *, max: int, min: int = 0, multiline: bool = False) -> str:  # noqa: A002  (reads as the limit it is)
        """The text in NFC without surrounding space; `min` and `max` count characters after that."""
        clean = unicodedata.normalize("NFC", value).strip()
        allowed = "\n\t" if multiline else ""
        bad = any(
            (unicodedata.category(char) in {"Cc", "Cs"} and char not in allowed) or char in _DIRECTION
            for char in clean
        )
        self.require(not bad, field, "CONTROL_CHARACTER", "Remove the control characters.")
        if min and not clean:
            self.require(False, field, "REQUIRED", "Fill in this field.")
        else:
            self.require(len(clean) >= min, field, "TOO_SHORT", f"Use at least {min} characters.")
        self.require(len(clean) <= max, field, "TOO_LONG", f"Use at most {max} characters.")
        return clean

    def id(self, field: str, value: str) -> str:
        """The identifier in canonical form."""
        self.require(is_id(value), field, "NOT_AN_ID", "Give an identifier as the system issued it.")
        return value

    def number(self, field: str, value: int, *, min: int, max: int) -> int:  # noqa: A002  (reads as the limit it is)
        """The number, within its bounds."""
        self.require(min <= value <= max, field, "OUT_OF_RANGE", f"Give a number from {min} to {max}.")
        return value

    def raise_if_any(self, error: type[Invalid] = Invalid) -> None:
        """Refuses the request if anything was found.

        Raises: `error` with every violation; its detail names the first fields.
        """
        if self._found:
            named = ", ".join(dict.fromkeys(violation.field for violation in self._found[:5]))
            raise error(f"Please correct: {named}. {self._found[0].remedy}", violations=self._found)
