# SPDX-License-Identifier: Apache-2.0
"""Owns the life of a process: its verbs, its event loop, its signals."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import uvloop

from giaoban_kit.config import ConfigError, ServiceConfig, check_secrets, load_config
from giaoban_kit.logging import configure_logging, get_logger, redact

log = get_logger(__name__)
C = TypeVar("C", bound=ServiceConfig)


async def until_signalled() -> None:
    """Returns on SIGTERM or SIGINT; the caller's exit stack then shuts down in reverse order."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("started")
    await stop.wait()
    log.info("stopping")


def main_cli(
    config: type[C],
    *,
    serve: Callable[[C], Awaitable[None]],
    migrate: Callable[[C], Awaitable[None]] | None = None,
    more: Mapping[str, Callable[[C], Awaitable[None]]] | None = None,
) -> None:
    """`python -m giaoban_x serve | migrate | check-config`, and `more` verbs of services with several processes.

    Exit status 2: the configuration is wrong.
    """
    parser = argparse.ArgumentParser(description=config.__doc__)
    verbs = {"serve": serve, **({"migrate": migrate} if migrate else {}), **(more or {})}
    parser.add_argument("verb", choices=[*verbs, "check-config"])
    verb = parser.parse_args().verb
    try:
        loaded = load_config(config)
        if verb == "check-config":
            check_secrets(loaded)
            json.dump(redact(loaded.model_dump(mode="json")), sys.stdout, indent=2, ensure_ascii=False)
            sys.stdout.write("\n")
            return
        configure_logging(loaded.service_name, loaded.log_level)
        uvloop.run(_run(verbs[verb], loaded))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


async def _run(act: Callable[[C], Awaitable[None]], config: C) -> Any:
    return await act(config)
