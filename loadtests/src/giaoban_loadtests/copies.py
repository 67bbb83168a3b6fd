# SPDX-License-Identifier: Apache-2.0
"""Owns further processes beside a private stack: copies of its services with another setting, and a bare FastAPI route.

A copy has the environment of the running service but for what is changed; it ends with the block that started it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from giaoban_loadtests.stack import LocalStack
from giaoban_loadtests.systems import SystemFailedError

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
BARE = """
import sys
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

class Unit(BaseModel):
    id: str
    name: str

class Answer(BaseModel):
    id: str
    name: str
    locale: str
    unit: Unit
    permissions: list[str]

app = FastAPI()

@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {}

@app.get("/bare")
async def bare() -> Answer:
    return Answer(id="1", name="Load test", locale="en", unit=Unit(id="2", name="Unit"), permissions=["call_meetings"])

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False)
"""


@asynccontextmanager
async def copy(stack: LocalStack, name: str, metrics_port: int, **changes: str) -> AsyncIterator[int]:
    """Run a copy of a service; yield its process id. Raises SystemFailedError."""
    pid = stack.processes()[name]
    environment = _environment(pid) | changes | {"GIAOBAN_METRICS_LISTEN": f"127.0.0.1:{metrics_port}"}
    log = stack.state / f"copy-{name}-{metrics_port}.log"
    command = (sys.executable, "-m", f"giaoban_{name}", "serve")
    async with _process(command, environment, log, f"http://127.0.0.1:{metrics_port}/readyz") as copied:
        yield copied


@asynccontextmanager
async def bare_route(stack: LocalStack, port: int) -> AsyncIterator[int]:
    """Serve `GET /bare`, a FastAPI route with a typed answer and nothing else; yield the process id."""
    command = (sys.executable, "-c", BARE, str(port))
    async with _process(command, {}, stack.state / "bare.log", f"http://127.0.0.1:{port}/healthz") as pid:
        yield pid


@asynccontextmanager
async def _process(
    command: tuple[str, ...], environment: Mapping[str, str], log: Path, ready: str
) -> AsyncIterator[int]:
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", "--", *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            env=environment or None,
        )
    try:
        await _ready(process, ready, log)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while True:
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise SystemFailedError(f"{url} does not answer:\n{_end_of(log)}")
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)


def _environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.partition("=")[::2] for pair in pairs if pair)


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8")[-1500:]
