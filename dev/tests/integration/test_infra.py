# SPDX-License-Identifier: Apache-2.0
"""The real servers of the stack: they start, keep each service in its place, and stop without a trace."""

import asyncio
import json
from pathlib import Path

import asyncpg
import nats
import nats.errors
import pytest
from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import PortTakenError
from giaoban_dev.infra.janus import JanusNode
from giaoban_dev.infra.nats import Nats
from giaoban_dev.infra.postgres import HOST, Postgres


async def test_postgres_gives_each_service_its_own_database(postgres_server: Postgres) -> None:
    """A service works in its own database and is refused in another's."""
    own = await postgres_server.ensure_database("alpha")
    await postgres_server.ensure_database("beta")
    connection = await asyncpg.connect(own, ssl=False)
    await connection.execute("CREATE TABLE t (name text); INSERT INTO t VALUES ('Bình Tân')")
    assert await connection.fetchval("SELECT upper(name) FROM t") == "BÌNH TÂN"
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(own.removesuffix("alpha") + "beta", ssl=False)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=HOST, port=postgres_server.port, user="alpha", password="x", database="alpha", ssl=False
        )


async def test_postgres_keeps_its_data_over_a_restart(postgres_server: Postgres) -> None:
    """What was committed is there after a stop and a start."""
    url = await postgres_server.ensure_database("gamma")
    connection = await asyncpg.connect(url, ssl=False)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (7)")
    await connection.close()
    await postgres_server.stop()
    await postgres_server.start()
    assert await postgres_server.ensure_database("gamma") == url
    connection = await asyncpg.connect(url, ssl=False)
    assert await connection.fetchval("SELECT n FROM kept") == 7
    await connection.close()


async def test_a_taken_port_is_named_with_its_remedy(
    postgres_server: Postgres, tmp_path: Path, credentials: Credentials
) -> None:
    """A second server on the same port says which port, who holds it, and what to set."""
    second = Postgres(tmp_path, port=postgres_server.port, credentials=credentials)
    with pytest.raises(
        PortTakenError, match=rf"{postgres_server.port}.*postgres, pid \d+.*GIAOBAN_DEV_POSTGRES_PORT"
    ):
        await second.start()


async def test_a_service_cannot_publish_on_anothers_subject(nats_server_with_accounts: Nats) -> None:
    """NATS drops and reports an event published under another service's name."""
    refused: asyncio.Queue[Exception] = asyncio.Queue()
    client = await nats.connect(**nats_server_with_accounts.connect_options("media"), error_cb=refused.put)
    admin = await nats.connect(**nats_server_with_accounts.connect_options("dev"))
    seen = await admin.subscribe("giaoban.>")
    await admin.flush()
    await client.publish("giaoban.scheduling.v1.meeting.ended.1", b"false")
    await client.publish("giaoban.media.v1.room.opened.1", b"true")
    await client.flush()
    assert "permissions violation" in str(await asyncio.wait_for(refused.get(), 5)).lower()
    message = await seen.next_msg(timeout=5)
    assert message.data == b"true"
    with pytest.raises(nats.errors.TimeoutError):
        await seen.next_msg(timeout=0.2)
    await client.close()
    await admin.close()


async def test_a_bucket_is_written_by_its_owner_and_watched_by_its_reader(
    nats_server_with_accounts: Nats,
) -> None:
    """media writes the live state, gateway watches it and may not write it."""
    media = await nats.connect(**nats_server_with_accounts.connect_options("media"))
    bucket = await media.jetstream().create_key_value(bucket="media-live", direct=True)
    revision = await bucket.create("room.1", b"one")
    refused: asyncio.Queue[Exception] = asyncio.Queue()
    gateway = await nats.connect(**nats_server_with_accounts.connect_options("gateway"), error_cb=refused.put)
    view = await gateway.jetstream().key_value("media-live")
    watcher = await view.watchall()
    assert (await watcher.updates(timeout=5)).value == b"one"  # type: ignore[no-untyped-call]
    await bucket.update("room.1", b"two", revision)
    while (entry := await watcher.updates(timeout=5)) is None:  # type: ignore[no-untyped-call]
        pass
    assert entry.value == b"two"
    assert (await view.get("room.1")).value == b"two"
    with pytest.raises(nats.errors.TimeoutError):
        await gateway.request("$KV.media-live.room.1", b"forged", timeout=0.3)
    assert "permissions violation" in str(await asyncio.wait_for(refused.get(), 5)).lower()
    await watcher.stop()  # type: ignore[no-untyped-call]
    await gateway.close()
    await media.close()


async def test_an_event_reaches_the_durable_consumer_of_another_service(
    nats_server_with_accounts: Nats,
) -> None:
    """scheduling's stream is read by recording through a durable consumer, which it cannot delete."""
    owner = await nats.connect(**nats_server_with_accounts.connect_options("scheduling"))
    await owner.jetstream().add_stream(name="SCHEDULING", subjects=["giaoban.scheduling.>"])
    await owner.jetstream().publish(
        "giaoban.scheduling.v1.meeting.ended.1", b"x", headers={"Nats-Msg-Id": "event-1"}
    )
    reader = await nats.connect(**nats_server_with_accounts.connect_options("recording"), error_cb=_ignore)
    stream = reader.jetstream(timeout=1)
    consumer = await stream.pull_subscribe(
        "giaoban.scheduling.>", durable="recording-jobs", stream="SCHEDULING"
    )
    (message,) = await consumer.fetch(1, timeout=5)
    assert message.data == b"x"
    await message.ack_sync()
    with pytest.raises(nats.errors.TimeoutError):
        await stream.delete_consumer("SCHEDULING", "recording-jobs")
    with pytest.raises(nats.errors.TimeoutError):
        await stream.delete_stream("SCHEDULING")
    await reader.close()
    await owner.close()


async def _ignore(_: Exception) -> None:
    """Errors the test expects are not printed."""


async def test_janus_nodes_answer_and_tell_nats(
    janus_nodes: dict[str, JanusNode], nats_server_with_accounts: Nats
) -> None:
    """Both nodes are Janus 1.4 or newer with the house's plugins only, and a killed node's last will arrives."""
    for node in janus_nodes.values():
        info = await node.info()
        assert info["version"] >= 1400
        assert set(info["plugins"]) == {"janus.plugin.videoroom", "janus.plugin.streaming"}
        assert set(info["transports"]) == {"janus.transport.websockets"}
        assert info["ice-lite"] is True
    media = await nats.connect(**nats_server_with_accounts.connect_options("media"))
    status = await media.subscribe("janus.b.status")
    await media.flush()
    await janus_nodes["b"].kill()
    assert json.loads((await status.next_msg(timeout=5)).data) == {"event": "disconnected", "node": "b"}
    await janus_nodes["b"].start()
    assert json.loads((await status.next_msg(timeout=10)).data) == {"event": "connected", "node": "b"}
    await media.close()


async def test_the_nodes_secrets_are_for_their_owner_only(janus_nodes: dict[str, JanusNode]) -> None:
    """Configuration files hold secrets: mode 0400."""
    files = list((janus_nodes["a"].directory / "etc").iterdir())
    assert len(files) == 5
    assert {file.stat().st_mode & 0o777 for file in files} == {0o400}
