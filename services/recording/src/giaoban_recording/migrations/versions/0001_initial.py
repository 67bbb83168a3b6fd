# SPDX-License-Identifier: Apache-2.0
"""Recordings, names of participants, outbox and inbox."""

import sqlalchemy as sa
from alembic import op
from giaoban_kit.outbox import create_tables_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    create_tables_v1(op)
    op.create_table(
        "recording",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("unit_id", sa.String(), nullable=False),
        sa.Column("meeting_id", sa.String(), nullable=False),
        sa.Column("meeting_title", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("started_by", sa.String(), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stop_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("progress_percent", sa.Integer(), nullable=False),
        sa.Column("shipped_bytes", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recording")),
    )
    op.create_index(
        "uq_recording_meeting_id",
        "recording",
        ["meeting_id"],
        unique=True,
        postgresql_where=sa.text("state = 'capturing'"),
    )
    op.create_index("ix_recording_organisation_id_id", "recording", ["organisation_id", "id"])
    op.create_index("ix_recording_state", "recording", ["state"])
    op.create_table(
        "participant",
        sa.Column("meeting_id", sa.Text(collation="C"), nullable=False),
        sa.Column("participant_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("meeting_id", "participant_id", name=op.f("pk_participant")),
    )
