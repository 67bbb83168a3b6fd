# SPDX-License-Identifier: Apache-2.0
"""Identity as its callers meet it: real gRPC with the kit's interceptors, real PostgreSQL."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import jwt
import pytest
from giaoban.identity.v1 import identity_pb2 as nouns
from giaoban.identity.v1 import identity_service_pb2 as calls
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban_identity import main
from giaoban_identity.config import Config
from giaoban_kit.config import ServiceConfig
from giaoban_kit.errors import Exhausted, Forbidden, GiaobanError, Invalid, NotFound, Unauthenticated
from giaoban_kit.grpc_client import channel
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import ServiceKeys, UserTokens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PASSWORD = "Đường đi khó 7"
DEVICE_KEY = "device-key-" + "x" * 32
Entry = calls.ImportDirectoryRequest


@dataclass
class Served:
    """A served identity and a way to call it as any service, for any user."""

    keys: ServiceKeys
    target: str
    stack: AsyncExitStack
    city: calls.ImportDirectoryResponse
    ministry: calls.ImportDirectoryResponse
    token: str = ""

    async def calling(self, service: str = "gateway") -> IdentityServiceStub:
        opened = await self.stack.enter_async_context(channel(self.target, self.keys.identity(service)))
        return IdentityServiceStub(opened)

    async def sign_in(self, username: str = "an", **changed: str) -> nouns.SessionTokens:
        request = calls.SignInRequest(
            **{
                "organisation_code": "tphcm",
                "username": username,
                "password": PASSWORD,
                "client_address": "10.0.0.1",
                **changed,
            }
        )
        return (await (await self.calling()).SignIn(request)).tokens


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def city() -> Entry:
    return Entry(
        organisation=nouns.Organisation(
            code="tphcm", name="Thành phố Hồ Chí Minh", time_zone="Asia/Ho_Chi_Minh"
        ),
        units=[
            Entry.UnitEntry(code="ubnd", name="Ủy ban nhân dân Thành phố"),
            Entry.UnitEntry(code="binhtan", parent_code="ubnd", name="Quận Bình Tân"),
            Entry.UnitEntry(code="anlac", parent_code="binhtan", name="Phường An Lạc"),
            Entry.UnitEntry(code="cuchi", parent_code="ubnd", name="Huyện Củ Chi"),
        ],
        sites=[
            Entry.SiteEntry(
                code=f"dc-{code}",
                unit_code=code,
                name=f"Điểm cầu {name}",
                kind=nouns.SITE_KIND_FIXED,
                device_key=DEVICE_KEY,
            )
            for code, name in (("binhtan", "Quận Bình Tân"), ("anlac", "Phường An Lạc"), ("cuchi", "Củ Chi"))
        ],
        users=[
            Entry.UserEntry(
                username="an",
                unit_code="ubnd",
                display_name="Nguyễn Văn An",
                office="Chủ tịch",
                email="an@tphcm.example",
                roles=[Entry.RoleEntry(unit_code="ubnd", role=nouns.ROLE_CONVENER)],
                password=PASSWORD,
                locale=nouns.LOCALE_VI,
            ),
            Entry.UserEntry(
                username="binh",
                unit_code="binhtan",
                display_name="Trần Thị Đào",
                email="dao@tphcm.example",
                roles=[
                    Entry.RoleEntry(unit_code="binhtan", role=nouns.ROLE_CONVENER),
                    Entry.RoleEntry(unit_code="binhtan", role=nouns.ROLE_OPERATOR),
                ],
                password=PASSWORD,
                locale=nouns.LOCALE_VI,
            ),
            Entry.UserEntry(
                username="cu",
                unit_code="cuchi",
                display_name="Lê Cư",
                email="cu@tphcm.example",
                roles=[Entry.RoleEntry(unit_code="cuchi", role=nouns.ROLE_MEMBER)],
                password=PASSWORD,
                locale=nouns.LOCALE_VI,
            ),
        ],
    )


def ministry() -> Entry:
    return Entry(
        organisation=nouns.Organisation(code="bo", name="Bộ", time_zone="Asia/Ho_Chi_Minh"),
        units=[Entry.UnitEntry(code="bo", name="Văn phòng Bộ")],
        sites=[
            Entry.SiteEntry(code="dc", unit_code="bo", name="Bình Tân của Bộ", kind=nouns.SITE_KIND_FIXED)
        ],
        users=[
            Entry.UserEntry(
                username="minh",
                unit_code="bo",
                display_name="Minh",
                locale=nouns.LOCALE_EN,
                password=PASSWORD,
                roles=[Entry.RoleEntry(unit_code="bo", role=nouns.ROLE_ADMINISTRATOR)],
            )
        ],
    )


@pytest.fixture(name="served")
async def _served(
    database_config: ServiceConfig, service_keys: ServiceKeys, tmp_path: Path
) -> AsyncIterator[Served]:
    key_file = tmp_path / "sealing.key"
    key_file.write_text(base64.b64encode(bytes(range(32))).decode())
    config = Config(
        database_url=database_config.database_url,
        service_key_file=service_keys.key_file("identity"),
        service_jwks_file=service_keys.jwks_file,
        sealing_key_file=key_file,
        account_free_failures=3,
        address_free_failures=6,
        refresh_reuse_grace=timedelta(0),
        signing_key_min_age=timedelta(0),
        argon2_memory_kib=8192,
        argon2_time_cost=1,
    )
    await main.migrate(config)
    async with AsyncExitStack() as stack:
        target = f"127.0.0.1:{await main.start(config, stack)}"
        dev = IdentityServiceStub(
            await stack.enter_async_context(channel(target, service_keys.identity("dev")))
        )
        yield Served(
            service_keys,
            target,
            stack,
            await dev.ImportDirectory(city()),
            await dev.ImportDirectory(ministry()),
        )


class TestSignIn:
    async def test_opens_the_door(self, served: Served) -> None:
        """A signed-in user is known by the token, with office, organisation and permissions."""
        tokens = await served.sign_in()
        me = await (await served.calling()).GetMe(calls.GetMeRequest(), metadata=bearer(tokens.access_token))
        assert (me.user.display_name, me.user.email) == ("Nguyễn Văn An", "an@tphcm.example")
        assert me.organisation.code == "tphcm"
        assert {p.unit_id: list(p.permissions) for p in me.permissions} == {
            served.city.unit_ids["ubnd"]: [nouns.PERMISSION_CONVENE]
        }

    async def test_codes_are_typed_freely(self, served: Served) -> None:
        """Capitals and spaces around organisation and user name make no difference."""
        assert (await served.sign_in(" AN ", organisation_code=" TPHCM ")).access_token

    async def test_refuses_and_locks(self, served: Served) -> None:
        """Wrong passwords are refused alike, then the account is locked and the answer says for how long."""
        for username in ("an", "nobody"):
            for _ in range(3):
                with pytest.raises(Unauthenticated) as refused:
                    await served.sign_in(username, password="wrong")
                assert refused.value.reason == "INVALID_CREDENTIALS"
        with pytest.raises(Exhausted) as locked:
            await served.sign_in(client_address="10.0.0.2")
        assert locked.value.reason == "SIGN_IN_LOCKED"
        assert locked.value.retry_after is not None
        assert timedelta() < locked.value.retry_after <= timedelta(seconds=2)

    async def test_locks_the_address(self, served: Served) -> None:
        """Failures on many accounts lock the address they come from and no other."""
        for number in range(6):
            with pytest.raises(Unauthenticated):
                await served.sign_in(f"user{number}")
        with pytest.raises(Exhausted):
            await served.sign_in()
        assert (await served.sign_in(client_address="10.0.0.2")).access_token

    async def test_parallel_guesses_are_counted(self, served: Served) -> None:
        """Of ten guesses at once over real connections only the free ones are checked."""
        outcomes = await asyncio.gather(
            *(served.sign_in(password="wrong") for _ in range(10)), return_exceptions=True
        )
        reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, GiaobanError)]
        assert sorted(reasons) == ["INVALID_CREDENTIALS"] * 3 + ["SIGN_IN_LOCKED"] * 7

    async def test_a_terminal_signs_in(self, served: Served) -> None:
        """A site's terminal is known as the site, holds no permission and gets no refresh token."""
        gateway = await served.calling()
        site_id = served.city.site_ids["dc-binhtan"]
        request = calls.SignInTerminalRequest(
            site_id=site_id, device_key=DEVICE_KEY, client_address="10.0.0.1"
        )
        tokens = (await gateway.SignInTerminal(request)).tokens
        assert not tokens.refresh_token
        assert not tokens.HasField("refresh_token_expires_at")
        me = await gateway.GetMe(calls.GetMeRequest(), metadata=bearer(tokens.access_token))
        assert (me.site.id, me.HasField("user")) == (site_id, False)
        allowed = await gateway.CheckPermission(
            calls.CheckPermissionRequest(
                unit_id=served.city.unit_ids["ubnd"], permission=nouns.PERMISSION_CONVENE
            ),
            metadata=bearer(tokens.access_token),
        )
        assert not allowed.allowed
        with pytest.raises(NotFound):
            await gateway.UpdateMe(
                calls.UpdateMeRequest(locale=nouns.LOCALE_EN), metadata=bearer(tokens.access_token)
            )


