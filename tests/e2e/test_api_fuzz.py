# SPDX-License-Identifier: Apache-2.0
"""The API against what its own description says may be sent, and against what it says may not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from giaoban_dev.demo.directory import PASSWORD
from giaoban_dev.infra.paths import PROJECT_ROOT
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .house import URL, House, utc

EXAMPLES = 4
"""Of each kind for each of some 36 operations: some 270 requests in all, below what one person may send at once."""

ORGANISATION, PERSON = "bkhcn", "thuky"
"""Not the city: nobody else's stories are disturbed by what is tried here."""

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


def _description() -> dict[str, Any]:
    """The committed one without its security: a token taken away would only hide the rest (see gateway/tests)."""
    found: dict[str, Any] = json.loads((PROJECT_ROOT / "docs" / "openapi.json").read_text())
    del found["components"]["securitySchemes"]
    for operations in found["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    return found


SCHEMA = schemathesis.openapi.from_dict(_description())
OPERATIONS: dict[str, Any] = {
    each.ok().label: each.ok()  # type: ignore[union-attr]
    for each in SCHEMA.get_all_operations()
}
NOTHING_TO_SEND = {
    label
    for label, operation in OPERATIONS.items()
    if not {"parameters", "requestBody"} & operation.definition.raw.keys()
}
TRIALS = [
    pytest.param(label, mode, id=f"{label} {mode.value}")
    for label in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or label not in NOTHING_TO_SEND
]
MAY_BE_401 = ("/v1/auth/", "/content")
"""Where what is sent is itself what proves who asks."""


def _sign_in(client: httpx.Client) -> None:
    body = {"organisation_code": ORGANISATION, "username": PERSON, "password": PASSWORD}
    answer = client.post("/v1/auth/sign-in", json=body)
    assert answer.status_code == 200, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _call_meeting(client: httpx.Client) -> str:
    me = client.get("/v1/me").json()
    body = {
        "unit_id": me["user"]["unit_id"],
        "title": "Họp thử",
        "start_time": utc(datetime.now(UTC) + timedelta(days=3)),
        "duration_seconds": 3600,
        "time_zone": "Asia/Ho_Chi_Minh",
        "appointments": [{"party": {"kind": "user", "id": me["user"]["id"]}, "role": "chair"}],
    }
    answer = client.post("/v1/meetings", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def client(house: House) -> Any:
    """Somebody of the ministry who may call meetings."""
    with httpx.Client(base_url=URL, trust_env=False, timeout=20) as found:
        _sign_in(found)
        yield found


@pytest.fixture(scope="module")
def meeting_id(client: httpx.Client) -> str:
    """A meeting that this person may change."""
    return _call_meeting(client)


@pytest.mark.parametrize(("label", "mode"), TRIALS)
def test_every_operation_answers_as_described(
    client: httpx.Client, meeting_id: str, label: str, mode: GenerationMode
) -> None:
    """Whatever fits the description or does not: a described answer, a problem for each refusal, never a 5xx."""
    answered: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(OPERATIONS[label].as_strategy(generation_mode=mode), st.booleans())
    def ask(case: Any, known: bool) -> None:
        if known and "meeting_id" in (case.path_parameters or {}):
            case.path_parameters["meeting_id"] = meeting_id
        headers = {"Authorization": client.headers["Authorization"]}
        response = case.call(base_url=URL, headers=headers)
        answered.append(response.status_code)
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"]
            assert response.json()["reason"]

    ask()
    assert answered
    assert 429 not in answered
    assert 401 not in answered or any(each in label for each in MAY_BE_401)
