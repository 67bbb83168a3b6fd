# SPDX-License-Identifier: Apache-2.0
"""What identity's records promise; the in-memory ones and the SQL ones keep the same promises."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from giaoban_identity.domain import (
    Account,
    Guesses,
    Locale,
    Organisation,
    PageMark,
    PartyKind,
    PartyRef,
    RefreshToken,
    Role,
    Session,
    SigningKey,
    Site,
    SiteKind,
    Unit,
    User,
    search,
    sort_key,
)
from giaoban_identity.ports import Records, Transactions
from giaoban_identity.store_secrets import SqlTransactions
from giaoban_identity.testing import MemoryTransactions
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database
from giaoban_kit.ids import new_id

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
ORG, OTHER = Organisation(new_id(), "tphcm", "Thành phố", "UTC"), Organisation(new_id(), "bo", "Bộ", "UTC")


@pytest.fixture(name="begin", params=["memory", "sql"])
async def _begin(request: pytest.FixtureRequest) -> AsyncIterator[Transactions]:
    if request.param == "memory":
        yield MemoryTransactions()
        return
    config: ServiceConfig = request.getfixturevalue("database_config")
    await migrate_database(config, "giaoban_identity")
    async with database(config) as db:
        yield SqlTransactions(db)


def unit(code: str, parent: Unit | None = None, organisation: Organisation = ORG, position: int = 0) -> Unit:
    unit_id = new_id()
    path = f"{parent.path if parent else '/'}{unit_id}/"
    return Unit(unit_id, organisation.id, parent.id if parent else None, code, code, position, path)


def user(username: str, of: Unit, *, name: str = "Tên", active: bool = True) -> User:
    return User(new_id(), of.organisation_id, of.id, username, name, "", "a@b.example", Locale.VI, active)


def site(code: str, of: Unit, *, name: str = "Điểm", active: bool = True) -> Site:
    return Site(new_id(), of.organisation_id, of.id, code, name, SiteKind.FIXED, active)


async def settle(records: Records, units: list[Unit], *entries: User | Site) -> None:
    for organisation in (ORG, OTHER):
        await records.directory.put_organisation(organisation)
    await records.directory.put_units(units)
    await records.directory.put_users([entry for entry in entries if isinstance(entry, User)])
    await records.directory.put_sites([entry for entry in entries if isinstance(entry, Site)])


class TestDirectory:
    async def test_units_come_parents_first_by_position(self, begin: Transactions) -> None:
        """The order is depth, then place among siblings; other organisations' units are not there."""
        root = unit("root")
        second, first = unit("second", root, position=1), unit("first", root, position=0)
        foreign = unit("root", organisation=OTHER)
        async with begin() as records:
            await settle(records, [root, second, first, foreign])
        async with begin() as records:
            assert list(await records.directory.units(ORG.id)) == [root, first, second]
            assert await records.directory.unit(ORG.id, foreign.id) is None
            assert await records.directory.unit(OTHER.id, foreign.id) == foreign

    async def test_putting_replaces(self, begin: Transactions) -> None:
        """Another put with the same id replaces, and search follows."""
        root = unit("root")
        before = site("s", root, name="Cũ")
        after = replace(before, name="Mới")
        async with begin() as records:
            await settle(records, [root], before)
        async with begin() as records:
            await records.directory.put_sites([after])
        async with begin() as records:
            assert await records.directory.find_sites(ORG.id, search("cu"), None, None, 9) == []
            assert list(await records.directory.find_sites(ORG.id, search("moi"), None, None, 9)) == [after]
            assert await records.directory.sites_by_code(ORG.id, ["s", "unknown"]) == {"s": after}

    async def test_finding(self, begin: Transactions) -> None:
        """Each word begins a word; inactive and foreign entries never come; what is no letter stands between words."""
        root, foreign = unit("root"), unit("root", organisation=OTHER)
        entries = [
            user("a", root, name="Đặng Bình Tân"),
            user("b", root, name="Tân Phú (100%)"),
            user("c", root, name="Bình Tân", active=False),
            user("d", foreign, name="Bình Tân"),
            user("le.e_f", root, name="x" * 200),
        ]
        async with begin() as records:
            await settle(records, [root, foreign], *entries)
        async with begin() as records:

            async def find(query: str) -> list[str]:
                found = await records.directory.find_users(ORG.id, search(query), None, None, 9)
                return [one.username for one in found]

            assert await find("ta") == ["b", "a"]
            assert await find("tan d") == ["a"]
            assert await find("100") == await find("phú 1") == await find("tân phú (") == ["b"]
            assert await find("le.e_f") == await find("f e") == await find("x" * 100) == ["le.e_f"]
            assert (
                await find("an")
                == await find("%")
                == await find("_")
                == await find("\\")
                == await find("' & z")
                == []
            )

    async def test_names_that_begin_with_the_query_come_first(self, begin: Transactions) -> None:
        """They come in their order, then the others in theirs; a page ends and begins anywhere, each entry comes once."""
        root = unit("root")
        inner, beside = unit("inner", root), unit("beside", root)
        names = ["An Bình 2", "Bình 10", "Bình 2", "Cao Bình", "Bình", "An Bình 10", "Cao Lan"]
        sites = [site(str(n), inner, name=name) for n, name in enumerate(names)]
        async with begin() as records:
            await settle(records, [root, inner, beside], *sites, site("x", beside, name="Bình"))
        ordered = ["Bình", "Bình 2", "Bình 10", "An Bình 2", "An Bình 10", "Cao Bình"]
        async with begin() as records:
            for size in (1, 2, 3, 4, 9):
                pages, mark = list[str](), None
                while True:
                    found = await records.directory.find_sites(ORG.id, search("BÌNH"), inner, mark, size)
                    pages += [each.name for each in found]
                    if len(found) < size:
                        break
                    mark = PageMark(sort_key(found[-1].name), found[-1].id)
                assert pages == ordered, size

    async def test_reading_sees_what_was_committed(self, begin: Transactions) -> None:
        """Questions need no transaction, and see what an ended one left."""
        async with begin() as records:
            await records.directory.put_organisation(ORG)
        async with begin.reading() as directory:
            assert await directory.organisation(ORG.id) == ORG
            assert await directory.organisation(OTHER.id) is None

    async def test_pages_below_a_unit(self, begin: Transactions) -> None:
        """Entries come by sort key then id, after the mark, from the unit and those below it."""
        root = unit("root")
        inner, beside = unit("inner", root), unit("beside", root)
        names = ["Quận 10", "Quận 2", "Quận 2", "An"]
        sites = [site(str(n), inner, name=name) for n, name in enumerate(names)]
        async with begin() as records:
            await settle(records, [root, inner, beside], *sites, site("x", beside))
        async with begin() as records:
            ordered = sorted(sites, key=lambda one: (sort_key(one.name), one.id))
            found = await records.directory.find_sites(ORG.id, search(""), inner, None, 9)
            assert list(found) == ordered
            mark = PageMark(sort_key(ordered[1].name), ordered[1].id)
            assert list(await records.directory.find_sites(ORG.id, search(""), root, mark, 1)) == [ordered[2]]

    async def test_parties_and_holders(self, begin: Transactions) -> None:
        """Names come in the order asked; roles are those held in that very unit."""
        root, foreign = unit("root"), unit("root", organisation=OTHER)
        inner = unit("inner", root)
        boss, clerk, gone = user("boss", root), user("clerk", inner), user("gone", inner, active=False)
        place, stranger = site("s", inner), user("x", foreign)
        async with begin() as records:
            await settle(records, [root, inner, foreign], boss, clerk, gone, place, stranger)
            roles = {(boss.id, root.id, Role.CONVENER), (clerk.id, inner.id, Role.MEMBER)}
            for _ in range(2):  # adding what is there changes nothing
                await records.directory.add_roles(ORG.id, {*roles, (gone.id, inner.id, Role.MEMBER)})
        async with begin() as records:
            refs = [
                PartyRef(PartyKind.SITE, place.id),
                PartyRef(PartyKind.USER, gone.id),
                PartyRef(PartyKind.UNIT, root.id),
                PartyRef(PartyKind.USER, stranger.id),
                PartyRef(PartyKind.USER, clerk.id),
                PartyRef(PartyKind.SITE, place.id),
            ]
            parties = await records.directory.parties(ORG.id, refs)
            assert [(party.ref.id, party.unit_name) for party in parties] == [
                (place.id, "inner"),
                (root.id, "root"),
                (clerk.id, "inner"),
            ]
            held = await records.directory.roles_of(ORG.id, boss.id)
            assert [(one.unit_path, one.role) for one in held] == [(root.path, Role.CONVENER)]
            assert await records.directory.account(ORG.id, boss.id) == Account(ORG, boss, tuple(held))
            assert await records.directory.account(ORG.id, clerk.id) == Account(
                ORG, clerk, tuple(await records.directory.roles_of(ORG.id, clerk.id))
            )
            assert await records.directory.account(OTHER.id, boss.id) is None
            reached = records.directory.reached_units
            assert await reached(ORG.id, boss.id, [Role.CONVENER]) == (root.id, {root.id, inner.id})
            assert await reached(ORG.id, boss.id, [Role.OPERATOR]) == (root.id, set())
            assert await reached(ORG.id, clerk.id, list(Role)) == (inner.id, {inner.id})
            for organisation, who in ((ORG, gone), (OTHER, boss)):
                assert await reached(organisation.id, who.id, list(Role)) is None
            assert list(await records.directory.holders(ORG.id, [inner.id], list(Role))) == [clerk]
            assert set(await records.directory.units_of_sites(ORG.id, [place.id])) == {inner.id}
            assert await records.directory.user_by_username("tphcm", "boss") == boss
            assert await records.directory.user_by_username("bo", "boss") is None


