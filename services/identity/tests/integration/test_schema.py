# SPDX-License-Identifier: Apache-2.0
"""Identity's migrations."""

from giaoban_identity import store_secrets
from giaoban_identity.store_tables import metadata
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database, schema_drift


async def test_migrations_and_tables_agree(database_config: ServiceConfig) -> None:
    """The migrated database has exactly the tables of the code; migrating twice changes nothing."""
    assert store_secrets.SigningKeyRow.__table__.metadata is metadata  # type: ignore[attr-defined]
    for _ in range(2):
        await migrate_database(database_config, "giaoban_identity")
    async with database(database_config) as db:
        assert await schema_drift(db, metadata) == []
