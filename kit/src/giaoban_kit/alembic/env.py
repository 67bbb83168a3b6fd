# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001  (alembic runs this file, nobody imports it)
"""Owns how alembic runs a service's migrations: on the connection that `db.migrate_database` locked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
