# SPDX-License-Identifier: Apache-2.0
"""The FastAPI application, put together; `main` gives it its services."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from giaoban_gateway import problems
from giaoban_gateway.config import Config
from giaoban_gateway.live import endpoint
from giaoban_gateway.routes import auth, directory, meetings, notifications, operations, recordings
from giaoban_gateway.schemas.common import Problem
from giaoban_gateway.security import Guard
from giaoban_gateway.static import WebClient
from giaoban_gateway.tracing import Traced

DESCRIPTION = (
    "The public API of Giaoban. Errors are RFC 9457 problem documents; docs/errors.md lists the reasons."
)


class _Giaoban(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The description of the API, with the one shape of every error."""
        if self.openapi_schema is None:
            description = super().openapi()
            description["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return super().openapi()


def create_app(config: Config) -> FastAPI:
    """The application without its services (`app.state.services`), which only a running process has."""
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refused: dict[int | str, dict[str, Any]] = {
        "4XX": {"description": "Refused", "content": content},
        "5XX": {"description": "Failed", "content": content},
    }
    app = _Giaoban(
        title="Giaoban",
        version="1",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=refused,
        generate_unique_id_function=_operation_id,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # `Traced` keeps queries out; this would not
    )
    problems.install(app)
    for each in (auth, directory, meetings, recordings, notifications, operations):
        app.include_router(each.router)
    app.include_router(endpoint.router)
    if config.web_directory is not None and config.web_directory.is_dir():
        app.router.default = WebClient(config.web_directory, app.router.default)
    app.add_middleware(Guard, config=config)
    app.add_middleware(Traced)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