class TestRefresh:
    async def test_rotates_and_detects_reuse(self, served: Served) -> None:
        """A used token ends its session for everyone who holds it, and only that session."""
        gateway = await served.calling()
        first, other = await served.sign_in(), await served.sign_in()
        second = (
            await gateway.RefreshSession(calls.RefreshSessionRequest(refresh_token=first.refresh_token))
        ).tokens
        with pytest.raises(Unauthenticated) as reused:
            await gateway.RefreshSession(calls.RefreshSessionRequest(refresh_token=first.refresh_token))
        assert reused.value.reason == "REFRESH_TOKEN_REUSED"
        with pytest.raises(Unauthenticated) as ended:
            await gateway.RefreshSession(calls.RefreshSessionRequest(refresh_token=second.refresh_token))
        assert ended.value.reason == "REFRESH_TOKEN_INVALID"
        await gateway.RefreshSession(calls.RefreshSessionRequest(refresh_token=other.refresh_token))

    async def test_sign_out(self, served: Served) -> None:
        """After signing out the token is worth nothing; signing out twice is no error."""
        gateway = await served.calling()
        tokens = await served.sign_in()
        for _ in range(2):
            await gateway.SignOut(calls.SignOutRequest(refresh_token=tokens.refresh_token))
        with pytest.raises(Unauthenticated):
            await gateway.RefreshSession(calls.RefreshSessionRequest(refresh_token=tokens.refresh_token))


