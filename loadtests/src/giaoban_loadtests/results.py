# SPDX-License-Identifier: Apache-2.0
"""Owns what a run leaves behind: its figures with their limits, and the refusal to report what the generator spoiled."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

MAX_SKIPPED_TICKS = 0
MAX_LATE_SHARE = 0.2  # of the ticks; beyond, the endpoints do not send what they claim to

Limit = Literal["<=", "<", ">="]


class SpoiledError(Exception):
    """The generator itself lost packets or fell behind: what was measured says nothing about the system."""


@dataclass(frozen=True)
class Figure:
    """One measured value and what it must be. `goal` is the row of the table of goals, empty for a value beside it."""

    goal: str
    name: str
    value: float
    unit: str
    relation: Limit | None = None
    limit: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the limit holds; None without a limit."""
        if self.limit is None or self.relation is None:
            return None
        if self.relation == ">=":
            return self.value >= self.limit
        return self.value <= self.limit if self.relation == "<=" else self.value < self.limit


@dataclass(frozen=True)
class Generator:
    """What the generator did to itself during a run."""

    receive_buffer_errors: int
    send_buffer_errors: int
    send_errors: int
    skipped_ticks: int
    late_ticks: int
    ticks: int


def refuse_if_spoiled(generator: Generator) -> None:
    """Raise SpoiledError when the generator lost packets or was late, with what it was and what helps."""
    causes = []
    if generator.receive_buffer_errors:
        causes.append(f"{generator.receive_buffer_errors} packets did not fit a UDP receive buffer")
    if generator.send_buffer_errors:
        causes.append(f"{generator.send_buffer_errors} packets did not fit a UDP send buffer")
    if generator.send_errors:
        causes.append(f"{generator.send_errors} packets could not be sent")
    if generator.skipped_ticks > MAX_SKIPPED_TICKS:
        causes.append(f"{generator.skipped_ticks} ticks of 5 ms were not sent at all")
    if generator.ticks and generator.late_ticks > MAX_LATE_SHARE * generator.ticks:
        causes.append(f"{generator.late_ticks} of {generator.ticks} ticks were sent more than 20 ms late")
    if causes:
        raise SpoiledError(
            f"no report, the generator spoiled the run: {'; '.join(causes)}. Run fewer endpoints or a quieter machine"
        )


@dataclass(frozen=True)
class Result:
    """One run of one scenario. `distributions` are raw values in seconds by name, for the plots."""

    scenario: str
    hypothesis: str
    figures: Sequence[Figure]
    parameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    command: str
    commit: str
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    distributions: Mapping[str, Sequence[float]] = field(default_factory=dict)
    timelines: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    refused: str = ""

    @property
    def title(self) -> str:
        """The scenario, with the system when that is another than Giaoban."""
        system = self.environment.get("system", "giaoban")
        return self.scenario if system == "giaoban" else f"{self.scenario}-{system}"

    @property
    def passed(self) -> bool:
        """Whether every figure with a limit holds; a refused run has not passed."""
        return not self.refused and all(figure.passed is not False for figure in self.figures)

    def write(self, directory: Path) -> Path:
        """Write the result as `<date>-<title>.json`; return the file."""
        directory.mkdir(parents=True, exist_ok=True)
        stamp = re.sub(r"[^0-9T]", "", self.date.partition("+")[0])
        file = directory / f"{stamp}-{self.title}.json"
        body = asdict(self)
        body["figures"] = [{**asdict(figure), "passed": figure.passed} for figure in self.figures]
        file.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return file


def read(file: Path) -> Result:
    """Read a written result; raises ValueError when the file is none."""
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        figures = [
            Figure(**{name: value for name, value in figure.items() if name != "passed"})
            for figure in body.pop("figures")
        ]
        return Result(figures=figures, **body)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: not the result of a run ({error}); delete it or run the scenario again"
        ) from error


def newest(directory: Path) -> dict[str, Result]:
    """Return the newest result of every scenario and system in a directory, by title."""
    return {
        result.title: result
        for result in map(read, sorted(directory.glob("*.json"), key=lambda file: file.name))
    }


def table(results: Sequence[Result]) -> str:
    """Return the table of goals with measured values, as text."""
    rows = [("goal", "scenario", "figure", "measured", "limit", "")]
    for result in results:
        if result.refused:
            rows.append(("", result.title, "refused", "", "", "NO REPORT"))
            continue
        rows += [
            (
                figure.goal,
                result.title,
                figure.name,
                f"{figure.value:.4g} {figure.unit}".strip(),
                f"{figure.relation} {figure.limit:g} {figure.unit}".strip()
                if figure.limit is not None
                else "",
                {True: "pass", False: "FAIL", None: ""}[figure.passed],
            )
            for figure in result.figures
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
