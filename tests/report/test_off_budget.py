"""Cells that are off the parameter budget: marked in every format, and ranked only where the study allows it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from harness.analysis.comparison import compare
from harness.analysis.stored_study import StoredStudy
from harness.cli.actions.comparison_view import show_comparison
from harness.report.formats import to_html, to_latex, to_markdown
from harness.report.report import Report, across_tasks, build_report, uncounted_tasks
from harness.report.sections.conclusion import conclusion
from harness.report.writers.tabular import to_csv, to_json, to_parquet
from tests.support.cells import ACCURACY, cell_of, facts, line_of, rows, stored

BASE = [90.0 + 0.1 * i for i in range(20)]
SCORES = {"small": [score + 2 for score in BASE], "tcn": BASE, "gru": [score - 2 for score in BASE]}
"""The best model is 12.7 % below the budget."""


def study(*, allow_deviation: bool = False, task: str = "copy") -> StoredStudy:
    limits = {"tolerance": 0.01, "allow_deviation": allow_deviation, "floor": 50.0}
    cells = [
        facts(model, ACCURACY, task=task, repetitions=len(own)).model_copy(update=limits)
        for model, own in SCORES.items()
    ]
    entries = [
        replace(entry, trial=entry.trial.model_copy(update={"parameters": 873 if cell.model == "small" else 1000}))
        for cell in cells
        for entry in cell_of(cell, SCORES[cell.model])
    ]
    return stored(cells, entries)


@pytest.fixture
def report() -> Report:
    return build_report(study())


def test_off_budget_model_is_neither_ranked_nor_paired_and_the_next_one_leads() -> None:
    found = rows(study())
    assert {model: row.rank for model, row in found.items()} == {"small": None, "tcn": 1, "gru": 2}
    (section,) = compare(study())
    assert [(pair.first, pair.second) for pair in section.pairs] == [("tcn", "gru")]
    assert conclusion(section) == (
        "copy: tcn leads with mean test accuracy 90.95; gru is worse; not ranked: small (off budget -12.70 %)."
    )


def test_study_may_rank_it_and_it_stays_marked() -> None:
    found = rows(study(allow_deviation=True))
    assert {model: row.rank for model, row in found.items()} == {"small": 1, "tcn": 2, "gru": 3}
    (section,) = compare(study(allow_deviation=True))
    assert len(section.pairs) == 3
    assert conclusion(section) == (
        "copy: small leads with mean test accuracy 92.95; tcn and gru are worse; "
        "ranked although off budget: small (off budget -12.70 %)."
    )
    text = to_markdown(build_report(study(allow_deviation=True)))
    assert line_of(text, "small")["rank"] == "1 (off budget -12.70 %)"
    assert "budget.allow_deviation = true." in text


def test_text_formats_mark_it_beside_the_rank(report: Report) -> None:
    text = to_markdown(report)
    assert line_of(text, "small")["rank"] == "not ranked (off budget -12.70 %)"
    assert line_of(text, "tcn")["rank"] == "1"
    assert "budget.allow_deviation = true ranks them" in text
    assert "not ranked (off budget -12.70 %)" in to_html(report)
    assert "not ranked (off budget -12.70 \\%)" in " ".join(to_latex(report).split())


def test_terminal_marks_it_beside_the_rank(report: Report) -> None:
    console = Console(width=200, file=io.StringIO())
    show_comparison(console, report)
    assert isinstance(console.file, io.StringIO)
    assert "not ranked (off budget -12.70 %)" in console.file.getvalue()


def test_files_have_columns_for_it(report: Report) -> None:
    wanted = {"small": ("True", ""), "tcn": ("False", "1"), "gru": ("False", "2")}
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert {line["model"]: (line["off_budget"], line["rank"]) for line in lines} == wanted
    frame = pd.read_parquet(io.BytesIO(to_parquet(report)))
    assert frame.set_index("model")["off_budget"].to_dict() == {"small": True, "tcn": False, "gru": False}
    assert not frame["allow_deviation"].any()
    marked = {line["model"]: line["off_budget"] for line in json.loads(to_json(report))}
    assert marked == {"small": True, "tcn": False, "gru": False}


def test_task_with_an_off_budget_model_does_not_count_across_tasks() -> None:
    reports = [build_report(study(task=task)) for task in ("copy", "adding", "music")]
    assert across_tasks(reports) is None
    assert dict(uncounted_tasks(reports))["adding"] == "small is not ranked on it"
    allowed = across_tasks([build_report(study(task=task, allow_deviation=True)) for task in ("copy", "adding")])
    assert allowed is not None
    assert allowed.ranks["small"] == 1


def test_published_widths_stand_as_they_are() -> None:
    named = study()
    cells = tuple(
        one.model_copy(update={"parameters": None, "task_parameters": 1000, "trials": 0})
        for one in named.manifest.cells
    )
    entries = tuple(
        replace(entry, trial=entry.trial.model_copy(update={"winner": None}))
        for entry in named.entries
        if entry.trial.phase == "final"
    )
    paper = stored(cells, entries)
    paper = replace(paper, manifest=paper.manifest.model_copy(update={"protocol": "paper"}))
    assert {model: row.rank for model, row in rows(paper).items()} == {"small": 1, "tcn": 2, "gru": 3}
    text = to_markdown(build_report(paper))
    assert line_of(text, "small")["rank"] == "1"
    assert "Protocol paper keeps published widths, so no tolerance applies" in text
