# SPDX-License-Identifier: Apache-2.0
"""Pages follow the code, and lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

from tools.docs import PAGES
from tools.house import ROOT

PEOPLE_READ = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "services/*/README.md", "kit/README.md")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path) -> None:
    """The page is what the code says; `bin/docs` writes it."""
    assert path.read_text() == PAGES[path]()


@pytest.mark.parametrize("page", PEOPLE_READ)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    """Every relative link names a file of the checkout."""
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?://|mailto:)([^)#\s]+)", text)
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()]


@pytest.mark.parametrize("page", [each for each in PEOPLE_READ if each.startswith("docs/runbooks/")])
def test_runbooks_use_commands_that_exist(page: str) -> None:
    """Every `make` target and `bin/` command that a runbook tells people to run is there."""
    text = (ROOT / page).read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z][a-z-]*)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for command in re.findall(r"(?<![/\w])bin/[a-z-]+", text):
        assert (ROOT / command).exists(), command


def test_the_generator_says_when_a_page_is_stale() -> None:
    """`bin/docs --check` ends with 0 exactly when the pages are current."""
    outcome = subprocess.run([ROOT / "bin/docs", "--check"], capture_output=True, text=True, check=False)
    stale = [path for path, page in PAGES.items() if path.read_text() != page()]
    assert (outcome.returncode == 0) == (not stale), outcome.stderr
