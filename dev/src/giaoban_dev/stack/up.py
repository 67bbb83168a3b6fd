# SPDX-License-Identifier: Apache-2.0
"""Owns the order in which the local stack comes up: servers, migrations, services, demo data, simulated sites."""

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx

from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.janus import JanusNode, JanusPorts, MqttEvents
from giaoban_dev.infra.nats import Nats, NatsPorts
from giaoban_dev.infra.paths import PROJECT_ROOT
from giaoban_dev.infra.postgres import HOST, Postgres
from giaoban_dev.infra.process import Process, ensure_port_free
from giaoban_dev.stack.services import SERVICES, House, Service, environment
from giaoban_dev.stack.settings import Addresses, Ports, base_environment, port_key
from giaoban_dev.stack.supervisor import Part, Program, Say, StackLock, Supervisor, run_once, together

NODES = ("a", "b")
MIGRATE_SECONDS = 60.0
DEMO_SECONDS = 180.0


@dataclass(frozen=True)
class Plan:
    """What `up` starts beside the servers; tests start less.

    `demo` are modules run once with the gateway's public address in GIAOBAN_PUBLIC_URL, in order;
    `background` are modules that run on, e.g. the simulated sites.
    """

    services: Sequence[Service] = SERVICES
    demo: Sequence[str] = ()
    background: Sequence[str] = ()


def make_house(state: Path, ports: Ports, addresses: Addresses) -> House:
    """Lay out the servers under `state` without starting them."""
    credentials = Credentials(state / "secrets")
    nats = Nats(
        state / "nats",
        ports=NatsPorts(client=ports.nats, mqtt=ports.mqtt, monitor=ports.nats_monitor),
        credentials=credentials,
    )
    events = MqttEvents(port=ports.mqtt, username="janus", password=nats.password("janus"))
    nodes = {
        name: JanusNode(
            name,
            state / f"janus-{name}",
            ports=JanusPorts(
                api=ports.of(f"janus_{name}_api"),
                admin=ports.of(f"janus_{name}_admin"),
                rtp=(ports.of(f"janus_{name}_rtp"), ports.of(f"janus_{name}_rtp") + Ports.RTP_RANGE - 1),
            ),
            media_ip=addresses.media_ip,
            credentials=credentials,
            events=events,
        )
        for name in NODES
    }
    postgres = Postgres(state / "postgres", port=ports.postgres, credentials=credentials)
    logs = state / "logs"
    parts: list[Part] = [postgres, nats, *nodes.values()]
    for part in parts:
        part.process.log_file = logs / f"{part.process.name}.log"
    return House(
        state=state,
        root=PROJECT_ROOT,
        ports=ports,
        addresses=addresses,
        credentials=credentials,
        postgres=postgres,
        nats=nats,
        nodes=nodes,
    )


async def up(house: House, plan: Plan, *, say: Say, ready: Callable[[House], None]) -> None:
    """Start everything, call `ready`, and run until cancelled; raises InfraError when something does not start."""
    began = time.monotonic()

    def progress(text: str) -> None:
        say(f"[{time.monotonic() - began:5.1f} s] {text}")

    services = [service for service in plan.services if service.wanted(house)]
    _require_modules([service.module for service in services] + [*plan.demo, *plan.background])
    with StackLock(house.state):
        async with AsyncExitStack() as stack:
            stack.callback(say, "stopped")
            supervisor = await stack.enter_async_context(Supervisor(say=progress))
            _require_free_ports(house, services)
            progress(
                f"starting PostgreSQL, NATS, mail and {len(house.nodes)} Janus nodes on {house.addresses.media_ip}"
            )
            await together(
                supervisor.run(house.postgres), supervisor.run(house.nats), supervisor.run(_mail(house))
            )
            supervisor.next_wave()
            await together(*(supervisor.run(node) for node in house.nodes.values()))
            supervisor.next_wave()
            if services:
                progress("bringing databases and event streams up to date")
                await _migrate(house, services)
                progress(f"starting {', '.join(service.name for service in services)}")
                await together(*(supervisor.run(_program(house, service)) for service in services))
            supervisor.next_wave()
            for module in plan.demo:
                progress(f"loading {module.rpartition('.')[2]}")
                await run_once(_tool(house, module), seconds=DEMO_SECONDS)
            for module in plan.background:
                progress(f"starting {module.rpartition('.')[2]}")
                await supervisor.run(Program(_tool(house, module), _started))
            progress("ready")
            ready(house)
            try:
                await asyncio.Event().wait()
            finally:
                say("\nstopping")


