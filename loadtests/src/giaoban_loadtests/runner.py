# SPDX-License-Identifier: Apache-2.0
"""Owns a run: from the command line to a system under test, a scenario, a result that is written down."""

import argparse
import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from giaoban_loadtests import machine, scenarios
from giaoban_loadtests.clips import ClipError
from giaoban_loadtests.livekit_server import livekit_server
from giaoban_loadtests.page import write_page
from giaoban_loadtests.results import Result, SpoiledError, newest, table
from giaoban_loadtests.scenarios import Context, Scenario, UnknownScenarioError
from giaoban_loadtests.stack import BASE_URL, LOCAL_IP, LocalStack, private_stack
from giaoban_loadtests.systems import System, SystemFailedError
from giaoban_loadtests.systems.giaoban import AccountsFileError, Giaoban, read_accounts
from giaoban_loadtests.systems.janus import Janus

RESULTS = Path(__file__).resolve().parents[2] / "results"
# What `make loadtest` runs, in this order: ten minutes together.
HEADLINE = (
    "one_big_meeting",
    "generator_capacity",
    "join_storm",
    "floor_fan_out",
    "twenty_parallel_meetings",
    "drain_a_node",
)
MAX_PARAMETER = 100_000
SYSTEMS = ("giaoban", "janus")
PLAIN_HOSTS = {"localhost", "127.0.0.1"}  # where passwords may go without TLS


class UsageError(ValueError):
    """The command line asks for something that cannot be done; the message says what to change."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios; return 0 when all their limits hold, 1 when one does not, 2 when nothing could be measured."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "giaoban_loadtests.runner", *arguments])
    try:
        if options.list:
            _list()
            return 0
        wanted = [options.scenario] if options.scenario else list(HEADLINE)
        found = {name: scenarios.find(name) for name in wanted}
        parameters = {name: _parameters(scenario, options.set) for name, scenario in found.items()}
        parts = {name: _parts(scenario, options.set) for name, scenario in found.items()}
        if options.target:
            _confirm(options.target, options.accounts, beside=options.livekit)
        results = uvloop.run(_run(options, found, parameters, parts, command))
    except (UsageError, AccountsFileError, SystemFailedError, ClipError, UnknownScenarioError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nstopped; what had ended is written down", file=sys.stderr)
        return 2
    print("\n" + table(results))
    page = write_page(newest(options.results), options.results / "index.html")
    print(f"\nplots: {page}")
    if any(result.refused for result in results):
        return 2
    return 0 if all(result.passed for result in results) else 1


async def _run(
    options: argparse.Namespace,
    found: Mapping[str, Scenario],
    parameters: Mapping[str, Mapping[str, int]],
    parts: Mapping[str, Sequence[str]],
    command: str,
) -> list[Result]:
    results, running = [], asyncio.current_task()
    loop, enough = asyncio.get_running_loop(), asyncio.Event()
    if running is not None:
        # As Ctrl-C does: the private stack is stopped and its directory deleted.
        loop.add_signal_handler(signal.SIGTERM, running.cancel)
    loop.add_signal_handler(signal.SIGUSR1, enough.set)
    for settings, group in groupby(found.items(), key=lambda each: scenarios.settings_of(each[1])):
        async with _system(options, settings) as (system, stack), _beside(options) as beside:
            for name, scenario in group:
                context = Context(
                    system, _local_ip(options), parameters[name], stack, _sayer(), parts[name], beside, enough
                )
                result = await _try(name, scenario, context, command)
                print(f"[{name}] written to {result.write(options.results)}", flush=True)
                results.append(result)
    return results


async def _try(name: str, scenario: Scenario, context: Context, command: str) -> Result:
    print(f"\n[{name}] {scenario.HYPOTHESIS}\n{_indented(scenario.__doc__)}", flush=True)
    pinned = len(os.sched_getaffinity(0)) == 1
    parameters = {**context.parameters, **({"parts": ",".join(context.parts)} if context.parts else {})}
    environment = {
        **machine.description(),
        "load_before": os.getloadavg()[0],
        "system": context.system.name,
        "generator_pinned": pinned,
    }
    try:
        async with asyncio.timeout(scenario.SECONDS):
            outcome = await scenario.run(context)
    except (SpoiledError, SystemFailedError, TimeoutError) as error:
        # What could not be measured is written down like what could.
        why = str(error) or f"it did not end within its {scenario.SECONDS} s"
        print(f"[{name}] {why}", flush=True)
        return Result(name, scenario.HYPOTHESIS, [], parameters, environment, command, _commit(), refused=why)
    return Result(
        name,
        scenario.HYPOTHESIS,
        outcome.figures,
        parameters,
        {**environment, "watched": outcome.watched},
        command,
        _commit(),
        distributions=outcome.distributions,
        timelines=outcome.timelines,
    )


@asynccontextmanager
async def _system(
    options: argparse.Namespace, settings: Mapping[str, str]
) -> AsyncIterator[tuple[System, LocalStack | None]]:
    if options.target:
        yield Giaoban(options.target, read_accounts(options.accounts)), None
        return
    print("starting a private stack", flush=True)
    cores = sorted(os.sched_getaffinity(0))
    if options.pin:
        if len(cores) < 2:
            raise UsageError("--pin: there is one core only, and system and generator need one each")
        os.sched_setaffinity(0, cores[:-1])  # what the stack starts inherits it
    async with private_stack(settings) as stack:
        if options.pin:
            os.sched_setaffinity(0, cores[-1:])
        processes = stack.processes()
        if options.system == "janus":
            yield Janus(stack.janus("janus-a"), {"janus-a": processes["janus-a"]}), stack
        else:
            yield Giaoban(BASE_URL, read_accounts(stack.accounts_file), processes), stack


@asynccontextmanager
async def _beside(options: argparse.Namespace) -> AsyncIterator[System | None]:
    if options.livekit is None:
        yield None
        return
    cores = sorted(os.sched_getaffinity(0))
    if options.pin:
        # The generator keeps its core; what is started now belongs with the stack.
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - set(cores))
    async with livekit_server(options.livekit) as server:
        os.sched_setaffinity(0, cores)
        yield server


def _confirm(target: str, accounts: Path | None, *, beside: Path | None) -> None:
    """Ask for the target's host name before anything is sent there; raises UsageError."""
    if beside is not None:
        raise UsageError("--livekit: it runs beside a private stack, leave --target away")
    url = urlsplit(target)
    if url.scheme not in {"http", "https"} or not url.hostname or url.path.strip("/"):
        raise UsageError(f"--target {target}: give the gateway's address, https://<host> without a path")
    if url.scheme == "http" and url.hostname not in PLAIN_HOSTS:
        raise UsageError(f"--target {target}: use https, passwords and device keys go there")
    if accounts is None:
        raise UsageError("--accounts: give the file with the accounts for the target (loadtests/README.md)")
    if accounts.stat().st_mode & 0o077:
        raise UsageError(f"--accounts {accounts}: others can read it; run chmod 600 on it")
    print(f"This puts load on {url.hostname}: running meetings there will feel it.")
    typed = input("Type the host name to go on: ").strip()
    if typed != url.hostname:
        raise UsageError(f"{typed!r} is not {url.hostname!r}: nothing was sent")


