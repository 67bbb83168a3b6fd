# SPDX-License-Identifier: Apache-2.0
"""Facts on the wire: every event's bytes as they were first published, and who tells and hears what."""

import ast
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from giaoban_kit.events import (
    event_filter,
    headers_of,
    new_event,
    parse_event,
    signal_subject,
    subject,
    subject_filter,
)
from giaoban_kit.ids import new_id
from google.protobuf import message_factory, text_format
from google.protobuf.message import Message

from tools import events_page
from tools.events_page import consumers, event_files, filters, messages, signals
from tools.house import PARTS, called, literal, nodes, sources, tree

GOLDEN = Path(__file__).parent / "golden"
EVENTS = sorted(messages())


def golden(name: str) -> tuple[Message, bytes]:
    """An event as text-proto, and the bytes that were written for it once (the comment `# wire:`)."""
    text = (GOLDEN / f"{name}.textproto").read_text()
    wire = re.search(r"^# wire: ([0-9a-f]+)$", text, re.MULTILINE)
    assert wire is not None, f"{name}: no line '# wire: <hexadecimal>'"
    message = message_factory.GetMessageClass(messages()[name])()
    text_format.Parse(text, message)
    return message, bytes.fromhex(wire[1])


def empty_fields(message: Message, path: str = "") -> Iterator[str]:
    """Fields that a golden event leaves out, however deep; well-known types are values."""
    given = {field.name for field, _ in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        where = f"{path}{field.name}"
        if field.name not in given:
            yield where
        elif field.message_type and not field.message_type.full_name.startswith("google."):
            value = getattr(message, field.name)
            for each in value if field.is_repeated else [value]:
                yield from empty_fields(each, f"{where}.")


def told(path: Path, names: set[str]) -> set[str]:
    """Messages that a file which makes events (`new_event`) speaks of; an error of the same name is none."""
    found = list(ast.walk(tree(path)))
    if not any(called(node) == "new_event" for node in found):
        return set()
    spoken = {node.attr for node in found if isinstance(node, ast.Attribute)}
    return (spoken | {node.id for node in found if isinstance(node, ast.Name)}) & names


def test_every_event_has_a_golden_file_and_nothing_else_has() -> None:
    """A new event comes with its golden file."""
    assert sorted(path.stem for path in GOLDEN.glob("*.textproto")) == EVENTS


@pytest.mark.parametrize("name", EVENTS)
def test_bytes_of_the_past_mean_what_they_meant(name: str) -> None:
    """What an older publisher wrote decodes to the same words today: names, numbers and types stand."""
    message, wire = golden(name)
    assert type(message).FromString(wire) == message


@pytest.mark.parametrize("name", EVENTS)
def test_a_golden_event_leaves_nothing_out(name: str) -> None:
    """Every field is in it, so that none can change unnoticed."""
    message, _ = golden(name)
    assert not list(empty_fields(message))


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_survives_its_envelope(name: str) -> None:
    """Headers and body give back the same event, found by its type alone."""
    message, wire = golden(name)
    part = name.split(".")[1]
    sent = new_event(
        subject(part, "thing", "happened", new_id()), message, datetime(2026, 3, 2, 8, tzinfo=UTC)
    )
    assert parse_event(sent.subject, headers_of(sent), wire) == sent


def test_every_fact_is_declared() -> None:
    """telemetry/signals.yaml names each event message once, under its owner."""
    declared = {part: sorted(facts.values()) for part, facts in signals()["publishes"].items()}
    assert declared == {part: sorted(file.message_types_by_name) for part, file in event_files().items()}


def test_the_proto_names_the_fact_of_each_message() -> None:
    """The comment above a message begins with the aggregate and the verb of its subject."""
    for part, facts in signals()["publishes"].items():
        for fact, name in facts.items():
            assert re.match(rf"{re.escape(fact)}(:|$)", events_page.comments(part)[name]), name


@pytest.mark.parametrize("part", PARTS)
def test_a_part_tells_its_own_facts_and_no_others(part: str) -> None:
    """The messages that a part's source makes are its own, all of them, with their verbs beside them."""
    names = {descriptor.name for descriptor in messages().values()}
    own = signals()["publishes"].get(part, {})
    assert set().union(*(told(path, names) for path in sources(part))) == set(own.values())
    words = {literal(node) for node in nodes(part)}
    assert {fact.partition(".")[2] for fact in own} <= words


@pytest.mark.parametrize("part", PARTS)
def test_a_part_hears_what_is_declared(part: str) -> None:
    """The filters in a part's source are those of its durable consumers, whose names stand in it too."""
    declared = [each for each in consumers() if each.part == part]
    wanted = {event_filter(each.of, *fact.split(".")) for each in declared for fact in each.facts}
    assert filters(part) == wanted
    words = {literal(node) for node in nodes(part)}
    for consumer in declared:
        assert consumer.durable in words
        assert set(consumer.facts) <= set(signals()["publishes"][consumer.of])


@pytest.mark.parametrize("part", PARTS)
def test_durables_and_buckets_are_declared(part: str) -> None:
    """Every name like `<part>-<word>` in a source is a declared consumer or bucket, and the other way round."""
    named = {
        text
        for text in map(literal, nodes(part))
        if text is not None and re.fullmatch(rf"{part}-[a-z]+", text)
    }
    declared = {each.durable for each in consumers() if each.part == part}
    buckets = set(signals()["buckets"].get(part, {}))
    foreign = {bucket for owner, found in signals()["buckets"].items() for bucket in found if owner != part}
    assert named - foreign == declared | buckets


@pytest.mark.parametrize("part", PARTS)
def test_nobody_writes_a_subject_by_hand(part: str) -> None:
    """Subjects are built by the kit, which checks what goes into them."""
    spelled = {
        "".join(literal(each) or "<id>" for each in node.values)
        for node in nodes(part)
        if isinstance(node, ast.JoinedStr)
    }
    assert not [text for text in spelled if re.match(r"giaoban\.[a-z]+\.", text)]


@pytest.mark.parametrize("part", PARTS)
def test_what_a_part_follows_without_a_durable_is_declared(part: str) -> None:
    """Facts of one id and signals, as the kit's functions are called in the source, are listed with a reason."""
    builders: dict[str, Callable[..., str]] = {
        "subject_filter": subject_filter,
        "signal_subject": signal_subject,
    }
    some_id = new_id()
    built = set()
    for node in nodes(part):
        build = builders.get(called(node))
        if build is not None and isinstance(node, ast.Call):
            words = [literal(each) for each in node.args[:-1]]
            built.add(build(*[word or "" for word in words], some_id).replace(some_id, "<id>"))
    listed = {each["subject"] for each in signals()["listens"] if each["part"] == part}
    listed |= {
        re.sub(r"<[^>]*>", "<id>", each["subject"])
        for each in signals()["signals"]
        if part in (each["emitted_by"], *each["heard_by"])
    }
    assert built == listed
