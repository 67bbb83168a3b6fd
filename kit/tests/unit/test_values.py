# SPDX-License-Identifier: Apache-2.0
"""Validation, identifiers, page tokens, subjects and the parsing of events."""

import unicodedata
from datetime import timedelta

import pytest
from giaoban.scheduling.v1.events_pb2 import MeetingEnded
from giaoban_kit.clock import SystemClock
from giaoban_kit.db import decode_page_token, encode_page_token, page_size
from giaoban_kit.errors import Invalid
from giaoban_kit.events import (
    event_filter,
    headers_of,
    new_event,
    parse_event,
    signal_subject,
    subject,
    subject_filter,
)
from giaoban_kit.ids import is_id, new_id
from giaoban_kit.testing.clock import FixedClock
from giaoban_kit.validate import Violations


def test_text_comes_back_normalised_and_stripped() -> None:
    """Decomposed Vietnamese letters become composed ones."""
    check = Violations()
    assert check.text("title", unicodedata.normalize("NFD", "  Bình Tân "), min=1, max=8) == "Bình Tân"
    check.raise_if_any()


def test_all_mistakes_are_told_at_once() -> None:
    """One refusal names every field with reason and remedy."""
    check = Violations()
    check.text("title", " ", min=1, max=10)
    check.text("note", "a\x00b", max=10)
    check.text("office", "x" * 11, max=10)
    check.text("code", "x", min=2, max=10)
    check.id("unit_id", "../etc")
    check.number("page_size", 0, min=1, max=10)
    check.require(False, "end_time", "END_BEFORE_START", "Choose an end after the start.")
    with pytest.raises(Invalid) as refused:
        check.raise_if_any()
    found = {violation.field: violation.reason for violation in refused.value.violations}
    assert found == {
        "title": "REQUIRED",
        "note": "CONTROL_CHARACTER",
        "office": "TOO_LONG",
        "code": "TOO_SHORT",
        "unit_id": "NOT_AN_ID",
        "page_size": "OUT_OF_RANGE",
        "end_time": "END_BEFORE_START",
    }
    assert all(violation.remedy.endswith(".") for violation in refused.value.violations)


@pytest.mark.parametrize("char", ["\u202e", "\n", "\x1b", "\ud800"])
def test_single_line_text_refuses_control_characters(char: str) -> None:
    """Line breaks, escapes, lone surrogates and text direction overrides stay out of names."""
    check = Violations()
    check.text("name", f"a{char}b", max=10)
    assert check


def test_multiline_text_may_have_line_breaks() -> None:
    """Conclusions have paragraphs."""
    check = Violations()
    assert check.text("conclusion", "a\n\tb", max=10, multiline=True) == "a\n\tb"
    assert not check


def test_ids_are_ulids_in_time_order() -> None:
    """A new identifier is canonical; other spellings are not."""
    first = new_id()
    assert is_id(first)
    assert not is_id(first.lower())
    assert not is_id(f"8{first[1:]}")  # more than 128 bits
    assert not is_id(f"{first}\n")


def test_clocks_tell_aware_times() -> None:
    """The system's clock is in UTC; the fixed one moves when told."""
    assert SystemClock().now().utcoffset() == timedelta(0)
    clock = FixedClock()
    before = clock.now()
    clock.advance(timedelta(minutes=5))
    assert clock.now() - before == timedelta(minutes=5)


def test_page_tokens_carry_the_cursor() -> None:
    """What was encoded comes back; the first page has none."""
    assert decode_page_token(encode_page_token(id="01J", name="Đà Nẵng"), "id", "name") == {
        "id": "01J",
        "name": "Đà Nẵng",
    }
    assert decode_page_token("", "id") is None


@pytest.mark.parametrize("token", ["x", "e30", "bnVsbA", "é", "A" * 2000, encode_page_token(other="1")])
def test_foreign_page_tokens_are_refused(token: str) -> None:
    """A token of another list, a cut one or noise names the field."""
    with pytest.raises(Invalid) as refused:
        decode_page_token(token, "id")
    assert refused.value.violations[0].field == "page_token"


def test_page_sizes_have_bounds() -> None:
    """Absent means the default; too much is refused rather than cut."""
    assert page_size(0) == 50
    assert page_size(200) == 200
    for wrong in (-1, 201):
        with pytest.raises(Invalid):
            page_size(wrong)


def test_subjects_are_built_from_safe_parts_only() -> None:
    """Nothing that NATS would read as structure gets into a subject."""
    meeting_id = new_id()
    assert (
        subject("scheduling", "meeting", "ended", meeting_id)
        == f"giaoban.scheduling.v1.meeting.ended.{meeting_id}"
    )
    assert event_filter("scheduling", "meeting") == "giaoban.scheduling.v1.meeting.*.*"
    for parts in [("a.b", "c", "d"), ("a", "*", "d"), ("a", "b", ">"), ("a", "", "d")]:
        with pytest.raises(ValueError, match="not a subject"):
            subject(*parts, meeting_id)
    with pytest.raises(ValueError, match="not a subject"):
        subject("a", "b", "c", "*")
    with pytest.raises(ValueError, match="not a filter"):
        event_filter("a", ">")
    about = subject_filter("scheduling", "meeting", "*", meeting_id)
    assert about == f"giaoban.scheduling.v1.meeting.*.{meeting_id}"
    assert subject_filter("scheduling", "meeting", "ended", meeting_id).endswith(f".ended.{meeting_id}")
    assert signal_subject("media", "live", meeting_id) == f"giaoban.media.live.{meeting_id}"
    for bad in ("*", ">", "x.y"):
        for wrong in (("a", "b", "c", bad), (bad, "b", "c", meeting_id), ("a", bad, "c", meeting_id)):
            with pytest.raises(ValueError, match="not a filter"):
                subject_filter(*wrong)
        with pytest.raises(ValueError, match="not a subject"):
            signal_subject("media", "live", bad)
        with pytest.raises(ValueError, match="not a subject"):
            signal_subject("media", bad, meeting_id)
    with pytest.raises(ValueError, match="not a filter"):
        subject_filter("a", "b", ">", meeting_id)


def test_an_event_survives_headers_and_bytes() -> None:
    """What is parsed is what was sent."""
    event = new_event(subject("scheduling", "meeting", "ended", new_id()), MeetingEnded())
    assert event.source == "giaoban-scheduling"
    assert parse_event(event.subject, headers_of(event), event.message.SerializeToString()) == event


@pytest.mark.parametrize(
    "change",
    [{"ce-type": "giaoban.no.Such"}, {"ce-time": "yesterday"}, {"ce-type": None}, {"Nats-Msg-Id": None}],
)
def test_an_event_with_a_wrong_header_is_refused(change: dict[str, str | None]) -> None:
    """Unknown types and missing attributes are permanent errors."""
    event = new_event(subject("scheduling", "meeting", "ended", new_id()), MeetingEnded())
    headers = {key: value for key, value in {**headers_of(event), **change}.items() if value is not None}
    with pytest.raises(Invalid):
        parse_event(event.subject, headers, b"")


def test_an_event_with_a_broken_body_is_refused() -> None:
    """Bytes that are no such message are a permanent error."""
    event = new_event(subject("scheduling", "meeting", "ended", new_id()), MeetingEnded())
    with pytest.raises(Invalid):
        parse_event(event.subject, headers_of(event), b"\xff\xff")
