# SPDX-License-Identifier: Apache-2.0
"""Searching by the beginnings of words: nothing but letters and digits in them, and an index of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = {"site": "site_words", "user_account": "user_account_words"}


def upgrade() -> None:
    """Separates the words that punctuation joined, as the code does it from now on, and makes the indexes."""
    for table, index in TABLES.items():
        op.execute(
            f"UPDATE {table} SET search_text = trim(regexp_replace(search_text, '[^[:alnum:]]+', ' ', 'g')) "  # noqa: S608
            "WHERE search_text ~ '[^[:alnum:] ]'"
        )
        op.create_index(
            index,
            table,
            [sa.text("array_to_tsvector(string_to_array(search_text, ' '))")],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
