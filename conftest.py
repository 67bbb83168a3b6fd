# SPDX-License-Identifier: Apache-2.0
"""What holds for every test of the house: shared fixtures, and no test left out silently."""

from collections.abc import Generator

import pytest

pytest_plugins = ["giaoban_dev.testing"]

_EXPLAINED = "explained:"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip without an explained reason into a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _demand_explanation(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a module that skips itself while it is collected."""
    report = yield
    if report.skipped:
        _demand_explanation(report)
    return report


def _demand_explanation(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(_EXPLAINED):
        report.outcome = "failed"
        report.longrepr = (
            f"skipped without explanation ({reason}): make it run, or begin the reason with {_EXPLAINED!r}"
        )
