# SPDX-License-Identifier: Apache-2.0
"""Owns the tables of the sample service."""

from giaoban_kit.db import constraints, new_metadata
from giaoban_kit.errors import Exists
from giaoban_kit.outbox import add_tables
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

metadata = new_metadata()
add_tables(metadata)


class NoteExists(Exists):
    reason = "NOTE_EXISTS"


class Row(SQLModel, registry=registry(metadata=metadata)):
    metadata = metadata


class NoteRow(Row, table=True):
    __tablename__ = "notes"
    id: str = Field(primary_key=True)
    text: str


class SqlNotes:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, note_id: str, text: str) -> None:
        self._session.add(NoteRow(id=note_id, text=text))
        async with constraints({"pk_notes": NoteExists("This note is there already.")}):
            await self._session.flush()
