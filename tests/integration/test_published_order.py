"""Results page: what is said of the order of the published values, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from harness.analysis.comparison import Section, compare
from harness.errors import StudyError
from harness.plugin.loader import load_plugins
from harness.records import MetricFacts
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, stored
from tests.support.documents import ROOT

published_order = pytest.importorskip("published_order", reason="the core's wheel is tested without studies/")
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
    ("scores", "judgement", "as_published", "whole", "unlike"),
    [
        ({"tcn": higher(4), "gru": higher(2), "lstm": BASE}, "holds", 3, 20, []),
        ({"tcn": higher(4), "gru": BASE, "lstm": higher(2)}, "contradicted", 2, 0, ["lstm before gru"]),
        # gru wins and loses as often against both, so only models that are no neighbours contradict the paper.
        ({"tcn": BASE, "gru": NOISY, "lstm": higher(1)}, "contradicted", 0, 0, ["lstm before tcn"]),
        ({"tcn": higher(2), "gru": NOISY, "lstm": BASE}, "undecided", 1, 0, []),
        ({"tcn": higher(2), "gru": higher(0.1), "lstm": BASE}, "undecided", 2, 20, ["gru and lstm equivalent"]),
        ({"tcn": BASE, "gru": BASE, "lstm": BASE}, "undecided", 0, 0, [
            "tcn and gru equivalent", "tcn and lstm equivalent", "gru and lstm equivalent",
        ]),
    ],
    ids=["holds", "neighbours", "far-apart", "undecided", "equivalent", "ties"],
)  # fmt: skip
def test_order_is_judged_by_every_pair_that_the_paper_sets_apart(
    scores: dict[str, list[float]], judgement: str, as_published: int, whole: int, unlike: list[str]
) -> None:
    found = published_order.order_of(section(scores), {**PUBLISHED, "not-trained": 98.0})
    assert found.models == ("tcn", "gru", "lstm")
    assert (found.judgement, found.as_published, len(found.apart)) == (judgement, as_published, 3)
    assert (found.whole.happened, found.whole.n, found.unlike) == (whole, 20, unlike)


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
    assert (found.judgement, found.unlike) == ("holds", ["gru before tcn"])


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


def test_study_about_a_row_is_named_with_what_differs_from_it() -> None:
    """The stored study has 200 steps between, not 1,000, so it has no published values of its own."""
    (row, report) = _row("copy-memory-1000"), _report("search/halving-copy-200")
    study, made = row_sentences.further_section(report, "copy-200")
    texts = [datum.text for datum in row_sentences.order_line(row, study, made)]
    assert texts[:2] == ["copy-memory-1000", "halving-copy-200"]
    assert texts[2:] == ["tcn, gru, rnn, lstm", "undecided", "0 of 3", "1.00 [0.69, 1.00], 10 of 10 repetitions"]
    said = row_sentences.in_words(row, study, made, [])
    assert said.startswith(
        "halving-copy-200 (length 200 instead of 1,000, 10,000 parameters instead of 12,530, 18 search trials and "
        "800 updates a model): tcn leads "
    )
    assert said.endswith("Better than the floor: lstm, gru and rnn in none.")


def test_study_at_another_size_does_not_answer_the_row() -> None:
    """Sequential MNIST with 10,000 parameters has the row of the one with 66,910."""
    registry = load_plugins().registry
    runs = published_table.runs_of(registry, _report("search/halving-mnist-3000"))
    assert [run.row for run in runs] == ["sequential-mnist"]
    assert row_sentences.at_equal_size(runs) == []
    fair = published_table.runs_of(registry, _report("data/fair-jsb-chorales"))
    assert [study for study, _ in row_sentences.at_equal_size(fair)] == ["fair-jsb-chorales"]


def test_published_setting_that_is_better_than_the_searched_one_is_named() -> None:
    registry = load_plugins().registry
    folders = ("data/fair-jsb-chorales", "data/paper-jsb-chorales")
    runs = [run for folder in folders for run in published_table.runs_of(registry, _report(folder))]
    ((study, made),) = row_sentences.at_equal_size(runs)
    row = _row("jsb-chorales")
    said = row_sentences.in_words(row, study, made, runs)
    assert said.endswith("The search missed the published setting of tcn, which scores 8.220 [8.178, 8.261].")
    assert "missed" not in row_sentences.in_words(row, study, made, runs[:1])


@pytest.mark.parametrize(("folder", "task"), [("search/sizes", "adding-7"), ("data/paper-adding-600", "adding-600")])
def test_study_that_does_not_compare_at_equal_size_is_refused(folder: str, task: str) -> None:
    with pytest.raises(StudyError, match=f"has no task '{task}' with a parameter budget"):
        row_sentences.further_section(_report(folder), task)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[fiar]\n", "'fiar'"),
        ('[fair]\nadding-601 = "a"\n', "no published row is named 'adding-601'; known: adding-600, jsb-chorales"),
        ('paper = "x"\n', "'paper' must be a table, got 'x'"),
        ("[further]\nadding-600 = 3\n", "'further.adding-600': Input should be a valid list, got 3"),
        ('[further]\nadding-600 = [{ study = "a" }]\n', "'further.adding-600.0.task'"),
        ("[fair\n", "at line 1"),
    ],
)
def test_notes_that_are_wrong_are_refused_with_the_key(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "rows.toml"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        row_notes.read_row_notes(path, ["jsb-chorales", "adding-600"])
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_notes_nothing_is_said_of_missing_values(tmp_path: Path) -> None:
    notes = row_notes.read_row_notes(tmp_path / "rows.toml", [])
    assert notes == row_notes.RowNotes()
    assert list(row_sentences.not_run("adding-600", notes)) == []


def _report(folder: str) -> object:
    pytest.importorskip("harness_tasks", reason="floors and rows come from seqharness-tasks")
    return stored_reports.read_report(load_plugins().registry, RESULTS / folder)


def _row(name: str) -> object:
    pytest.importorskip("harness_tasks", reason="rows come from seqharness-tasks")
    tasks = published_table.published_tasks(load_plugins().registry)
    return next(task for task in tasks if task.row() == name)
