# SPDX-License-Identifier: Apache-2.0
"""A real house around scheduling: PostgreSQL, NATS, identity and scheduling as their own `main` starts them."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from giaoban.identity.v1 import identity_pb2 as people
from giaoban.identity.v1 import identity_service_pb2 as directory
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban.scheduling.v1.scheduling_service_pb2_grpc import SchedulingServiceStub
from giaoban_identity import main as identity_main
from giaoban_identity.config import Config as IdentityConfig
from giaoban_kit.events import connect_nats, ensure_stream
from giaoban_kit.grpc_client import channel
from giaoban_kit.ids import new_id
from giaoban_kit.testing.keys import ServiceKeys
from giaoban_scheduling import main as scheduling_main
from giaoban_scheduling.config import Config
from nats.js import JetStreamContext
from sqlalchemy import make_url

PASSWORD = "Đường đi khó 7"
DEVICE_KEY = "device-key-" + "x" * 32
Entry = directory.ImportDirectoryRequest


@dataclass
class House:
    """Everything that runs, and the directory's ids by code."""

    config: Config
    keys: ServiceKeys
    js: JetStreamContext
    to_identity: IdentityServiceStub
    scheduling: SchedulingServiceStub
    ids: Mapping[str, Mapping[str, str]]  # "city"/"ministry" -> code -> id
    organisations: Mapping[str, str]
    _tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, who: str) -> str:
        """An access token of a user of the city, "ministry:<user>" or a site's "terminal:<code>"."""
        if who not in self._tokens:
            self._tokens[who] = await self._sign_in(who)
        return self._tokens[who]

    async def _sign_in(self, who: str) -> str:
        kind, _, name = who.rpartition(":")
        if kind == "terminal":
            terminal = directory.SignInTerminalRequest(
                site_id=self.ids["city"][name], device_key=DEVICE_KEY, client_address="10.0.0.1"
            )
            return (await self.to_identity.SignInTerminal(terminal)).tokens.access_token
        user = directory.SignInRequest(
            organisation_code="bo" if kind == "ministry" else "tphcm",
            username=name,
            password=PASSWORD,
            client_address="10.0.0.1",
        )
        return (await self.to_identity.SignIn(user)).tokens.access_token

    async def asks(self, who: str) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Keyword arguments that make a call this person's."""
        return {"metadata": (("authorization", f"Bearer {await self.token(who)}"),)}


def _city() -> Entry:
    def user(
        name: str, unit: str, display: str, *roles: tuple[str, people.Role.ValueType]
    ) -> Entry.UserEntry:
        return Entry.UserEntry(
            username=name,
            unit_code=unit,
            display_name=display,
            office="Chánh Văn phòng",
            password=PASSWORD,
            locale=people.LOCALE_VI,
            roles=[Entry.RoleEntry(unit_code=at, role=role) for at, role in roles],
        )

    crowd = [user(f"officer{n}", "binhtan", f"Cán bộ {n}") for n in range(50)]
    return Entry(
        organisation=people.Organisation(
            code="tphcm", name="Thành phố Hồ Chí Minh", time_zone="Asia/Ho_Chi_Minh"
        ),
        units=[
            Entry.UnitEntry(code="ubnd", name="Ủy ban nhân dân Thành phố"),
            Entry.UnitEntry(code="binhtan", parent_code="ubnd", name="Quận Bình Tân"),
            Entry.UnitEntry(code="cuchi", parent_code="ubnd", name="Huyện Củ Chi"),
        ],
        sites=[
            Entry.SiteEntry(
                code=f"dc-{code}",
                unit_code=code,
                name=f"Điểm cầu {code}",
                kind=people.SITE_KIND_FIXED,
                device_key=DEVICE_KEY,
            )
            for code in ("ubnd", "binhtan", "cuchi")
        ],
        users=[
            user("an", "ubnd", "Nguyễn Văn An", ("ubnd", people.ROLE_CONVENER)),
            user("dao", "ubnd", "Trần Thị Đào"),
            user("thu", "ubnd", "Lê Minh Thư"),
            user("binh", "binhtan", "Phạm Bình", ("binhtan", people.ROLE_CONVENER)),
            user("chi", "cuchi", "Võ Chi"),
            user("kythuat", "ubnd", "Tổ kỹ thuật", ("ubnd", people.ROLE_OPERATOR)),
            *crowd,
        ],
    )


def _ministry() -> Entry:
    return Entry(
        organisation=people.Organisation(code="bo", name="Bộ", time_zone="Asia/Ho_Chi_Minh"),
        units=[Entry.UnitEntry(code="vanphong", name="Văn phòng Bộ")],
        users=[
            Entry.UserEntry(
                username="minh",
                unit_code="vanphong",
                display_name="Minh",
                password=PASSWORD,
                locale=people.LOCALE_VI,
                roles=[Entry.RoleEntry(unit_code="vanphong", role=people.ROLE_ADMINISTRATOR)],
            )
        ],
    )


@asynccontextmanager
async def _second_database(postgres_url: str) -> AsyncIterator[str]:
    name = f"test_{new_id().lower()}"
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@pytest.fixture(name="house")
async def _house(
    database_url: str, postgres_url: str, nats_url: str, service_keys: ServiceKeys, tmp_path: Path
) -> AsyncIterator[House]:
    sealing_key = tmp_path / "sealing.key"
    sealing_key.write_text(base64.b64encode(bytes(range(32))).decode())
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        identity_config = IdentityConfig(
            database_url=await enter(_second_database(postgres_url)),
            service_key_file=service_keys.key_file("identity"),
            service_jwks_file=service_keys.jwks_file,
            sealing_key_file=sealing_key,
            argon2_memory_kib=8192,
            argon2_time_cost=1,
        )
        await identity_main.migrate(identity_config)
        identity_target = f"127.0.0.1:{await identity_main.start(identity_config, stack)}"
        config = Config(
            database_url=database_url,
            nats_url=nats_url,
            service_key_file=service_keys.key_file("scheduling"),
            service_jwks_file=service_keys.jwks_file,
            identity_target=identity_target,
            participant_limit=13,
            end_overdue_after=timedelta(0),
            end_overdue_every=timedelta(seconds=1),
        )
        await scheduling_main.migrate(config)
        js = (await enter(connect_nats(config))).jetstream()
        await ensure_stream(js, "media")
        target = f"127.0.0.1:{await scheduling_main.start(config, stack)}"

        dev = IdentityServiceStub(await enter(channel(identity_target, service_keys.identity("dev"))))
        city, ministry = await asyncio.gather(dev.ImportDirectory(_city()), dev.ImportDirectory(_ministry()))
        gateway = service_keys.identity("gateway")
        yield House(
            config,
            service_keys,
            js,
            IdentityServiceStub(await enter(channel(identity_target, gateway))),
            SchedulingServiceStub(await enter(channel(target, gateway))),
            {
                "city": {**city.unit_ids, **city.site_ids, **city.user_ids},
                "ministry": {**ministry.unit_ids, **ministry.user_ids},
            },
            {"city": city.organisation.id, "ministry": ministry.organisation.id},
        )
