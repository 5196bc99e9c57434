"""Render reports in every supported format."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

from harness.report.document import Picture
from harness.report.page import Pictures, description, summary, whole
from harness.report.report import Report
from harness.report.writers import html, latex, markdown
from harness.report.writers.tabular import to_csv, to_json, to_parquet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Writer = Callable[..., str | bytes]


def to_summary(report: Report) -> str:
    """Return the comparison alone as Markdown, for the terminal."""
    return markdown.render(summary(report))


def to_description(report: Report, limit: int) -> str:
    """Return the description of a study for MLflow as Markdown of at most `limit` characters.

    If it is too long, it has only the sentences on each task, and of these as many as fit.
    """
    text = markdown.render(description(report))
    if len(text) > limit:
        text = markdown.render(description(report)[:1])
    return text if len(text) <= limit else text[: limit - 2].rpartition("\n")[0] + "\n…"


def to_markdown(*reports: Report) -> str:
    return markdown.render(whole(reports))


def to_latex(*reports: Report) -> str:
    return latex.render(whole(reports))


def to_html(*reports: Report) -> str:
    """Return one page that contains its figures and makes no network request."""
    return html.render(whole(reports, _draw(reports)), title=", ".join(report.study for report in reports))


def pictures(reports: Sequence[Report]) -> dict[str, str]:
    """Return file name without suffix → SVG; names are unique and contain no folder."""
    return {name: picture.svg for name, picture in _named(reports).items()}


def figures(reports: Sequence[Report]) -> dict[str, Figure]:
    """Return the same pictures as matplotlib's figures."""
    return {name: picture.figure for name, picture in _named(reports).items() if picture.figure is not None}


def _named(reports: Sequence[Report]) -> dict[str, Picture]:
    study_names = {report.study_id: report.study for report in reports} if len(reports) > 1 else {}
    protocols = {report.protocol for report in reports}
    named: dict[str, Picture] = {}
    for (study, place, part), drawn in _draw(reports).items():
        protocol = place if part == "overall" and len(protocols) > 1 else ""
        for picture in drawn:
            words = (study_names.get(study, ""), protocol, picture.name)
            named[_unused("-".join(filter(None, words)), named)] = picture
    return named


def _unused(wanted: str, taken: Container[str]) -> str:
    """Return an unused file name, in characters that every file system supports."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted)
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)


def _draw(reports: Sequence[Report]) -> Pictures:
    from harness.report.figures.per_task import draw  # here, since matplotlib takes a second to import

    return draw(reports)


FORMATS: dict[str, Writer] = {
    "markdown": to_markdown, "latex": to_latex, "csv": to_csv, "parquet": to_parquet, "html": to_html,
    "json": to_json,
}  # fmt: skip
ENDINGS = {"markdown": "md", "latex": "tex", "csv": "csv", "parquet": "parquet", "html": "html", "json": "json"}
"""Format → file suffix."""
