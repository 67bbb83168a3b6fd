# SPDX-License-Identifier: Apache-2.0
"""Owns the two-way map between GiaobanError and google.rpc.Status (https://google.aip.dev/193)."""

from collections.abc import Iterable
from datetime import timedelta

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from giaoban_kit.errors import (
    BASES,
    ErrorKind,
    Exhausted,
    FieldViolation,
    GiaobanError,
    Internal,
    Invalid,
    Unavailable,
)

DETAILS_KEY = "grpc-status-details-bin"
HIDDEN_DETAIL = "Something went wrong on our side."

CODES: dict[ErrorKind, grpc.StatusCode] = {
    ErrorKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.CONFLICT: grpc.StatusCode.ABORTED,
    ErrorKind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
}
KINDS = {code: kind for kind, code in CODES.items()}


def to_status(error: GiaobanError, service: str) -> status_pb2.Status:
    """The error as it travels; the detail and metadata of INTERNAL stay behind."""
    internal = error.kind is ErrorKind.INTERNAL
    status = status_pb2.Status(
        code=CODES[error.kind].value[0], message=HIDDEN_DETAIL if internal else error.detail
    )
    details = [
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=f"{service}.giaoban", metadata={} if internal else error.metadata
        )
    ]
    _pack(status, details)
    if isinstance(error, Invalid) and error.violations:
        bad = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field=found.field, reason=found.reason, description=found.remedy
                )
                for found in error.violations
            ]
        )
        _pack(status, [bad])
    if isinstance(error, Exhausted | Unavailable) and error.retry_after is not None:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromTimedelta(error.retry_after)
        _pack(status, [info])
    return status


def _pack(status: status_pb2.Status, messages: Iterable[object]) -> None:
    for message in messages:
        packed = any_pb2.Any()
        packed.Pack(message)  # type: ignore[arg-type]
        status.details.append(packed)


def from_status(
    code: grpc.StatusCode, message: str | None, trailing: Iterable[tuple[str, str | bytes]] | None
) -> GiaobanError:
    """The error a server meant: an instance of the kind's class, with the server's reason kept.

    Codes we never send (UNKNOWN, UNIMPLEMENTED, CANCELLED, ...) become Internal with the code as reason.
    """
    status = status_pb2.Status()
    for key, value in trailing or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            status.ParseFromString(value)
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    retry_after: timedelta | None = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
    kind = KINDS.get(code)
    text, metadata = message or "", dict(info.metadata)
    error: GiaobanError
    if kind is None:
        error = Internal(text or code.name)
        error.reason = code.name
        return error
    if kind is ErrorKind.INVALID:
        violations = [FieldViolation(f.field, f.reason, f.description) for f in bad.field_violations]
        error = Invalid(text, violations)
    elif kind is ErrorKind.EXHAUSTED:
        error = Exhausted(text, retry_after)
    elif kind is ErrorKind.UNAVAILABLE:
        error = Unavailable(text, retry_after)
    else:
        error = BASES[kind](text)
    error.metadata = metadata
    if info.reason:
        error.reason = info.reason
    return error
