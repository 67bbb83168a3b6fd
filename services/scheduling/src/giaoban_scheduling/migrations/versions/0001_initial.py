# SPDX-License-Identifier: Apache-2.0
"""Meetings, appointments, bookings, admissions, stays, idempotency keys, outbox and inbox."""

import sqlalchemy as sa
from alembic import op
from giaoban_kit.outbox import create_tables_v1
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def _id(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)  # type: ignore[arg-type]


def _party(*, nullable: bool = False) -> list[sa.Column[str]]:
    names = ("party_kind", "party_id", "name", "office", "unit_id", "unit_name", "role")
    return [_text(name, nullable=nullable) for name in names]


def _of_meeting(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["meeting_id"], ["meeting.id"], name=op.f(f"fk_{table}_meeting_id"))


def upgrade() -> None:
    """Creates the tables."""
    # GiST compares ranges out of the box, but plain text only with an extension (btree_gist) that not every
    # server has: the constraint below sees a site as the range from itself to itself.
    op.execute('CREATE TYPE site_range AS RANGE (subtype = text, collation = "C")')
    create_tables_v1(op)
    op.create_table(
        "meeting",
        _id("id"),
        _text("organisation_id"),
        _text("unit_id"),
        _text("unit_name"),
        _text("title"),
        _text("description"),
        _time("start_time"),
        _time("end_time"),
        _text("time_zone"),
        _text("microphone_policy"),
        _text("created_by"),
        _time("created_at"),
        _time("updated_at"),
        _text("status"),
        _time("actual_start", nullable=True),
        _time("actual_end", nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        _text("cancel_reason"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meeting")),
        sa.CheckConstraint("end_time > start_time", name=op.f("ck_meeting_end_after_start")),
    )
    op.create_index(
        "ix_meeting_organisation_id_start_time", "meeting", ["organisation_id", "start_time", "id"]
    )
    op.create_index(
        "ix_meeting_running", "meeting", ["end_time"], postgresql_where=sa.text("status = 'running'")
    )
    op.create_table(
        "appointment",
        _id("id"),
        _id("meeting_id"),
        sa.Column("position", sa.Integer(), nullable=False),
        *_party(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appointment")),
        _of_meeting("appointment"),
        sa.UniqueConstraint(
            "meeting_id", "party_kind", "party_id", name=op.f("uq_appointment_meeting_id_party_kind_party_id")
        ),
    )
    op.create_index("ix_appointment_party_kind_party_id", "appointment", ["party_kind", "party_id"])
    op.create_index(
        "uq_appointment_chair",
        "appointment",
        ["meeting_id"],
        unique=True,
        postgresql_where=sa.text("role = 'chair'"),
    )
    op.create_table(
        "booking",
        _id("meeting_id"),
        _id("site_id"),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.PrimaryKeyConstraint("meeting_id", "site_id", name=op.f("pk_booking")),
        _of_meeting("booking"),
        postgresql.ExcludeConstraint(
            (sa.text("site_range(site_id, site_id, '[]')"), "="),
            ("during", "&&"),
            name="ex_booking_site_id_during",
            using="gist",
        ),
    )
    op.create_table(
        "admission",
        _id("id"),
        _id("meeting_id"),
        *_party(),
        _text("state"),
        _time("requested_at"),
        _text("participant_id"),
        _text("decision", nullable=True),
        _text("decided_by", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admission")),
        _of_meeting("admission"),
        sa.UniqueConstraint(
            "meeting_id", "party_kind", "party_id", name=op.f("uq_admission_meeting_id_party_kind_party_id")
        ),
        sa.UniqueConstraint("participant_id", name=op.f("uq_admission_participant_id")),
    )
    op.create_table(
        "presence",
        _id("meeting_id"),
        _id("id"),
        _text("participant_id"),
        *_party(nullable=True),
        _time("joined_at", nullable=True),
        _time("left_at", nullable=True),
        sa.PrimaryKeyConstraint("meeting_id", "id", name=op.f("pk_presence")),
        _of_meeting("presence"),
    )
    op.create_table(
        "idempotency_key",
        _text("organisation_id"),
        _text("caller_id"),
        _text("key"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _text("meeting_id"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("organisation_id", "caller_id", "key", name=op.f("pk_idempotency_key")),
    )
