# SPDX-License-Identifier: Apache-2.0
"""The operators' tool for signing keys against a real identity."""

import base64
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from giaoban.identity.v1.identity_service_pb2 import GetJwksRequest
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban_identity import main
from giaoban_identity.config import Config
from giaoban_kit.config import ServiceConfig
from giaoban_kit.grpc_client import channel
from giaoban_kit.testing.keys import ServiceKeys

from tools import rotate_signing_key


async def test_a_new_key_is_published_beside_the_old_one(
    database_config: ServiceConfig, service_keys: ServiceKeys, tmp_path: Path
) -> None:
    """The id that the tool prints is in the JWKS, and so is the key before it."""
    sealing = tmp_path / "sealing.key"
    sealing.write_text(base64.b64encode(bytes(range(32))).decode())
    config = Config(
        database_url=database_config.database_url,
        service_key_file=service_keys.key_file("identity"),
        service_jwks_file=service_keys.jwks_file,
        sealing_key_file=sealing,
        signing_key_min_age=timedelta(0),
    )
    await main.migrate(config)
    async with AsyncExitStack() as stack:
        target = f"127.0.0.1:{await main.start(config, stack)}"
        gateway = await stack.enter_async_context(channel(target, service_keys.identity("gateway")))

        async def published() -> set[str]:
            answer = await IdentityServiceStub(gateway).GetJwks(GetJwksRequest())
            return {key["kid"] for key in json.loads(answer.jwks_json)["keys"]}

        before = await published()
        newest = await rotate_signing_key.rotate(
            rotate_signing_key.Config(
                identity_target=target,
                service_key_file=service_keys.key_file("dev"),
                service_jwks_file=service_keys.jwks_file,
            )
        )
        assert newest not in before
        assert await published() == before | {newest}
