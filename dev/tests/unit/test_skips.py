# SPDX-License-Identifier: Apache-2.0
"""No test of the house is left out silently."""

from pathlib import Path

import pytest
from giaoban_dev.infra.paths import PROJECT_ROOT

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("def test_it():\n    pytest.skip('explained: only on Tuesdays')", {"skipped": 1}),
        ("def test_it():\n    pytest.skip('later')", {"failed": 1}),
        ("@pytest.mark.skip\ndef test_it(): ...", {"errors": 1}),
        ("@pytest.mark.skipif(True, reason='explained: no camera')\ndef test_it(): ...", {"skipped": 1}),
        ("pytest.importorskip('no_such_module')", {"errors": 1}),
    ],
)
def test_a_skip_needs_an_explanation(pytester: pytest.Pytester, body: str, outcome: dict[str, int]) -> None:
    """A skip passes only when its reason begins with `explained:`."""
    rules = Path(PROJECT_ROOT / "conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(rules.replace('pytest_plugins = ["giaoban_dev.testing"]', ""))
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(f"import pytest\n{body}\n")
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(**outcome)
