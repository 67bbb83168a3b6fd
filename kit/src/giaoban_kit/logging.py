# SPDX-License-Identifier: Apache-2.0
"""Owns what a log line looks like, and that no secret or mail address is in it."""

import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TextIO

import structlog
from opentelemetry import trace

REDACTED = "[redacted]"
MAX_DEPTH = 6  # of nested values; anything deeper is cut
_SECRET_KEY = re.compile(
    r"token|password|passwd|secret|authorization|cookie|ticket|sdp|e?mail|api_?key", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"eyJ[\w-]{4,}\.[\w-]*\.[\w-]*"  # a JWT (RFC 7519), even unsigned
    r"|[^\s@<>\"'=:/,;()\[\]]+@[^\s@<>\"'/,;()\[\]]+\.[^\s@<>\"'/,;()\[\]]+"  # a mail address
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # user:password in an address
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
)
_QUIET = (
    "nats",
    "asyncio",
    "alembic",
    "sqlalchemy",
    "grpc",
    "opentelemetry",
    "janus_client",
)  # warnings only

Logger = structlog.stdlib.BoundLogger


@lru_cache(maxsize=1024)  # keys are constants of the code, but for those of mappings from outside
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def redact(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911  (one per shape)
    """The value without anything that looks like a secret, by key or by shape."""
    if isinstance(value, str):
        # Text without any of these matches no branch of the expression, which is slow.
        suspect = "@" in value or "eyJ" in value or "-----BEGIN" in value
        return _SECRET_TEXT.sub(REDACTED, value) if suspect else value
    if isinstance(value, bool | int | float) or value is None:
        return value
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {
            str(key): REDACTED if _is_secret(str(key)) else redact(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return redact(str(value), depth + 1)


def _redacted(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    cleaned: structlog.typing.EventDict = redact(event)
    return cleaned


def _traced(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def configure_logging(service_name: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Sends every log record of the process, ours and the libraries', to `stream` (stdout) as JSON lines."""

    def named(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service_name
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        named,
        _traced,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,  # before redaction: tracebacks carry values
                _redacted,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    # What no line says is not looked up for it (logging's HOWTO, section Optimization).
    logging._srcfile = None  # noqa: SLF001  (its documented switch)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str = "giaoban") -> Logger:
    """A logger: `log.info("meeting_cancelled", meeting_id=...)`."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger
