# SPDX-License-Identifier: Apache-2.0
"""Sign-in, refresh, lock-out and key rotation, on records in memory and a clock of our own."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from giaoban_identity.crypto import ArgonPasswords, JwtAccessTokens, KeyFileVault
from giaoban_identity.directory_import import Directory, DirectoryImport, SiteEntry, UnitEntry, UserEntry
from giaoban_identity.domain import Locale, LockoutPolicy, SiteKind
from giaoban_identity.errors import (
    InvalidCredentials,
    KeyFileMismatch,
    RefreshTokenInvalid,
    RefreshTokenReused,
    SignInBusy,
    SignInLocked,
)
from giaoban_identity.signin import KEY_PUBLICATION_LEAD, SignInPolicy, SignIns, Tokens
from giaoban_identity.testing import MemoryTransactions
from giaoban_kit.ids import new_id
from giaoban_kit.tokens import AUDIENCE, ISSUER

PASSWORD = "Đường đi khó 7"
DEVICE_KEY = "device-key-" + "x" * 32
LOCKOUT = LockoutPolicy(3, timedelta(seconds=2), timedelta(minutes=15), timedelta(hours=24))
POLICY = SignInPolicy(
    access_token_lifetime=timedelta(minutes=5),
    refresh_token_lifetime=timedelta(days=3),
    session_lifetime=timedelta(days=30),
    refresh_reuse_grace=timedelta(seconds=10),
    signing_key_min_age=timedelta(hours=1),
    account_lockout=LOCKOUT,
    address_lockout=replace(LOCKOUT, free=5),
)


@dataclass
class Now:
    """A clock that stands still until told otherwise."""

    moment: datetime = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, **amount: float) -> None:
        self.moment += timedelta(**amount)


@dataclass
class House:
    records: MemoryTransactions
    sign_ins: SignIns
    clock: Now
    site_id: str
    user_id: str

    async def sign_in(
        self, password: str = PASSWORD, username: str = "an", address: str = "10.0.0.1"
    ) -> Tokens:
        return await self.sign_ins.sign_in("tphcm", username, password, address)

    async def fail(self, times: int, **changed: str) -> None:
        for _ in range(times):
            with pytest.raises(InvalidCredentials):
                await self.sign_in(**{"password": "wrong", **changed})

    async def verify(self, token: str) -> dict[str, Any]:
        keys = jwt.PyJWKSet.from_json(await self.sign_ins.jwks())
        key = keys[jwt.get_unverified_header(token)["kid"]].key
        return jwt.decode(
            token,
            key,
            ["EdDSA"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"verify_exp": False, "verify_iat": False},  # our clock is not the machine's
        )


@pytest.fixture(name="house")
async def _house(passwords: ArgonPasswords) -> House:
    records, vault, clock = MemoryTransactions(), KeyFileVault(bytes(range(32))), Now()
    directory = Directory(
        "tphcm",
        "Thành phố",
        "Asia/Ho_Chi_Minh",
        units=[UnitEntry("ubnd", "", "Ủy ban")],
        sites=[SiteEntry("dc", "ubnd", "Điểm cầu", SiteKind.FIXED, DEVICE_KEY)],
        users=[
            UserEntry(name, "ubnd", "An", "", "", Locale.VI, password=PASSWORD) for name in ("an", "binh")
        ],
    )
    importing = DirectoryImport(records, passwords, vault, clock=clock, new_id=new_id)
    imported = await importing.apply(directory)
    sign_ins = SignIns(records, passwords, vault, JwtAccessTokens(), POLICY, clock=clock, new_id=new_id)
    await sign_ins.ensure_signing_key()
    return House(records, sign_ins, clock, imported.site_ids["dc"], imported.user_ids["an"])


class TestSignIn:
    async def test_hands_out_a_token_for_the_user(self, house: House) -> None:
        """The access token names user, organisation and session and lasts five minutes."""
        tokens = await house.sign_in()
        claims = await house.verify(tokens.access_token)
        assert (claims["sub"], claims["kind"]) == (house.user_id, "user")
        assert claims["exp"] - claims["iat"] == 300
        assert len(tokens.refresh_token) == 43

    @pytest.mark.parametrize(
        "changed", [{"password": "wrong"}, {"username": "nobody"}, {"password": PASSWORD + " "}]
    )
    async def test_refuses_all_alike(self, house: House, changed: dict[str, str]) -> None:
        """An unknown user and a wrong password get the same words."""
        with pytest.raises(InvalidCredentials) as caught:
            await house.sign_in(**changed)
        assert caught.value.detail == InvalidCredentials().detail

    async def test_refuses_an_inactive_user(self, house: House) -> None:
        """An inactive account looks like no account."""
        users = house.records.state.users
        users[house.user_id] = replace(users[house.user_id], active=False)
        await house.fail(1, password=PASSWORD)

    async def test_rehashes_when_the_parameters_grow(self, house: House) -> None:
        """A sign-in brings an old hash up to today's parameters, and the password stays good."""
        before = house.records.state.passwords[house.user_id]
        stronger = ArgonPasswords(time_cost=2, memory_kib=16, parallelism=1, concurrency=1, queue=5)
        house.sign_ins._passwords = stronger
        await house.sign_in()
        assert house.records.state.passwords[house.user_id] != before
        await house.sign_in()
        stronger.close()

    async def test_a_flood_is_turned_away(self, house: House) -> None:
        """Beyond the queue sign-ins are refused at once instead of piling up."""
        narrow = ArgonPasswords(time_cost=1, memory_kib=8, parallelism=1, concurrency=1, queue=1)
        outcomes = await asyncio.gather(*(narrow.verify(None, "x") for _ in range(5)), return_exceptions=True)
        narrow.close()
        assert [isinstance(outcome, SignInBusy) for outcome in outcomes].count(True) == 3


