# SPDX-License-Identifier: Apache-2.0
"""Errors as people and programs see them: RFC 9457 problem documents. The only place that renders them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from giaoban_kit.errors import ErrorKind, Exhausted, FieldViolation, GiaobanError, Invalid, Unavailable
from giaoban_kit.logging import get_logger
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

_STATUS_OF_REASON = {"MEETING_CHANGED": 412, "IF_MATCH_REQUIRED": 428, "BODY_TOO_LARGE": 413}
"""Reasons with a more exact status of their own (RFC 9110, RFC 6585)."""

_HTTP_REASONS = {
    404: "PATH_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "MEDIA_TYPE_WRONG",
}

log = get_logger(__name__)


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
    headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def from_error(error: GiaobanError) -> Response:
    """The problem of an error; what is internal stays inside."""
    status = _STATUS_OF_REASON.get(error.reason, STATUS[error.kind])
    if error.kind is ErrorKind.INTERNAL:
        return problem(500, "INTERNAL", "Something went wrong on our side. Tell your operator the trace id.")
    violations = error.violations if isinstance(error, Invalid) else ()
    retry = error.retry_after if isinstance(error, Exhausted | Unavailable) else None
    return problem(
        status,
        error.reason,
        error.detail,
        errors=violations,
        metadata=error.metadata,
        retry_after=retry.total_seconds() if retry else None,
    )


def from_validation(error: RequestValidationError) -> Response:
    """A payload of the wrong shape: 422 with a line for each field."""
    violations = [
        FieldViolation(_field(each["loc"]), _reason(each["type"]), _remedy(each)) for each in error.errors()
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
        response = problem(error.status_code, reason, str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> Response:
        log.error("request_failed", exc_info=error)
        return problem(500, "INTERNAL", "Something went wrong on our side. Tell your operator the trace id.")


def _field(location: Sequence[Any]) -> str:
    parts = [str(each) for each in location if each not in ("body", "query", "path", "header")]
    return ".".join(parts) or "body"


def _reason(kind: str) -> str:
    return re.sub(r"[^A-Z]+", "_", kind.upper())


def _remedy(error: Mapping[str, Any]) -> str:
    text = str(error["msg"])
    return text[:1].upper() + text[1:] + "."
