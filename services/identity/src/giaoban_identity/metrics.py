# SPDX-License-Identifier: Apache-2.0
"""Owns identity's instruments."""

from collections.abc import Iterator
from contextlib import contextmanager

from giaoban_kit.errors import GiaobanError
from prometheus_client import Counter

SIGN_INS = Counter(
    "giaoban_identity_sign_ins_total",
    "Sign-ins and refreshes by kind (user, terminal, refresh) and outcome (ok, or the error's reason).",
    ["kind", "outcome"],
)


@contextmanager
def counted(counter: Counter, *, kind: str) -> Iterator[None]:
    """Counts how the block ends."""
    outcome = "ok"
    try:
        yield
    except GiaobanError as error:
        outcome = error.reason
        raise
    except BaseException:
        outcome = "INTERNAL"
        raise
    finally:
        counter.labels(kind, outcome).inc()
