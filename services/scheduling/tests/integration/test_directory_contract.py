# SPDX-License-Identifier: Apache-2.0
"""What scheduling expects of the directory; the double and the real identity service answer alike."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from giaoban_kit.grpc_client import channel
from giaoban_kit.ids import new_id
from giaoban_kit.tokens import Principal, acting_as
from giaoban_scheduling.directory import IdentityDirectory
from giaoban_scheduling.domain import Party, PartyKind, PartyRef
from giaoban_scheduling.errors import UnitNotFound
from giaoban_scheduling.ports import Directory
from giaoban_scheduling.testing import MemoryDirectory

UNITS = (
    ("ubnd", None, "Ủy ban nhân dân Thành phố"),
    ("binhtan", "ubnd", "Quận Bình Tân"),
    ("cuchi", "ubnd", "Huyện Củ Chi"),
)
OWN_UNIT = {"an": "ubnd", "binh": "binhtan", "chi": "cuchi", "kythuat": "ubnd"}


def _double(ids: dict[str, str], who: str) -> MemoryDirectory:
    directory = MemoryDirectory()
    for code, parent, name in UNITS:
        ref = PartyRef(PartyKind.UNIT, ids[code])
        directory.add(Party(ref, name, "", ids[code], name), ids[parent] if parent else None)
    unit = (ids["binhtan"], "Quận Bình Tân")
    directory.add(Party(PartyRef(PartyKind.USER, ids["binh"]), "Phạm Bình", "Chánh Văn phòng", *unit))
    directory.add(Party(PartyRef(PartyKind.SITE, ids["dc-binhtan"]), "Điểm cầu binhtan", "", *unit))
    directory.convenes = {"binh": {ids["binhtan"]}, "an": {ids["ubnd"]}}.get(who, set())
    directory.oversees = {ids["ubnd"]} if who == "kythuat" else set()
    directory.own_unit_id = ids[OWN_UNIT[who]]
    return directory


class _As:
    """The real directory as one user sees it: every call carries the user's token, as a served call does."""

    def __init__(self, directory: IdentityDirectory, principal: Principal, token: str) -> None:
        self._directory, self._principal, self._token = directory, principal, token

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            with acting_as(self._principal, self._token):
                return await getattr(self._directory, name)(*args)

        return call


Ask = Callable[[str], Awaitable[Directory]]


@pytest.fixture(name="ask", params=["double", "identity"])
async def _ask(request: pytest.FixtureRequest, house: Any) -> AsyncIterator[Ask]:
    """`await ask("binh")` is the directory as this user sees it."""
    async with channel(house.config.identity_target, house.keys.identity("scheduling")) as to_identity:

        async def ask(who: str) -> Any:
            if request.param == "double":
                return _double(house.ids["city"], who)
            principal = Principal(house.ids["city"][who], "user", house.organisations["city"], new_id(), who)
            return _As(IdentityDirectory(to_identity), principal, await house.token(who))

        yield ask


async def test_names(ask: Ask, house: Any) -> None:
    """Users, sites and units come with their names; unknown, foreign and repeated references do not add any."""
    ids, directory = house.ids["city"], await ask("chi")
    user = PartyRef(PartyKind.USER, ids["binh"])
    site = PartyRef(PartyKind.SITE, ids["dc-binhtan"])
    unit = PartyRef(PartyKind.UNIT, ids["binhtan"])
    foreign = PartyRef(PartyKind.USER, house.ids["ministry"]["minh"])
    wrong_kind = PartyRef(PartyKind.SITE, ids["binh"])
    unknown = PartyRef(PartyKind.USER, new_id())
    found = await directory.parties([user, site, unit, foreign, wrong_kind, unknown, user])
    district = (ids["binhtan"], "Quận Bình Tân")
    assert found == {
        user: Party(user, "Phạm Bình", "Chánh Văn phòng", *district),
        site: Party(site, "Điểm cầu binhtan", "", *district),
        unit: Party(unit, "Quận Bình Tân", "", *district),
    }
    assert await directory.parties([]) == {}


@pytest.mark.parametrize(
    ("who", "convenes", "oversees"),
    [
        ("an", {"ubnd", "binhtan", "cuchi"}, set()),
        ("binh", {"binhtan"}, set()),
        ("kythuat", set(), {"ubnd", "binhtan", "cuchi"}),
        ("chi", set(), set()),
    ],
)
async def test_permissions(ask: Ask, house: Any, who: str, convenes: set[str], oversees: set[str]) -> None:
    """Permissions hold in a unit and all below it, and nowhere else; the watched units are their sum."""
    ids, directory = house.ids["city"], await ask(who)
    for code, _, _ in UNITS:
        assert await directory.may_convene(ids[code]) is (code in convenes)
        assert await directory.may_oversee(ids[code]) is (code in oversees)
    own, watched = await directory.own_and_watched_units()
    assert watched == {ids[code] for code in convenes | oversees}
    assert own == ids[OWN_UNIT[who]]


async def test_an_unknown_unit(ask: Ask) -> None:
    """A unit that is not there, or of another organisation, is not found."""
    directory = await ask("an")
    for question in (directory.may_convene, directory.may_oversee):
        with pytest.raises(UnitNotFound):
            await question(new_id())
