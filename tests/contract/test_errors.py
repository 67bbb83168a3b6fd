# SPDX-License-Identifier: Apache-2.0
"""The error table: every error of every part, what callers see of it, and what the protos promise."""

import re
from collections import defaultdict

import pytest
from giaoban.identity.v1.identity_pb2 import Organisation
from giaoban.identity.v1.identity_service_pb2 import ImportDirectoryRequest
from giaoban.scheduling.v1.scheduling_service_pb2 import UpdateMeetingRequest
from giaoban_gateway import problems
from giaoban_identity.convert import directory_from_proto
from giaoban_kit.errors import BASES, ErrorKind, GiaobanError, Invalid
from giaoban_kit.ids import new_id
from giaoban_kit.status import CODES
from giaoban_kit.validate import Violations
from giaoban_scheduling.convert import edit_from_proto

from tools.errors_page import (
    GATEWAY_ONLY,
    SHARED,
    classes,
    field_reasons,
    gateway_reasons,
    http_status,
    is_reason,
)
from tools.house import ROOT, SERVICES, errors, first_line

NOT_IN_PROTO = {
    "KEY_FILE_MISMATCH": "refuses the start of the process, not a call",
    "EVENT_UNUSABLE": "sends an event to the dead letters",
    "TRACK_DAMAGED": "ends an attempt to compose; told as the recording's failure",
    "COMPOSE_FAILED": "ends an attempt to compose; told as the recording's failure",
    "RECORDING_RUNNING": "a lost race to start; the running recording is returned instead",
    "LIVE_STATE_BUSY": "any act or join may lose all its races; the client asks again",
    "MEDIA_LOST": "travels as Rejoin and in replies to those whose node died",
}
"""Reasons of services that no RPC's comment names, and why."""

FROM_THE_KIT = {base.reason for base in BASES.values()}


def promised() -> dict[str, set[str]]:
    """Reasons that the proto comments name after "Errors", with the files that do."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "proto/giaoban").glob("*/v1/*.proto")):
        comments = re.findall(r"(?:^ *//[^\n]*\n)+", path.read_text(), re.MULTILINE)
        for comment in comments:
            text = " ".join(line.strip().lstrip("/ ") for line in comment.splitlines())
            for listed in re.findall(r"Errors[^:.]*: (.*?)\.(?: |$)", text):
                for reason in re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", re.sub(r"\([^)]*\)", "", listed)):
                    found[reason].add(path.parents[1].name)
    return found


def test_every_error_has_a_reason_of_its_own_in_capitals() -> None:
    """No class inherits a reason, and each is written UPPER_SNAKE."""
    for cls in classes():
        assert "reason" in vars(cls), cls
        assert is_reason(cls.reason), cls.reason


def test_a_reason_means_one_thing() -> None:
    """Classes that share a reason share kind and status, and are known to; nothing else is listed as shared."""
    carriers: dict[str, list[type[GiaobanError]]] = defaultdict(list)
    for cls in classes():
        carriers[cls.reason].append(cls)
    shared = {reason: found for reason, found in carriers.items() if len(found) > 1}
    assert set(shared) == set(SHARED)
    for reason, found in shared.items():
        assert len({cls.kind for cls in found}) == 1, reason


def test_every_error_says_what_it_means() -> None:
    """The first line of the docstring is a sentence: it is what docs/errors.md tells people."""
    assert not [cls for cls in classes() if not first_line(cls).endswith(".")]


def test_every_kind_is_mapped_to_grpc_and_http() -> None:
    """The two tables have no gap; gRPC's is one to one."""
    assert set(CODES) == set(problems.STATUS) == set(ErrorKind)
    assert len(set(CODES.values())) == len(ErrorKind)


def test_every_error_becomes_a_problem_with_an_error_status() -> None:
    """Whatever a part raises, people get a 4xx or 5xx."""
    for cls in classes():
        assert 400 <= http_status(cls) < 600


def test_an_internal_error_keeps_its_reason_and_text_to_itself() -> None:
    """A problem of kind INTERNAL says neither which error it was nor its detail."""
    for cls in classes():
        if cls.kind is ErrorKind.INTERNAL:
            error = cls.__new__(cls)
            GiaobanError.__init__(error, "the key file /etc/secret does not fit")
            body = bytes(problems.from_error(error).body).decode()
            assert "secret" not in body
            assert '"reason":"INTERNAL"' in body


def test_the_gateways_own_reasons_are_explained() -> None:
    """Reasons that stand literally in the gateway are the documented ones, both ways."""
    used = set(gateway_reasons())
    explained = set(GATEWAY_ONLY) - {cls.reason for cls in classes()}
    assert used == explained


def test_reasons_of_fields_are_in_capitals() -> None:
    """Each refused field names a reason written UPPER_SNAKE."""
    found = field_reasons()
    assert len(found) > 10
    assert not [reason for reason in found if not is_reason(reason)]


def test_an_unknown_time_zone_has_one_reason() -> None:
    """Whoever is told of a zone that does not exist, of an organisation or of a meeting, gets the same word."""
    zone = "Sao Hỏa"
    check = Violations()
    directory_from_proto(ImportDirectoryRequest(organisation=Organisation(time_zone=zone)), check)
    with pytest.raises(Invalid) as imported:
        check.raise_if_any()
    with pytest.raises(Invalid) as edited:
        edit_from_proto(UpdateMeetingRequest(meeting_id=new_id(), time_zone=zone))
    given = [
        each.reason
        for error in (imported.value, edited.value)
        for each in error.violations
        if each.field.endswith("time_zone")
    ]
    assert given == ["UNKNOWN_TIME_ZONE"] * 2


def test_what_the_protos_promise_exists() -> None:
    """Every reason that a proto's comment names is raised by some class."""
    known = {cls.reason for cls in classes()}
    assert not {reason: where for reason, where in promised().items() if reason not in known}


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_raises_is_promised(service: str) -> None:
    """Every reason that a service defines is in a proto's comment, unless it is known why not."""
    told = set(promised())
    untold = {cls.reason for cls in errors(service)} - told - FROM_THE_KIT
    assert not untold - set(NOT_IN_PROTO)


def test_no_exception_is_stale() -> None:
    """What is excused from being promised exists and is not promised."""
    known = {cls.reason for cls in classes()}
    assert set(NOT_IN_PROTO) <= known
    assert not set(NOT_IN_PROTO) & set(promised())
