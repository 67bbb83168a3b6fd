# SPDX-License-Identifier: Apache-2.0
"""Owns the wiring of identity: a straight line from configuration to a serving process."""

import base64
import binascii
from contextlib import AsyncExitStack

from giaoban.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from giaoban_kit.clock import SystemClock
from giaoban_kit.config import ConfigError, read_secret
from giaoban_kit.db import database, migrate_database
from giaoban_kit.grpc_server import grpc_server
from giaoban_kit.ids import new_id
from giaoban_kit.run import until_signalled
from giaoban_kit.service_auth import ServiceIdentity
from giaoban_kit.telemetry import Readiness, telemetry
from giaoban_kit.tokens import TokenVerifier

from giaoban_identity.config import Config
from giaoban_identity.crypto import KEY_BYTES, ArgonPasswords, JwtAccessTokens, KeyFileVault
from giaoban_identity.directory_import import DirectoryImport
from giaoban_identity.domain import LockoutPolicy
from giaoban_identity.housekeeping import housekeeping
from giaoban_identity.rpc import IdentityServicer
from giaoban_identity.service import Identity
from giaoban_identity.signin import SignInPolicy, SignIns
from giaoban_identity.store_secrets import SqlTransactions


async def serve(config: Config) -> None:
    """Serves until a signal comes."""
    async with AsyncExitStack() as stack:
        await start(config, stack)
        await until_signalled()


async def start(config: Config, stack: AsyncExitStack) -> int:
    """Starts every part on the stack; returns the port of the gRPC server."""
    caller, readiness, clock = ServiceIdentity.from_config(config), Readiness(), SystemClock()
    vault = open_vault(config)
    begins = stack.enter_async_context
    await begins(telemetry(config, readiness))
    begin = SqlTransactions(await begins(database(config)))
    passwords = ArgonPasswords(
        time_cost=config.argon2_time_cost,
        memory_kib=config.argon2_memory_kib,
        parallelism=config.argon2_parallelism,
        concurrency=config.argon2_concurrency,
        queue=config.argon2_queue,
    )
    stack.callback(passwords.close)
    sign_ins = SignIns(
        begin, passwords, vault, JwtAccessTokens(), sign_in_policy(config), clock=clock, new_id=new_id
    )
    await sign_ins.ensure_signing_key()
    await begins(housekeeping(sign_ins))
    directory_import = DirectoryImport(begin, passwords, vault, clock=clock, new_id=new_id)
    servicer = IdentityServicer(Identity(begin), sign_ins, directory_import)
    return await begins(
        grpc_server(
            config,
            caller,
            TokenVerifier(sign_ins.jwks),
            add=[(add_IdentityServiceServicer_to_server, servicer)],
            readiness=readiness,
        )
    )


async def migrate(config: Config) -> None:
    """Brings the database up to date; identity has neither events nor a bucket."""
    await migrate_database(config, "giaoban_identity")


def open_vault(config: Config) -> KeyFileVault:
    """The vault behind the sealing key file. Raises: ConfigError with the command that makes one."""
    try:
        key = base64.b64decode(read_secret(config.sealing_key_file), validate=True)
    except (ConfigError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"GIAOBAN_SEALING_KEY_FILE: {config.sealing_key_file} must hold {KEY_BYTES} bytes in base64. "
            f"Make it once with: head -c {KEY_BYTES} /dev/urandom | base64 > {config.sealing_key_file}"
        )
    return KeyFileVault(key)


def sign_in_policy(config: Config) -> SignInPolicy:
    """The configured limits as the use cases take them."""

    def lockout(free: int) -> LockoutPolicy:
        return LockoutPolicy(
            free, config.lockout_first_delay, config.lockout_max_delay, config.lockout_forget_after
        )

    return SignInPolicy(
        access_token_lifetime=config.access_token_lifetime,
        refresh_token_lifetime=config.refresh_token_lifetime,
        session_lifetime=config.session_lifetime,
        refresh_reuse_grace=config.refresh_reuse_grace,
        signing_key_min_age=config.signing_key_min_age,
        account_lockout=lockout(config.account_free_failures),
        address_lockout=lockout(config.address_free_failures),
    )