def _require_modules(modules: Sequence[str]) -> None:
    for module in modules:
        try:
            found = find_spec(module)
            if found is not None and found.submodule_search_locations is not None:
                found = find_spec(f"{module}.__main__")
        except ModuleNotFoundError:
            found = None
        if found is None or (found.submodule_search_locations is not None):
            raise InfraError(f"{module} cannot be run (python -m {module}): run bin/setup")


def _require_free_ports(house: House, services: Sequence[Service]) -> None:
    """Tell about taken ports before anything starts, rather than after half of it has."""
    names = [name for service in services for name in (service.grpc, service.metrics) if name]
    for name in (*names, "smtp", "mail_page", "gateway"):
        ensure_port_free(HOST, house.ports.of(name), what=name.replace("_", " "), key=port_key(name))
    if house.addresses.shared:
        ensure_port_free(
            house.addresses.media_ip,
            house.ports.gateway_tls,
            what="gateway (TLS)",
            key=port_key("gateway_tls"),
        )


async def _migrate(house: House, services: Sequence[Service]) -> None:
    stamp, code = house.state / "migrated", _code_digest(services)
    if stamp.exists() and stamp.read_text(encoding="ascii") == code:
        return  # the same code has done it to the same data
    stamp.unlink(missing_ok=True)
    for service in services:
        if service.database:
            await house.postgres.ensure_database(service.user)
    # One process per user at a time: replicas of a service share what they migrate.
    first = {service.user: service for service in reversed(services)}
    await together(
        *(run_once(_process(house, each, "migrate"), seconds=MIGRATE_SECONDS) for each in first.values())
    )

    stamp.write_text(code, encoding="ascii")


def _code_digest(services: Sequence[Service]) -> str:
    """What the migrate steps depend on: the services' and the kit's code."""
    digest = hashlib.sha256()
    for module in sorted({"giaoban_kit", *(service.module for service in services)}):
        spec = find_spec(module)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _process(house: House, service: Service, verb: str) -> Process:
    name = service.name if verb == service.verb else f"{service.name}-{verb}"
    return Process(
        name=name,
        argv=[sys.executable, "-m", service.module, verb],
        log_file=house.state / "logs" / f"{name}.log",
        env=environment(service, house),
        cwd=house.state,
    )


def _program(house: House, service: Service) -> Program:
    return Program(_process(house, service, service.verb), _answers(service.ready_url(house)))


def _mail(house: House) -> Program:
    ports = house.ports
    process = Process(
        name="mail",
        argv=[
            *(sys.executable, "-m", "giaoban_dev.mailsink", str(house.state / "mail")),
            *("--smtp-port", str(ports.smtp), "--http-port", str(ports.mail_page)),
        ],
        log_file=house.state / "logs" / "mail.log",
        env=base_environment(),
    )
    return Program(process, _answers(f"http://{HOST}:{ports.mail_page}/healthz"))


def _tool(house: House, module: str) -> Process:
    """Return the process of a demo module: it knows where everything is and has a key of its own."""
    name = module.rpartition(".")[2]
    tool = Service(name, module, "dev", "gateway_metrics")
    env = environment(tool, house)
    env |= {"GIAOBAN_PUBLIC_URL": house.public_url, "GIAOBAN_MEDIA_IP": house.addresses.media_ip}
    return Process(
        name=name,
        argv=[sys.executable, "-m", module],
        log_file=house.state / "logs" / f"{name}.log",
        env=env,
        cwd=house.state,
    )


async def _started() -> bool:
    return True


def _answers(url: str) -> Callable[[], "asyncio.Future[bool]"]:
    async def probe() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(url)).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

    return lambda: asyncio.ensure_future(probe())
