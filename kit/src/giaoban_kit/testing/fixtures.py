# SPDX-License-Identifier: Apache-2.0
"""Owns the pytest fixtures of the testing kit: `pytest_plugins = ["giaoban_kit.testing.fixtures"]`."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.js import JetStreamContext
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import make_url

from giaoban_kit.config import ServiceConfig
from giaoban_kit.events import connect_nats
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import ServiceKeys, UserTokens, make_service_keys
from giaoban_kit.testing.servers import NatsServer, nats_server, postgres_server


@pytest.fixture(scope="session")
def service_keys(tmp_path_factory: pytest.TempPathFactory) -> ServiceKeys:
    """Keys of every service, in files."""
    return make_service_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def user_tokens() -> UserTokens:
    """An issuer of access tokens."""
    return UserTokens()


@pytest.fixture
def nats_process(tmp_path: Path) -> Iterator[NatsServer]:
    """A real nats-server with JetStream, empty; may be killed and started again."""
    with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def nats_url(nats_process: NatsServer) -> str:
    """The address of the nats-server."""
    return nats_process.url


@pytest_asyncio.fixture
async def nats(nats_url: str) -> AsyncIterator[Client]:
    """A connection to the nats-server."""
    async with connect_nats(ServiceConfig(service_name="test", nats_url=nats_url)) as client:
        yield client


@pytest.fixture
def js(nats: Client) -> JetStreamContext:
    """JetStream on that connection."""
    return nats.jetstream()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL, one for the whole session."""
    # Not in pytest's own folder: every session that starts takes the server's user's access to it away.
    with tempfile.TemporaryDirectory(prefix="giaoban-") as directory, postgres_server(Path(directory)) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """The address of a new, empty database."""
    name = f"test_{new_id().lower()}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(postgres_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _apart(execute(f'CREATE DATABASE "{name}"'))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    _apart(execute(f'DROP DATABASE "{name}" WITH (FORCE)'))


def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Runs it on a loop of its own: the fixture serves tests with and without one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


@pytest.fixture
def database_config(database_url: str) -> ServiceConfig:
    """A configuration that names a new, empty database."""
    return ServiceConfig(service_name="test", database_url=database_url)


_exporter = InMemorySpanExporter()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The spans that end during the test: `spans.get_finished_spans()`."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_exporter))
        trace.set_tracer_provider(provider)
    _exporter.clear()
    yield _exporter
    _exporter.clear()
