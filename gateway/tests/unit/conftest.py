# SPDX-License-Identifier: Apache-2.0
"""The application without a network: requests go straight into it, the services behind it are scripted."""

import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import structlog
from giaoban_gateway.app import create_app
from giaoban_gateway.config import Config
from giaoban_gateway.limits import Limiter
from giaoban_gateway.services import Services
from giaoban_kit.logging import configure_logging
from giaoban_kit.testing.keys import UserTokens
from giaoban_kit.tokens import TokenVerifier

ORIGIN = "http://localhost:8080"


class Part:
    """A service of which the test says what its RPCs return or raise; any other call fails the test."""

    def __init__(self) -> None:
        self.script: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        async def call(request: Any, **_: Any) -> Any:
            self.asked.append((rpc, request))
            found = self.script[rpc]
            if isinstance(found, Exception):
                raise found
            return found

        return call


application = cache(create_app)
"""Putting the application together takes longer than a test: once for each configuration."""


class Door:
    """The application and what stands behind it."""

    def __init__(self, config: Config) -> None:
        self.parts = {
            name: Part() for name in ("identity", "scheduling", "media", "recording", "notifications")
        }
        self.tokens = UserTokens()
        self.app = application(config)
        self.app.state.services = Services(
            config=config,
            verifier=TokenVerifier(self.tokens.jwks),
            tickets=cast("Any", None),
            capacity=cast("Any", None),
            hub=cast("Any", None),
            auth_limit=Limiter(config.auth_requests_per_minute),
            refresh_limit=Limiter(config.refreshes_per_minute),
            refresh_address_limit=Limiter(config.refreshes_per_address_per_minute),
            user_limit=Limiter(config.requests_per_minute),
            **cast("Any", self.parts),
        )
        # Errors are the application's to answer: one that it lets through is answered by nobody.
        transport = httpx.ASGITransport(self.app, client=("203.0.113.9", 4711))
        self.web = httpx.AsyncClient(transport=transport, base_url=ORIGIN)

    @property
    def asked(self) -> list[tuple[str, Any]]:
        """Every call that reached a service."""
        return [each for part in self.parts.values() for each in part.asked]

    def bearer(self, **claims: Any) -> dict[str, str]:
        """The header of a signed-in user."""
        return {"Authorization": f"Bearer {self.tokens.token(**claims)}"}


@pytest.fixture(autouse=True)
def logged() -> Iterator[io.StringIO]:
    """What is logged during the test, as the running process would write it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("gateway", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture
def settings() -> dict[str, Any]:
    """Configuration of `door`; tests override it."""
    return {}


@pytest.fixture(scope="session")
def web_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built web client, with a secret beside it."""
    around = tmp_path_factory.mktemp("house")
    built = around / "web"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<title>Giaoban</title>")
    (built / "favicon.svg").write_text("<svg/>")
    (built / "assets" / "app-1a2b3c.js").write_text("export {}")
    (around / "secret.txt").write_text("secret")
    return built


@pytest.fixture
async def door(settings: dict[str, Any]) -> AsyncIterator[Door]:
    """The application with scripted services."""
    found = Door(Config(**settings))
    async with found.web:
        yield found