class TestLockout:
    async def test_locks_the_account_and_grows(self, house: House) -> None:
        """After the free failures the account is locked, also for the right password, ever longer."""
        await house.fail(3)
        with pytest.raises(SignInLocked) as caught:
            await house.sign_in()
        assert caught.value.retry_after == timedelta(seconds=2)
        house.clock.advance(seconds=2)
        await house.fail(1)
        with pytest.raises(SignInLocked) as caught:
            await house.sign_in()
        assert caught.value.retry_after == timedelta(seconds=4)
        house.clock.advance(seconds=4)
        await house.sign_in()

    async def test_an_unknown_account_locks_as_well(self, house: House) -> None:
        """The lock does not tell whether the account exists."""
        await house.fail(3, username="nobody")
        with pytest.raises(SignInLocked):
            await house.sign_in(username="nobody")

    async def test_success_forgets(self, house: House) -> None:
        """Two slips and a success leave nothing behind."""
        for number in range(3):
            await house.fail(2, address=f"10.0.0.{number}")
            await house.sign_in(address="10.0.0.9")

    async def test_locks_an_address_that_tries_many_accounts(self, house: House) -> None:
        """One password tried on many accounts locks the address, for everyone behind it but nobody else."""
        for number in range(5):
            await house.fail(1, username=f"user{number}")
        with pytest.raises(SignInLocked):
            await house.sign_in()
        await house.sign_in(address="10.0.0.2")

    async def test_parallel_guesses_do_not_slip_by(self, house: House) -> None:
        """Twenty guesses at once are no more than the free ones."""
        outcomes = await asyncio.gather(*(house.sign_in("wrong") for _ in range(20)), return_exceptions=True)
        assert sum(isinstance(outcome, InvalidCredentials) for outcome in outcomes) == 3
        assert sum(isinstance(outcome, SignInLocked) for outcome in outcomes) == 17

    async def test_being_turned_away_is_no_failure(self, house: House) -> None:
        """Who is refused for lack of room has not guessed, however often."""
        full = ArgonPasswords(time_cost=1, memory_kib=8, parallelism=1, concurrency=1, queue=0)
        house.sign_ins._passwords, open_again = full, house.sign_ins._passwords
        full._room = 0
        for _ in range(10):
            with pytest.raises(SignInBusy):
                await house.sign_in()
        full.close()
        house.sign_ins._passwords = open_again
        await house.sign_in()


class TestTerminal:
    async def test_signs_in_with_its_key(self, house: House) -> None:
        """A terminal gets an access token for its site and no refresh token."""
        tokens = await house.sign_ins.sign_in_terminal(house.site_id, DEVICE_KEY, "10.0.0.1")
        claims = await house.verify(tokens.access_token)
        assert (claims["sub"], claims["kind"], tokens.refresh_token) == (house.site_id, "site", "")

    async def test_locks_on_guessing(self, house: House) -> None:
        """A wrong key counts like a wrong password."""
        for _ in range(3):
            with pytest.raises(InvalidCredentials):
                await house.sign_ins.sign_in_terminal(house.site_id, "y" * 40, "10.0.0.1")
        with pytest.raises(SignInLocked):
            await house.sign_ins.sign_in_terminal(house.site_id, DEVICE_KEY, "10.0.0.1")

    async def test_an_unknown_site_is_refused(self, house: House) -> None:
        """Also when the key given is the empty digest that stands for no key."""
        with pytest.raises(InvalidCredentials):
            await house.sign_ins.sign_in_terminal(new_id(), "", "10.0.0.1")