class TestSecrets:
    async def test_sessions(self, begin: Transactions) -> None:
        """A token finds its session; the first use and the first end count; the past is purged."""
        root = unit("root")
        person = user("a", root)
        session = Session(new_id(), ORG.id, person.id, NOW, NOW + timedelta(days=1))
        token = RefreshToken(b"digest", session.id, NOW, NOW + timedelta(hours=1))
        async with begin() as records:
            await settle(records, [root], person)
            await records.sessions.add(session)
            await records.sessions.add_token(token)
        async with begin() as records:
            assert await records.sessions.lock_token(b"digest") == (token, session)
            assert await records.sessions.lock_token(b"unknown") is None
            for minutes in (1, 2):
                await records.sessions.mark_used(b"digest", NOW + timedelta(minutes=minutes))
            await records.sessions.end(session.id, NOW + timedelta(minutes=3))
            await records.sessions.end_all_of([person.id], NOW + timedelta(minutes=4))
        async with begin() as records:
            found = await records.sessions.lock_token(b"digest")
            assert found is not None
            assert found[0].used_at == NOW + timedelta(minutes=1)
            assert found[1].ended_at == NOW + timedelta(minutes=3)
            await records.sessions.purge(NOW + timedelta(minutes=3))
            assert await records.sessions.lock_token(b"digest") is not None
            await records.sessions.purge(NOW + timedelta(minutes=4))
        async with begin() as records:
            assert await records.sessions.lock_token(b"digest") is None

    async def test_a_count_is_locked(self, begin: Transactions) -> None:
        """Ten who count at once, on a key that did not exist, count to ten."""

        async def count() -> None:
            async with begin() as records:
                before = await records.guesses.lock(b"k" * 32)
                await asyncio.sleep(0)
                failures = (before.failures if before else 0) + 1
                await records.guesses.put(Guesses(b"k" * 32, failures, NOW))

        await asyncio.gather(*(count() for _ in range(10)))
        async with begin() as records:
            assert await records.guesses.get(b"k" * 32) == Guesses(b"k" * 32, 10, NOW)
            await records.guesses.purge(NOW)
            assert await records.guesses.get(b"k" * 32) is not None
            await records.guesses.forget(b"k" * 32)
            assert await records.guesses.get(b"k" * 32) is None

    async def test_credentials_and_keys(self, begin: Transactions) -> None:
        """Hashes, digests and keys are stored by owner and replaced; keys come newest first."""
        root = unit("root")
        person, place = user("a", root), site("s", root)
        old = SigningKey("a", b"p", b"s", NOW)
        new = SigningKey("b", b"p", b"s", NOW + timedelta(hours=1))
        async with begin() as records:
            await settle(records, [root], person, place)
            for stored in ("first", "second"):
                await records.credentials.put_password_hashes({person.id: stored})
            await records.credentials.put_device_key_digests({place.id: b"d"})
            for key in (old, new, replace(old, retired_at=NOW)):
                await records.signing_keys.put(key)
        async with begin() as records:
            assert await records.credentials.password_hash(person.id) == "second"
            assert await records.credentials.password_hash("nobody") is None
            assert await records.credentials.device_key_digest(place.id) == b"d"
            assert await records.credentials.device_key_digest("nowhere") is None
            assert list(await records.signing_keys.all(lock=True)) == [new, replace(old, retired_at=NOW)]
            await records.signing_keys.delete(["a"])
            assert [key.id for key in await records.signing_keys.all()] == ["b"]

    async def test_all_or_nothing(self, begin: Transactions) -> None:
        """When the block raises nothing remains."""
        with pytest.raises(LookupError):
            async with begin() as records:
                await records.directory.put_organisation(ORG)
                raise LookupError
        async with begin() as records:
            assert await records.directory.organisation(ORG.id) is None
