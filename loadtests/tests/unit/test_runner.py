# SPDX-License-Identifier: Apache-2.0
"""The command line: what is refused before anything starts, what a scenario must have, what the page shows."""

import json
from pathlib import Path

import pytest
from giaoban_loadtests import runner, scenarios
from giaoban_loadtests.capacity import PACKETS, PRICE, describe, need
from giaoban_loadtests.crowd import Totals
from giaoban_loadtests.page import write_page
from giaoban_loadtests.results import Figure, Result
from giaoban_loadtests.systems.giaoban import AccountsFileError, read_accounts

ACCOUNTS = {
    "organisation_code": "o",
    "unit_id": "u",
    "chairs": [{"user_id": "c", "username": "chair", "password": "secret"}],
    "sites": [{"site_id": "s", "name": "Site", "device_key": "key"}],
}


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps(ACCOUNTS))
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_says_what_it_is_about(name: str) -> None:
    """Hypothesis, what is done, what must hold, bounded time, numbers as parameters."""
    scenario = scenarios.find(name)
    assert scenario.HYPOTHESIS
    assert "Done: " in scenario.__doc__
    assert "Must hold: " in scenario.__doc__
    # Fifty kills of every part take hours, and so does what hours leave behind; all else must not.
    hours = scenarios.parts_of(scenario) or name == "soak"
    assert 0 < scenario.SECONDS <= (6 * 3_600 if hours else 3_600)
    assert all(isinstance(value, int) for value in scenario.PARAMETERS.values())
    assert all(
        f"`{name}`" in scenario.__doc__ or name in {"joins_per_second", "blocks", "nodes"}
        for name in scenario.PARAMETERS
    )


def test_the_headline_scenarios_exist() -> None:
    """What `make loadtest` runs is there."""
    assert set(runner.HEADLINE) <= set(scenarios.names())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "there are"),
        (["join_storm", "--set", "colour=1"], "the scenario knows"),
        (["join_storm", "--set", "endpoints=-1"], "whole number"),
        (["join_storm", "--set", "parts=nats"], "the scenario knows"),
        (["kill_each_part", "--set", "parts=nats,colour"], "give some of gateway"),
        (["join_storm", "--target", "ftp://x"], "https://<host>"),
        (["join_storm", "--target", "http://giaoban.example"], "use https"),
        (["join_storm", "--target", "https://giaoban.example"], "--accounts"),
        (["forwarding_cost", "--target", "https://giaoban.example", "--livekit", "x"], "leave --target away"),
    ],
)
def test_a_wrong_command_is_refused_with_the_remedy(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing starts, the exit status is 2, and the line says what to change."""
    assert runner.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_target_has_to_be_typed_back(
    accounts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another host name than the target's sends nothing; accounts that others can read are refused first."""
    monkeypatch.setattr("builtins.input", lambda _: "giaoban.other")
    arguments = ["join_storm", "--target", "https://giaoban.example", "--accounts", str(accounts)]
    assert runner.main(arguments) == 2
    assert "nothing was sent" in capsys.readouterr().err
    accounts.chmod(0o644)
    assert runner.main(arguments) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_accounts_are_read_and_kept_secret(accounts: Path) -> None:
    """Secrets are in no representation of what was read."""
    found = read_accounts(accounts)
    assert found.sites[0].site_id == "s"
    assert "secret" not in repr(found)
    assert "'key'" not in repr(found)


@pytest.mark.parametrize("name", ["organisation_code", "unit_id", "chairs", "sites"])
def test_a_missing_field_is_named(accounts: Path, name: str) -> None:
    """The file and the field are in the message."""
    accounts.write_text(json.dumps({key: value for key, value in ACCOUNTS.items() if key != name}))
    with pytest.raises(AccountsFileError, match=rf"accounts\.json: .*{name}"):
        read_accounts(accounts)


def test_loss_is_a_share_of_what_was_expected() -> None:
    """Duplicates are no negative loss, nothing received is no loss, and counters are differences."""
    assert Totals(received=999, lost=1).loss == 0.001
    assert Totals(received=10, lost=-1).loss == 0
    assert Totals().loss == 0
    assert Totals(received=30, lost=5, late_ticks=4).since(Totals(received=10, lost=4)) == Totals(
        received=20, lost=1, late_ticks=4
    )


def test_the_model_rounds_nodes_up_and_states_its_assumptions() -> None:
    """More endpoints never need fewer nodes; without a measured price there is no model."""
    assert need(1, 30).nodes == 1
    counts = [need(n, 30).nodes for n in (10, 100, 1_000, 10_000)]
    assert counts == sorted(counts)
    assert need(2_000, 30).packets_per_second == 2 * need(1_000, 30).packets_per_second
    with pytest.raises(ValueError, match="above zero"):
        need(10, 0)
    assert "one_big_meeting" in describe({})
    priced = Result("x", "h", [Figure("P2", PRICE, 30.0, "µs")], {}, {}, "c", "k")
    assert "Assumptions" in describe({"x": priced})
    refused = Result("x", "h", [Figure("P2", PRICE, 30.0, "µs")], {}, {}, "c", "k", refused="spoiled")
    assert "Assumptions" not in describe({"x": refused})


def test_the_model_takes_the_price_at_most_packets() -> None:
    """What a node does beside forwarding weighs in a small meeting and not in a large one."""

    def measured(price: float, packets: float) -> Result:
        figures = [Figure("P1", PACKETS, packets, "packets/s"), Figure("P2", PRICE, price, "µs")]
        return Result("x", "h", figures, {}, {}, "c", "k")

    assert "25.0 µs" in describe({"large": measured(25, 24_000), "small": measured(113, 4_000)})


def test_the_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    """Plots are in the page; what a system said is shown as text; no script, no address to load from."""
    good = Result(
        "x",
        "<b>h</b>",
        [Figure("P1", "loss", 0.5, "", "<", 0.001)],
        {},
        {"cpu": "c"},
        "cmd",
        "k",
        distributions={"latency": [0.001, 0.002]},
        timelines={"memory": [(0.0, 1.0), (1.0, 2.0)]},
    )
    spoiled = Result("y", "h", [], {}, {}, "cmd", "k", refused="the generator <dropped>")
    text = write_page({"x": good, "y": spoiled}, tmp_path / "p" / "index.html").read_text()
    assert text.count("<svg") == 2
    assert "&lt;b&gt;" in text
    assert "&lt;dropped&gt;" in text
    assert "class=fail" in text
    assert "<script" not in text
    assert "src=" not in text
    assert "url(http" not in text