class TestTokens:
    async def test_old_tokens_survive_a_rotation(self, served: Served) -> None:
        """A rotation disturbs nobody: old tokens stay valid and both keys are in the JWKS."""
        tokens = await served.sign_in()
        dev, gateway = await served.calling("dev"), await served.calling()
        key_id = (await dev.RotateSigningKey(calls.RotateSigningKeyRequest())).key_id
        jwks = jwt.PyJWKSet.from_json((await gateway.GetJwks(calls.GetJwksRequest())).jwks_json)
        kids = [key.key_id for key in jwks.keys]
        assert kids == [key_id, jwt.get_unverified_header(tokens.access_token)["kid"]]
        await gateway.GetMe(calls.GetMeRequest(), metadata=bearer(tokens.access_token))

    @pytest.mark.parametrize(
        "forge",
        [
            lambda token: UserTokens().token(),
            lambda token: token[:-8] + ("A" * 8 if not token.endswith("A" * 8) else "B" * 8),
            lambda token: UserTokens(kid=jwt.get_unverified_header(token)["kid"]).token(),
            lambda token: jwt.encode(
                jwt.decode(token, options={"verify_signature": False}),
                "secret-of-thirty-two-characters!",
                algorithm="HS256",
                headers={"kid": jwt.get_unverified_header(token)["kid"], "typ": "at+jwt"},
            ),
            lambda token: jwt.encode(
                jwt.decode(token, options={"verify_signature": False}),
                "",
                algorithm="none",
                headers={"kid": jwt.get_unverified_header(token)["kid"], "typ": "at+jwt"},
            ),
            lambda token: "x" * 5_000,
            lambda token: "",
        ],
        ids=["unknown key", "bad signature", "same kid, other key", "HS256", "alg none", "huge", "empty"],
    )
    async def test_forged_tokens_are_refused(self, served: Served, forge: Callable[[str], str]) -> None:
        """Nothing but identity's own signature opens the door."""
        token = forge((await served.sign_in()).access_token)
        with pytest.raises(Unauthenticated):
            await (await served.calling()).GetMe(calls.GetMeRequest(), metadata=bearer(token))

    async def test_only_services_may_call(self, served: Served) -> None:
        """A caller without a service's key, or one the caller graph does not name, is refused."""
        with pytest.raises(Forbidden):
            await (await served.calling("scheduling")).ResolveRecipients(calls.ResolveRecipientsRequest())
        with pytest.raises(Forbidden):
            await (await served.calling()).ImportDirectory(city())
        async with grpc.aio.insecure_channel(served.target) as bare:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await IdentityServiceStub(bare).GetJwks(calls.GetJwksRequest())
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


