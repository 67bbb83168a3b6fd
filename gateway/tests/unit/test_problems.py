# SPDX-License-Identifier: Apache-2.0
"""Every error is a problem document (RFC 9457)."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from giaoban_gateway import problems
from giaoban_kit.errors import (
    BASES,
    Conflict,
    DeadlineExceeded,
    ErrorKind,
    Exhausted,
    FieldViolation,
    GiaobanError,
    Internal,
    Invalid,
    NotFound,
    Precondition,
    Unauthenticated,
    Unavailable,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .conftest import Door

MEETING = "/v1/meetings/01J9ZQ4N0000000000000000ME"
SECRET = "postgresql://scheduling:hunter2@10.0.0.5"


def reasoned(error: GiaobanError, reason: str) -> GiaobanError:
    """As it comes back from another part: the kind's class with the reason of the part's own."""
    error.reason = reason
    return error


def read(response: Any) -> dict[str, Any]:
    """The document; every one has the members that clients rely on."""
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(bytes(getattr(response, "body", b"") or response.content))
    assert document["status"] == response.status_code
    assert document["reason"] == document["reason"].upper()
    assert document["type"] == "/problems/" + document["reason"].lower().replace("_", "-")
    assert document["title"]
    assert document["detail"]
    return document


@pytest.mark.parametrize("kind", list(ErrorKind), ids=str)
def test_every_kind_becomes_its_status(kind: ErrorKind) -> None:
    """Each kind has a status, and its document says the same one."""
    response = problems.from_error(BASES[kind]("It cannot be."))
    assert response.status_code == problems.STATUS[kind]
    read(response)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (reasoned(Conflict("Somebody was faster."), "MEETING_CHANGED"), 412),
        (reasoned(Precondition("Which version?"), "IF_MATCH_REQUIRED"), 428),
        (reasoned(Conflict("Another race."), "LIVE_STATE_BUSY"), 409),
        (reasoned(Precondition("It has ended."), "MEETING_ENDED"), 409),
    ],
    ids=lambda value: str(getattr(value, "reason", value)),
)
def test_reasons_with_a_more_exact_status(error: GiaobanError, status: int) -> None:
    """A lost update is 412, a missing If-Match 428; other conflicts are 409."""
    assert read(problems.from_error(error))["status"] == status


@pytest.mark.parametrize(
    "error", [Internal(SECRET), reasoned(Internal(SECRET, host="10.0.0.5"), "DATABASE_GONE")], ids=repr
)
def test_what_is_internal_stays_inside(error: GiaobanError) -> None:
    """Neither detail nor metadata nor reason of an internal error is told."""
    response = problems.from_error(error)
    assert read(response)["reason"] == "INTERNAL"
    assert b"10.0.0.5" not in bytes(response.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("failed to connect to ipv4:10.0.0.5:7001"), 503),
        (DeadlineExceeded("Deadline Exceeded at 10.0.0.5"), 504),
        (reasoned(Internal("10.0.0.5 went"), "CANCELLED"), 503),
    ],
    ids=lambda value: str(getattr(value, "reason", value)),
)
def test_a_part_that_is_away_is_not_named(error: GiaobanError, status: int) -> None:
    """gRPC's own words name addresses: people get ours, and when to come again."""
    response = problems.from_error(error)
    assert read(response)["status"] == status
    assert b"10.0.0.5" not in bytes(response.body)
    assert int(response.headers["retry-after"]) >= 1


def test_when_to_come_again_is_told_in_whole_seconds() -> None:
    """Retry-After is never less than a second and never too early."""
    waits = [timedelta(milliseconds=1), timedelta(seconds=2.2), timedelta(seconds=60)]
    found = [
        problems.from_error(Exhausted("Wait.", retry_after=each)).headers["retry-after"] for each in waits
    ]
    assert found == ["1", "3", "60"]
    assert "retry-after" not in problems.from_error(Exhausted("Full for good.")).headers


def test_metadata_cannot_speak_for_the_document() -> None:
    """Metadata are members of their own; the standard ones keep their values."""
    error = reasoned(
        NotFound("No such meeting.", status="200", type="x", site="Bình Tân"), "MEETING_NOT_FOUND"
    )
    document = read(problems.from_error(error))
    assert document["site"] == "Bình Tân"
    assert document["status"] == 404


def test_refused_fields_are_named_with_their_remedy() -> None:
    """Violations that a service found travel to the client."""
    violation = FieldViolation(
        "appointments[0].party", "PARTY_UNKNOWN", "Choose somebody of the organisation."
    )
    document = read(problems.from_error(Invalid("Correct these.", [violation])))
    assert document["errors"] == [
        {
            "field": "appointments[0].party",
            "reason": "PARTY_UNKNOWN",
            "remedy": "Choose somebody of the organisation.",
        }
    ]


