"""docs/results: the page and its figures are those of the committed data, and what its sentences say."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from harness.analysis.reproduction import reproduction
from harness.analysis.stored_study import StoredStudy
from harness.plugin.loader import load_plugins
from harness.report.report import build_report
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, stored
from tests.support.documents import ROOT

results_page = pytest.importorskip("results_page", reason="the core's wheel is tested without studies/")
results_figures = pytest.importorskip("results_figures")
search_page = pytest.importorskip("search_page")

RESULTS = ROOT / "docs" / "results"


def test_the_page_and_its_figures_are_made_from_the_committed_data(tmp_path: Path) -> None:
    """Run `python studies/results_page.py docs/results` if this fails."""
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    pytest.importorskip("harness_modern", reason="the table has the values of gated-tcn")
    shutil.copytree(RESULTS / "data", tmp_path / "data")
    shutil.copy(RESULTS / "not-run.toml", tmp_path)
    results_page.write_page(load_plugins().registry, tmp_path)
    made = [path for path in tmp_path.iterdir() if path.suffix in (".md", ".svg")]
    assert {"README.md", "forest.svg", "learning.svg"} <= {path.name for path in made}
    assert [path.name for path in made if path.read_text() != (RESULTS / path.name).read_text()] == []


def test_the_page_of_searches_is_made_from_the_committed_data(tmp_path: Path) -> None:
    """Run `python studies/search_page.py docs/results` if this fails."""
    shutil.copytree(RESULTS / "search", tmp_path / "search")
    search_page.write_page(tmp_path)
    made = [path for path in tmp_path.iterdir() if path.is_file()]
    assert "search.md" in {path.name for path in made}
    assert [path.name for path in made if path.read_text() != (RESULTS / path.name).read_text()] == []


def test_searches_are_compared_by_the_pairs_of_their_winners() -> None:
    first = study({"tcn": (99.0, [80.0 + place for place in range(12)])}).results
    second = study({"tcn": (99.0, [70.0 + place for place in range(12)])}).results
    said = search_page.sentence("mnist", list(zip(first, second, strict=True)))
    wins = "better with tcn (12 of 12 pairs won, mean difference 10.00 to 10.00)"
    assert said == f"mnist: against the winner of the full-length search, that of successive halving is {wins}."


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
    (holds,) = build_report(study({**scores, "lstm": (87.0, far)})).sections
    said = results_page.order(holds)
    assert said.startswith("The published order tcn, gru, lstm holds for the means; its weakest step: ")
    assert "with probability 1.00 [0.74, 1.00]" in said
    (turned,) = build_report(study({**scores, "lstm": (97.0, far)})).sections
    assert "tcn, lstm, gru does not hold" in results_page.order(turned)
    assert "lstm wins a pair against gru with probability 0.00 [0.00, 0.26]" in results_page.order(turned)


def test_places_are_multiples_of_the_margin_and_positive_is_worse() -> None:
    (one,) = study({"tcn": (80.0, [79.0] * 12)}).results
    assert results_figures.place_of(reproduction(one, "fair"), ACCURACY).mean == pytest.approx(1.0 / ACCURACY.margin)
    log = facts("tcn", LOSS, repetitions=2).model_copy(update={"published": 0.1})
    (cell,) = stored([log], cell_of(log, [0.2, 0.2])).results
    place = results_figures.place_of(reproduction(cell, "fair"), LOSS)
    assert place.mean == pytest.approx(math.log(2) / LOSS.margin)
    assert place.low <= place.mean <= place.high
