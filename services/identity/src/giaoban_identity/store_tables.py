# SPDX-License-Identifier: Apache-2.0
"""Owns identity's tables for the directory; `store` asks them.

The tables of credentials, sessions, guesses and keys are in `store_secrets`; both share one MetaData.
"""

from typing import Any

import sqlalchemy as sa
from giaoban_kit.db import new_metadata
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

# Keys that are compared or paged by are sorted by code point, in the database as in Python.
BYTEWISE = "C"
metadata = new_metadata()


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Gives identity its own MetaData, so that services in one test process never share tables."""

    metadata = metadata


def bytewise(**options: Any) -> Any:
    """A text column that sorts by code point."""
    return Field(sa_column=sa.Column(sa.Text(collation=BYTEWISE), nullable=False, **options))


def words_of(search_text: Any) -> Any:
    """The words of a search text as PostgreSQL's text search compares them: as they are, in no language."""
    return sa.func.array_to_tsvector(sa.func.string_to_array(search_text, sa.literal_column("' '")))


def _words_index(name: str) -> sa.Index:
    # Without fastupdate: else a search after an import reads what was not sorted in yet.
    words = words_of(sa.literal_column("search_text"))
    return sa.Index(name, words, postgresql_using="gin", postgresql_with={"fastupdate": "off"})


class OrganisationRow(Base, table=True):
    __tablename__ = "organisation"
    id: str = Field(primary_key=True)
    code: str = Field(unique=True)
    name: str
    time_zone: str


class UnitRow(Base, table=True):
    __tablename__ = "unit"
    __table_args__ = (sa.UniqueConstraint("organisation_id", "code"),)
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    parent_id: str | None = Field(default=None, foreign_key="unit.id")
    code: str
    name: str
    position: int
    path: str = bytewise(index=True)


class UserRow(Base, table=True):
    __tablename__ = "user_account"
    __table_args__ = (
        sa.UniqueConstraint("organisation_id", "username"),
        sa.Index("user_account_page", "organisation_id", "sort_key", "id"),
        _words_index("user_account_words"),
    )
    id: str = bytewise(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    unit_id: str = Field(foreign_key="unit.id", index=True)
    username: str
    display_name: str
    office: str
    email: str
    locale: str
    active: bool
    sort_key: str = bytewise()
    search_text: str


class SiteRow(Base, table=True):
    __tablename__ = "site"
    __table_args__ = (
        sa.UniqueConstraint("organisation_id", "code"),
        sa.Index("site_page", "organisation_id", "sort_key", "id"),
        _words_index("site_words"),
    )
    id: str = bytewise(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    unit_id: str = Field(foreign_key="unit.id", index=True)
    code: str
    name: str
    kind: str
    active: bool
    sort_key: str = bytewise()
    search_text: str


class RoleRow(Base, table=True):
    __tablename__ = "role_assignment"
    user_id: str = Field(
        sa_column=sa.Column(
            sa.Text(collation=BYTEWISE), sa.ForeignKey("user_account.id"), primary_key=True, nullable=False
        )
    )
    unit_id: str = Field(foreign_key="unit.id", primary_key=True, index=True)
    role: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id")
