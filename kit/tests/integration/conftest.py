# SPDX-License-Identifier: Apache-2.0
"""A migrated database with outbox, inbox and one table with constraints."""

from collections.abc import AsyncIterator

import pytest_asyncio
import sqlalchemy as sa
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import Database, database, new_metadata
from giaoban_kit.outbox import add_tables

metadata = new_metadata()
add_tables(metadata)
notes = sa.Table(
    "notes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False, unique=True),
)


@pytest_asyncio.fixture
async def db(database_config: ServiceConfig) -> AsyncIterator[Database]:
    """A database with the tables above."""
    async with database(database_config) as opened:
        async with opened.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield opened
