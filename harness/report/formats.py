"""Reports in every form that they are printed, written and kept in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Container, Sequence

from harness.report.page import Pictures, summary, whole
from harness.report.report import Report
from harness.report.writers import html, latex, markdown
from harness.report.writers.tabular import to_csv, to_parquet

Writer = Callable[..., str | bytes]


def to_summary(report: Report) -> str:
    """The comparison alone, as Markdown: what a terminal shows."""
    return markdown.render(summary(report))


def to_markdown(*reports: Report) -> str:
    return markdown.render(whole(reports))


def to_latex(*reports: Report) -> str:
    return latex.render(whole(reports))


def to_html(*reports: Report) -> str:
    """One page with its pictures in it, which asks no other machine for anything."""
    return html.render(whole(reports, _draw(reports)), title=", ".join(report.study for report in reports))


def pictures(reports: Sequence[Report]) -> dict[str, str]:
    """Return file name without its suffix → SVG; names are distinct and contain no folders."""
    of_study = {report.study_id: report.study for report in reports} if len(reports) > 1 else {}
    protocols = {report.protocol for report in reports}
    named: dict[str, str] = {}
    for (study, place, part), each in _draw(reports).items():
        of_protocol = place if part == "overall" and len(protocols) > 1 else ""
        for one in each:
            words = (of_study.get(study, ""), of_protocol, one.name)
            named[_free("-".join(filter(None, words)), named)] = one.svg
    return named


def _free(wanted: str, taken: Container[str]) -> str:
    """A name of a file that is not taken, in characters that every file system has."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted)
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def _draw(reports: Sequence[Report]) -> Pictures:
    from harness.report.figures.per_task import draw  # matplotlib takes a second to import

    return draw(reports)


FORMATS: dict[str, Writer] = {
    "markdown": to_markdown, "latex": to_latex, "csv": to_csv, "parquet": to_parquet, "html": to_html,
}  # fmt: skip
ENDINGS = {"markdown": "md", "latex": "tex", "csv": "csv", "parquet": "parquet", "html": "html"}
"""File suffixes."""
