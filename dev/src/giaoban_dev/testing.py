# SPDX-License-Identifier: Apache-2.0
"""Pytest fixtures with the real PostgreSQL, NATS and Janus, one of each per test session.

They need the network namespace of bin/in-netns, so that tests depend on no address or port of the machine.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.janus import JanusNode, JanusPorts, MqttEvents
from giaoban_dev.infra.nats import Nats, NatsPorts
from giaoban_dev.infra.postgres import Postgres

NODE_ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}
CLIENT_ADDRESS = "10.77.0.50"
POSTGRES_PORT = 17432
NATS_PORTS = NatsPorts(client=17422, mqtt=17483, monitor=17482)
JANUS_PORTS = {
    "a": JanusPorts(api=17188, admin=17189, rtp=(20000, 21999)),
    "b": JanusPorts(api=17288, admin=17289, rtp=(22000, 23999)),
}
_EVENT_LOOPS = 2


@pytest.fixture(scope="session")
def private_network() -> None:
    """Fail unless the tests run inside bin/in-netns."""
    if os.environ.get("GIAOBAN_IN_NETNS") != "1":
        pytest.fail("this test needs its own network: bin/in-netns .venv/bin/pytest ...", pytrace=False)


@pytest.fixture(scope="session")
def stack_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the state of the session's servers."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def credentials(stack_directory: Path) -> Credentials:
    """The session's generated secrets."""
    return Credentials(stack_directory / "secrets")


@pytest.fixture(scope="session")
async def postgres_server(
    private_network: None,  # noqa: ARG001 only its check is wanted
    stack_directory: Path,
    credentials: Credentials,
) -> AsyncIterator[Postgres]:
    """A running PostgreSQL; call `await postgres_server.ensure_database(name)` for a URL of your own."""
    directory = stack_directory / "postgres"
    async with Postgres(directory, port=POSTGRES_PORT, credentials=credentials, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
async def nats_server_with_accounts(
    private_network: None,  # noqa: ARG001 only its check is wanted
    stack_directory: Path,
    credentials: Credentials,
) -> AsyncIterator[Nats]:
    """A running NATS with the accounts of production; `nats.connect(**server.connect_options("media"))`."""
    async with Nats(stack_directory / "nats", ports=NATS_PORTS, credentials=credentials) as server:
        yield server


@pytest.fixture(scope="session")
async def janus_nodes(
    nats_server_with_accounts: Nats, stack_directory: Path, credentials: Credentials
) -> AsyncIterator[dict[str, JanusNode]]:
    """Two running Janus nodes, `a` and `b`, that publish their events to NATS.

    A test that stops or kills a node starts it again: `await janus_nodes["a"].start()`.
    """
    nodes = {
        name: JanusNode(
            name,
            stack_directory / f"janus-{name}",
            ports=JANUS_PORTS[name],
            media_ip=address,
            credentials=credentials,
            events=MqttEvents(
                port=NATS_PORTS.mqtt,
                username="janus",
                password=nats_server_with_accounts.password("janus"),
            ),
            event_loops=_EVENT_LOOPS,
        )
        for name, address in NODE_ADDRESSES.items()
    }
    try:
        for node in nodes.values():
            await node.start()
        yield nodes
    finally:
        for node in nodes.values():
            await node.stop()
