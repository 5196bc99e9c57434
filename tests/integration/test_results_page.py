"""docs/results: the page and its figures are those of the committed data, and what its sentences say."""

from __future__ import annotations

import math
import shutil
import tomllib
from pathlib import Path

import pytest

from harness.analysis.reproduction import reproduction
from harness.analysis.stored_study import StoredStudy, of_ledger
from harness.ledger.exported import read_folder, study_folders
from harness.plugin.loader import load_plugins
from harness.records import MetricFacts
from harness.report.report import build_report
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, stored
from tests.support.documents import ROOT

results_page = pytest.importorskip("results_page", reason="the core's wheel is tested without studies/")
results_figures = pytest.importorskip("results_figures")
row_sentences = pytest.importorskip("row_sentences")
published_order = pytest.importorskip("published_order")
published_table = pytest.importorskip("published_table")
search_page = pytest.importorskip("search_page")

RESULTS = ROOT / "docs" / "results"


def test_the_page_and_its_figures_are_made_from_the_committed_data(tmp_path: Path) -> None:
    """Run `python studies/results_page.py docs/results` if this fails."""
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    pytest.importorskip("harness_modern", reason="the table has the values of gated-tcn")
    for stored_studies in ("data", "search"):
        shutil.copytree(RESULTS / stored_studies, tmp_path / stored_studies)
    shutil.copy(RESULTS / "not-run.toml", tmp_path)
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
    said = search_page.sentence("mnist", list(zip(first, second, strict=True)))
    wins = "better with tcn (12 of 12 pairs won, mean difference 10.00 to 10.00)"
    assert said == f"mnist, the winner of successive halving against that of the full-length search: {wins}."


def study(scores: dict[str, tuple[float, list[float]]]) -> StoredStudy:
    """Return a study with these models: published value and test scores."""
    cells = {
        name: facts(name, ACCURACY, repetitions=12).model_copy(update={"published": published, "floor": 50.0})
        for name, (published, _) in scores.items()
    }
    return stored(list(cells.values()), [entry for name in scores for entry in cell_of(cells[name], scores[name][1])])


def test_the_published_order_is_judged_by_its_least_certain_step() -> None:
    far = [70.0 + place for place in range(12)]
    scores = {"tcn": (99.0, [score + 20 for score in far]), "gru": (96.0, [score + 1 for score in far])}
    values = {name: value for name, (value, _) in scores.items()}
    (section,) = build_report(study({**scores, "lstm": (87.0, far)})).sections
    said = published_order.order(section, {**values, "lstm": 87.0, "not-trained": 99.9})
    assert said.startswith("The published order tcn, gru, lstm holds for the means; its weakest step: ")
    assert "with probability 1.00 [0.74, 1.00]" in said
    turned = published_order.order(section, {**values, "lstm": 97.0})
    assert "tcn, lstm, gru does not hold" in turned
    assert "lstm wins a pair against gru with probability 0.00 [0.00, 0.26]" in turned
    assert published_order.order(section, dict.fromkeys(scores, 96.0)) == ""


@pytest.mark.parametrize(
    ("metric", "published", "groups"),
    [
        (ACCURACY, {"rnn": 21.5, "tcn": 99.0, "gru": 98.6, "lstm": 98.2}, [("tcn", "gru", "lstm"), ("rnn",)]),
        (ACCURACY, {"rnn": 98.4, "tcn": 99.0}, [("tcn",), ("rnn",)]),
        (LOSS, {"rnn": 0.0202, "tcn": 3.5e-5, "gru": 0.0197}, [("tcn",), ("gru", "rnn")]),
        (LOSS, {}, []),
    ],
)
def test_published_values_within_the_margin_of_each_other_are_not_ordered(
    metric: MetricFacts, published: dict[str, float], groups: list[tuple[str, ...]]
) -> None:
    assert metric.margin == 0.5
    assert published_order.groups_of(published, metric) == groups


def test_row_at_a_reduced_size_is_named_with_its_size_and_judged_by_the_row_s_own_values() -> None:
    """The stored study has 200 steps between, not 1,000, so it has no published values of its own."""
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    tasks = published_table.published_tasks(load_plugins().registry)
    (row,) = (task for task in tasks if task.row() == "copy-memory-1000")
    report = build_report(of_ledger(read_folder(RESULTS / "search" / "halving-copy-200")))
    said = row_sentences.at_reduced_size(row, report, "copy-200")
    assert said.startswith(
        "At a reduced size (study halving-copy-200, copy-200: 10,000 parameters, 800 updates): tcn leads with mean "
    )
    assert "The published order tcn, (gru, rnn, lstm) holds for the means; its weakest step: tcn wins a pair" in said
    with pytest.raises(KeyError, match="halving-copy-200 has no task copy-30"):
        row_sentences.at_reduced_size(row, report, "copy-30")


def test_published_setting_is_named_with_its_size_and_what_is_assumed() -> None:
    """The paper's LSTM for JSB Chorales has twice the parameters of the row, and its optimiser is not stated."""
    (section,) = build_report(of_ledger(read_folder(RESULTS / "data" / "paper-jsb-chorales"))).sections
    tcn, lstm = (row_sentences.published_setting(section, cell) for cell in section.reproductions)
    assert tcn.startswith("At the published setting tcn scores 8.220 [8.179, 8.261], published 8.100: not reproduced; ")
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
    assert list(filter(None, row_sentences._not_run("row", reasons))) == said


def test_every_published_value_without_one_of_ours_has_a_reason() -> None:
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    registry, reasons = load_plugins().registry, tomllib.loads((RESULTS / "not-run.toml").read_text())
    reports = [build_report(of_ledger(read_folder(path))) for path in study_folders(RESULTS / "data")]
    ours = {
        (run.report.protocol, run.row, cell.model)
        for report in reports
        for run in published_table.runs_of(registry, report)
        for cell in run.section.reproductions
    }
    for task in published_table.published_tasks(registry):
        models = {
            "fair": results_page._published(task),
            "paper": [name for name in ("tcn", "lstm") if registry.models[name].value.published(task.row())],
        }
        for protocol, names in models.items():
            complete = all((protocol, task.row(), name) in ours for name in names)
            assert complete != (task.row() in reasons[protocol]), (protocol, task.row())
    assert reasons["reduced"].keys() <= reasons["fair"].keys()


def test_places_are_multiples_of_the_margin_and_positive_is_worse() -> None:
    (one,) = study({"tcn": (80.0, [79.0] * 12)}).results
    assert results_figures.place_of(reproduction(one, "fair"), ACCURACY).mean == pytest.approx(1.0 / ACCURACY.margin)
    log = facts("tcn", LOSS, repetitions=2).model_copy(update={"published": 0.1})
    (cell,) = stored([log], cell_of(log, [0.2, 0.2])).results
    place = results_figures.place_of(reproduction(cell, "fair"), LOSS)
    assert place.mean == pytest.approx(math.log(2) / LOSS.margin)
    assert place.low <= place.mean <= place.high
