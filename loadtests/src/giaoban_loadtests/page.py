# SPDX-License-Identifier: Apache-2.0
"""Owns the page of results: one HTML file with everything in it, plots as SVG, no script and nothing fetched."""

import html
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pygal
from pygal.style import Style

from giaoban_loadtests.capacity import describe
from giaoban_loadtests.results import Result
from giaoban_loadtests.statistics import percentile

# pygal leaves an importer for map plug-ins behind, in a form that Python 3.12 dropped and of which 3.11 warns at
# every later import of anybody.
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != pygal.__name__]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2733 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d5dbe1 }
.pass { color: #1c6b3a } .fail { color: #a4161a; font-weight: 600 } .refused { color: #8a5a00 }
svg { max-width: 100%; height: auto } pre { background: #f2f4f7; padding: .8rem; overflow-x: auto }
"""
_PLOT_STYLE = Style(
    background="#ffffff", plot_background="#ffffff", colors=("#00509d",), font_family="system-ui, sans-serif"
)
_SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)
MAX_POINTS = 400  # of one curve on the page; the result's file has all


def write_page(results: Mapping[str, Result], file: Path) -> Path:
    """Write the page of the newest results of every scenario; return the file."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Giaoban load tests</title>",
        f"<style>{_STYLE}</style><h1>Load tests</h1>",
        _goals(results.values()),
        f"<h2>Capacity</h2><pre>{html.escape(describe(results))}</pre>",
        *(_scenario(result) for result in results.values()),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return file


def _goals(results: Iterable[Result]) -> str:
    rows = []
    for result in results:
        if result.refused:
            rows.append(
                f"<tr><td><td>{html.escape(result.title)}<td colspan=3>{html.escape(result.refused)}"
                "<td class=refused>no report"
            )
        for figure in result.figures:
            if figure.goal and figure.limit is not None:
                verdict = "pass" if figure.passed else "fail"
                rows.append(
                    f"<tr><td>{html.escape(figure.goal)}<td>{html.escape(result.title)}"
                    f"<td>{html.escape(figure.name)}<td>{figure.value:.4g} {html.escape(figure.unit)}"
                    f"<td>{html.escape(figure.relation or '')} {figure.limit:g}<td class={verdict}>{verdict}"
                )
    head = "<tr><th>Goal<th>Scenario<th>Figure<th>Measured<th>Limit<th>"
    return f"<h2>Goals</h2><table>{head}{''.join(rows)}</table>"


def _scenario(result: Result) -> str:
    figures = "".join(
        f"<tr><td>{html.escape(figure.name)}<td>{figure.value:.4g} {html.escape(figure.unit)}"
        for figure in result.figures
    )
    machine = ", ".join(
        f"{name} {value}" for name, value in result.environment.items() if not isinstance(value, dict)
    )
    parameters = ", ".join(f"{name} {value}" for name, value in result.parameters.items())
    plots = [_distribution(name, values) for name, values in result.distributions.items() if values]
    plots += [_timeline(name, points) for name, points in result.timelines.items() if points]
    return (
        f"<h2>{html.escape(result.title)}</h2><p>{html.escape(result.hypothesis)}</p>"
        f"<table>{figures}</table><p>{html.escape(parameters)}</p>{''.join(plots)}"
        f"<p><small>{html.escape(result.date)}, {html.escape(result.commit)}: {html.escape(machine)}"
        f"<br><code>{html.escape(result.command)}</code></small></p>"
    )


def _distribution(name: str, values: Sequence[float]) -> str:
    """Draw which share of the values lies below each value."""
    points = [(share, 1000 * percentile(values, share)) for share in (at / 200 for at in range(201))]
    return _plot(name, [(value, 100 * share) for share, value in points], "ms", "% of all")


def _timeline(name: str, points: Sequence[tuple[float, float]]) -> str:
    return _plot(name, points[:: max(1, len(points) // MAX_POINTS)], "seconds", "")


def _plot(title: str, points: Sequence[tuple[float, float]], x_title: str, y_title: str) -> str:
    chart = pygal.XY(
        width=900,
        height=340,
        dots_size=0,
        show_legend=False,
        js=[],
        disable_xml_declaration=True,
        style=_PLOT_STYLE,
        title=title,
        x_title=x_title,
        y_title=y_title,
        include_x_axis=True,
    )
    chart.add(title, [(float(x), float(y)) for x, y in points])
    # pygal writes its configuration for a script that is not there; the page shall have none at all.
    return _SCRIPT.sub("", str(chart.render(is_unicode=True)))
