# SPDX-License-Identifier: Apache-2.0
"""For operators: gives identity a new key for signing access tokens; the old one retires by itself.

Reads GIAOBAN_IDENTITY_TARGET, GIAOBAN_SERVICE_KEY_FILE and GIAOBAN_SERVICE_JWKS_FILE; the key must be that of `dev`.
"""

import asyncio
import sys

from giaoban.identity.v1.identity_service_pb2 import RotateSigningKeyRequest
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban_kit.config import ServiceConfig, load_config
from giaoban_kit.grpc_client import channel
from giaoban_kit.service_auth import ServiceIdentity


class Config(ServiceConfig):
    """The kit's keys."""

    service_name: str = "dev"


async def rotate(config: Config) -> str:
    """The id of the newest key: a new one, unless the last is younger than identity's minimum.

    Raises: GiaobanError as the RPC.
    """
    async with channel(config.identity_target, ServiceIdentity.from_config(config)) as to_identity:
        answer = await IdentityServiceStub(to_identity).RotateSigningKey(RotateSigningKeyRequest())
        return str(answer.key_id)


if __name__ == "__main__":
    sys.stdout.write(f"newest key: {asyncio.run(rotate(load_config(Config)))}\n")