class TestDirectory:
    async def test_search_needs_no_diacritics(self, served: Served) -> None:
        """'Binh Tan' finds Bình Tân, and 'dao' finds Đào, in the caller's organisation only."""
        gateway = await served.calling()
        me = bearer((await served.sign_in()).access_token)
        sites = await gateway.ListSites(calls.ListSitesRequest(query="Binh Tan"), metadata=me)
        assert [site.code for site in sites.sites] == ["dc-binhtan"]
        users = await gateway.ListUsers(calls.ListUsersRequest(query="dao TRẦN"), metadata=me)
        assert [(user.username, user.email) for user in users.users] == [("binh", "")]

    async def test_pages(self, served: Served) -> None:
        """Pages of one entry list every site once, in order, and end."""
        gateway = await served.calling()
        me = bearer((await served.sign_in()).access_token)
        codes, token = [], ""
        while True:
            page = await gateway.ListSites(calls.ListSitesRequest(page_size=1, page_token=token), metadata=me)
            codes += [site.code for site in page.sites]
            token = page.next_page_token
            if not token:
                break
        assert codes == ["dc-cuchi", "dc-anlac", "dc-binhtan"]

    async def test_below_a_unit(self, served: Served) -> None:
        """A unit's sites are its own and those below it."""
        me = bearer((await served.sign_in()).access_token)
        request = calls.ListSitesRequest(unit_id=served.city.unit_ids["binhtan"])
        sites = (await (await served.calling()).ListSites(request, metadata=me)).sites
        assert {site.code for site in sites} == {"dc-binhtan", "dc-anlac"}

    async def test_units_come_parents_first(self, served: Served) -> None:
        """The tree can be built in one pass."""
        me = bearer((await served.sign_in()).access_token)
        units = (await (await served.calling()).ListUnits(calls.ListUnitsRequest(), metadata=me)).units
        assert [unit.code for unit in units] == ["ubnd", "binhtan", "cuchi", "anlac"]
        assert not units[0].HasField("parent_id")

    async def test_another_organisation_is_not_there(self, served: Served) -> None:
        """Ids of another organisation behave like ids that do not exist, on every question."""
        gateway = await served.calling()
        me = bearer((await served.sign_in()).access_token)
        foreign = served.ministry
        with pytest.raises(NotFound) as caught:
            await gateway.ListSites(calls.ListSitesRequest(unit_id=foreign.unit_ids["bo"]), metadata=me)
        assert caught.value.reason == "UNIT_NOT_FOUND"
        with pytest.raises(NotFound):
            await gateway.CheckPermission(
                calls.CheckPermissionRequest(
                    unit_id=foreign.unit_ids["bo"], permission=nouns.PERMISSION_CONVENE
                ),
                metadata=me,
            )
        refs = [
            nouns.PartyRef(kind=nouns.PARTY_KIND_USER, id=foreign.user_ids["minh"]),
            nouns.PartyRef(kind=nouns.PARTY_KIND_SITE, id=foreign.site_ids["dc"]),
            nouns.PartyRef(kind=nouns.PARTY_KIND_UNIT, id=foreign.unit_ids["bo"]),
            nouns.PartyRef(kind=nouns.PARTY_KIND_USER, id=new_id()),
            nouns.PartyRef(kind=nouns.PARTY_KIND_USER, id=served.city.user_ids["binh"]),
        ]
        parties = (
            await gateway.BatchGetParties(calls.BatchGetPartiesRequest(refs=refs), metadata=me)
        ).parties
        assert [(party.name, party.unit_name) for party in parties] == [("Trần Thị Đào", "Quận Bình Tân")]
        notifications = await served.calling("notifications")
        found = await notifications.ResolveRecipients(
            calls.ResolveRecipientsRequest(organisation_id=served.city.organisation.id, refs=refs)
        )
        assert [recipient.display_name for recipient in found.recipients] == ["Trần Thị Đào"]

    async def test_permissions_are_inherited_downwards(self, served: Served) -> None:
        """A district's convener may convene for its ward, not for the city or the neighbour."""
        gateway = await served.calling()
        me = bearer((await served.sign_in("binh")).access_token)

        async def allowed(code: str, permission: nouns.Permission.ValueType) -> bool:
            request = calls.CheckPermissionRequest(unit_id=served.city.unit_ids[code], permission=permission)
            return (await gateway.CheckPermission(request, metadata=me)).allowed

        convene = {code: await allowed(code, nouns.PERMISSION_CONVENE) for code in served.city.unit_ids}
        assert convene == {"ubnd": False, "binhtan": True, "anlac": True, "cuchi": False}
        assert not await allowed("binhtan", nouns.PERMISSION_ADMINISTER)

    async def test_permitted_units_are_those_that_the_permissions_reach(self, served: Served) -> None:
        """One question instead of one for each unit: the own unit, and all where one of the permissions holds."""
        gateway, scheduling = await served.calling(), await served.calling("scheduling")
        ids = served.city.unit_ids

        async def reached(who: str, *permissions: nouns.Permission.ValueType) -> tuple[str, set[str]]:
            me = bearer((await served.sign_in(who)).access_token)
            request = calls.ListPermittedUnitsRequest(permissions=permissions)
            found = await scheduling.ListPermittedUnits(request, metadata=me)
            for code, unit_id in ids.items():
                asked = [
                    calls.CheckPermissionRequest(unit_id=unit_id, permission=each) for each in permissions
                ]
                holds = [(await gateway.CheckPermission(each, metadata=me)).allowed for each in asked]
                assert any(holds) is (unit_id in found.unit_ids), code
            return found.own_unit_id, set(found.unit_ids)

        own, units = await reached("binh", nouns.PERMISSION_CONVENE, nouns.PERMISSION_OVERSEE)
        assert (own, units) == (ids["binhtan"], {ids["binhtan"], ids["anlac"]})
        assert (await reached("binh", nouns.PERMISSION_ADMINISTER))[1] == set()
        assert (await reached("binh"))[1] == set()

    async def test_permitted_units_are_for_known_permissions_and_users(self, served: Served) -> None:
        """What is asked must be known and little; a terminal holds nothing and is no user."""
        scheduling = await served.calling("scheduling")
        me = bearer((await served.sign_in("binh")).access_token)
        unknown = nouns.Permission.ValueType(99)
        for wrong in ([unknown], [nouns.PERMISSION_CONVENE] * 11):
            with pytest.raises(Invalid):
                await scheduling.ListPermittedUnits(
                    calls.ListPermittedUnitsRequest(permissions=wrong), metadata=me
                )
        request = calls.SignInTerminalRequest(
            site_id=served.city.site_ids["dc-binhtan"], device_key=DEVICE_KEY, client_address="192.0.2.1"
        )
        tokens = (await (await served.calling()).SignInTerminal(request)).tokens
        with pytest.raises(NotFound) as caught:
            await scheduling.ListPermittedUnits(
                calls.ListPermittedUnitsRequest(), metadata=bearer(tokens.access_token)
            )
        assert caught.value.reason == "USER_NOT_FOUND"

    async def test_recipients_behind_units_and_sites(self, served: Served) -> None:
        """A unit stands for its conveners and operators, a site for operators and members; each once."""
        refs = [
            nouns.PartyRef(kind=nouns.PARTY_KIND_UNIT, id=served.city.unit_ids["binhtan"]),
            nouns.PartyRef(kind=nouns.PARTY_KIND_SITE, id=served.city.site_ids["dc-binhtan"]),
            nouns.PartyRef(kind=nouns.PARTY_KIND_SITE, id=served.city.site_ids["dc-cuchi"]),
            nouns.PartyRef(kind=nouns.PARTY_KIND_USER, id=served.city.user_ids["cu"]),
        ]
        found = await (await served.calling("notifications")).ResolveRecipients(
            calls.ResolveRecipientsRequest(organisation_id=served.city.organisation.id, refs=refs)
        )
        assert {(r.display_name, r.email, r.time_zone) for r in found.recipients} == {
            ("Trần Thị Đào", "dao@tphcm.example", "Asia/Ho_Chi_Minh"),
            ("Lê Cư", "cu@tphcm.example", "Asia/Ho_Chi_Minh"),
        }
        assert len(found.recipients) == 2

    async def test_a_language_is_kept(self, served: Served) -> None:
        """A changed language is there at the next look."""
        gateway = await served.calling()
        me = bearer((await served.sign_in()).access_token)
        await gateway.UpdateMe(calls.UpdateMeRequest(locale=nouns.LOCALE_EN), metadata=me)
        assert (await gateway.GetMe(calls.GetMeRequest(), metadata=me)).user.locale == nouns.LOCALE_EN


