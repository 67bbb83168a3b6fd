# SPDX-License-Identifier: Apache-2.0
"""The first tables."""

import sqlalchemy as sa
from alembic import op
from giaoban_kit.outbox import create_tables_v1

revision, down_revision = "0001", None


def upgrade() -> None:
    create_tables_v1(op)
    op.create_table(
        "notes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
    )
