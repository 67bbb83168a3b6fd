# SPDX-License-Identifier: Apache-2.0
"""The caller, and the organisation around it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1 import identity_service_pb2 as pb

from giaoban_gateway.auth import IsCaller, UsesServices
from giaoban_gateway.schemas.common import NO_NUL, ULID_PATTERN, Page, PageSize, PageToken, or_none
from giaoban_gateway.schemas.directory import Me, MeUpdate, Site, Unit, User

router = APIRouter(tags=["directory"])

FOUND = (
    "Names that begin with it come first, then whatever has words that begin with its words. "
    "Diacritics, case and punctuation make no difference."
)
Search = Annotated[str, Query(max_length=100, pattern=NO_NUL, description=FOUND)]
InUnit = Annotated[str | None, Query(pattern=ULID_PATTERN, description="this unit and the units below")]


@router.get("/v1/me")
async def get_me(uses: UsesServices, _: IsCaller) -> Me:
    """The caller with its organisation and permissions."""
    return Me.of(await uses.identity.GetMe(pb.GetMeRequest()))


@router.patch("/v1/me")
async def update_me(body: MeUpdate, uses: UsesServices, _: IsCaller) -> Me:
    """Changes the caller's own preferences."""
    await uses.identity.UpdateMe(
        pb.UpdateMeRequest(locale=identity_pb2.Locale.Value(f"LOCALE_{body.locale.upper()}"))
    )
    return Me.of(await uses.identity.GetMe(pb.GetMeRequest()))


@router.get("/v1/units")
async def list_units(uses: UsesServices, _: IsCaller) -> Page[Unit]:
    """Every unit of the caller's organisation, parents before children."""
    answer = await uses.identity.ListUnits(pb.ListUnitsRequest())
    return Page(items=[Unit.of(each) for each in answer.units])


@router.get("/v1/sites")
async def list_sites(
    uses: UsesServices,
    _: IsCaller,
    query: Search = "",
    unit_id: InUnit = None,
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> Page[Site]:
    """Sites of the caller's organisation."""
    answer = await uses.identity.ListSites(
        pb.ListSitesRequest(query=query, unit_id=unit_id, page_size=page_size, page_token=page_token)
    )
    return Page(
        items=[Site.of(each) for each in answer.sites], next_page_token=or_none(answer.next_page_token)
    )


@router.get("/v1/users")
async def list_users(
    uses: UsesServices,
    _: IsCaller,
    query: Search = "",
    unit_id: InUnit = None,
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> Page[User]:
    """Users of the caller's organisation, without mail addresses."""
    answer = await uses.identity.ListUsers(
        pb.ListUsersRequest(query=query, unit_id=unit_id, page_size=page_size, page_token=page_token)
    )
    return Page(
        items=[User.of(each) for each in answer.users], next_page_token=or_none(answer.next_page_token)
    )
