# SPDX-License-Identifier: Apache-2.0
"""Fixtures of identity's tests: the kit's real PostgreSQL, and quick passwords."""

from collections.abc import AsyncIterator

import pytest
from giaoban_identity.crypto import ArgonPasswords


@pytest.fixture(name="passwords")
async def _passwords() -> AsyncIterator[ArgonPasswords]:
    """Real Argon2id with the least memory, so that tests are about behaviour, not about waiting."""
    passwords = ArgonPasswords(time_cost=1, memory_kib=8, parallelism=1, concurrency=2, queue=50)
    yield passwords
    passwords.close()
