# SPDX-License-Identifier: Apache-2.0
"""The local stack's commands: up, smoke, reset, versions, env."""

import argparse
import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version

from giaoban_dev.demo.directory import PASSWORD, city, ministry, province
from giaoban_dev.demo.meetings import RUNNING_TITLE
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.janus_root import janus_root, sandbox
from giaoban_dev.infra.nats import binary as nats_binary
from giaoban_dev.infra.paths import state_dir
from giaoban_dev.infra.postgres import HOST
from giaoban_dev.infra.postgres import binaries as postgres_binaries
from giaoban_dev.stack.services import SERVICES, House, environment
from giaoban_dev.stack.settings import Addresses, Ports
from giaoban_dev.stack.smoke import smoke
from giaoban_dev.stack.smoke_meeting import smoke_meeting
from giaoban_dev.stack.supervisor import StackLock
from giaoban_dev.stack.up import Plan, make_house, up

# Kept over a reset: logs of the set-up, and stamps that say what it need not do again.
_KEPT_ON_RESET = frozenset({"stamps", "stack.lock"})


# The main job: everything, with the demo data and the sites of its running meeting.
WHOLE = Plan(demo=("giaoban_dev.demo",), background=("giaoban_dev.demo.sites",))


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m giaoban_dev", description="The local stack of Giaoban.")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start everything; Ctrl-C stops it")
    starting.add_argument("--servers", action="store_true", help="only PostgreSQL, NATS, mail and Janus")
    starting.add_argument(
        "--no-demo", action="store_true", help="no demo organisations, accounts, meetings and sites"
    )
    asking = commands.add_parser("smoke", help="ask every part of a running stack, then meet in it")
    asking.add_argument("--servers", action="store_true", help="only PostgreSQL, NATS, mail and Janus")
    commands.add_parser("reset", help="delete data, secrets and logs")
    commands.add_parser("versions", help="print what is installed, by running it")
    showing = commands.add_parser("env", help="print a service's environment, to run it by hand")
    showing.add_argument("service", choices=[service.name for service in SERVICES])
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "up":
                asyncio.run(_up(_plan(servers_only=arguments.servers, demo=not arguments.no_demo)))
            case "smoke":
                asyncio.run(_smoke(servers_only=arguments.servers))
            case "reset":
                _reset()
            case "versions":
                print(_versions())
            case "env":
                _env(arguments.service)
    except InfraError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _plan(*, servers_only: bool, demo: bool) -> Plan:
    if servers_only:
        return Plan(services=())
    return WHOLE if demo else Plan()


def _house() -> House:
    return make_house(state_dir(), Ports.from_environment(os.environ), Addresses.from_environment(os.environ))


async def _smoke(*, servers_only: bool) -> None:
    house = _house()
    await smoke(house, () if servers_only else SERVICES, say=_say)
    if not servers_only:
        await smoke_meeting(house, say=_say)


async def _up(plan: Plan) -> None:
    def ready(house: House) -> None:
        if plan.services:
            _print_addresses(house)
        else:
            _print_servers(house)
        if plan.demo:
            _print_demo()
        _say("\n  Ctrl-C stops everything.\n")

    running = asyncio.create_task(up(_house(), plan, say=_say, ready=ready))
    loop = asyncio.get_running_loop()
    # A second Ctrl-C changes nothing: the stop is under way and bounded in time.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        if not running.cancelled():
            raise


def _say(text: str) -> None:
    print(text, flush=True)


def _print_addresses(house: House) -> None:
    lines = [f"\n  Giaoban     {house.public_url}"]
    if house.shared_url:
        lines.append(f"  elsewhere   {house.shared_url}  (certificate of our own: the browser asks once)")
    else:
        lines.append("  elsewhere   set MEDIA_IP to this machine's address to let other devices in")
    lines.append(f"  mail        http://localhost:{house.ports.mail_page}")
    lines.append(f"  logs        {house.state / 'logs'}  (make tail)")
    _say("\n".join(lines))


def _print_demo() -> None:
    lines = [f"\n  Demo accounts, password {PASSWORD}\n"]
    for directory in (city(), ministry(), province()):
        lines.append(f"  {directory.name}: organisation {directory.code}")
        lines += [f"    {each.username:14} {each.who}" for each in directory.accounts]
    lines.append(f"\n  Running meeting: {RUNNING_TITLE}")
    _say("\n".join(lines))


def _print_servers(house: House) -> None:
    lines = [f"\n  postgres    {HOST}:{house.ports.postgres}", f"  nats        {house.nats.url}"]
    lines += [
        f"  janus {name}     {node.url}, media on {node.media_ip}" for name, node in house.nodes.items()
    ]
    lines.append(f"  mail        http://localhost:{house.ports.mail_page}")
    lines.append(f"  secrets     {house.credentials.directory}")
    _say("\n".join(lines))


def _reset() -> None:
    state = state_dir()
    if not state.exists():
        print(f"nothing to delete: {state} does not exist")
        return
    with StackLock(state):
        for entry in state.iterdir():
            if entry.name in _KEPT_ON_RESET:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    print(f"deleted the data, secrets and logs in {state}")


def _versions() -> str:
    root = janus_root()
    shown = [
        _first_line(str(postgres_binaries() / "postgres"), "--version"),
        _first_line(str(nats_binary()), "--version"),
        _first_line(*sandbox(root, network=False), "--", "/usr/bin/janus", "--version"),
        f"giaoban {version('giaoban-dev')}",
    ]
    return "; ".join(shown)


def _first_line(*argv: str) -> str:
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise InfraError(f"{shlex.join(argv)} failed (exit {ran.returncode}):\n{ran.stderr.strip()}")
    return ran.stdout.strip().splitlines()[0]


def _env(name: str) -> None:
    service = next(each for each in SERVICES if each.name == name)
    for key, value in sorted(environment(service, _house()).items()):
        print(f"{key}={shlex.quote(value)}")


if __name__ == "__main__":
    sys.exit(main())
