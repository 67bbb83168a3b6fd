# SPDX-License-Identifier: Apache-2.0
"""`python -m giaoban_dev.demo.sites`: the simulated sites of the running demo meeting, until SIGTERM."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import uvloop
from giaoban_loadtests.gateway_api import SiteIdentity
from giaoban_loadtests.sites import run_sites

from giaoban_dev.demo.__main__ import SITES_FILE


async def _run() -> None:
    plan = json.loads((Path.cwd() / SITES_FILE).read_text(encoding="utf-8"))
    sites = [SiteIdentity(each["id"], each["name"], each["device_key"]) for each in plan["sites"]]
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def say(text: str) -> None:
        print(text, flush=True)

    # Janus answers nobody whose address lies on another interface of its own host: send from its own.
    local_ip = os.environ["GIAOBAN_MEDIA_IP"]
    await run_sites(plan["base_url"], plan["meeting_id"], sites, stop=stop, say=say, local_ip=local_ip)


def main() -> int:
    """Runs until it is told to stop."""
    uvloop.run(_run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