class TestRefresh:
    async def test_rotates(self, house: House) -> None:
        """Each refresh gives other tokens of the same session."""
        first = await house.sign_in()
        second = await house.sign_ins.refresh(first.refresh_token)
        third = await house.sign_ins.refresh(second.refresh_token)
        assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
        sessions = {(await house.verify(t.access_token))["sid"] for t in (first, second, third)}
        assert len(sessions) == 1

    async def test_two_tabs_get_the_same_successor(self, house: House) -> None:
        """Within the grace a token that comes again is answered alike, and the chain does not fork."""
        first = await house.sign_in()
        one = await house.sign_ins.refresh(first.refresh_token)
        house.clock.advance(seconds=9)
        two = await house.sign_ins.refresh(first.refresh_token)
        assert one.refresh_token == two.refresh_token
        assert len(house.records.state.tokens) == 2

    async def test_reuse_ends_the_session(self, house: House) -> None:
        """A token used again later ends the session: neither thief nor owner gets on."""
        first = await house.sign_in()
        second = await house.sign_ins.refresh(first.refresh_token)
        house.clock.advance(seconds=11)
        with pytest.raises(RefreshTokenReused):
            await house.sign_ins.refresh(first.refresh_token)
        with pytest.raises(RefreshTokenInvalid):
            await house.sign_ins.refresh(second.refresh_token)

    async def test_other_sessions_live_on(self, house: House) -> None:
        """Reuse in one browser does not sign the person out of another."""
        first, other = await house.sign_in(), await house.sign_in()
        await house.sign_ins.refresh(first.refresh_token)
        house.clock.advance(seconds=11)
        with pytest.raises(RefreshTokenReused):
            await house.sign_ins.refresh(first.refresh_token)
        await house.sign_ins.refresh(other.refresh_token)

    async def test_ends_with_time(self, house: House) -> None:
        """An unused token expires, and a session ends however busily it is refreshed."""
        tokens = await house.sign_in()
        house.clock.advance(days=3)
        with pytest.raises(RefreshTokenInvalid):
            await house.sign_ins.refresh(tokens.refresh_token)
        tokens = await house.sign_in()
        for _ in range(14):
            house.clock.advance(days=2)
            tokens = await house.sign_ins.refresh(tokens.refresh_token)
        house.clock.advance(days=2)
        with pytest.raises(RefreshTokenInvalid):
            await house.sign_ins.refresh(tokens.refresh_token)

    async def test_sign_out_ends_the_session(self, house: House) -> None:
        """After signing out the token is worth nothing; an unknown one is accepted silently."""
        tokens = await house.sign_in()
        await house.sign_ins.sign_out(tokens.refresh_token)
        with pytest.raises(RefreshTokenInvalid):
            await house.sign_ins.refresh(tokens.refresh_token)
        await house.sign_ins.sign_out("never seen")

    async def test_no_token_is_stored(self, house: House) -> None:
        """The records hold digests only."""
        tokens = await house.sign_in()
        assert tokens.refresh_token not in repr(house.records.state)
        assert tokens.refresh_token not in repr(tokens)


class TestSigningKeys:
    async def test_old_tokens_outlive_a_rotation(self, house: House) -> None:
        """The old key stays in the JWKS until its last token has expired, then it goes."""
        house.clock.advance(hours=2)
        old = await house.sign_in()
        old_kid = jwt.get_unverified_header(old.access_token)["kid"]
        new_kid = await house.sign_ins.rotate_signing_key()
        just_after = await house.sign_in()
        assert jwt.get_unverified_header(just_after.access_token)["kid"] == old_kid
        house.clock.moment += KEY_PUBLICATION_LEAD
        later = await house.sign_in()
        assert jwt.get_unverified_header(later.access_token)["kid"] == new_kid
        await house.verify(old.access_token)
        house.clock.advance(minutes=8)
        assert [key["kid"] for key in json.loads(await house.sign_ins.jwks())["keys"]] == [new_kid]
        await house.sign_ins.forget_the_past()
        assert set(house.records.state.signing_keys) == {new_kid}

    async def test_rotating_twice_is_once(self, house: House) -> None:
        """A key younger than the minimum age is not replaced."""
        house.clock.advance(hours=2)
        assert await house.sign_ins.rotate_signing_key() == await house.sign_ins.rotate_signing_key()

    async def test_the_private_key_is_sealed(self, house: House) -> None:
        """Another key file cannot open it, and says so."""
        (key,) = house.records.state.signing_keys.values()
        with pytest.raises(KeyFileMismatch):
            KeyFileVault(bytes(32)).open(key.sealed_private_key, key.id)
        with pytest.raises(KeyFileMismatch):
            KeyFileVault(bytes(range(32))).open(key.sealed_private_key, "another key's id")


class TestHousekeeping:
    async def test_keeps_what_still_decides(self, house: House) -> None:
        """Old sessions and failures go; live ones stay."""
        await house.fail(1)
        await house.sign_in(username="binh")
        house.clock.advance(days=38)
        fresh = await house.sign_in()
        await house.sign_ins.forget_the_past()
        assert len(house.records.state.sessions) == 1
        assert not house.records.state.guesses
        await house.sign_ins.refresh(fresh.refresh_token)
