# SPDX-License-Identifier: Apache-2.0
"""Owns the command line of the simulated endpoints."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from giaoban_loadtests.clips import ClipError, clips_for, save
from giaoban_loadtests.sites import MAX_SITES, SitesFileError, read_sites, run_sites

SITES_FILE_KEY = "GIAOBAN_SITES_FILE"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "make-clip":
            (clip,) = clips_for([options.text]).values()
            save(clip, options.out)
            return 0
        return uvloop.run(_join(options))
    except (ClipError, SitesFileError) as error:
        print(error, file=sys.stderr)
        return 2


async def _join(options: argparse.Namespace) -> int:
    sites = read_sites(options.sites_file)
    wanted = options.sites or len(sites)
    if len(sites) < wanted:
        raise SitesFileError(f"{options.sites_file} has {len(sites)} sites, --sites asks for {wanted}")
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_sites(
        options.base_url,
        options.meeting,
        sites[:wanted],
        stop=stop,
        say=lambda text: print(text, flush=True),
        local_ip=options.local_ip,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m giaoban_loadtests", description="Simulated sites.")
    commands = parser.add_subparsers(dest="command", required=True)
    clip = commands.add_parser("make-clip", help="encode the looped picture and sound of one name")
    clip.add_argument("--text", required=True, help="the name to show")
    clip.add_argument("--out", required=True, type=Path, help="file to write")
    join = commands.add_parser("join", help="join simulated sites to a meeting, until SIGTERM")
    join.add_argument("--base-url", required=True, help="the gateway, e.g. http://127.0.0.1:8080")
    join.add_argument("--meeting", required=True, help="id of the meeting")
    join.add_argument("--sites", type=_count, help="how many; default: all in the file")
    given = os.environ.get(SITES_FILE_KEY)
    join.add_argument(
        "--sites-file",
        type=Path,
        required=given is None,
        default=Path(given) if given else None,
        help=f'JSON [{{"site_id", "name", "device_key"}}, …]; default: the file named by {SITES_FILE_KEY}',
    )
    join.add_argument("--local-ip", default="0.0.0.0", help="address to send media from")  # noqa: S104 see PeerConnection
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MAX_SITES:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 to {MAX_SITES}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
