# SPDX-License-Identifier: Apache-2.0
"""Organisations, units, users, sites, and the caller."""

from __future__ import annotations

from typing import Literal

from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as pb
from pydantic import BaseModel

from giaoban_gateway.schemas.common import UNKNOWN, Shape, or_none, word

Locale = Literal["vi", "en"]
Permission = Literal["convene", "oversee", "administer", "operate"]


class Organisation(BaseModel):
    """A tenant."""

    id: str
    code: str
    name: str
    time_zone: str


class Unit(BaseModel):
    """A node of the organisation's tree."""

    id: str
    parent_id: str | None
    code: str
    name: str
    position: int

    @classmethod
    def of(cls, unit: identity_pb2.Unit) -> Unit:
        """From the wire."""
        return cls(
            id=unit.id,
            parent_id=or_none(unit.parent_id),
            code=unit.code,
            name=unit.name,
            position=unit.position,
        )


class Site(BaseModel):
    """A place that takes part as one party."""

    id: str
    unit_id: str
    code: str
    name: str
    kind: Literal["fixed", "mobile", "unknown"]
    active: bool

    @classmethod
    def of(cls, site: identity_pb2.Site) -> Site:
        """From the wire."""
        return cls(
            id=site.id,
            unit_id=site.unit_id,
            code=site.code,
            name=site.name,
            kind=word(identity_pb2.SiteKind, site.kind),
            active=site.active,
        )


class User(BaseModel):
    """A person with an account; others' mail addresses are never told."""

    id: str
    unit_id: str
    username: str
    display_name: str
    office: str
    locale: Locale
    email: str | None = None

    @classmethod
    def of(cls, user: identity_pb2.User) -> User:
        """From the wire."""
        return cls(
            id=user.id,
            unit_id=user.unit_id,
            username=user.username,
            display_name=user.display_name,
            office=user.office,
            locale="en" if user.locale == identity_pb2.LOCALE_EN else "vi",
            email=or_none(user.email),
        )


class UnitPermissions(BaseModel):
    """What the caller may do in a unit and the units below."""

    unit_id: str
    permissions: list[Permission]


class Me(BaseModel):
    """The caller."""

    kind: Literal["user", "site"]
    user: User | None
    site: Site | None
    organisation: Organisation
    permissions: list[UnitPermissions]

    @classmethod
    def of(cls, me: pb.GetMeResponse) -> Me:
        """From the wire."""
        organisation = me.organisation
        return cls(
            kind="user" if me.HasField("user") else "site",
            user=User.of(me.user) if me.HasField("user") else None,
            site=Site.of(me.site) if me.HasField("site") else None,
            organisation=Organisation(
                id=organisation.id,
                code=organisation.code,
                name=organisation.name,
                time_zone=organisation.time_zone,
            ),
            permissions=[
                UnitPermissions(
                    unit_id=each.unit_id,
                    permissions=[
                        name
                        for one in each.permissions
                        if (name := word(identity_pb2.Permission, one))
                        != UNKNOWN  # nobody can ask for it here
                    ],
                )
                for each in me.permissions
            ],
        )


class MeUpdate(Shape):
    """The caller's own preferences."""

    locale: Locale