def _parameters(scenario: Scenario, given: Sequence[str]) -> dict[str, int]:
    parameters = dict(scenario.PARAMETERS)
    for each in given:
        name, _, value = each.partition("=")
        if name == "parts" and scenarios.parts_of(scenario):
            continue
        if name not in parameters:
            raise UsageError(f"--set {each}: the scenario knows {', '.join(sorted(parameters))}")
        if not value.isascii() or not value.isdecimal() or not 0 <= int(value) <= MAX_PARAMETER:
            raise UsageError(f"--set {each}: give a whole number from 0 to {MAX_PARAMETER}")
        parameters[name] = int(value)
    return parameters


def _parts(scenario: Scenario, given: Sequence[str]) -> tuple[str, ...]:
    known = scenarios.parts_of(scenario)
    for each in given:
        name, _, value = each.partition("=")
        if name == "parts":
            chosen = tuple(dict.fromkeys(value.split(",")))
            if not set(chosen) <= set(known):
                raise UsageError(f"--set {each}: give some of {', '.join(known)}, with commas between them")
            return chosen
    return known


def _local_ip(options: argparse.Namespace) -> str:
    return options.local_ip or ("0.0.0.0" if options.target else LOCAL_IP)  # noqa: S104 see PeerConnection


def _sayer() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: print(f"  [{time.monotonic() - began:5.1f} s] {text}", flush=True)


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def _list() -> None:
    for name in scenarios.names():
        scenario = scenarios.find(name)
        print(f"{name}: {scenario.HYPOTHESIS}\n{_indented(scenario.__doc__)}")
        print(f"  parameters: {', '.join(f'{key}={value}' for key, value in scenario.PARAMETERS.items())}")
        parts = scenarios.parts_of(scenario)
        print(f"  parts={','.join(parts)}\n" if parts else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m giaoban_loadtests.runner",
        description="Run load tests and judge them by the table of goals.",
    )
    parser.add_argument("scenario", nargs="?", help="one scenario; without it the headline ones")
    parser.add_argument("--list", action="store_true", help="print the scenarios and their parameters")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="change a parameter; parts=a,b selects parts",
    )
    parser.add_argument(
        "--system", choices=SYSTEMS, default="giaoban", help="which system of the private stack"
    )
    parser.add_argument(
        "--target", help="a deployed gateway instead of a private stack; asks for confirmation"
    )
    parser.add_argument(
        "--accounts", type=Path, help="file with the target's accounts, readable by its owner only"
    )
    parser.add_argument(
        "--pin", action="store_true", help="generator on one core, the private stack on the others"
    )
    parser.add_argument(
        "--livekit", type=Path, metavar="PATH", help="a livekit-server binary, for the comparison with it"
    )
    parser.add_argument("--local-ip", help="address to send media from")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
