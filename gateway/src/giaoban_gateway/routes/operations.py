# SPDX-License-Identifier: Apache-2.0
"""What operators and probes ask, and the descriptions of the API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from giaoban.identity.v1 import identity_service_pb2
from giaoban.media.v1 import media_service_pb2 as pb
from giaoban_kit.errors import GiaobanError

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
    """Whether requests can be served: identity answers, and the process is not stopping."""
    if getattr(request.app.state, "stopping", False):
        return problem(503, "STOPPING", "This gateway is stopping; ask another.")
    try:
        await uses.identity.GetJwks(identity_service_pb2.GetJwksRequest(), timeout=2)
    except GiaobanError as error:
        return problem(503, "NOT_READY", f"identity does not answer: {error.reason}")
    return Response('{"status":"ok"}', media_type="application/json")


@router.get("/asyncapi.yaml", response_class=Response)
async def asyncapi() -> Response:
    """The description of the meeting WebSocket (AsyncAPI 3)."""
    return Response(description(), media_type="application/yaml")
