# SPDX-License-Identifier: Apache-2.0
"""A real grpc.aio server and client with all interceptors: errors, auth, deadlines, retries, streams, health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from giaoban.identity.v1.identity_service_pb2 import (
    GetJwksRequest,
    GetJwksResponse,
    GetMeRequest,
    GetMeResponse,
)
from giaoban.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceServicer,
    IdentityServiceStub,
    add_IdentityServiceServicer_to_server,
)
from giaoban.media.v1.media_service_pb2 import ConnectRequest, ConnectResponse
from giaoban.media.v1.media_service_pb2_grpc import (
    MediaServiceServicer,
    MediaServiceStub,
    add_MediaServiceServicer_to_server,
)
from giaoban.recording.v1.recording_service_pb2 import ReadContentRequest, ReadContentResponse
from giaoban.recording.v1.recording_service_pb2_grpc import (
    RecordingServiceServicer,
    RecordingServiceStub,
    add_RecordingServiceServicer_to_server,
)
from giaoban_kit.callers import rules
from giaoban_kit.config import ConfigError, ServiceConfig
from giaoban_kit.errors import (
    DeadlineExceeded,
    FieldViolation,
    Forbidden,
    GiaobanError,
    Internal,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from giaoban_kit.grpc_client import channel
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.service_auth import current_caller
from giaoban_kit.status import HIDDEN_DETAIL
from giaoban_kit.telemetry import Readiness, span, span_from_headers, trace_headers
from giaoban_kit.testing.keys import ServiceKeys, UserTokens
from giaoban_kit.tokens import (
    Principal,
    TokenVerifier,
    acting_as,
    current_principal,
    identity_jwks,
    principal_or_none,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY


class RecordingNotReady(NotFound):
    reason = "RECORDING_NOT_READY"


@dataclass
class Part(IdentityServiceServicer, MediaServiceServicer, RecordingServiceServicer):
    """Answers as it is told to."""

    error: Exception | None = None
    failures: int = 0  # how many calls fail with `error`
    calls: int = 0
    delay: float = 0
    seen: list[Any] = field(default_factory=list)

    async def _act(self) -> None:
        self.calls += 1
        self.seen.append((current_caller(), principal_or_none()))
        await asyncio.sleep(self.delay)
        if self.error is not None and (self.failures == 0 or self.calls <= self.failures):
            raise self.error

    async def GetJwks(self, request: Any, context: Any) -> GetJwksResponse:
        await self._act()
        return GetJwksResponse(jwks_json="{}")

    async def GetMe(self, request: Any, context: Any) -> GetMeResponse:
        await self._act()
        return GetMeResponse()

    async def SignIn(self, request: Any, context: Any) -> Any:
        await self._act()

    async def ReadContent(self, request: Any, context: Any) -> AsyncIterator[ReadContentResponse]:
        yield ReadContentResponse(data=b"first")
        await self._act()
        yield ReadContentResponse(data=b"last")

    async def Connect(self, request_iterator: Any, context: Any) -> AsyncIterator[ConnectResponse]:
        async for _request in request_iterator:
            await self._act()
            yield ConnectResponse()


@dataclass
class House:
    """One server that plays a part, and a way to call it."""

    part: Part
    port: int
    keys: ServiceKeys
    users: UserTokens
    stack: AsyncExitStack

    async def dial(self, caller: str = "gateway", timeout: timedelta = timedelta(seconds=5)) -> Any:
        return await self.stack.enter_async_context(
            channel(f"127.0.0.1:{self.port}", self.keys.identity(caller), timeout)
        )

    def signed_in(self) -> Any:
        token = self.users.token()
        return acting_as(Principal("", "user", "", "", ""), token)


def _house(name: str, *adders: Any) -> Any:
    @pytest_asyncio.fixture
    async def fixture(service_keys: ServiceKeys, user_tokens: UserTokens) -> AsyncIterator[House]:
        part = Part()  # type: ignore[abstract]  # the other RPCs are UNIMPLEMENTED
        config = ServiceConfig(service_name=name)
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(
                grpc_server(
                    config, service_keys.identity(name), TokenVerifier(user_tokens.jwks),
                    add=[(adder, part) for adder in adders], grace=timedelta(seconds=0.2),
                )
            )  # fmt: skip
            yield House(part, port, service_keys, user_tokens, stack)

    return fixture


identity = _house("identity", add_IdentityServiceServicer_to_server)
recording = _house("recording", add_RecordingServiceServicer_to_server)
media = _house("media", add_MediaServiceServicer_to_server, add_IdentityServiceServicer_to_server)


def handled(method: str, code: str, service: str = "media") -> float:
    labels = {"method": f"/giaoban.{service}.v1.{method}", "code": code}
    return REGISTRY.get_sample_value("giaoban_rpc_handled_total", labels) or 0.0


class TestErrors:
    async def test_a_unary_error_comes_back_as_itself(self, identity: House) -> None:
        """Kind, reason, detail, metadata and violations of the server reach the caller."""
        identity.part.error = Invalid(
            "Please correct: name.", [FieldViolation("name", "TOO_LONG", "Shorter.")], limit="5"
        )
        stub = IdentityServiceStub(await identity.dial())
        with pytest.raises(Invalid) as refused:
            await stub.GetJwks(GetJwksRequest())
        assert refused.value.violations == (FieldViolation("name", "TOO_LONG", "Shorter."),)
        assert refused.value.metadata == {"limit": "5"}

    async def test_an_unforeseen_error_tells_nothing(self, identity: House) -> None:
        """The text of an exception may hold anything; it stays inside."""
        identity.part.error = RuntimeError("password is hunter2")
        with pytest.raises(Internal) as failed:
            await IdentityServiceStub(await identity.dial()).GetJwks(GetJwksRequest())
        assert failed.value.detail == HIDDEN_DETAIL

    async def test_an_error_ends_a_stream_after_its_messages(self, recording: House) -> None:
        """What came before the error is delivered; the error keeps its reason."""
        recording.part.error = RecordingNotReady("Not composed yet.", recording_id="01J")
        stub = RecordingServiceStub(await recording.dial())
        got: list[bytes] = []
        with recording.signed_in(), pytest.raises(NotFound) as refused:
            async for response in stub.ReadContent(ReadContentRequest()):
                got.append(response.data)  # noqa: PERF401  (what came before the error is what matters)
        assert got == [b"first"]
        assert (refused.value.reason, refused.value.metadata) == (
            "RECORDING_NOT_READY",
            {"recording_id": "01J"},
        )

    async def test_an_error_ends_a_two_way_stream(self, media: House) -> None:
        """Messages go both ways until the server refuses one."""
        media.part.error, media.part.failures = None, 0
        stub = MediaServiceStub(await media.dial())
        with media.signed_in():
            call = stub.Connect()
        await call.write(ConnectRequest())
        assert await call.read() == ConnectResponse()
        media.part.error = Forbidden("You were removed.")
        await call.write(ConnectRequest())
        with pytest.raises(Forbidden):
            await call.read()

    async def test_leaving_a_two_way_stream_ends_it_at_the_server(self, media: House) -> None:
        """A caller that stops writing ends the stream without an error; one that cancels ends it too."""
        stub = MediaServiceStub(await media.dial())
        with media.signed_in():
            call = stub.Connect()
        await call.write(ConnectRequest())
        await call.read()
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        with media.signed_in():
            cancelled = stub.Connect()
        await cancelled.write(ConnectRequest())
        await cancelled.read()
        before = handled("MediaService/Connect", "OK")
        cancelled.cancel()  # the server's request iterator just ends, as if the caller had finished
        async with asyncio.timeout(5):
            while handled("MediaService/Connect", "OK") == before:
                await asyncio.sleep(0.02)

    async def test_the_code_of_a_refusal_is_counted(self, identity: House) -> None:
        """Metrics and access lines tell refusals from failures."""
        identity.part.error = NotFound("no")
        before = handled("IdentityService/GetJwks", "NOT_FOUND", "identity")
        with pytest.raises(NotFound):
            await IdentityServiceStub(await identity.dial()).GetJwks(GetJwksRequest())
        assert handled("IdentityService/GetJwks", "NOT_FOUND", "identity") == before + 1


class TestAuth:
    async def test_the_server_knows_caller_and_principal(self, identity: House) -> None:
        """The calling service is proven, the end user's token is forwarded by itself and verified again."""
        stub = IdentityServiceStub(await identity.dial())
        with identity.signed_in():
            await stub.GetMe(GetMeRequest())
        caller, principal = identity.part.seen[0]
        assert caller == "gateway"
        assert principal.name == "Nguyễn Văn An"

    async def test_an_edge_that_is_not_in_the_graph_is_refused(self, identity: House) -> None:
        """Notifications may not ask for GetMe, whoever is signed in."""
        stub = IdentityServiceStub(await identity.dial("notifications"))
        with identity.signed_in(), pytest.raises(Forbidden) as refused:
            await stub.GetMe(GetMeRequest())
        assert refused.value.reason == "CALLER_FORBIDDEN"
        assert identity.part.calls == 0

    async def test_an_rpc_that_is_not_in_the_graph_is_refused(
        self, service_keys: ServiceKeys, user_tokens: UserTokens
    ) -> None:
        """Forgetting the entry closes the RPC."""
        graph = {name: rule for name, rule in rules().items() if not name.endswith("/GetJwks")}
        config, own = ServiceConfig(service_name="identity"), service_keys.identity("identity")
        adders = [(add_IdentityServiceServicer_to_server, Part())]  # type: ignore[abstract]
        async with (
            grpc_server(config, own, TokenVerifier(user_tokens.jwks), add=adders, rules=graph) as port,
            channel(f"127.0.0.1:{port}", service_keys.identity("gateway")) as opened,
        ):
            with pytest.raises(Forbidden):
                await IdentityServiceStub(opened).GetJwks(GetJwksRequest())

    async def test_nobody_without_a_service_key_gets_in(self, identity: House) -> None:
        """A plain gRPC client is refused, also with a user's token."""
        metadata = (("authorization", f"Bearer {identity.users.token()}"),)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{identity.port}") as plain:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await IdentityServiceStub(plain).GetMe(GetMeRequest(), metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert identity.part.calls == 0

    async def test_a_user_is_needed_where_the_graph_says_so(self, identity: House, recording: House) -> None:
        """No token, no call; where the graph leaves it to the part, the part decides."""
        with pytest.raises(Unauthenticated):
            await IdentityServiceStub(await identity.dial()).GetMe(GetMeRequest())
        assert identity.part.calls == 0
        async for _ in RecordingServiceStub(await recording.dial()).ReadContent(ReadContentRequest()):
            pass
        assert recording.part.calls == 1

    async def test_a_forged_user_token_is_refused(self, identity: House) -> None:
        """The gateway is not believed: every service verifies by itself."""
        stub = IdentityServiceStub(await identity.dial())
        forged = UserTokens(kid=identity.users.kid).token()
        with acting_as(Principal("", "user", "", "", ""), forged), pytest.raises(Unauthenticated) as refused:
            await stub.GetMe(GetMeRequest())
        assert refused.value.reason == "TOKEN_INVALID"

    async def test_one_call_does_not_see_the_principal_of_another(self, identity: House) -> None:
        """A call without a user after a call with one has no user."""
        stub = IdentityServiceStub(await identity.dial())
        with identity.signed_in():
            await stub.GetMe(GetMeRequest())
        await stub.GetJwks(GetJwksRequest())
        assert identity.part.seen[0][1] is not None
        assert identity.part.seen[1][1] is None
        with pytest.raises(Unauthenticated):
            current_principal()

    async def test_keys_come_from_identity(self, service_keys: ServiceKeys, user_tokens: UserTokens) -> None:
        """A service verifies with the JWK Set that identity serves."""

        class Identity(IdentityServiceServicer):
            async def GetJwks(self, request: Any, context: Any) -> GetJwksResponse:
                return GetJwksResponse(jwks_json=await user_tokens.jwks())

        own = service_keys.identity("identity")
        adders = [(add_IdentityServiceServicer_to_server, Identity())]  # type: ignore[abstract]
        async with (
            grpc_server(
                ServiceConfig(service_name="identity"), own, TokenVerifier(user_tokens.jwks), add=adders
            ) as port,
            channel(f"127.0.0.1:{port}", service_keys.identity("media")) as opened,
        ):
            principal = await TokenVerifier(identity_jwks(opened)).verify(user_tokens.token())
        assert principal.kind == "user"


