"""The sentence that opens a report."""

from __future__ import annotations

import itertools

import pytest

from harness.analysis.comparison import compare
from harness.records import MetricFacts
from harness.report.formats import to_markdown
from harness.report.report import build_report
from harness.report.sections.conclusion import conclusion
from tests.support.cells import ACCURACY, cell_of, facts, stored

BASE = [90.0 + 0.1 * i for i in range(20)]
SCORES = {
    "best": BASE,
    "near": [score - 0.25 for score in BASE],
    "far": [score - 2 for score in BASE],
    "odd": [score + (-1) ** i for i, score in enumerate(BASE)],
}


def sentence(scores: dict[str, list[float]], metric: MetricFacts = ACCURACY, floor: float | None = None) -> str:
    cells = [
        facts(model, metric, repetitions=len(own)).model_copy(update={"floor": floor}) for model, own in scores.items()
    ]
    entries = [entry for cell, own in zip(cells, scores.values(), strict=True) for entry in cell_of(cell, own)]
    (section,) = compare(stored(cells, entries))
    return conclusion(section)


def test_sentence_names_the_leader_the_equivalent_the_worse_and_the_undecided_with_what_would_decide() -> None:
    scores = {**SCORES, "odd": [score - 0.1 for score in SCORES["odd"]]}
    assert sentence(scores) == (
        "copy: best leads with mean test accuracy 90.95; near is equivalent; far is worse; "
        "inconclusive: odd (about 92 paired seeds would decide; 20 so far)."
    )


def test_leader_whose_repetitions_do_not_all_succeed_is_said_to() -> None:
    scores = {"best": [*BASE[:19], 50.0], "far": [60.0] * 20}
    assert sentence(scores, floor=55.0) == (
        "copy: best leads with mean test accuracy 88.85, though only 19 of 20 repetitions of best are better than the "
        "floor by more than the margin; far is worse."
    )


def test_undecided_models_that_need_the_same_number_of_seeds_are_named_together() -> None:
    scores = {"best": BASE[:5], "near": SCORES["far"][:5], "far": [score - 4 for score in BASE[:5]]}
    assert sentence(scores) == (
        "copy: best leads with mean test accuracy 90.20; "
        "inconclusive: near and far (about 19 paired seeds would decide; 5 so far)."
    )


@pytest.mark.parametrize("order", list(itertools.permutations(["best", "same", "far"])))
def test_equal_means_lead_together_and_the_order_of_models_decides_nothing(order: tuple[str, ...]) -> None:
    scores = {"best": BASE, "same": BASE[::-1], "far": SCORES["far"]}
    text = sentence({model: scores[model] for model in order})
    assert "lead with mean test accuracy 90.95; far is worse" in text
    assert "inconclusive: same (" in text  # against the first of the two in alphabetical order


def test_models_at_the_floor_have_learned_nothing() -> None:
    expected = "copy: nothing was learned; no repetition is better than the floor by more than the margin."
    assert sentence(SCORES, floor=95.0) == expected


def test_one_model_or_none_is_not_compared() -> None:
    assert sentence({"best": BASE}) == "copy: best is the only ranked model."
    cells = [facts("tcn", ACCURACY), facts("gru", ACCURACY)]
    (section,) = compare(stored(cells, cell_of(cells[0], [90.0])))
    assert conclusion(section) == "copy: no model is ranked; not ranked: tcn and gru."


def test_report_opens_with_the_sentence() -> None:
    cells = [facts(model, ACCURACY, repetitions=20) for model in ("best", "far")]
    study = stored(cells, [entry for cell in cells for entry in cell_of(cell, SCORES[cell.model])])
    lines = [line for line in to_markdown(build_report(study)).splitlines() if line]
    assert lines[0].startswith("# ")
    assert lines[1] == "- copy: best leads with mean test accuracy 90.95; far is worse."
