# SPDX-License-Identifier: Apache-2.0
"""Owns the question whether a running stack answers: every server and every service, asked from outside."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import asyncpg
import httpx
import websockets

from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.postgres import HOST
from giaoban_dev.stack.services import House, Service
from giaoban_dev.stack.supervisor import Say

_SECONDS = 5.0


async def smoke(house: House, services: Sequence[Service], *, say: Say) -> None:
    """Ask each part once and print a line for each; raises InfraError naming those that did not answer."""
    ports = house.ports
    wanted = [service for service in services if service.wanted(house)]
    checks: dict[str, Callable[[], Awaitable[str]]] = {
        "postgres": lambda: _postgres(house),
        "nats": lambda: _http(f"http://{HOST}:{ports.nats_monitor}/healthz"),
        "mail": lambda: _http(f"http://{HOST}:{ports.mail_page}/healthz"),
    }
    for name in house.nodes:
        checks[f"janus-{name}"] = partial(_janus, house, name)
    for service in wanted:
        checks[service.name] = partial(_http, service.ready_url(house))
    if any(service.user == "gateway" for service in wanted):
        checks["web"] = lambda: _http(house.public_url)
    failed = []
    for name, check in checks.items():
        began = time.monotonic()
        try:
            answer = await check()
        except (
            OSError,
            TimeoutError,
            httpx.HTTPError,
            asyncpg.PostgresError,
            websockets.WebSocketException,
        ) as error:
            failed.append(name)
            say(f"  RED  {name:14} {type(error).__name__}: {error}")
        else:
            say(f"  ok   {name:14} {(time.monotonic() - began) * 1000:5.0f} ms  {answer}")
    if failed:
        raise InfraError(
            f"no answer from {', '.join(failed)}. Is the stack running (make run)? Logs: {house.state / 'logs'}"
        )


async def _http(url: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client:
        answer = await client.get(url)
        answer.raise_for_status()
        return url


async def _postgres(house: House) -> str:
    connection = await house.postgres.connect()
    try:
        return str(await connection.fetchval("SHOW server_version", timeout=_SECONDS))
    finally:
        await connection.close()


async def _janus(house: House, name: str) -> str:
    info = await house.nodes[name].info()
    return f"{info['version_string']}, media on {house.nodes[name].media_ip}"
