# SPDX-License-Identifier: Apache-2.0
"""Owns the way to PostgreSQL: engine, one transaction per use case, migrations, page tokens."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection, MetaData, Table, event, make_url, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel.ext.asyncio.session import AsyncSession

from giaoban_kit.config import ServiceConfig, read_secret
from giaoban_kit.errors import Conflict, FieldViolation, GiaobanError, Invalid, Unavailable

STATEMENT_SECONDS = 30.0
CONNECT_SECONDS = 5.0
FRESH_SECONDS = 10.0
"""How long after its last use a connection is trusted. A closed one is known at once; this is for a silent peer."""
MIGRATION_LOCK = 0x6769616F62616E  # "giaoban"; advisory, per database
MAX_PAGE_TOKEN = 1024
_RACES = {"40001", "40P01"}  # serialization_failure, deadlock_detected


def new_metadata() -> MetaData:
    """Metadata whose constraint names can be relied on: `uq_<table>_<column>` and so on."""
    return MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


@dataclass(frozen=True)
class Database:
    """One service's database."""

    engine: AsyncEngine
    url: URL
    reader: AsyncEngine
    """The same connections, without transactions."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Raises: Conflict if PostgreSQL chose this transaction to lose a race; Unavailable if it is not there.
        """
        with _translated():
            async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
                yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for statements of which each is its own transaction: no BEGIN, no COMMIT to wait for.

        At READ COMMITTED each statement of a transaction sees what is committed when it starts, so nothing is lost.
        Raises: as `transaction`.
        """
        with _translated():
            async with self.reader.connect() as connection:
                yield connection

    def dsn(self) -> str:
        """The address for a connection of one's own (LISTEN); contains the password."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _RACES:
            raise Conflict("Somebody else changed this at the same time. Try again.") from error
        if error.connection_invalidated:
            raise Unavailable("The database is not available.") from error
        raise
    except (ConnectionError, TimeoutError, PoolTimeoutError) as error:
        raise Unavailable("The database is not available.") from error


def _url(config: ServiceConfig) -> URL:
    url = make_url(config.database_url).set(drivername="postgresql+asyncpg")
    if config.database_password_file is not None:
        url = url.set(password=read_secret(config.database_password_file))
    return url


@asynccontextmanager
async def database(config: ServiceConfig) -> AsyncIterator[Database]:
    """The service's database; connects on first use, so that parts start in any order."""
    url = _url(config)
    engine = create_async_engine(
        url,
        pool_size=config.database_pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        hide_parameters=True,  # values never appear in errors
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {"application_name": f"giaoban-{config.service_name}"},
        },
    )
    _watch_connections(engine)
    try:
        yield Database(engine, url, engine.execution_options(isolation_level="AUTOCOMMIT"))
    finally:
        await engine.dispose()


def _watch_connections(engine: AsyncEngine) -> None:
    """Hands out no dead connection, as `pool_pre_ping` would, without its three round trips for every use.

    asyncpg reads all the time, so it knows of a closed connection; only one unused for long is asked.
    """

    def used(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    def alive(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        now = time.monotonic()
        if connection.driver_connection.is_closed():
            raise InvalidatePoolError
        if now - record.info.get("used", now) > FRESH_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except (DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
                raise InvalidatePoolError from error

    event.listen(engine.sync_engine, "checkin", used)
    event.listen(engine.sync_engine, "checkout", alive)


@asynccontextmanager
async def constraints(errors: Mapping[str, GiaobanError]) -> AsyncIterator[None]:
    """Turns the violation of a named constraint into its error; flush inside the block.

    The transaction is lost with it: let the error leave the transaction's block.
    """
    try:
        yield
    except IntegrityError as error:
        cause = getattr(error.orig, "__cause__", None)
        known = errors.get(str(getattr(cause, "constraint_name", None)))
        if known is None:
            raise
        raise known from error


def _alembic(package: str, connection: Connection | None = None) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    versions = Path(str(resources.files(package))) / "migrations" / "versions"
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config


async def migrate_database(config: ServiceConfig, package: str) -> None:
    """Brings the database to the newest revision in `<package>/migrations/versions`; safe to run twice at once."""

    def upgrade(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        command.upgrade(_alembic(package, connection), "head")

    async with database(config) as db, db.engine.begin() as connection:
        await connection.run_sync(upgrade)


async def schema_drift(db: Database, metadata: MetaData) -> list[str]:
    """What the tables in code have that the migrated database has not, and the reverse; empty is good."""

    def compare(connection: Connection) -> list[str]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(found) for found in compare_metadata(context, metadata)]

    async with db.engine.connect() as connection:
        return await connection.run_sync(compare)


@lru_cache
def upsert(table: Table) -> Insert:
    """The statement that adds a row or replaces the one with its primary key; made once for each table."""
    statement = insert(table)
    changed = {each.name: statement.excluded[each.name] for each in table.columns if not each.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed)


def encode_page_token(**cursor: str) -> str:
    """An opaque page token that carries where the next page begins."""
    data = json.dumps(cursor, ensure_ascii=False, sort_keys=True).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_page_token(token: str, *keys: str) -> dict[str, str] | None:
    """The cursor with exactly these keys; None for the first page.

    Raises: Invalid naming page_token. Treat the values as input: they come from the client.
    """
    if not token:
        return None
    cursor: object = None
    if len(token) <= MAX_PAGE_TOKEN:
        try:
            cursor = json.loads(
                base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            )
        except ValueError:
            cursor = None
    valid = isinstance(cursor, dict) and set(cursor) == set(keys)
    if (
        not valid
        or not isinstance(cursor, dict)
        or not all(isinstance(value, str) for value in cursor.values())
    ):
        violation = FieldViolation(
            "page_token", "PAGE_TOKEN_INVALID", "Give next_page_token of the page before."
        )
        raise Invalid("The page token is not valid.", violations=[violation])
    return cursor


def page_size(value: int, *, default: int = 50, max: int = 200) -> int:  # noqa: A002  (reads as the limit it is)
    """The page size to use; 0 means the default.

    Raises: Invalid naming page_size.
    """
    if value == 0:
        return default
    if not 1 <= value <= max:
        violation = FieldViolation("page_size", "OUT_OF_RANGE", f"Give a number from 1 to {max}.")
        raise Invalid("The page size is not valid.", violations=[violation])
    return value


async def ping(db: Database) -> None:
    """Asks the database for a sign of life."""
    async with asyncio.timeout(CONNECT_SECONDS), db.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


__all__: Sequence[str] = [
    "AsyncSession",
    "Database",
    "constraints",
    "database",
    "decode_page_token",
    "encode_page_token",
    "migrate_database",
    "new_metadata",
    "page_size",
    "ping",
    "schema_drift",
    "upsert",
]