class TestImport:
    async def test_twice_is_once(self, served: Served) -> None:
        """Importing the same directory again gives the same ids and keeps people signed in."""
        tokens = await served.sign_in()
        again = await (await served.calling("dev")).ImportDirectory(city())
        assert (again.unit_ids, again.site_ids, again.user_ids) == (
            served.city.unit_ids,
            served.city.site_ids,
            served.city.user_ids,
        )
        refresh = calls.RefreshSessionRequest(refresh_token=tokens.refresh_token)
        await (await served.calling()).RefreshSession(refresh)

    async def test_a_changed_password_ends_sessions(self, served: Served) -> None:
        """Whoever knew the old password is out; the new one is in."""
        tokens = await served.sign_in()
        changed = city()
        changed.users[0].password = "một mật khẩu khác"
        await (await served.calling("dev")).ImportDirectory(changed)
        with pytest.raises(Unauthenticated):
            await (await served.calling()).RefreshSession(
                calls.RefreshSessionRequest(refresh_token=tokens.refresh_token)
            )
        assert (await served.sign_in(password="một mật khẩu khác")).access_token

    @pytest.mark.parametrize(
        ("spoil", "field"),
        [
            (lambda r: r.organisation.ClearField("code"), "organisation.code"),
            (lambda r: setattr(r.organisation, "time_zone", "../../etc/passwd"), "organisation.time_zone"),
            (lambda r: setattr(r.units[0], "name", "x" * 201), "units[0].name"),
            (lambda r: setattr(r.units[1], "code", "ubnd"), "units[1].code"),
            (lambda r: setattr(r.units[1], "parent_code", "nowhere"), "units[1].parent_code"),
            (lambda r: setattr(r.sites[0], "kind", 99), "sites[0].kind"),
            (lambda r: setattr(r.sites[0], "device_key", "short"), "sites[0].device_key"),
            (lambda r: setattr(r.sites[0], "unit_code", "nowhere"), "sites[0].unit_code"),
            (lambda r: setattr(r.users[0], "email", "not an address"), "users[0].email"),
            (lambda r: setattr(r.users[0], "email", "a..b@tphcm.example"), "users[0].email"),
            (lambda r: setattr(r.users[0], "email", "đào@tphcm.example"), "users[0].email"),
            (lambda r: setattr(r.users[0], "password", "short"), "users[0].password"),
            (lambda r: setattr(r.users[0], "locale", 0), "users[0].locale"),
            (lambda r: setattr(r.users[0].roles[0], "role", 0), "users[0].roles[0].role"),
            (lambda r: setattr(r.users[0], "display_name", "nul\x00"), "users[0].display_name"),
        ],
    )
    async def test_wrong_entries_are_named(
        self, served: Served, spoil: Callable[[Entry], None], field: str
    ) -> None:
        """Every wrong entry is refused with its place and a remedy."""
        request = city()
        spoil(request)
        with pytest.raises(Invalid) as caught:
            await (await served.calling("dev")).ImportDirectory(request)
        violations = {violation.field: violation.remedy for violation in caught.value.violations}
        assert violations.get(field)


