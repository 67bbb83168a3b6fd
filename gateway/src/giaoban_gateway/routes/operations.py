# SPDX-License-Identifier: Apache-2.0
"""What operators and probes ask, and the descriptions of the API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from giaoban.media.v1 import media_service_pb2 as pb

from giaoban_gateway.auth import IsCaller, UsesServices
from giaoban_gateway.live.asyncapi import text as description
from giaoban_gateway.problems import problem
from giaoban_gateway.schemas.common import Page
from giaoban_gateway.schemas.notifications import Node

router = APIRouter(tags=["operations"])


@router.get("/v1/nodes")
async def list_nodes(uses: UsesServices, _: IsCaller) -> Page[Node]:
    """Media nodes with their load; for operators."""
    answer = await uses.media.ListNodes(pb.ListNodesRequest())
    return Page(items=[Node.of(each) for each in answer.nodes])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process lives; asks nobody."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request, uses: UsesServices) -> Response:
    """Whether this process takes requests: it is not stopping, and has had the keys that verify tokens.

    What is away now is no reason: every gateway would say so at once, and nobody would be left to tell people.
    """
    if getattr(request.app.state, "stopping", False):
        return problem(503, "STOPPING", "This gateway is stopping; ask another.")
    if not await uses.verifier.has_keys():
        return problem(503, "NOT_READY", "This gateway has not had the keys of identity since its start.")
    return Response('{"status":"ok"}', media_type="application/json")


@router.get("/asyncapi.yaml", response_class=Response)
async def asyncapi() -> Response:
    """The description of the meeting WebSocket (AsyncAPI 3)."""
    return Response(description(), media_type="application/yaml")
