# SPDX-License-Identifier: Apache-2.0
"""What a participant keeps of the meeting, and which answers of the gateway are final."""

import json
from pathlib import Path
from typing import Any

import pytest
from giaoban_loadtests.__main__ import main
from giaoban_loadtests.gateway_api import ApiError, SiteIdentity
from giaoban_loadtests.signalling import MeetingState
from giaoban_loadtests.sites import SitesFileError, read_sites

SNAPSHOT: dict[str, Any] = {
    "type": "snapshot",
    "revision": 5,
    "room": {"closed": False},
    "participants": [{"id": "a", "muted": False}, {"id": "b", "muted": False}],
    "floor": {"queue": [], "holders": []},
    "stage": {"mode": "auto"},
    "chat": [],
}


def test_deltas_change_what_they_name() -> None:
    """A delta replaces changed participants, removes those who left, and keeps the rest."""
    state = MeetingState()
    state.apply(SNAPSHOT)
    state.apply(
        {
            "type": "delta",
            "revision": 6,
            "participants": [{"id": "a", "muted": True}],
            "removed_participants": ["b", "never-seen"],
        }
    )
    assert state.revision == 6
    assert state.participants == {"a": {"id": "a", "muted": True}}
    assert state.stage == {"mode": "auto"}


def test_a_snapshot_replaces_everything() -> None:
    """Participants that a new snapshot does not name are gone."""
    state = MeetingState()
    state.apply(SNAPSHOT)
    state.apply({**SNAPSHOT, "revision": 9, "participants": []})
    assert (state.revision, state.participants) == (9, {})


@pytest.mark.parametrize(("status", "final"), [(401, True), (404, True), (429, False), (503, False)])
def test_only_refusals_are_final(status: int, final: bool) -> None:
    """Overload and rate limits are tried again, refusals are not."""
    assert ApiError(status, "REASON", "detail").final is final


def test_sites_are_read_and_keys_never_shown(tmp_path: Path) -> None:
    """The file gives the sites in order; a device key is not part of what is printed."""
    file = tmp_path / "sites.json"
    file.write_text(json.dumps([{"site_id": "1", "name": "Quận 1", "device_key": "secret-key"}]))
    (site,) = read_sites(file)
    assert site == SiteIdentity("1", "Quận 1", "secret-key")
    assert "secret-key" not in repr(site)


@pytest.mark.parametrize(
    "content", ["{}", "[1]", '[{"site_id": "1", "name": "", "device_key": "k"}]', "nonsense"]
)
def test_a_wrong_sites_file_is_explained(tmp_path: Path, content: str) -> None:
    """The error names the file."""
    file = tmp_path / "sites.json"
    file.write_text(content)
    with pytest.raises(SitesFileError, match=r"sites\.json"):
        read_sites(file)


def test_more_sites_than_the_file_has_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says how many there are, and ends with status 2."""
    file = tmp_path / "sites.json"
    file.write_text("[]")
    given = ["join", "--base-url", "http://x", "--meeting", "m", "--sites", "3", "--sites-file", str(file)]
    assert main(given) == 2
    assert "has 0 sites, --sites asks for 3" in capsys.readouterr().err
