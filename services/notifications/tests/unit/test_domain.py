# SPDX-License-Identifier: Apache-2.0
"""The rules and words of notifications."""

from datetime import datetime, timedelta
from string import Formatter
from zoneinfo import ZoneInfo

import pytest
from giaoban_notifications.domain import Kind, Locale, RetryPolicy, audience_of_change
from giaoban_notifications.texts import LABELS, PHRASES, format_length, format_when
from hypothesis import given
from hypothesis import strategies as st

USERS = st.frozensets(st.sampled_from("abcdef"))


class TestAudience:
    @given(before=USERS, after=USERS, announce=st.booleans())
    def test_everyone_hears_at_most_one_thing(
        self, before: frozenset[str], after: frozenset[str], announce: bool
    ) -> None:
        """New people are invited, gone ones withdrawn, those who stay informed only when announced."""
        audience = audience_of_change(before, after, announce_to_all=announce)
        assert audience.invited == after - before
        assert audience.withdrawn == before - after
        assert audience.informed == (before & after if announce else frozenset())


class TestRetry:
    def test_doubles_to_its_cap_and_gives_up(self) -> None:
        """30 s, then twice as long each time up to an hour, then no more."""
        policy = RetryPolicy(timedelta(seconds=30), timedelta(hours=1), 10)
        waits = [policy.delay(attempts) for attempts in range(1, 11)]
        assert [w.total_seconds() if w else None for w in waits] == [
            30, 60, 120, 240, 480, 960, 1920, 3600, 3600, None,
        ]  # fmt: skip


class TestTexts:
    def test_every_letter_exists_in_every_language(self) -> None:
        """No kind of notification lacks words, and every phrase uses known fields only."""
        assert set(PHRASES) == {(locale, kind) for locale in Locale for kind in Kind}
        assert set(LABELS) == set(Locale)
        for phrases in PHRASES.values():
            for text in (phrases.subject, phrases.opening, phrases.summary):
                fields = {name for _, name, _, _ in Formatter().parse(text) if name}
                assert fields <= {"title", "unit", "when"}

    @pytest.mark.parametrize(
        ("locale", "expected"),
        [
            (Locale.VI, "08 giờ 05, Chủ nhật, ngày 01/03/2026 (Asia/Ho_Chi_Minh, UTC+07:00)"),
            (Locale.EN, "08:05, Sunday, 01/03/2026 (Asia/Ho_Chi_Minh, UTC+07:00)"),
        ],
    )
    def test_times(self, locale: Locale, expected: str) -> None:
        """Day, month, year in this order, with the weekday and the zone."""
        moment = datetime(2026, 3, 1, 8, 5, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))
        assert format_when(moment, "Asia/Ho_Chi_Minh", locale) == expected

    @pytest.mark.parametrize(
        ("minutes", "vi", "en"),
        [
            (30, "30 phút", "30 min"),
            (60, "1 giờ", "1 h"),
            (135, "2 giờ 15 phút", "2 h 15 min"),
            (0, "0 phút", "0 min"),
        ],
    )
    def test_lengths(self, minutes: int, vi: str, en: str) -> None:
        """Hours and minutes, without empty parts."""
        length = timedelta(minutes=minutes)
        assert (format_length(length, Locale.VI), format_length(length, Locale.EN)) == (vi, en)
