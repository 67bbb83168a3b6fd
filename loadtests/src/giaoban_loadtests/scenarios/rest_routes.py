# SPDX-License-Identifier: Apache-2.0
"""The routes that every client asks all the time cost little more than what they must do.

Done: three sides in turn, forwards and backwards (A B C C B A), `rounds` times: gateway, identity and scheduling with
traces sent to a collector's port and metrics scraped once a second (`on`); copies of them with the OpenTelemetry SDK off
and logs of errors only (`off`; the counters of metrics stay, but nobody reads them); a bare FastAPI route with a typed
answer (`bare`). On `on` and `off` a signed-in person asks `GET /v1/me`, `GET /v1/meetings` and `GET /v1/meetings/{id}`
one after the other, `requests` of each in a block over 8 connections. CPU is that of all processes of a side, with PostgreSQL's.
Must hold: observability costs 15 % at most; 1,200 requests per CPU second of the whole route (P6).
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import httpx

from giaoban_loadtests.copies import bare_route, copy
from giaoban_loadtests.crowd import Crowd
from giaoban_loadtests.machine import Watch, tree_cpu_seconds
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.statistics import bootstrap
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import giaoban_meeting

HYPOTHESIS = "Auth, database, traces and metrics leave a REST route fast"
PARAMETERS = {"rounds": 5, "requests": 200}
SECONDS = 400
CONNECTIONS = 8
WARM_UP = 60
COLLECTOR_PORT = 18_317
TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
FIRST_PORT = 18_100
UNLIMITED = "100000000"  # requests a minute of one person: the limit is not what is measured
SCRAPE_SECONDS = 1.0
SCRAPE_TIMEOUT = 5.0


@dataclass(frozen=True)
class _Side:
    name: str
    base_url: str
    paths: dict[str, str]  # route → what is asked
    pids: dict[str, int]
    metrics: tuple[str, ...] = ()


async def run(context: Context) -> Outcome:
    local, wanted = context.private_stack("rest_routes starts copies of services"), context.parameters
    crowd = Crowd(context.local_ip)
    async with AsyncExitStack() as stack:
        meeting = await stack.enter_async_context(
            giaoban_meeting(context.system, 2, crowd.media, "rest_routes is about Giaoban's own routes")
        )
        token = await meeting.token()
        collector = await _collector()
        stack.push_async_callback(collector.stop, None)
        seen = {"GIAOBAN_OTLP_ENDPOINT": f"http://127.0.0.1:{COLLECTOR_PORT}"}
        unseen = {"OTEL_SDK_DISABLED": "true", "GIAOBAN_LOG_LEVEL": "error"}
        today = datetime.now(UTC).date()
        week = f"from={today}T00:00:00Z&to={today + timedelta(days=7)}T00:00:00Z"
        paths = {
            "/v1/me": "/v1/me",
            "/v1/meetings": f"/v1/meetings?{week}",
            "/v1/meetings/{id}": f"/v1/meetings/{meeting.id}",
        }
        postgres = local.processes()["postgres"]
        sides = [
            await _side(stack, local, "on", FIRST_PORT, seen, paths, postgres),
            await _side(stack, local, "off", FIRST_PORT + 10, unseen, paths, postgres),
            _Side(
                "bare",
                f"http://127.0.0.1:{FIRST_PORT + 20}",
                {"/bare": "/bare"},
                {"bare": await stack.enter_async_context(bare_route(local, FIRST_PORT + 20))},
            ),
        ]
        for side in sides:
            await _block(side, token, WARM_UP)
        watch, used = Watch(context.system.processes), dict[str, list[dict[str, float]]]()
        for number in range(wanted["rounds"]):
            for half in (sides, sides[::-1]):
                for side in half:
                    used.setdefault(side.name, []).append(await _block(side, token, wanted["requests"]))
            context.say(f"round {number + 1} of {wanted['rounds']}: {_told(used)}")
        watched = watch.stop()
    routes = {side.name: len(side.paths) for side in sides}
    whole = {name: [sum(block.values()) / routes[name] for block in blocks] for name, blocks in used.items()}
    rate = bootstrap([1 / seconds for seconds in whole["on"]])
    share = bootstrap([100 * (on / off - 1) for on, off in zip(whole["on"], whole["off"], strict=True)])
    times = bootstrap([on / bare for on, bare in zip(whole["on"], whole["bare"], strict=True)])
    parts = [
        Figure(
            "",
            f"CPU per request, {name}",
            1e6 * bootstrap([block[name] for block in used["on"]]).median,
            "µs",
        )
        for name in used["on"][0]
    ]
    return Outcome(
        [
            Figure("P6", "requests per CPU second of the whole route, low end", rate.low, "1/s", ">=", 1_200),
            Figure("P6", "requests per CPU second of the whole route", rate.median, "1/s"),
            Figure(
                "P6",
                "requests per CPU second of the bare route",
                bootstrap([1 / s for s in whole["bare"]]).median,
                "1/s",
            ),
            Figure("P6", "the whole route in bare routes", times.median, "times"),
            Figure("P6", "observability on top, high end", share.high, "%", "<=", 15),
            Figure("P6", "observability on top", share.median, "%"),
            *parts,
        ],
        watched,
    )


async def _side(
    stack: AsyncExitStack,
    local: LocalStack,
    name: str,
    port: int,
    changes: dict[str, str],
    paths: dict[str, str],
    postgres: int,
) -> _Side:
    pids = {}
    for number, service in enumerate(("identity", "scheduling"), start=1):
        listen = {"GIAOBAN_GRPC_LISTEN": f"127.0.0.1:{port + number}"}
        identity = {"GIAOBAN_IDENTITY_TARGET": f"127.0.0.1:{port + 1}"} if service != "identity" else {}
        pids[service] = await stack.enter_async_context(
            copy(local, service, port + 4 + number, **listen, **identity, **changes)
        )
    pids["gateway"] = await stack.enter_async_context(
        copy(
            local,
            "gateway",
            port + 4,
            GIAOBAN_HTTP_LISTEN=f"127.0.0.1:{port}",
            GIAOBAN_IDENTITY_TARGET=f"127.0.0.1:{port + 1}",
            GIAOBAN_SCHEDULING_TARGET=f"127.0.0.1:{port + 2}",
            GIAOBAN_REQUESTS_PER_MINUTE=UNLIMITED,
            **changes,
        )
    )
    metrics = tuple(f"http://127.0.0.1:{port + each}/metrics" for each in (4, 5, 6)) if name == "on" else ()
    return _Side(name, f"http://127.0.0.1:{port}", paths, pids | {"postgres": postgres}, metrics)


async def _block(side: _Side, token: str, requests: int) -> dict[str, float]:
    """Ask `requests` times on each route; return CPU seconds per request by route and process.

    Raises SystemFailedError.
    """
    scraping, used = asyncio.create_task(_scrape(side.metrics)), dict[str, float]()
    try:
        async with httpx.AsyncClient(
            base_url=side.base_url,
            trust_env=False,
            timeout=20,
            headers={"Authorization": f"Bearer {token}"},
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        ) as client:
            for route, path in side.paths.items():
                before = {name: tree_cpu_seconds(pid) for name, pid in side.pids.items()}
                left = iter(range(requests))
                await asyncio.gather(*(_ask(client, path, left) for _ in range(CONNECTIONS)))
                for name, pid in side.pids.items():
                    used[f"{route}: {name}"] = (tree_cpu_seconds(pid) - before[name]) / requests
    finally:
        scraping.cancel()
        await asyncio.gather(scraping, return_exceptions=True)
    return used


async def _ask(client: httpx.AsyncClient, path: str, left: Iterator[int]) -> None:
    for _ in left:
        answer = await client.get(path)
        if answer.is_error:
            raise SystemFailedError(f"GET {path}: {answer.status_code} {answer.text[:300]}")


async def _scrape(urls: tuple[str, ...]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=SCRAPE_TIMEOUT) as client:
        while urls:
            for url in urls:
                (await client.get(url)).raise_for_status()
            await asyncio.sleep(SCRAPE_SECONDS)


async def _collector() -> grpc.aio.Server:
    """Serve OTLP's TraceService, which takes everything and answers with an empty message."""

    async def export(_: bytes, __: object) -> bytes:
        return b""

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Export": grpc.unary_unary_rpc_method_handler(export)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(TRACE_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{COLLECTOR_PORT}")
    await server.start()
    return server


def _told(used: dict[str, list[dict[str, float]]]) -> str:
    return ", ".join(
        f"{name} {1e6 * sum(blocks[-1].values()):.0f} µs for one of each" for name, blocks in used.items()
    )
