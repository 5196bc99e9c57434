"""Reports in every form that they are printed, written and kept in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness import html, latex, markdown
from harness.page import Pictures, summary, whole
from harness.report import Report
from harness.sheet import to_csv, to_parquet

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
    """Name of a file, without its ending → SVG."""
    drawn = _draw(reports)
    several = len(reports) > 1
    names = {report.study_id: f"{report.study}-" if several else "" for report in reports}
    return {f"{names.get(study, '')}{one.name}": one.svg for (study, *_), each in drawn.items() for one in each}


def _draw(reports: Sequence[Report]) -> Pictures:
    from harness.figures import draw  # matplotlib takes a second to import

    return draw(reports)


FORMATS: dict[str, Writer] = {
    "markdown": to_markdown, "latex": to_latex, "csv": to_csv, "parquet": to_parquet, "html": to_html,
}  # fmt: skip
ENDINGS = {"markdown": "md", "latex": "tex", "csv": "csv", "parquet": "parquet", "html": "html"}
"""Of files."""