def test_who_is_not_known_is_asked_for_a_bearer_token() -> None:
    """401 carries the challenge (RFC 9110, section 11.6.1)."""
    assert problems.from_error(Unauthenticated("Who?")).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "send", "status", "reason"),
    [
        ("GET", "/v1/nothing", {}, 404, "PATH_NOT_FOUND"),
        ("GET", "/nothing", {}, 404, "PATH_NOT_FOUND"),
        ("DELETE", "/v1/me", {}, 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", "/v1/me", {"json": {"locale": "fr"}}, 422, "REQUEST_INVALID"),
        ("PATCH", "/v1/me", {"json": {"locale": "vi", "admin": True}}, 422, "REQUEST_INVALID"),
        ("PATCH", "/v1/me", {"json": {}}, 422, "REQUEST_INVALID"),
        ("PATCH", "/v1/me", {}, 422, "REQUEST_INVALID"),
        ("PATCH", "/v1/me", {"data": {"locale": "vi"}}, 415, "MEDIA_TYPE_WRONG"),
        ("GET", "/v1/meetings/not-an-id", {}, 422, "REQUEST_INVALID"),
        ("GET", "/v1/sites?page_size=0", {}, 422, "REQUEST_INVALID"),
        ("GET", "/v1/sites?page_size=201", {}, 422, "REQUEST_INVALID"),
        ("GET", "/v1/sites?query=" + "x" * 101, {}, 422, "REQUEST_INVALID"),
        ("GET", "/v1/meetings?from=yesterday&to=2026-01-01T00:00:00Z", {}, 422, "REQUEST_INVALID"),
        ("GET", "/v1/meetings?from=2026-01-01T00:00:00&to=2026-01-02T00:00:00Z", {}, 422, "REQUEST_INVALID"),
        ("PATCH", MEETING, {"json": {"title": "Giao ban"}}, 428, "IF_MATCH_REQUIRED"),
        (
            "PATCH",
            MEETING,
            {"json": {"title": "Giao ban"}, "headers": {"If-Match": "*"}},
            428,
            "IF_MATCH_REQUIRED",
        ),
    ],
)
async def test_what_the_gateway_itself_refuses(
    door: Door, method: str, path: str, send: dict[str, Any], status: int, reason: str
) -> None:
    """Wrong paths, methods, types and fields are problem documents too, and reach no service."""
    headers = door.bearer() | send.pop("headers", {})
    response = await door.web.request(method, path, headers=headers, **send)
    document = read(response)
    assert (document["status"], document["reason"]) == (status, reason)
    if status == 422:
        assert document["errors"]
        assert all(each["field"] and each["reason"] and each["remedy"] for each in document["errors"])
    assert not door.asked


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"locale": ', b"\xff\xfe{}", b'{"locale":"\xff"}', b"[" * 50_000, b'{"a":' * 50_000],
    ids=["open", "cut", "utf16", "not utf8", "deep list", "deep object"],
)
async def test_malformed_json_is_refused_in_words(door: Door, body: bytes) -> None:
    """Whatever stands in the body, the answer is a 4xx that names the body."""
    headers = door.bearer() | {"Content-Type": "application/json"}
    document = read(await door.web.patch("/v1/me", content=body, headers=headers))
    assert document["status"] in (400, 422)
    assert [each["field"].partition(".")[0] for each in document["errors"]]
    assert not door.asked


async def test_too_many_errors_are_cut_and_long_names_shortened(door: Door) -> None:
    """A hostile body does not get a greater answer than question."""
    body = {"x" * 5000 + str(number): 1 for number in range(150)}
    response = await door.web.patch("/v1/me", json=body, headers=door.bearer())
    document = read(response)
    assert len(document["errors"]) <= problems.MAX_VIOLATIONS
    assert max(len(each["field"]) for each in document["errors"]) <= problems.MAX_FIELD_CHARACTERS


async def test_a_password_is_never_in_an_answer(door: Door) -> None:
    """A refused sign-in does not repeat what was typed."""
    body = {"organisation_code": "tphcm", "username": "x" * 65, "password": "Đường đi khó 7" * 40}
    response = await door.web.post("/v1/auth/sign-in", json=body)
    assert read(response)["status"] == 422
    assert "Đường đi khó" not in response.text


async def test_what_nobody_expected_is_a_problem_with_a_trace_id(
    door: Door, spans: InMemorySpanExporter, logged: io.StringIO
) -> None:
    """A defect answers 500 with the trace under which the log has it, and nothing of its text."""
    door.parts["identity"].script["GetMe"] = RuntimeError(SECRET)
    response = await door.web.get("/v1/me", headers=door.bearer())
    document = read(response)
    assert document["status"] == 500
    assert len(document["trace_id"]) == 32
    assert f'"trace_id": "{document["trace_id"]}"' in logged.getvalue()
    assert "hunter2" not in response.text
    assert "hunter2" not in str([span.to_json() for span in spans.get_finished_spans()])


async def test_a_services_refusal_reaches_the_client_as_it_is(door: Door) -> None:
    """Status, reason, detail and metadata come from the service's error."""
    error = reasoned(Precondition("It opens at eight.", opens_at="2026-03-02T01:00:00Z"), "MEETING_NOT_OPEN")
    door.parts["scheduling"].script["GetMeeting"] = error
    document = read(await door.web.get(MEETING, headers=door.bearer()))
    assert document["status"] == 409
    assert document["reason"] == "MEETING_NOT_OPEN"
    assert document["opens_at"] == "2026-03-02T01:00:00Z"
