# SPDX-License-Identifier: Apache-2.0
"""The FastAPI application, put together; `main` gives it its services."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

from giaoban_gateway import problems
from giaoban_gateway.config import Config
from giaoban_gateway.live import endpoint
from giaoban_gateway.routes import auth, directory, meetings, notifications, operations, recordings
from giaoban_gateway.schemas.common import Problem
from giaoban_gateway.security import Guard
from giaoban_gateway.static import WebClient

DESCRIPTION = (
    "The public API of Giaoban. Errors are RFC 9457 problem documents; docs/errors.md lists the reasons."
)


def create_app(config: Config) -> FastAPI:
    """The application without its services (`app.state.services`), which only a running process has."""
    refused: dict[int | str, dict[str, Any]] = {
        "4XX": {
            "description": "Refused",
            "content": {problems.MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        },
        "5XX": {
            "description": "Failed",
            "content": {problems.MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        },
    }
    app = FastAPI(
        title="Giaoban",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        responses=refused,
        generate_unique_id_function=_operation_id,
    )
    problems.install(app)
    for each in (auth, directory, meetings, recordings, notifications, operations):
        app.include_router(each.router)
    app.include_router(endpoint.router)
    if config.web_directory is not None and config.web_directory.is_dir():
        app.mount("/", WebClient(config.web_directory))
    app.add_middleware(Guard, config=config)
    # No spans for receive and send: a WebSocket would drown the trace.
    app.add_middleware(
        OpenTelemetryMiddleware, excluded_urls="healthz,readyz", exclude_spans=["receive", "send"]
    )
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
