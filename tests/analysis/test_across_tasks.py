from __future__ import annotations

import math

import pytest

from harness.analysis.stored_study import StoredStudy
from harness.ledger.journal import TrialEntry
from harness.records import CellFacts
from harness.report.formats import to_markdown
from harness.report.report import across_tasks, build_report
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, lines_of, searched, stored

SCORES = {
    ("digits", "tcn"): [90.0, 92.0],
    ("digits", "gru"): [80.0, 82.0],
    ("copy", "tcn"): [0.01, 0.01],
    ("copy", "gru"): [0.1, 0.1],
}
FLOORS = {"digits": 11.0, "copy": 1.0}


def study(
    without: str = "", floors: dict[str, float | None] | None = None, copied: list[float] | None = None
) -> StoredStudy:
    """copied: test scores of `tcn` on `copy`."""
    cells: list[CellFacts] = []
    entries: list[TrialEntry] = []
    for (task, model), scores in (SCORES | ({("copy", "tcn"): copied} if copied else {})).items():
        metric = ACCURACY if task == "digits" else LOSS
        cell = facts(model, metric, task=task).model_copy(update={"floor": {**FLOORS, **(floors or {})}[task]})
        cells.append(cell)
        entries += searched(cell.cell, [None, None]) if f"{task}/{model}" == without else cell_of(cell, scores)
    return stored(cells, entries)


def test_normalised_scores_run_from_the_floor_to_the_best_mean() -> None:
    comparison = across_tasks([build_report(study())])
    assert comparison is not None
    # digits: (90 - 11) / 80, (92 - 11) / 80; copy: 1 and 1, so the middle half of the four is 1 and (79 / 80).
    assert comparison.interquartile["tcn"] == pytest.approx(1.0)
    # digits: 69 / 80, 71 / 80; copy, on a log scale: halfway.
    assert comparison.interquartile["gru"] == pytest.approx((0.5 + 69 / 80) / 2)
    assert comparison.ranks == {"tcn": 1.0, "gru": 2.0}
    assert comparison.tasks == ("digits", "copy")
    # q for two groups is 1.960 (Demšar 2006, table 5).
    assert comparison.difference == pytest.approx(1.960 * math.sqrt(2 * 3 / 12), abs=1e-3)


def test_comparison_is_labelled_as_descriptive() -> None:
    text = to_markdown(build_report(study()))
    line = lines_of(text, "Across tasks, protocol fair")["gru"]
    assert line["mean rank"] == "2.000"
    assert line["interquartile mean (95 % CI)"] == "0.6813"
    assert "Approximate: 2 repetitions, below 20." in text
    assert "not a decision: tasks are few and were not drawn at random. No significant difference: tcn, gru." in text


def test_one_task_that_counts_is_not_enough() -> None:
    report = build_report(study(without="copy/gru"))
    assert across_tasks([report]) is None
    assert (
        "# Across tasks, protocol fair\n\n- No model is ranked across tasks, since fewer than two tasks count.\n"
        "- copy does not count: gru is not ranked on it.\n"
    ) in to_markdown(report)


def test_tasks_that_do_not_count_say_why() -> None:
    several = [build_report(study()), build_report(study(without="copy/gru"))]
    comparison = across_tasks(several)
    assert comparison is not None
    assert comparison.left_out == (("copying: copy", "gru is not ranked on it"),)
    assert comparison.tasks == ("copying: digits", "copying: copy", "copying: digits")
    comparison = across_tasks([build_report(study()), build_report(study(floors={"digits": 99.0, "copy": None}))])
    assert comparison is not None
    assert comparison.left_out == (
        ("copying: digits", "no model is better than the floor"),
        ("copying: copy", "its floor is unknown"),
    )


def test_protocols_are_not_averaged_together() -> None:
    fair = study()
    paper = StoredStudy(
        fair.manifest.model_copy(update={"protocol": "paper", "study_id": "s2"}), fair.entries, fair.mark
    )
    text = to_markdown(build_report(fair), build_report(paper))
    assert text.count("# Across tasks, protocol fair\n") == 1
    assert text.count("# Across tasks, protocol paper\n") == 1


def test_score_that_is_not_positive_is_normalised_on_a_linear_scale_like_the_others() -> None:
    report = build_report(study(copied=[0.0, 0.2]))
    comparison = across_tasks([report])
    assert comparison is not None
    # copy, floor 1, best mean 0.1: (1 - 0.1) / 0.9 twice for gru; digits: 69 / 80 and 71 / 80.
    assert comparison.interquartile["gru"] == pytest.approx((1 + 71 / 80) / 2)