HOSTILE = st.text(max_size=300) | st.sampled_from(
    ["' OR 1=1 --", "%", "_", "\\", "\x00", "%00", "../..", "Ａ", "\ud83d\ude00", "\u202e", "a" * 10_000]
)


class TestHostileInput:
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(text=HOSTILE.map(lambda s: s.encode("utf-8", "ignore").decode()))
    async def test_strings_do_no_harm(self, served: Served, text: str) -> None:
        """Whatever text comes in any field, the answer is an answer or a clear refusal, never a failure."""
        gateway = await served.calling()
        me = bearer(await _remember(served))
        attempts = (
            gateway.ListSites(calls.ListSitesRequest(query=text), metadata=me),
            gateway.ListUsers(calls.ListUsersRequest(unit_id=text), metadata=me),
            gateway.ListUsers(calls.ListUsersRequest(page_token=text), metadata=me),
            gateway.BatchGetParties(
                calls.BatchGetPartiesRequest(refs=[nouns.PartyRef(kind=nouns.PARTY_KIND_USER, id=text)]),
                metadata=me,
            ),
            gateway.RefreshSession(calls.RefreshSessionRequest(refresh_token=text)),
            gateway.SignOut(calls.SignOutRequest(refresh_token=text)),
            gateway.SignInTerminal(
                calls.SignInTerminalRequest(site_id=text, device_key=text, client_address="a")
            ),
            served.sign_in(text, password=text, organisation_code=text, client_address=text),
        )
        for attempt in attempts:
            try:
                await attempt
            except GiaobanError as error:
                assert error.reason not in {"INTERNAL", "UNKNOWN"}, error

    @pytest.mark.parametrize("query", ["%", "_", "\\", "%_%"])
    async def test_wildcards_are_letters(self, served: Served, query: str) -> None:
        """A percent sign in a query looks for a percent sign."""
        me = bearer((await served.sign_in()).access_token)
        found = await (await served.calling()).ListSites(calls.ListSitesRequest(query=query), metadata=me)
        assert not found.sites

    async def test_limits_are_named(self, served: Served) -> None:
        """Too long, too many, out of range: refused with the field's name."""
        gateway = await served.calling()
        me = bearer((await served.sign_in()).access_token)
        refs = [nouns.PartyRef(kind=nouns.PARTY_KIND_USER, id=new_id())] * 501
        for call, field in (
            (gateway.ListSites(calls.ListSitesRequest(query="x" * 101), metadata=me), "query"),
            (gateway.ListSites(calls.ListSitesRequest(page_size=201), metadata=me), "page_size"),
            (gateway.ListSites(calls.ListSitesRequest(page_size=-1), metadata=me), "page_size"),
            (gateway.BatchGetParties(calls.BatchGetPartiesRequest(refs=refs), metadata=me), "refs"),
            (gateway.UpdateMe(calls.UpdateMeRequest(), metadata=me), "locale"),
            (served.sign_in(password=""), "password"),
            (served.sign_in(client_address=""), "client_address"),
        ):
            with pytest.raises(Invalid) as caught:
                await call
            assert [violation.field for violation in caught.value.violations] == [field]


async def _remember(served: Served) -> str:
    served.token = served.token or (await served.sign_in()).access_token  # one sign-in for all examples
    return served.token
