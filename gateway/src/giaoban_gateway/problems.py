# SPDX-License-Identifier: Apache-2.0
"""Errors as people and programs see them: RFC 9457 problem documents. The only place that renders them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from giaoban_kit.errors import ErrorKind, Exhausted, FieldViolation, GiaobanError, Invalid, Unavailable
from opentelemetry import trace
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[ErrorKind, int] = {
    ErrorKind.INVALID: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.EXISTS: 409,
    ErrorKind.CONFLICT: 409,
    ErrorKind.PRECONDITION: 409,
    ErrorKind.EXHAUSTED: 429,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.DEADLINE: 504,
    ErrorKind.INTERNAL: 500,
}
"""One status for each kind."""

_STATUS_OF_REASON = {
    "MEETING_CHANGED": 412,
    "IF_MATCH_REQUIRED": 428,
    "BODY_TOO_LARGE": 413,
    "MEDIA_CAPACITY": 503,  # the system is full, not the caller too eager
}
"""Reasons with a more exact status of their own (RFC 9110, RFC 6585)."""

_HTTP_REASONS = {
    400: "BODY_INVALID",
    404: "PATH_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "MEDIA_TYPE_WRONG",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

MAX_VIOLATIONS = 100
MAX_FIELD_CHARACTERS = 200
RETRY_SECONDS = 2.0
"""When to come again if a part that is not there says nothing about it."""

_AWAY = "A part of the system does not answer at this moment. Try again."


def problem(
    status: int,
    reason: str,
    detail: str,
    *,
    errors: Sequence[FieldViolation] = (),
    metadata: Mapping[str, str] | None = None,
    retry_after: float | None = None,
) -> Response:
    """A problem document."""
    body: dict[str, Any] = dict(metadata or {})
    body |= {
        "type": f"/problems/{reason.lower().replace('_', '-')}",
        "title": reason.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        body["trace_id"] = f"{span.trace_id:032x}"
    if errors:
        body["errors"] = [
            {"field": each.field, "reason": each.reason, "remedy": each.remedy} for each in errors
        ]
    headers = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def from_error(error: GiaobanError) -> Response:
    """The problem of an error; what is internal stays inside."""
    status = _STATUS_OF_REASON.get(error.reason, STATUS[error.kind])
    if error.reason == "CANCELLED":  # what gRPC says when a server stops under a call
        status = 503
    elif error.kind is ErrorKind.INTERNAL:
        return internal()
    away = status in (503, 504) and error.kind is not ErrorKind.EXHAUSTED
    # Reasons of our own come with a text for people; gRPC's own texts name addresses.
    named = error.reason not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
    retry = error.retry_after if isinstance(error, Exhausted | Unavailable) else None
    return problem(
        status,
        error.reason if named or not away else _HTTP_REASONS[status],
        error.detail if named or not away else _AWAY,
        errors=error.violations if isinstance(error, Invalid) else (),
        metadata=error.metadata,
        retry_after=retry.total_seconds() if retry else RETRY_SECONDS if away else None,
    )


def internal() -> Response:
    """What nobody expected; the log has it under the trace id."""
    return problem(500, "INTERNAL", "Something went wrong on our side. Tell your operator the trace id.")


def from_validation(error: RequestValidationError) -> Response:
    """A payload of the wrong shape: 422 with a line for each field."""
    violations = [
        FieldViolation(_field(each["loc"]), _reason(each["type"]), _remedy(each))
        for each in error.errors()[:MAX_VIOLATIONS]
    ]
    return problem(422, "REQUEST_INVALID", "Correct the fields named in errors.", errors=violations)


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem document."""

    @app.exception_handler(GiaobanError)
    async def _giaoban(_: Request, error: GiaobanError) -> Response:
        return from_error(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> Response:
        return from_validation(error)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        reason = _HTTP_REASONS.get(error.status_code, "REQUEST_REFUSED")
        body = FieldViolation("body", reason, "Send well-formed JSON in UTF-8.")
        errors = [body] if error.status_code == 400 else []
        response = problem(error.status_code, reason, str(error.detail), errors=errors)
        response.headers.update(error.headers or {})
        return response


def _field(location: Sequence[Any]) -> str:
    place, *parts = location
    # A name that the client made up may hold what UTF-8 cannot (RFC 8259, section 8.2).
    name = ".".join(str(each) for each in parts).encode(errors="replace").decode()
    return name[:MAX_FIELD_CHARACTERS] or str(place)


def _reason(kind: str) -> str:
    return re.sub(r"[^A-Z]+", "_", kind.upper())


def _remedy(error: Mapping[str, Any]) -> str:
    text = str(error["msg"])
    return text[:1].upper() + text[1:] + "."
