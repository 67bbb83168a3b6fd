# SPDX-License-Identifier: Apache-2.0
"""Shapes that several resources share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Path, Query
from giaoban.identity.v1 import identity_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

T = TypeVar("T")
UNKNOWN = "unknown"
NO_NUL = r"^[^\x00]*$"
ULID_PATTERN = r"^[0-9A-HJKMNP-TV-Z]{26}$"

Id = Annotated[str, StringConstraints(pattern=ULID_PATTERN)]
PathId = Annotated[str, Path(pattern=ULID_PATTERN, description="ULID")]
PageSize = Annotated[int, Query(ge=1, le=200)]
PageToken = Annotated[str, Query(max_length=1024, pattern=NO_NUL)]
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time with its offset, near enough to be meant."""
PartyKind = Literal["user", "site", "unit"]
PartyKindWord = Literal[PartyKind, "unknown"]
"""What is told: a newer service may have a kind that this gateway has no word for."""


class Shape(BaseModel):
    """A body: unknown fields are refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("leave the NUL character out")
        return value


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_page_token: str | None = None


class Problem(BaseModel):
    """RFC 9457; `reason` is stable, `detail` is for people."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    reason: str
    trace_id: str | None = None
    errors: list[dict[str, str]] | None = Field(default=None, description="field, reason and remedy of each")


class PartyRef(Shape):
    """Somebody or something that can be invited."""

    kind: PartyKind
    id: Id

    def to_proto(self) -> identity_pb2.PartyRef:
        """As the wire has it."""
        return identity_pb2.PartyRef(
            kind=identity_pb2.PartyKind.Value(f"PARTY_KIND_{self.kind.upper()}"), id=self.id
        )


class Party(BaseModel):
    """A party with the names that people read."""

    kind: PartyKindWord
    id: str
    name: str
    office: str
    unit_id: str
    unit_name: str

    @classmethod
    def of(cls, party: identity_pb2.Party) -> Party:
        """From the wire."""
        return cls(
            kind=word(identity_pb2.PartyKind, party.ref.kind),
            id=party.ref.id,
            name=party.name,
            office=party.office,
            unit_id=party.unit_id,
            unit_name=party.unit_name,
        )


def word(enum: Any, value: int) -> Any:
    """The lower-case word of an enum's value, without the enum's prefix.

    A number that a newer service has added is "unknown", and so is one that was not given: every type that is
    made of such a word has that member, and an answer with something new in it is still an answer.
    """
    zero, *_ = enum.keys()
    if not value or value not in enum.values():
        return UNKNOWN
    return str(enum.Name(value)).removeprefix(str(zero).removesuffix("UNSPECIFIED")).lower()


def moment(message: Any, field: str) -> datetime | None:
    """A timestamp field; None when absent."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def timestamp(value: datetime) -> Timestamp:
    """A moment as the wire has it."""
    stamp = Timestamp()
    stamp.FromDatetime(value.astimezone(UTC))
    return stamp


def or_none(text: str) -> str | None:
    """The text, or None when empty."""
    return text or None
