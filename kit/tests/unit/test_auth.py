# SPDX-License-Identifier: Apache-2.0
"""Service identity, access tokens, grants and the caller graph."""

import asyncio
import base64
import importlib
import json
import time
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from giaoban_kit import tokens
from giaoban_kit.callers import parse_rules, rules
from giaoban_kit.config import ConfigError, ServiceConfig
from giaoban_kit.errors import Unauthenticated, Unavailable
from giaoban_kit.ids import new_id
from giaoban_kit.service_auth import CallerUnknown, ServiceIdentity, current_caller, parse_service_keys
from giaoban_kit.testing.keys import SERVICES, ServiceKeys, UserTokens
from giaoban_kit.tokens import (
    GrantInvalid,
    Principal,
    TokenExpired,
    TokenInvalid,
    TokenVerifier,
    acting_as,
    current_principal,
    current_token,
    principal_or_none,
    sign_grant,
    verify_grant,
)

PARTS = ("identity", "scheduling", "media", "recording", "notifications")


def claims(**change: Any) -> dict[str, Any]:
    now = int(time.time())
    base = {
        "iss": "giaoban-identity",
        "aud": "giaoban",
        "sub": new_id(),
        "kind": "user",
        "org": new_id(),
        "sid": new_id(),
        "iat": now,
        "exp": now + 60,
        "jti": new_id(),
    }
    return {key: value for key, value in {**base, **change}.items() if value is not None}


def _datetime_at(seconds: float) -> type[datetime]:
    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Then":
            return cls.fromtimestamp(seconds, tz)

    return Then


class TestCallerGraph:
    def test_every_rpc_of_every_service_is_listed(self) -> None:
        """A new RPC without callers fails here, and would be refused; a stale entry fails too."""
        defined = set()
        for part in PARTS:
            module = importlib.import_module(f"giaoban.{part}.v1.{part}_service_pb2")
            for service in module.DESCRIPTOR.services_by_name.values():
                defined |= {f"/{service.full_name}/{method.name}" for method in service.methods}
        listed = {method for method in rules() if method.startswith("/giaoban.")}
        assert len(defined) > 30
        assert listed == defined

    def test_callers_are_services_and_nobody_calls_itself(self) -> None:
        """Names in the graph are ones that have keys."""
        for method, rule in rules().items():
            if method.startswith("/giaoban."):
                assert rule.callers, method
                assert rule.callers <= set(SERVICES), method
                assert method.split(".")[1] not in rule.callers, method

    @pytest.mark.parametrize(
        "text", ['[s]\nM = { callers = ["a"] }', '[s]\nM = { callers = ["a"], user = "maybe" }', '[s]\nM = { user = "none" }',
                 '[s]\nM = { callers = ["a"], user = "none", idem = true }']
    )  # fmt: skip
    def test_a_wrong_entry_is_named(self, text: str) -> None:
        """A typing mistake in the graph stops the start."""
        with pytest.raises(ValueError, match="/s/M"):
            parse_rules(text)


