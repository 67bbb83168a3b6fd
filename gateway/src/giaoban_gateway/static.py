# SPDX-License-Identifier: Apache-2.0
"""The web client's files: hashed assets for ever, the page for every path the client routes by itself."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

API = frozenset({"v1", "healthz", "readyz", "openapi.json", "asyncapi.yaml", ".well-known"})
"""First segments of paths that are the API's, known or not."""

ASSETS = "assets/"


class WebClient(StaticFiles):
    """Serves a directory; unknown paths outside the API get the page."""

    def __init__(self, directory: Path, not_found: ASGIApp) -> None:
        """`directory` holds index.html; `not_found` answers for unknown paths of the API."""
        super().__init__(directory=directory, html=True)
        self._page = directory / "index.html"
        self._not_found = not_found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that no route wanted."""
        if scope["type"] != "http" or scope["path"].lstrip("/").partition("/")[0] in API:
            await self._not_found(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or the page."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or path.startswith(ASSETS):
                raise
            response = FileResponse(self._page)
        lasting = path.startswith(ASSETS)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if lasting else "no-cache"
        return response
