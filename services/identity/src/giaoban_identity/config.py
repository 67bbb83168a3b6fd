# SPDX-License-Identifier: Apache-2.0
"""Owns identity's configuration; every key has a default that works on the local stack."""

from datetime import timedelta
from pathlib import Path

from giaoban_kit.config import ServiceConfig
from pydantic import Field


class Config(ServiceConfig):
    """Keys `GIAOBAN_*`; durations as ISO 8601 ("PT5M") or seconds."""

    service_name: str = "identity"
    # 32 random bytes, base64: seals the signing keys and derives the refresh chain. The same file for
    # every replica; without it the stored signing keys cannot be opened.
    sealing_key_file: Path = Path("identity-sealing.key")

    access_token_lifetime: timedelta = Field(
        default=timedelta(minutes=5), ge=timedelta(seconds=30), le=timedelta(hours=1)
    )
    # A session that is not refreshed for this long ends.
    refresh_token_lifetime: timedelta = Field(default=timedelta(days=3), ge=timedelta(minutes=5))
    # However busily refreshed, a person signs in with the password again after this.
    session_lifetime: timedelta = Field(default=timedelta(days=30), ge=timedelta(hours=1))
    # Two tabs may refresh at once; a token that comes again this soon gets the same answer.
    refresh_reuse_grace: timedelta = Field(default=timedelta(seconds=10), le=timedelta(minutes=1))
    # A newer key is not replaced: rotating twice by mistake must not grow the JWKS.
    signing_key_min_age: timedelta = timedelta(hours=1)

    # Argon2id: OWASP's first recommendation (19 MiB, 2 passes, 1 lane).
    argon2_memory_kib: int = Field(default=19_456, ge=8_192, le=1_048_576)
    argon2_time_cost: int = Field(default=2, ge=1, le=20)
    argon2_parallelism: int = Field(default=1, ge=1, le=16)
    argon2_concurrency: int = Field(default=2, ge=1, le=64)
    argon2_queue: int = Field(default=200, ge=1, le=10_000)

    # An account: five free failures, then 2 s, 4 s, 8 s … 15 min.
    account_free_failures: int = Field(default=5, ge=1, le=100)
    # An address stands for a whole office behind one router, so it is given more.
    address_free_failures: int = Field(default=50, ge=1, le=10_000)
    lockout_first_delay: timedelta = Field(default=timedelta(seconds=2), gt=timedelta())
    lockout_max_delay: timedelta = Field(default=timedelta(minutes=15), gt=timedelta())
    lockout_forget_after: timedelta = Field(default=timedelta(hours=24), gt=timedelta())
