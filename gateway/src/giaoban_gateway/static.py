# SPDX-License-Identifier: Apache-2.0
"""The web client's files: hashed assets for ever, the page for every path the client routes by itself."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

API_PREFIXES = ("v1/", "v1", "healthz", "readyz", "openapi.json", "asyncapi.yaml", ".well-known/")


class WebClient(StaticFiles):
    """Serves a directory; unknown paths outside the API get the page."""

    def __init__(self, directory: Path) -> None:
        """`directory` holds index.html."""
        super().__init__(directory=directory, html=True)
        self._page = directory / "index.html"

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or the page."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or path.startswith(API_PREFIXES):
                raise
            response = FileResponse(self._page)
        if path.startswith("assets/"):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "no-cache"
        return response
