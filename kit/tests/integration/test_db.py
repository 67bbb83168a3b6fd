# SPDX-License-Identifier: Apache-2.0
"""Transactions, constraints, migrations and their drift, on a real PostgreSQL."""

import asyncio
import sys
from pathlib import Path
from textwrap import dedent

import asyncpg
import pytest
import sqlalchemy as sa
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import Database, constraints, database, migrate_database, new_metadata, ping, schema_drift
from giaoban_kit.errors import Conflict, Exists, Unavailable
from giaoban_kit.outbox import add_tables

INSERT = sa.text("INSERT INTO notes (id, text) VALUES (:id, :text)")


class NoteExists(Exists):
    reason = "NOTE_EXISTS"


async def write(db: Database, note_id: str, text: str) -> None:
    async with db.transaction() as session, constraints({"uq_notes_text": NoteExists("There already.")}):
        await (await session.connection()).execute(INSERT, {"id": note_id, "text": text})


async def count(db: Database, table: str = "notes") -> int:
    async with db.transaction() as session:
        return int(await (await session.connection()).scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)


async def test_a_transaction_commits_once_or_not_at_all(db: Database) -> None:
    """An exception in the block takes everything back."""
    await write(db, "1", "a")
    with pytest.raises(RuntimeError):
        async with db.transaction() as session:
            await (await session.connection()).execute(INSERT, {"id": "2", "text": "b"})
            raise RuntimeError
    assert await count(db) == 1


async def test_a_named_constraint_becomes_its_error(db: Database) -> None:
    """The unique text is ours; the primary key was not asked for and stays an internal matter."""
    await write(db, "1", "a")
    with pytest.raises(NoteExists):
        await write(db, "2", "a")
    with pytest.raises(sa.exc.IntegrityError) as raw:
        await write(db, "1", "b")
    assert "parameters hidden" in str(raw.value)
    assert await count(db) == 1


async def test_a_lost_race_is_a_conflict(db: Database) -> None:
    """Two transactions that lock each other out: PostgreSQL ends one, and it is told to try again."""
    await write(db, "1", "a")
    await write(db, "2", "b")
    lock = sa.text("SELECT 1 FROM notes WHERE id = :id FOR UPDATE")
    both = asyncio.Barrier(2)

    async def cross(first: str, second: str) -> None:
        async with db.transaction() as session:
            connection = await session.connection()
            await connection.execute(lock, {"id": first})
            await both.wait()
            await connection.execute(lock, {"id": second})

    results = await asyncio.gather(cross("1", "2"), cross("2", "1"), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [Conflict]


async def test_a_database_that_is_away_is_unavailable() -> None:
    """Callers learn that it is not their fault."""
    config = ServiceConfig(service_name="test", database_url="postgresql://x@127.0.0.1:1/x")
    async with database(config) as db:
        with pytest.raises(Unavailable):
            async with db.transaction() as session:
                await session.connection()


async def test_reading_sees_what_is_committed_and_takes_no_transaction(db: Database) -> None:
    """Each statement stands for itself, and the connections are those of transactions."""
    await write(db, "1", "a")
    look = sa.text("SELECT now(), count(*) FROM notes")  # now() is when the transaction began
    async with db.reading() as connection:
        began, notes = (await connection.execute(look)).one()
        assert notes == 1
        await write(db, "2", "b")
        began_later, notes = (await connection.execute(look)).one()
        assert notes == 2
    assert began_later > began
    assert db.reader.pool is db.engine.pool


@pytest.mark.parametrize("long_unused", [False, True])
async def test_a_connection_that_was_cut_is_not_handed_out(
    db: Database, monkeypatch: pytest.MonkeyPatch, long_unused: bool
) -> None:
    """The server ends all connections while they lie in the pool: the next use gets a new one."""
    if long_unused:
        monkeypatch.setattr("giaoban_kit.db.FRESH_SECONDS", 0.0)
    own = sa.text("SELECT pg_backend_pid()")
    async with db.reading() as first, db.reading() as second:
        pids = [await first.scalar(own), await second.scalar(own)]
    killer = await asyncpg.connect(db.dsn())
    await killer.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest($1::int[]) pid", pids)
    await killer.close()
    await asyncio.sleep(0.1)
    async with db.reading() as first, db.transaction() as second:
        assert await first.scalar(own) not in pids
        assert await (await second.connection()).scalar(own) not in pids


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with migrations, as a service has them."""
    versions = tmp_path / "kit_migrated" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "kit_migrated" / "__init__.py").touch()
    (versions / "0001_initial.py").write_text(
        dedent(
            """
            import sqlalchemy as sa
            from alembic import op
            from giaoban_kit.outbox import create_tables_v1
            revision, down_revision = "0001", None
            def upgrade() -> None:
                create_tables_v1(op)
                op.create_table(
                    "notes",
                    sa.Column("id", sa.Text, primary_key=True),
                    sa.Column("text", sa.Text, nullable=False),
                    sa.UniqueConstraint("text", name="uq_notes_text"),
                )
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield_name = "kit_migrated"
    sys.modules.pop(yield_name, None)
    return yield_name


async def test_migrations_make_the_tables_of_the_code(service: str, database_config: ServiceConfig) -> None:
    """Run twice at once and once more, they leave exactly what the metadata says."""
    from kit.tests.integration.conftest import metadata

    await asyncio.gather(
        migrate_database(database_config, service), migrate_database(database_config, service)
    )
    await migrate_database(database_config, service)
    async with database(database_config) as db:
        await ping(db)
        assert await schema_drift(db, metadata) == []


async def test_drift_is_told(service: str, database_config: ServiceConfig) -> None:
    """A column that only the code has, and a table that only the database has."""
    await migrate_database(database_config, service)
    changed = new_metadata()
    add_tables(changed)
    changed.tables["outbox"].append_column(sa.Column("forgotten", sa.Text))
    async with database(database_config) as db:
        drift = " ".join(await schema_drift(db, changed))
    assert "forgotten" in drift
    assert "notes" in drift
