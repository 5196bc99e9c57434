"""The sections on evidence."""

from __future__ import annotations

import pytest

from harness.records import (
    MetricFacts,
)
from harness.report.formats import to_markdown
from harness.report.report import build_report
from tests.support.cells import (
    ACCURACY,
    LOSS,
    cell_of,
    facts,
    lines_of,
    rows,
    stored,
)


def test_twenty_pairs_decide_which_of_four_models_are_better_and_which_equivalent() -> None:
    cells = [facts(model, ACCURACY, repetitions=20) for model in ("best", "near", "far", "odd")]
    base = [90.0 + 0.1 * i for i in range(20)]
    scores = (
        base,
        [cell - 0.25 for cell in base],
        [cell - 2 for cell in base],
        [cell + (-1) ** i for i, cell in enumerate(base)],
    )
    study = stored(cells, [entry for cell, score in zip(cells, scores, strict=True) for entry in cell_of(cell, score)])
    decisions = {model: row.against_best for model, row in rows(study).items()}
    assert {model: cell and cell.verdict for model, cell in decisions.items()} == {
        "best": None,
        "near": "equivalent",
        "far": "worse",
        "odd": "undecided",
    }
    text = to_markdown(build_report(study))
    pairs = lines_of(text, "Paired comparisons", "models")
    assert pairs["best / far"]["decision"] == "best is better"
    assert pairs["best / far"]["P(first wins) (95 % CI)"] == "1.00 [0.83, 1.00]"
    assert pairs["best / near"]["decision"] == "equivalent"
    assert pairs["best / odd"]["decision"] == "inconclusive (20 of 92 paired seeds)"
    assert "within 0.5, the task's margin" in text
    assert "All decisions of a task share an error of 5 % (Holm's correction)" in text


@pytest.mark.parametrize(("metric", "geometric"), [(LOSS, True), (ACCURACY, False)])
def test_note_says_if_the_expected_best_is_a_geometric_mean(metric: MetricFacts, geometric: bool) -> None:
    tcn = facts("tcn", metric)
    text = to_markdown(build_report(stored([tcn], cell_of(tcn, [0.1, 0.2]))))
    assert ("Expected best of k trials (geometric: means on a log scale), unbiased" in text) is geometric
    assert lines_of(text, "Effect of tuning", "best validation")["tcn"]["k = 1"] == (
        "0.1414" if geometric else "0.1500"
    )