class TestTime:
    async def test_a_call_has_a_deadline_without_naming_one(self, identity: House) -> None:
        """The channel's timeout ends a call that the server does not answer."""
        identity.part.delay = 5
        stub = IdentityServiceStub(await identity.dial(timeout=timedelta(seconds=0.2)))
        with pytest.raises(DeadlineExceeded):
            await stub.GetJwks(GetJwksRequest())

    async def test_the_server_bounds_calls_too(
        self, identity: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A caller with all the time in the world does not keep the server busy."""
        monkeypatch.setattr("giaoban_kit.interceptors.MAX_UNARY_SECONDS", 0.1)
        identity.part.delay = 5
        stub = IdentityServiceStub(await identity.dial(timeout=timedelta(hours=1)))
        with pytest.raises(DeadlineExceeded, match="longer than allowed"):
            await stub.GetJwks(GetJwksRequest())

    async def test_idempotent_calls_are_repeated_while_unavailable(self, identity: House) -> None:
        """Two failures and a success look like a success."""
        identity.part.error, identity.part.failures = Unavailable("restarting"), 2
        stub = IdentityServiceStub(await identity.dial())
        await stub.GetJwks(GetJwksRequest())
        assert identity.part.calls == 3

    async def test_other_calls_and_other_errors_are_not_repeated(self, identity: House) -> None:
        """SignIn is not idempotent; a refusal stays a refusal."""
        from giaoban.identity.v1.identity_service_pb2 import SignInRequest

        stub = IdentityServiceStub(await identity.dial())
        identity.part.error = Unavailable("restarting")
        with pytest.raises(Unavailable):
            await stub.SignIn(SignInRequest())
        identity.part.error = GiaobanError("no")
        with pytest.raises(Internal):
            await stub.GetJwks(GetJwksRequest())
        assert identity.part.calls == 2

    async def test_a_server_that_is_not_there_is_unavailable(self, service_keys: ServiceKeys) -> None:
        """A refused connection has the kind that callers know, within the deadline."""
        async with channel("127.0.0.1:1", service_keys.identity("gateway")) as opened:
            with pytest.raises(Unavailable):
                await IdentityServiceStub(opened).GetJwks(GetJwksRequest())


class TestLife:
    async def test_health_is_open_and_follows_the_server(
        self, service_keys: ServiceKeys, user_tokens: UserTokens
    ) -> None:
        """Probes need no key; readiness is up while serving, down afterwards."""
        readiness = Readiness()
        config, own = ServiceConfig(service_name="identity"), service_keys.identity("identity")
        async with grpc_server(
            config, own, TokenVerifier(user_tokens.jwks), add=[], readiness=readiness
        ) as port:
            assert readiness
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as plain:
                health = health_pb2_grpc.HealthStub(plain)
                answer = await health.Check(health_pb2.HealthCheckRequest())
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                watch = health.Watch(health_pb2.HealthCheckRequest())
                assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert not readiness

    async def test_a_port_in_use_is_named(self, identity: House, service_keys: ServiceKeys) -> None:
        """The operator learns which variable is wrong."""
        config = ServiceConfig(service_name="identity", grpc_listen=f"127.0.0.1:{identity.port}")
        with pytest.raises(ConfigError, match="GIAOBAN_GRPC_LISTEN"):
            async with grpc_server(
                config, service_keys.identity("identity"), TokenVerifier(identity.users.jwks), add=[]
            ):
                pass

    async def test_one_trace_spans_caller_and_server(
        self, identity: House, spans: InMemorySpanExporter
    ) -> None:
        """The server's span is a child of the client's, that of the caller's; no token is in any."""
        stub = IdentityServiceStub(await identity.dial())
        with identity.signed_in(), span("click") as click:
            await stub.GetMe(GetMeRequest())
        finished = {(done.name, done.kind.name): done for done in spans.get_finished_spans()}
        client = finished["giaoban.identity.v1.IdentityService/GetMe", "CLIENT"]
        server = finished["giaoban.identity.v1.IdentityService/GetMe", "SERVER"]
        assert client.parent is not None
        assert server.parent is not None
        assert client.parent.span_id == click.get_span_context().span_id
        assert server.parent.span_id == client.context.span_id
        assert "eyJ" not in "".join(done.to_json() for done in finished.values())

    async def test_a_trace_that_is_not_sampled_is_passed_on_without_spans(
        self, identity: House, spans: InMemorySpanExporter
    ) -> None:
        """Nobody records it, so nothing is made for it; what is called meanwhile still learns its id."""
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-00"}
        stub = IdentityServiceStub(await identity.dial())
        with identity.signed_in(), span_from_headers("click", headers):
            assert trace_id in trace_headers()["traceparent"]
            await stub.GetMe(GetMeRequest())
        assert trace_headers() == {}
        assert not spans.get_finished_spans()
