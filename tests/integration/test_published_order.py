"""Results page: what is said of the order of the published values, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.comparison import Section, compare
from harness.errors import StudyError
from harness.plugin.loader import load_plugins
from harness.records import MetricFacts
from harness.report.report import Report
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, stored
from tests.support.documents import ROOT

compared_rows = pytest.importorskip("compared_rows", reason="the core's wheel is tested without studies/")
published_order = pytest.importorskip("published_order")
published_table = pytest.importorskip("published_table")
row_notes = pytest.importorskip("row_notes")
row_sentences = pytest.importorskip("row_sentences")
stored_reports = pytest.importorskip("stored_reports")

RESULTS = ROOT / "docs" / "results"
BASE = [70.0 + place for place in range(20)]
NOISY = [score + 3 * (-1) ** place for place, score in enumerate(BASE)]
PUBLISHED = {"tcn": 99.0, "gru": 96.0, "lstm": 87.0}


def section(
    scores: Mapping[str, Sequence[float]], metric: MetricFacts = ACCURACY, floor: float = 50.0, refused: str = ""
) -> Section:
    cells = {
        name: facts(name, metric, repetitions=len(own)).model_copy(update={"floor": floor})
        for name, own in scores.items()
    }
    finals = {name: own for name, own in scores.items() if name != refused}
    (made,) = compare(
        stored(list(cells.values()), [e for name, own in finals.items() for e in cell_of(cells[name], own)])
    )
    return made


def higher(by: float) -> list[float]:
    return [score + by for score in BASE]


@pytest.mark.parametrize(
    ("scores", "verdict", "whole", "reasons"),
    [
        ({"tcn": higher(4), "gru": higher(2), "lstm": BASE}, "holds", 20, ["3 of 3 pairs"]),
        ({"tcn": higher(4), "gru": BASE, "lstm": higher(2)}, "contradicted", 0, ["lstm before gru", "2 of 3 pairs"]),
        # gru wins and loses as often against both, so only models that are no neighbours contradict the paper.
        ({"tcn": BASE, "gru": NOISY, "lstm": higher(1)}, "contradicted", 0, ["lstm before tcn", "0 of 3 pairs"]),
        ({"tcn": higher(2), "gru": NOISY, "lstm": BASE}, "inconclusive", 0, ["1 of 3 pairs"]),
        ({"tcn": higher(2), "gru": higher(0.1), "lstm": BASE}, "contradicted", 20, [
            "gru and lstm equivalent", "2 of 3 pairs",
        ]),
        ({"tcn": BASE, "gru": BASE, "lstm": BASE}, "contradicted", 0, [
            "tcn and gru equivalent", "tcn and lstm equivalent", "gru and lstm equivalent", "0 of 3 pairs",
        ]),
    ],
    ids=["holds", "neighbours", "far-apart", "undecided", "equivalent", "ties"],
)  # fmt: skip
def test_order_is_judged_by_every_pair_that_the_paper_sets_apart(
    scores: dict[str, list[float]], verdict: str, whole: int, reasons: list[str]
) -> None:
    found = published_order.order_of(section(scores), {**PUBLISHED, "not-trained": 98.0})
    assert found.models == ("tcn", "gru", "lstm")
    assert found.verdict == verdict
    assert found.reasons == [*reasons[:-1], f"{reasons[-1]} decided as published"]
    assert (found.whole.happened, found.whole.n) == (whole, 20)


@pytest.mark.parametrize(
    ("metric", "published", "apart"),
    [
        (ACCURACY, {"a": 99.0, "b": 98.6, "c": 98.2}, [("a", "c")]),  # neighbours are within the margin of 0.5
        (ACCURACY, {"a": 98.2, "b": 98.6, "c": 99.0}, [("c", "a")]),
        (ACCURACY.model_copy(update={"margin": 0.0}), {"a": 99.0, "b": 98.6}, [("a", "b")]),
        # 1.37 - 1.36 is more than 0.01 in binary.
        (ACCURACY.model_copy(update={"better": "lower", "margin": 0.01}), {"a": 1.36, "b": 1.37}, []),
        (LOSS, {"a": 3.5e-5, "b": 0.0197, "c": 0.0202}, [("a", "b"), ("a", "c")]),
    ],
    ids=["chain", "turned", "no-margin", "rounding", "log"],
)
def test_values_within_the_margin_of_each_other_are_not_ordered(
    metric: MetricFacts, published: dict[str, float], apart: list[tuple[str, str]]
) -> None:
    scores = {name: [1 + place / 1000 + number / 100 for place in range(20)] for number, name in enumerate(published)}
    floor = 0.0 if metric.better == "higher" else 1e6
    found = published_order.order_of(section(scores, metric, floor=floor), published)
    assert [(claim.better, claim.worse) for claim in (found.apart if found else ())] == apart


def test_values_that_are_alike_in_the_paper_and_decided_here_are_named() -> None:
    published = {"tcn": 99.0, "gru": 98.8, "lstm": 87.0}
    found = published_order.order_of(section({"tcn": higher(2), "gru": higher(4), "lstm": BASE}), published)
    assert (found.verdict, found.reasons) == ("holds", ["2 of 2 pairs decided as published"])
    assert found.also_decided == ["gru before tcn"]


def test_models_at_the_floor_have_no_order() -> None:
    """lstm is before rnn in all repetitions, both below the floor of 90."""
    scores = {"tcn": higher(40), "lstm": higher(-1), "rnn": higher(-3)}
    published = {"tcn": 99.0, "lstm": 87.0, "rnn": 21.0}
    assert published_order.order_of(section(scores, floor=90.0), published).whole.happened == 0
    assert published_order.order_of(section(scores), published).whole.happened == 20


def test_models_without_a_rank_are_named_and_not_ordered() -> None:
    scores = {"tcn": higher(4), "gru": higher(2), "lstm": BASE}
    found = published_order.order_of(section(scores, refused="gru"), PUBLISHED)
    assert (found.models, found.missing) == (("tcn", "lstm"), ("gru",))


def test_a_repetition_without_a_score_does_not_hold() -> None:
    scores = {"tcn": [math.nan, *higher(4)[1:]], "lstm": BASE}
    made = section(scores)
    found = published_order.order_of(made, PUBLISHED)
    assert found is None  # a cell that lacks a score has no rank
    whole = published_order._whole(made, [("tcn", "lstm")])
    assert (whole.happened, whole.n) == (19, 20)


@pytest.mark.parametrize(
    ("scores", "floor"), [({"tcn": BASE, "gru": higher(3)}, 95.0), ({"tcn": BASE}, 50.0)], ids=["floor", "one-model"]
)
def test_order_is_not_judged_where_nothing_was_learned_or_one_model_is_ranked(
    scores: dict[str, list[float]], floor: float
) -> None:
    assert published_order.order_of(section(scores, floor=floor), PUBLISHED) is None


def test_studies_of_a_row_are_found_by_its_task_and_named_with_what_differs() -> None:
    found = {one.study: one for one in _compared("search/halving-copy-200", "search/sizes", "data/paper-jsb-chorales")}
    # `sizes` has two tasks at four sizes; a study of published settings is not at equal size.
    assert len(found) == 1 + 8
    copy = found["halving-copy-200"]
    assert [datum.text for datum in compared_rows.order_line(copy)] == [
        "copy-memory-1000",
        "halving-copy-200 (10)",
        "tcn before gru, rnn and lstm",
        "not decided: 0 of 3 pairs decided as published; 10 repetitions, 14 can decide",
        "1.00 [0.69, 1.00], 10 of 10",
    ]
    said = compared_rows.in_words(copy, [])
    assert said.startswith(
        "halving-copy-200 (length 200 instead of 1,000, 10,000 parameters instead of 12,530, 18 search trials per "
        "model with at most 4,800 updates together, final runs of 800 updates): tcn leads "
    )
    assert said.endswith("Better than the floor by more than the margin: no repetition of lstm, gru and rnn.")
    nothing = [datum.text for datum in compared_rows.order_line(found["sizes, jsb-chorales-5k"])]
    assert nothing[2:] == ["–", "nothing was learned", "–"]


def test_study_of_models_that_the_paper_does_not_order_says_so() -> None:
    (fair,) = _compared("data/fair-jsb-chorales")
    rows = tuple(replace(row, rank=None) if row.model in ("tcn", "rnn") else row for row in fair.section.rows)
    alike = replace(fair, section=replace(fair.section, rows=rows))
    assert compared_rows.order_line(alike)[3].text == "no two ranked models differ in the paper"


def test_published_setting_that_is_better_than_the_searched_one_is_named() -> None:
    registry, (fair,) = load_plugins().registry, _compared("data/fair-jsb-chorales")
    assert fair.differences == []
    runs = published_table.runs_of(registry, _report("data/paper-jsb-chorales"))
    said = compared_rows.in_words(fair, runs)
    assert "Interval of the mean difference to lstm: tcn 0.03502 to 0.05501, gru 0.08" in said
    assert said.endswith(
        "margin 0.05. The published setting of tcn is better: 8.220 [8.178, 8.261] with the weights of the best "
        "validation score. It trains with batch size 1, plateau learning rate and the sum of the loss, for 100 epochs; "
        "the searched tcn with batch size 16, constant learning rate and the mean of the loss, for 170 to 200 epochs."
    )
    assert "better:" not in compared_rows.in_words(fair, [])
    rows = tuple(row for row in fair.section.rows if row.model != "tcn")
    assert "better:" not in compared_rows.in_words(replace(fair, section=replace(fair.section, rows=rows)), runs)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[fiar]\n", "'fiar'"),
        ('[fair]\nadding-601 = "a"\n', "no published row is named 'adding-601'; known: adding-600, jsb-chorales"),
        ('paper = "x"\n', "'paper' must be a table, got 'x'"),
        ("[fair]\nadding-600 = 3\n", "'fair.adding-600' must be a string, got 3"),
        ("[fair\n", "at line 1"),
    ],
)
def test_notes_that_are_wrong_are_refused_with_the_key(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "row-notes.toml"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        row_notes.read_row_notes(path, ["jsb-chorales", "adding-600"])
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_notes_nothing_is_said_of_missing_values(tmp_path: Path) -> None:
    notes = row_notes.read_row_notes(tmp_path / "row-notes.toml", [])
    assert notes == row_notes.RowNotes()
    assert list(row_sentences.not_run("adding-600", notes)) == []


def _report(folder: str) -> Report:
    pytest.importorskip("harness_tasks", reason="floors and rows come from seqharness-tasks")
    report: Report = stored_reports.read_report(load_plugins().registry, RESULTS / folder)
    return report


def _compared(*folders: str) -> list[Any]:
    reports = [_report(folder) for folder in folders]
    tasks = {task.row(): task for task in published_table.published_tasks(load_plugins().registry)}
    found: list[Any] = compared_rows.compared_rows(tasks, reports)
    return found


def test_gaps_to_the_leader_of_a_log_metric_are_ratios() -> None:
    scores = {"tcn": [0.1] * 20, "lstm": [0.4] * 20, "gru": [0.2 + 0.15 * (-1) ** place for place in range(20)]}
    said = compared_rows._gaps(section(scores, LOSS, floor=1.0))
    assert said == "Interval of the ratio of means to tcn: lstm 4.000 to 4.000; margin a factor of 1.649."


def test_too_few_repetitions_for_any_decision_are_said() -> None:
    """Of three models with a margin, one that wins every pair is decided after 12; the model of the last is worse."""
    few = {name: own[:11] for name, own in {"tcn": higher(4), "gru": higher(2), "lstm": BASE}.items()}
    found = published_order.order_of(section(few), PUBLISHED)
    assert (found.verdict, found.reasons[-1]) == ("inconclusive", "11 repetitions, 12 can decide")
