# SPDX-License-Identifier: Apache-2.0
"""The inbox of users and the mails on their way."""

import sqlalchemy as sa
from alembic import op
from giaoban_kit.outbox import create_tables_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    create_tables_v1(op)
    op.create_table(
        "delivery",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "event_id", "user_id", "channel", name=op.f("uq_delivery_event_id_user_id_channel")
        ),
    )
    op.create_index(
        "ix_delivery_due", "delivery", ["next_attempt_at"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_table(
        "notification",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("meeting_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("event_id", "user_id", name=op.f("uq_notification_event_id_user_id")),
    )
    op.create_index("ix_notification_page", "notification", ["user_id", "id"])
    op.create_index(
        "ix_notification_unread", "notification", ["user_id"], postgresql_where=sa.text("read_at IS NULL")
    )
