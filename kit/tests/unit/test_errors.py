# SPDX-License-Identifier: Apache-2.0
"""The error table and the map to gRPC status."""

from datetime import timedelta

import grpc
import pytest
from giaoban_kit import errors
from giaoban_kit.errors import (
    BASES,
    ErrorKind,
    Exhausted,
    FieldViolation,
    GiaobanError,
    Internal,
    Invalid,
    NotFound,
)
from giaoban_kit.status import CODES, DETAILS_KEY, HIDDEN_DETAIL, KINDS, from_status, to_status


class MeetingNotFound(NotFound):
    reason = "MEETING_NOT_FOUND"


def travel(error: GiaobanError) -> GiaobanError:
    status = to_status(error, "scheduling")
    return from_status(CODES[error.kind], status.message, ((DETAILS_KEY, status.SerializeToString()),))


def test_every_kind_has_one_class_and_one_code() -> None:
    """The table has no gap and no doublet, in either direction."""
    assert set(BASES) == set(CODES) == set(ErrorKind)
    assert len(KINDS) == len(ErrorKind)
    public = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, GiaobanError)}
    named = {c for c in public if not c.__name__.startswith("_")} - {GiaobanError}
    assert named == set(BASES.values())
    assert all(cls.kind is kind for kind, cls in BASES.items())
    assert len({cls.reason for cls in BASES.values()}) == len(BASES)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_kind_reason_detail_and_metadata_survive_the_trip(kind: ErrorKind) -> None:
    """A caller catches the kind's class and reads the server's own reason."""
    own = type("Own", (BASES[kind],), {"reason": "OWN_REASON"})
    back = travel(own("Cuộc họp đã kết thúc.", meeting_id="01J"))
    assert type(back) is BASES[kind]
    assert back.reason == "OWN_REASON"
    if kind is ErrorKind.INTERNAL:
        assert (back.detail, back.metadata) == (HIDDEN_DETAIL, {})
    else:
        assert (back.detail, back.metadata) == ("Cuộc họp đã kết thúc.", {"meeting_id": "01J"})


def test_a_rebuilt_reason_does_not_leak_into_the_class() -> None:
    """The reason of one answer is that answer's alone."""
    assert travel(MeetingNotFound("x")).reason == "MEETING_NOT_FOUND"
    assert NotFound("x").reason == "NOT_FOUND"


def test_field_violations_and_retry_delays_travel() -> None:
    """BadRequest and RetryInfo come back as they went."""
    violation = FieldViolation("title", "TOO_LONG", "Use at most 200 characters.")
    back = travel(Invalid("Please correct: title.", violations=[violation]))
    assert isinstance(back, Invalid)
    assert back.violations == (violation,)
    slow = travel(Exhausted("Too many.", timedelta(seconds=2.5)))
    assert isinstance(slow, Exhausted)
    assert slow.retry_after == timedelta(seconds=2.5)


def test_codes_without_details_become_errors_too() -> None:
    """A status made by gRPC itself has a kind; one we never send is internal."""
    gone = from_status(grpc.StatusCode.UNAVAILABLE, "failed to connect", None)
    assert gone.kind is ErrorKind.UNAVAILABLE
    assert gone.reason == "UNAVAILABLE"
    odd = from_status(grpc.StatusCode.UNIMPLEMENTED, "Method not found!", ())
    assert isinstance(odd, Internal)
    assert odd.reason == "UNIMPLEMENTED"
