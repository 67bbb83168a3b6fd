# SPDX-License-Identifier: Apache-2.0
"""The import of a directory, on records in memory."""

import itertools
from dataclasses import replace

import pytest
from giaoban_identity.crypto import ArgonPasswords, KeyFileVault
from giaoban_identity.directory_import import (
    Directory,
    DirectoryImport,
    SiteEntry,
    UnitEntry,
    UserEntry,
    place_units,
)
from giaoban_identity.domain import MAX_TREE_DEPTH, Locale, Role, SiteKind
from giaoban_identity.errors import DirectoryEntryInvalid
from giaoban_identity.testing import MemoryTransactions
from giaoban_kit.clock import SystemClock

DIRECTORY = Directory(
    code="tphcm",
    name="Thành phố Hồ Chí Minh",
    time_zone="Asia/Ho_Chi_Minh",
    units=[UnitEntry("ubnd", "", "Ủy ban nhân dân"), UnitEntry("binhtan", "ubnd", "Quận Bình Tân")],
    sites=[SiteEntry("dc-binhtan", "binhtan", "Điểm cầu Bình Tân", SiteKind.FIXED, "k" * 32)],
    users=[
        UserEntry(
            "an",
            "ubnd",
            "Nguyễn Văn An",
            "Chủ tịch",
            "an@tphcm.vn",
            Locale.VI,
            (("ubnd", Role.CONVENER),),
            "mật khẩu 1",
        )
    ],
)


@pytest.fixture(name="records")
def _records() -> MemoryTransactions:
    return MemoryTransactions()


@pytest.fixture(name="importing")
def _importing(records: MemoryTransactions, passwords: ArgonPasswords) -> DirectoryImport:
    numbers = itertools.count(1)
    return DirectoryImport(
        records, passwords, KeyFileVault(bytes(32)), clock=SystemClock(), new_id=lambda: f"id{next(numbers)}"
    )


class TestPlaceUnits:
    def test_works_out_paths(self) -> None:
        """Entries may come in any order; parents come first in the result."""
        entries = [UnitEntry("c", "b", "C"), UnitEntry("b", "a", "B"), UnitEntry("a", "", "A")]
        placed = place_units("org", [], entries, iter(["C", "B", "A"]).__next__)
        assert [(unit.code, unit.path) for unit in placed] == [("a", "/A/"), ("b", "/A/B/"), ("c", "/A/B/C/")]

    def test_a_moved_unit_takes_those_below_with_it(self) -> None:
        """Paths of units that the import does not name follow their parent."""
        names = itertools.count(1)
        entries = [UnitEntry(c, p, c) for c, p in (("a", ""), ("b", "a"), ("c", "a"), ("d", "b"))]
        before = place_units("org", [], entries, lambda: str(next(names)))
        after = place_units("org", before, [UnitEntry("b", "c", "b")], lambda: str(next(names)))
        assert {unit.code: unit.path for unit in after}["d"] == "/1/3/2/4/"

    @pytest.mark.parametrize(
        ("entries", "field"),
        [
            ([UnitEntry("a", "", "A"), UnitEntry("b", "nowhere", "B")], "units[1].parent_code"),
            ([UnitEntry("a", "", "A"), UnitEntry("b", "", "B")], "units"),
            ([UnitEntry("r", "", "R"), UnitEntry("a", "b", "A"), UnitEntry("b", "a", "B")], "units"),
            ([UnitEntry("a", "a", "A")], "units"),
            (
                [UnitEntry("0", "", "0")]
                + [UnitEntry(str(i), str(i - 1), str(i)) for i in range(1, MAX_TREE_DEPTH + 1)],
                "units",
            ),
        ],
        ids=["unknown parent", "two roots", "circle", "own parent", "too deep"],
    )
    def test_refuses_what_is_no_tree(self, entries: list[UnitEntry], field: str) -> None:
        """The error names the field."""
        names = itertools.count(1)
        with pytest.raises(DirectoryEntryInvalid) as caught:
            place_units("org", [], entries, lambda: str(next(names)))
        assert [violation.field for violation in caught.value.violations] == [field]


class TestImport:
    async def test_twice_is_once(self, importing: DirectoryImport, records: MemoryTransactions) -> None:
        """A second import of the same directory changes no row, and hands out the same ids."""
        first = await importing.apply(DIRECTORY)
        before = records.state
        second = await importing.apply(DIRECTORY)
        assert replace(second, applied_at=first.applied_at) == first
        assert records.state == before

    async def test_updates_by_code(self, importing: DirectoryImport, records: MemoryTransactions) -> None:
        """A changed name is taken over; an absent password and device key stay as they are."""
        first = await importing.apply(DIRECTORY)
        user = replace(DIRECTORY.users[0], display_name="Nguyễn Văn Anh", password=None)
        site = replace(DIRECTORY.sites[0], name="Bình Tân", device_key=None)
        secrets_before = (dict(records.state.passwords), dict(records.state.device_keys))
        await importing.apply(replace(DIRECTORY, users=[user], sites=[site]))
        assert records.state.users[first.user_ids["an"]].display_name == "Nguyễn Văn Anh"
        assert records.state.sites[first.site_ids["dc-binhtan"]].name == "Bình Tân"
        assert (records.state.passwords, records.state.device_keys) == secrets_before

    async def test_a_wrong_entry_changes_nothing(
        self, importing: DirectoryImport, records: MemoryTransactions
    ) -> None:
        """An unknown unit is named with its place, and the whole import is undone."""
        with pytest.raises(DirectoryEntryInvalid) as caught:
            await importing.apply(
                replace(DIRECTORY, users=[replace(DIRECTORY.users[0], unit_code="nowhere")])
            )
        assert caught.value.violations[0].field == "users[0].unit_code"
        assert not records.state.organisations

    async def test_secrets_are_not_printed(self) -> None:
        """Neither password, device key nor mail address shows in a representation."""
        shown = repr(DIRECTORY)
        assert not any(secret in shown for secret in ("mật khẩu 1", "k" * 32, "an@tphcm.vn"))
