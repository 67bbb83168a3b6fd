# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N818  (errors are named as the facts they state)
"""Owns the one internal error. Knows nothing of transports: `status` and the gateway map it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


class ErrorKind(enum.Enum):
    """What went wrong, one-to-one with a gRPC status code (see `status.CODES`)."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    EXISTS = "exists"
    CONFLICT = "conflict"  # a lost race: read again and retry
    PRECONDITION = "precondition"  # the state forbids it: retrying does not help
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    INTERNAL = "internal"


@dataclass(frozen=True)
class FieldViolation:
    """One refused field: its path (`items[2].name`), a machine-readable reason, what to do about it."""

    field: str
    reason: str
    remedy: str


class GiaobanError(Exception):
    """An error with a kind, a machine-readable reason, a text for people and public metadata.

    `detail` and `metadata` of every kind but INTERNAL reach end users: no secrets, no mail addresses.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    reason: str = "INTERNAL"

    def __init__(self, detail: str, **metadata: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.metadata = metadata


class Invalid(GiaobanError):
    """The request itself is wrong; `violations` name the fields."""

    kind = ErrorKind.INVALID
    reason = "INVALID_ARGUMENT"

    def __init__(self, detail: str, violations: Sequence[FieldViolation] = (), **metadata: str) -> None:
        super().__init__(detail, **metadata)
        self.violations = tuple(violations)


class Unauthenticated(GiaobanError):
    """Nobody, or nobody we believe."""

    kind = ErrorKind.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class Forbidden(GiaobanError):
    """Known, but not allowed."""

    kind = ErrorKind.FORBIDDEN
    reason = "FORBIDDEN"


class NotFound(GiaobanError):
    """Not there, or not to be seen by this caller."""

    kind = ErrorKind.NOT_FOUND
    reason = "NOT_FOUND"


class Exists(GiaobanError):
    """There already."""

    kind = ErrorKind.EXISTS
    reason = "ALREADY_EXISTS"


class Conflict(GiaobanError):
    """Somebody else was faster; read again."""

    kind = ErrorKind.CONFLICT
    reason = "CONFLICT"


class Precondition(GiaobanError):
    """The state of things forbids it."""

    kind = ErrorKind.PRECONDITION
    reason = "PRECONDITION_FAILED"


class _Retryable(GiaobanError):
    def __init__(self, detail: str, retry_after: timedelta | None = None, **metadata: str) -> None:
        super().__init__(detail, **metadata)
        self.retry_after = retry_after


class Exhausted(_Retryable):
    """A limit is reached."""

    kind = ErrorKind.EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"


class Unavailable(_Retryable):
    """A part is not there now; the only kind that is retried by itself."""

    kind = ErrorKind.UNAVAILABLE
    reason = "UNAVAILABLE"


class DeadlineExceeded(GiaobanError):
    """It took longer than allowed."""

    kind = ErrorKind.DEADLINE
    reason = "DEADLINE_EXCEEDED"


class Internal(GiaobanError):
    """Our fault; the detail never leaves the service."""

    kind = ErrorKind.INTERNAL
    reason = "INTERNAL"


BASES: dict[ErrorKind, type[GiaobanError]] = {
    cls.kind: cls
    for cls in (
        Invalid,
        Unauthenticated,
        Forbidden,
        NotFound,
        Exists,
        Conflict,
        Precondition,
        Exhausted,
        Unavailable,
        DeadlineExceeded,
        Internal,
    )
}
"""The class of each kind: what a caller gets back from a remote service."""
