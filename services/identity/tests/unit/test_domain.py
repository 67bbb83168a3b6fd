# SPDX-License-Identifier: Apache-2.0
"""The rules of identity."""

from datetime import UTC, datetime, timedelta

import pytest
from giaoban_identity.domain import (
    ROLE_PERMISSIONS,
    LockoutPolicy,
    Permission,
    Role,
    RoleAssignment,
    Unit,
    fold,
    is_permitted,
    locked_for,
    permissions_by_unit,
    search,
    sort_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
POLICY = LockoutPolicy(3, timedelta(seconds=2), timedelta(minutes=15), timedelta(hours=24))


def unit(path: str) -> Unit:
    return Unit(path.split("/")[-2], "org", None, "code", "name", 0, path)


class TestFold:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("Bình Tân", "binh tan"),
            ("ĐẶNG  Thị\tĐào", "dang thi dao"),
            ("Ủy ban nhân dân Quận Gò Vấp", "uy ban nhan dan quan go vap"),
            ("Ｆｕｌｌ", "full"),
            ("", ""),
        ],
    )
    def test_folds_vietnamese(self, text: str, folded: str) -> None:
        """Diacritics, case and đ make no difference to search."""
        assert fold(text) == folded

    @settings(max_examples=2000)
    @given(st.text())
    def test_is_stable_and_safe_for_the_database(self, text: str) -> None:
        """Whatever comes in, folding twice changes nothing and no NUL or control character comes out."""
        folded = fold(text)
        assert "\x00" not in folded
        assert fold(folded) == folded

    def test_numbers_sort_by_value(self) -> None:
        """Quận 2 stands before Quận 10."""
        names = ["Quận 10", "Quận 2", "Quận 1", "Bình Tân"]
        assert sorted(names, key=sort_key) == ["Bình Tân", "Quận 1", "Quận 2", "Quận 10"]

    def test_a_query_is_a_set_of_words(self) -> None:
        """Words are folded, each is looked for once, and nothing but letters and digits is in them."""
        assert search("  Tân bình TAN ").words == ("tan", "binh")
        assert search("UBND P.Bến_Nghé (Q.1)").words == ("ubnd", "p", "ben", "nghe", "q", "1")
        assert search("'&|!:*").words == ()

    def test_a_query_begins_names(self) -> None:
        """What was typed is compared as names are ordered: numbers by value, so a whole one begins only itself."""
        assert search("Quận 1").is_begun_by(sort_key("quan 1 (cũ)"))
        assert not search("Quận 1").is_begun_by(sort_key("Quận 10"))
        assert search("").is_begun_by(sort_key("Quận 10"))

    @settings(max_examples=2000)
    @given(st.text(), st.text())
    def test_begun_names_lie_between_beginning_and_end(self, query: str, name: str) -> None:
        """The range that the database reads holds the names that begin with the query, and no others."""
        typed = search(query)
        for key in (sort_key(name), sort_key(query + name)):
            assert typed.is_begun_by(key) == (typed.beginning <= key < typed.end)


class TestPermissions:
    def test_every_role_is_defined(self) -> None:
        """No role is left without a decision."""
        assert set(ROLE_PERMISSIONS) == set(Role)

    def test_a_role_reaches_the_unit_and_those_below_but_not_above_or_beside(self) -> None:
        """Inheritance runs downwards only."""
        held = [RoleAssignment("u", "city", "/root/city/", Role.CONVENER)]
        allowed = {
            path: is_permitted(held, unit(path), Permission.CONVENE)
            for path in ("/root/", "/root/city/", "/root/city/ward/", "/root/city2/", "/root/other/")
        }
        assert allowed == {
            "/root/": False,
            "/root/city/": True,
            "/root/city/ward/": True,
            "/root/city2/": False,
            "/root/other/": False,
        }

    def test_a_member_may_do_nothing_by_role(self) -> None:
        """A member only sees what they are invited to."""
        held = [RoleAssignment("u", "root", "/root/", Role.MEMBER)]
        assert not any(is_permitted(held, unit("/root/"), permission) for permission in Permission)

    def test_permissions_of_several_roles_in_a_unit_add_up(self) -> None:
        """Convener and operator of one unit hold both sets there."""
        held = [
            RoleAssignment("u", "a", "/a/", Role.CONVENER),
            RoleAssignment("u", "a", "/a/", Role.OPERATOR),
        ]
        assert permissions_by_unit(held) == {
            "a": {Permission.CONVENE, Permission.OVERSEE, Permission.OPERATE}
        }


class TestLockout:
    def test_grows_after_the_free_failures(self) -> None:
        """Two failures cost nothing, then the wait doubles up to its cap."""
        waits = [POLICY.delay(failures).total_seconds() for failures in range(1, 16)]
        assert waits == [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]

    def test_a_patient_attacker_overflows_nothing(self) -> None:
        """A million failures wait as long as the cap says."""
        assert POLICY.delay(1_000_000) == timedelta(minutes=15)

    def test_failures_are_forgotten(self) -> None:
        """A failure long ago does not count."""
        guesses = None
        for _ in range(3):
            guesses = POLICY.after_failure(guesses, b"k", NOW)
        assert locked_for(guesses, NOW) == timedelta(seconds=2)
        later = POLICY.after_failure(guesses, b"k", NOW + timedelta(hours=25))
        assert (later.failures, locked_for(later, NOW + timedelta(hours=25))) == (1, None)