class TestServiceIdentity:
    def test_a_service_proves_itself_to_its_target_only(self, service_keys: ServiceKeys) -> None:
        """A token for media is worthless at scheduling."""
        token = service_keys.identity("gateway").token_for("media")
        assert service_keys.identity("media").verify_caller(token) == "gateway"
        with pytest.raises(CallerUnknown):
            service_keys.identity("scheduling").verify_caller(token)

    def test_a_service_cannot_pose_as_another(self, service_keys: ServiceKeys) -> None:
        """The signature must be of the issuer that is named."""
        thief = replace(service_keys.identity("recording"), name="gateway", _tokens={})
        with pytest.raises(CallerUnknown):
            service_keys.identity("media").verify_caller(thief.token_for("media"))

    def test_tokens_are_reused_but_not_for_long(
        self, service_keys: ServiceKeys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One signature serves half a lifetime of calls; after its lifetime a token is refused."""
        gateway, media = service_keys.identity("gateway"), service_keys.identity("media")
        now = time.time()
        monkeypatch.setattr("giaoban_kit.service_auth.time.time", lambda: now - 31)
        older = gateway.token_for("media")
        assert gateway.token_for("media") == older
        monkeypatch.setattr("giaoban_kit.service_auth.time.time", lambda: now)
        assert gateway.token_for("media") != older
        assert media.verify_caller(older) == "gateway"
        monkeypatch.setattr("giaoban_kit.service_auth.time.time", lambda: now - 100)
        expired = service_keys.identity("gateway").token_for("media")
        with pytest.raises(CallerUnknown):
            media.verify_caller(expired)

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30."])
    def test_noise_is_refused(self, service_keys: ServiceKeys, token: str) -> None:
        """No token, no call."""
        with pytest.raises(CallerUnknown):
            service_keys.identity("media").verify_caller(token)

    def test_keys_come_from_files(self, service_keys: ServiceKeys) -> None:
        """The configured files make the identity."""
        config = ServiceConfig(
            service_name="media",
            service_key_file=service_keys.key_file("media"),
            service_jwks_file=service_keys.jwks_file,
        )
        assert set(ServiceIdentity.from_config(config).public_keys) == set(SERVICES)

    def test_missing_and_wrong_keys_are_named(self, service_keys: ServiceKeys) -> None:
        """The operator learns which variable to set."""
        with pytest.raises(ConfigError, match="GIAOBAN_SERVICE_KEY_FILE"):
            ServiceIdentity.from_config(ServiceConfig(service_name="media"))
        wrong = ServiceConfig(
            service_name="media",
            service_key_file=service_keys.jwks_file,
            service_jwks_file=service_keys.jwks_file,
        )
        with pytest.raises(ConfigError, match="PEM"):
            ServiceIdentity.from_config(wrong)
        for text in ("[]", "no", '{"media": {"kty": "oct", "k": "AAAA"}}', '{"media": {}}'):
            with pytest.raises(ConfigError, match="JWKS_FILE"):
                parse_service_keys(text)

    def test_there_is_no_caller_outside_of_calls(self) -> None:
        """Asking for one is refused rather than answered with a guess."""
        with pytest.raises(CallerUnknown):
            current_caller()


class TestAccessTokens:
    async def test_a_good_token_names_its_principal(self, user_tokens: UserTokens) -> None:
        """Claims become the principal; the keys are fetched once."""
        subject, organisation = new_id(), new_id()
        verifier = TokenVerifier(user_tokens.jwks)
        for _ in range(3):
            token = user_tokens.token(
                subject=subject, organisation_id=organisation, kind="site", name="Bình Tân"
            )
            principal = await verifier.verify(token)
        assert principal.subject == subject
        assert principal.organisation_id == organisation
        assert (principal.kind, principal.name) == ("site", "Bình Tân")
        assert user_tokens.fetches == 1

    async def test_a_forged_token_is_refused(self, user_tokens: UserTokens) -> None:
        """Another key under the known key id does not help."""
        forger = UserTokens(kid=user_tokens.kid)
        with pytest.raises(TokenInvalid):
            await TokenVerifier(user_tokens.jwks).verify(forger.token())

    async def test_a_changed_claim_breaks_the_signature(self, user_tokens: UserTokens) -> None:
        """The payload cannot be swapped."""
        header, payload, signature = user_tokens.token().split(".")
        body = json.loads(base64.urlsafe_b64decode(payload + "=="))
        other = base64.urlsafe_b64encode(json.dumps({**body, "sub": new_id()}).encode()).decode().rstrip("=")
        with pytest.raises(TokenInvalid):
            await TokenVerifier(user_tokens.jwks).verify(f"{header}.{other}.{signature}")

    async def test_an_expired_token_says_so(self, user_tokens: UserTokens) -> None:
        """The client is told to refresh, not to sign in."""
        old = user_tokens.token(issued_at=int(time.time()) - 600, lifetime=timedelta(minutes=5))
        with pytest.raises(TokenExpired):
            await TokenVerifier(user_tokens.jwks).verify(old)

    async def test_what_was_believed_once_is_not_believed_for_ever(
        self, user_tokens: UserTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A token that was good is refused after its lifetime, and at once when its key is withdrawn."""
        now = time.time()
        clock = [now]
        monkeypatch.setattr("giaoban_kit.tokens.time.time", lambda: clock[0])
        verifier = TokenVerifier(user_tokens.jwks)
        token = user_tokens.token(issued_at=int(now) - 290, lifetime=timedelta(minutes=5))
        other = user_tokens.token()
        await verifier.verify(token)
        assert await verifier.verify(other) == await verifier.verify(other)
        clock[0] = now + 20  # its lifetime is over, and so is the leeway
        monkeypatch.setattr("jwt.api_jwt.datetime", _datetime_at(clock[0]))
        with pytest.raises(TokenExpired):
            await verifier.verify(token)
        monkeypatch.undo()
        clock[0] = now
        monkeypatch.setattr(tokens, "MAX_AGE_SECONDS", -1)
        monkeypatch.setattr(tokens, "REFETCH_SECONDS", -1)
        user_tokens.kid, user_tokens.key = "test-2", Ed25519PrivateKey.generate()
        with pytest.raises(TokenInvalid):
            await verifier.verify(other)

    async def test_other_algorithms_are_refused(self, user_tokens: UserTokens) -> None:
        """Neither `none` nor an HMAC with the public key as its secret."""
        verifier = TokenVerifier(user_tokens.jwks)
        headers = {"kid": user_tokens.kid, "typ": "at+jwt"}
        public = user_tokens.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        for key, algorithm in (("", "none"), (public, "HS256")):
            with pytest.raises(TokenInvalid):
                await verifier.verify(jwt.encode(claims(), key, algorithm=algorithm, headers=headers))
        assert user_tokens.fetches == 0

    @pytest.mark.parametrize(
        "change",
        [
            {"aud": "other"},
            {"iss": "other"},
            {"exp": None},
            {"sub": None},
            {"jti": None},
            {"sub": "not-an-id"},
            {"org": None},
            {"sid": None},
            {"kind": "root"},
            {"iat": int(time.time()) + 3600},
        ],
    )
    async def test_a_wrong_claim_is_refused(self, user_tokens: UserTokens, change: dict[str, Any]) -> None:
        """A signature alone is not enough."""
        headers = {"kid": user_tokens.kid, "typ": "at+jwt"}
        token = jwt.encode(claims(**change), user_tokens.key, algorithm="EdDSA", headers=headers)
        with pytest.raises(TokenInvalid):
            await TokenVerifier(user_tokens.jwks).verify(token)

    @pytest.mark.parametrize("headers", [{"typ": "JWT"}, {"kid": None}, {"typ": "giaoban-admission+jwt"}])
    async def test_a_token_of_another_type_is_refused(
        self, user_tokens: UserTokens, headers: dict[str, str | None]
    ) -> None:
        """Grants and other tokens do not sign anybody in."""
        merged = {k: v for k, v in {"kid": user_tokens.kid, "typ": "at+jwt", **headers}.items() if v}
        token = jwt.encode(claims(), user_tokens.key, algorithm="EdDSA", headers=merged)
        with pytest.raises(TokenInvalid):
            await TokenVerifier(user_tokens.jwks).verify(token)

    async def test_a_new_key_is_fetched_but_noise_is_not_fetched_for(
        self, user_tokens: UserTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rotation works at once; tokens with made-up key ids cannot make identity busy."""
        verifier = TokenVerifier(user_tokens.jwks)
        await verifier.verify(user_tokens.token())
        for number in range(20):
            with pytest.raises(TokenInvalid):
                await verifier.verify(UserTokens(kid=f"made-up-{number}").token())
        assert user_tokens.fetches == 1
        monkeypatch.setattr(tokens, "REFETCH_SECONDS", -1)
        user_tokens.kid, user_tokens.key = "test-2", Ed25519PrivateKey.generate()
        await verifier.verify(user_tokens.token())
        assert user_tokens.fetches == 2

    async def test_known_keys_serve_while_identity_is_away(
        self, user_tokens: UserTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A restart of identity signs nobody out; without any keys the answer is unavailable, not refused."""
        away = False

        async def jwks() -> str:
            if away:
                raise Unavailable("identity is away")
            return await user_tokens.jwks()

        verifier = TokenVerifier(jwks)
        await verifier.verify(user_tokens.token())
        away = True
        monkeypatch.setattr(tokens, "MAX_AGE_SECONDS", -1)
        monkeypatch.setattr(tokens, "REFETCH_SECONDS", -1)
        await verifier.verify(user_tokens.token())
        assert await verifier.has_keys()
        fresh = TokenVerifier(jwks)
        with pytest.raises(Unavailable):
            await fresh.verify(user_tokens.token())
        assert not await fresh.has_keys()

    async def test_a_key_that_came_while_identity_is_away_is_not_called_forged(
        self, user_tokens: UserTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether a token with a new key id is good nobody can tell: unavailable, and good once identity is back."""
        away = False

        async def jwks() -> str:
            if away:
                raise Unavailable("identity is away")
            return await user_tokens.jwks()

        verifier = TokenVerifier(jwks)
        old = user_tokens.token()
        await verifier.verify(old)
        away = True
        user_tokens.kid, user_tokens.key = "test-2", Ed25519PrivateKey.generate()
        monkeypatch.setattr(tokens, "REFETCH_SECONDS", -1)
        with pytest.raises(Unavailable):
            await verifier.verify(user_tokens.token())
        await verifier.verify(old)
        away = False
        await verifier.verify(user_tokens.token())

    async def test_identity_that_hangs_is_not_waited_for_by_known_keys(
        self, user_tokens: UserTokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A look for newer keys that brings no answer is given up, and not repeated for every request."""
        hangs = False

        async def jwks() -> str:
            if hangs:
                user_tokens.fetches += 1
                await asyncio.sleep(60)
            return await user_tokens.jwks()

        verifier = TokenVerifier(jwks)
        await verifier.verify(user_tokens.token())
        hangs = True
        monkeypatch.setattr(tokens, "PATIENCE_SECONDS", 0.01)
        monkeypatch.setattr(tokens, "MAX_AGE_SECONDS", -1)
        with monkeypatch.context() as later:
            later.setattr(tokens, "REFETCH_SECONDS", -1)
            async with asyncio.timeout(5):
                await verifier.verify(user_tokens.token())
        for _ in range(20):
            await verifier.verify(user_tokens.token())
        assert user_tokens.fetches == 2

    def test_the_principal_is_bound_to_the_block(self) -> None:
        """Outside of it nobody is signed in."""
        principal = Principal(new_id(), "user", new_id(), new_id(), "An")
        with acting_as(principal, "token"):
            assert current_principal() == principal
            assert current_token() == "token"
        assert principal_or_none() is None
        assert current_token() is None
        with pytest.raises(Unauthenticated):
            current_principal()


class TestGrants:
    def test_a_grant_is_believed_by_its_audience(self, service_keys: ServiceKeys) -> None:
        """Media reads what scheduling granted, with no call between them."""
        grant = sign_grant(
            service_keys.identity("scheduling"), audience="media", kind="admission",
            claims={"sub": "p1", "mtg": "m1"}, lifetime=timedelta(minutes=1),
        )  # fmt: skip
        found = verify_grant(service_keys.identity("media"), grant, issuer="scheduling", kind="admission")
        assert (found["sub"], found["mtg"]) == ("p1", "m1")

    @pytest.mark.parametrize("wrong", ["audience", "kind", "issuer", "expired", "service_token", "long"])
    def test_any_other_grant_is_refused(self, service_keys: ServiceKeys, wrong: str) -> None:
        """Audience, kind, issuer and time must all hold; claims cannot override them."""
        signer = service_keys.identity("gateway" if wrong == "issuer" else "scheduling")
        grant = sign_grant(
            signer,
            audience="recording" if wrong == "audience" else "media",
            kind="other" if wrong == "kind" else "admission",
            claims={
                "iss": "scheduling",
                "aud": "media",
                "exp": int(time.time()) + 999,
                "x": "x" * (5000 if wrong == "long" else 1),
            },
            lifetime=timedelta(seconds=-60 if wrong == "expired" else 60),
        )
        if wrong == "service_token":
            grant = signer.token_for("media")
        with pytest.raises(GrantInvalid):
            verify_grant(service_keys.identity("media"), grant, issuer="scheduling", kind="admission")
