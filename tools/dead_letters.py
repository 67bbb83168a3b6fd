# SPDX-License-Identifier: Apache-2.0
"""For operators: lists the events that no consumer could use, and hands one back to its consumers.

Reads the keys GIAOBAN_NATS_* (see docs/configuration.md); the NATS user must be allowed to read DEAD_LETTERS and to
publish on the subject. Consumers that had used the event before recognise its id and do nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass

from giaoban_kit.config import ServiceConfig, load_config
from giaoban_kit.events import DEAD_LETTER_STREAM, DUPLICATE_WINDOW_SECONDS, connect_nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

OWN_HEADERS = ("traceparent", "ce-type", "ce-source", "ce-time")
SHOWN = 200  # newest letters that `list` prints


@dataclass(frozen=True)
class Letter:
    """A dead letter: its place in the stream, and what its consumer wrote about it."""

    sequence: int
    durable: str
    subject: str
    event_id: str
    reason: str
    type: str


class TooSoonError(Exception):
    """The stream still remembers the event's id and would drop it."""


class Config(ServiceConfig):
    """The kit's keys."""

    service_name: str = "dev"


async def letters(js: JetStreamContext) -> list[Letter]:
    """The newest letters, eldest first; events themselves are not shown, they may name people."""
    state = (await js.stream_info(DEAD_LETTER_STREAM)).state
    found = []
    for sequence in range(max(1, state.first_seq, state.last_seq - SHOWN + 1), state.last_seq + 1):
        try:
            message = await js.get_msg(DEAD_LETTER_STREAM, sequence)
        except NotFoundError:  # deleted, because it was handed back
            continue
        headers = message.headers or {}
        durable = (message.subject or "").rpartition(".")[2]
        subject, event_id, reason = (
            headers.get(f"giaoban-{name}", "") for name in ("subject", "event-id", "reason")
        )
        found.append(Letter(sequence, durable, subject, event_id, reason, headers.get("ce-type", "")))
    return found


async def hand_back(js: JetStreamContext, sequence: int) -> str:
    """Publishes the event of a letter once more on its own subject and deletes the letter; returns the event's id.

    Raises: NotFoundError if there is no such letter, TooSoonError while the stream would take it for a repetition.
    """
    letter = await js.get_msg(DEAD_LETTER_STREAM, sequence)
    headers = letter.headers or {}
    event = {name: headers[name] for name in OWN_HEADERS if name in headers}
    event_id = str(headers["giaoban-event-id"])
    ack = await js.publish(
        headers["giaoban-subject"], letter.data or b"", headers=event | {"Nats-Msg-Id": event_id}
    )
    if ack.duplicate:
        raise TooSoonError
    await js.delete_msg(DEAD_LETTER_STREAM, sequence)
    return event_id


async def run(arguments: argparse.Namespace) -> int:
    """One command."""
    async with connect_nats(load_config(Config)) as nats:
        js = nats.jetstream()
        if arguments.command == "list":
            for each in await letters(js):
                sys.stdout.write(
                    f"{each.sequence:>8}  {each.durable}  {each.reason}  {each.type}  {each.subject}\n"
                )
            return 0
        try:
            event_id = await hand_back(js, arguments.sequence)
        except NotFoundError:
            sys.stderr.write(f"there is no dead letter {arguments.sequence}; see `list`\n")
            return 1
        except TooSoonError:
            sys.stderr.write(f"the event is younger than {DUPLICATE_WINDOW_SECONDS} s; try again then\n")
            return 1
        sys.stdout.write(f"event {event_id} was published again\n")
        return 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.dead_letters", description="Events nobody could use."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the newest letters: number, consumer, reason, type, subject")
    back = commands.add_parser("hand-back", help="publish the event of a letter again")
    back.add_argument("sequence", type=int, help="the letter's number")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
