"""docs/results: the page and its figures are those of the committed data, and what its sentences say."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.cell_result import CellResult
from harness.analysis.reproduction import reproduction
from harness.analysis.stored_study import StoredStudy, of_ledger
from harness.errors import StudyError
from harness.ledger.exported import read_folder, study_folders
from harness.plugin.loader import load_plugins
from harness.report.report import build_report
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, stored
from tests.support.documents import ROOT

results_page = pytest.importorskip("results_page", reason="the core's wheel is tested without studies/")
results_figures = pytest.importorskip("results_figures")
row_sentences = pytest.importorskip("row_sentences")
row_notes = pytest.importorskip("row_notes")
published_table = pytest.importorskip("published_table")
search_page = pytest.importorskip("search_page")

RESULTS = ROOT / "docs" / "results"


def test_the_page_and_its_figures_are_made_from_the_committed_data(tmp_path: Path) -> None:
    """Run `python studies/results_page.py docs/results` if this fails."""
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    pytest.importorskip("harness_modern", reason="the table has the values of gated-tcn")
    for stored_studies in ("data", "search", "reduced"):
        shutil.copytree(RESULTS / stored_studies, tmp_path / stored_studies)
    shutil.copy(RESULTS / "row-notes.toml", tmp_path)
    results_page.write_page(load_plugins().registry, tmp_path)
    made = [path for path in tmp_path.iterdir() if path.suffix in (".md", ".svg")]
    assert {"README.md", "forest.svg", "learning.svg"} <= {path.name for path in made}
    assert [path.name for path in made if path.read_text() != (RESULTS / path.name).read_text()] == []


def test_the_page_of_searches_is_made_from_the_committed_data(tmp_path: Path) -> None:
    """Run `python studies/search_page.py docs/results` if this fails."""
    pytest.importorskip("harness_tasks", reason="plateaus are those of seqharness-tasks")
    shutil.copytree(RESULTS / "search", tmp_path / "search")
    search_page.write_page(load_plugins().registry, tmp_path)
    made = [path for path in tmp_path.iterdir() if path.is_file()]
    assert "search.md" in {path.name for path in made}
    assert [path.name for path in made if path.read_text() != (RESULTS / path.name).read_text()] == []


def test_searches_are_compared_by_the_pairs_of_their_winners() -> None:
    first = study({"tcn": (99.0, [80.0 + place for place in range(12)])}).results
    second = study({"tcn": (99.0, [70.0 + place for place in range(12)])}).results
    said = search_page.sentence("mnist", [(first[0], otherwise(second[0]))])
    wins = "better with tcn (12 of 12 pairs won, mean difference 10.00 to 10.00)"
    assert said == f"mnist, the winner of successive halving against that of the full-length search: {wins}."


@pytest.mark.parametrize(
    ("halving", "full", "message"),
    [
        (["tcn", "gru"], ["tcn"], "halving-mnist has the models gru and tcn, and full-mnist has tcn"),
        (["tcn"], [], "copying: two searches are compared on one task; this study has none"),
    ],
)
def test_searches_of_different_models_or_tasks_are_refused(halving: list[str], full: list[str], message: str) -> None:
    models = {"halving-mnist": halving, "full-mnist": full}
    reports = {
        name: build_report(study({model: (99.0, [80.0] * 12) for model in names})) for name, names in models.items()
    }
    with pytest.raises(StudyError) as refused:
        list(search_page.halving_blocks(load_plugins().registry, reports, "halving-mnist"))
    assert str(refused.value) == message


def otherwise(result: CellResult) -> CellResult:
    """Return the result as that of another configuration with the same scores."""
    finals = [replace(entry, trial=entry.trial.model_copy(update={"params": {"levels": 9}})) for entry in result.finals]
    return replace(result, finals=tuple(finals))


def study(scores: dict[str, tuple[float, list[float]]]) -> StoredStudy:
    """Return a study with these models: published value and test scores."""
    cells = {
        name: facts(name, ACCURACY, repetitions=12).model_copy(update={"published": published, "floor": 50.0})
        for name, (published, _) in scores.items()
    }
    return stored(list(cells.values()), [entry for name in scores for entry in cell_of(cells[name], scores[name][1])])


def test_published_setting_is_named_with_its_size_and_what_is_assumed() -> None:
    """The paper's LSTM for JSB Chorales has twice the parameters of the row, and its optimiser is not stated."""
    (section,) = build_report(of_ledger(read_folder(RESULTS / "data" / "paper-jsb-chorales"))).sections
    tcn, lstm = (row_sentences.published_setting(section, cell) for cell in section.reproductions)
    assert tcn.startswith(
        "At the published setting tcn scores 8.220 [8.179, 8.261] (8.236, 8.203, 8.222), published 8.100: not rep"
    )
    assert lstm.startswith("At the published setting lstm (571,288 parameters) scores 8.563 [")
    assert lstm.endswith("does not state its batch size, epochs, learning rate, optimizer, reduction, schedule.")


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ({}, []),
        ({"paper": {"row": "a"}, "fair": {"row": "a"}}, ["Not run: a."]),
        ({"paper": {"row": "a"}}, ["Not run under protocol paper: a."]),
        (
            {"paper": {"row": "a"}, "fair": {"row": "b"}},
            ["Not run under protocol paper: a.", "Not run under protocol fair: b."],
        ),
    ],
)
def test_what_is_not_run_has_its_reason(reasons: dict[str, dict[str, str]], said: list[str]) -> None:
    assert list(row_sentences.not_run("row", row_notes.RowNotes.model_validate(reasons))) == said


def test_every_published_value_without_one_of_ours_has_a_reason() -> None:
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    registry = load_plugins().registry
    tasks = published_table.published_tasks(registry)
    notes = row_notes.read_row_notes(RESULTS / "row-notes.toml", [task.row() for task in tasks])
    reasons = {"paper": notes.paper, "fair": notes.fair}
    reports = [build_report(of_ledger(read_folder(path))) for path in study_folders(RESULTS / "data")]
    ours = {
        (run.report.protocol, run.row, cell.model)
        for report in reports
        for run in published_table.runs_of(registry, report)
        for cell in run.section.reproductions
    }
    for task in tasks:
        models = {
            "fair": list(published_table.published_values(task)),
            "paper": [name for name in ("tcn", "lstm") if registry.models[name].value.published(task.row())],
        }
        for protocol, names in models.items():
            complete = all((protocol, task.row(), name) in ours for name in names)
            assert complete != (task.row() in reasons[protocol]), (protocol, task.row())


def test_curves_of_a_row_are_those_of_all_its_studies_under_one_protocol() -> None:
    """The published TCN and LSTM of copy memory were trained in two studies; JSB Chorales has both protocols."""
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    registry = load_plugins().registry
    reports = [build_report(of_ledger(read_folder(path))) for path in study_folders(RESULTS / "data")]
    runs = [run for report in reports for run in published_table.runs_of(registry, report)]
    shown = {own[0].row: [run.report.study for run in own] for own in results_figures.studies_by_row(runs)}
    assert shown["copy-memory-1000"] == ["paper-copy-1000", "paper-copy-1000-lstm"]
    assert shown["jsb-chorales"] == ["fair-jsb-chorales"]


def test_places_are_multiples_of_the_margin_and_positive_is_worse() -> None:
    (one,) = study({"tcn": (80.0, [79.0] * 12)}).results
    assert results_figures.place_of(reproduction(one, "fair"), ACCURACY).mean == pytest.approx(1.0 / ACCURACY.margin)
    log = facts("tcn", LOSS, repetitions=2).model_copy(update={"published": 0.1})
    (cell,) = stored([log], cell_of(log, [0.2, 0.2])).results
    place = results_figures.place_of(reproduction(cell, "fair"), LOSS)
    assert place.mean == pytest.approx(math.log(2) / LOSS.margin)
    assert place.low <= place.mean <= place.high


def test_searches_that_found_the_same_configuration_are_not_compared() -> None:
    """Their runs are identical, so a decision would be about nothing."""
    tcn, gru = study({name: (99.0, [80.0 + place for place in range(12)]) for name in ("tcn", "gru")}).results
    said = search_page.sentence("mnist", [(tcn, tcn), (gru, otherwise(gru))])
    equal = "equivalent with gru (0 of 12 pairs won, 12 tied, mean difference 0 to 0)"
    assert said.endswith(f"search: {equal}; the same configuration with tcn.")
