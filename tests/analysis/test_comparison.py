"""Comparison of the models of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from harness.analysis.comparison import between, compare
from harness.report.report import build_report
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, repeated, rows, searched, stored


@pytest.mark.parametrize(("better", "first"), [("lower", "a"), ("higher", "b")])
def test_rank_follows_the_direction_of_the_metric(better: Literal["lower", "higher"], first: str) -> None:
    metric = ACCURACY.model_copy(update={"better": better})
    cells = [facts("a", metric), facts("b", metric)]
    study = stored(cells, [*cell_of(cells[0], [10.0, 12.0]), *cell_of(cells[1], [20.0, 22.0])])
    assert [model for model, row in rows(study).items() if row.rank == 1] == [first]


def test_equal_means_share_a_rank() -> None:
    cells = [facts(model, ACCURACY) for model in ("a", "b", "c")]
    scores = ([90.0, 92.0], [91.0, 91.0], [80.0, 80.0])
    study = stored(cells, [entry for cell, score in zip(cells, scores, strict=True) for entry in cell_of(cell, score)])
    assert {model: row.rank for model, row in rows(study).items()} == {"a": 1, "b": 1, "c": 3}


@pytest.mark.parametrize("fails", [False, True])
def test_difference_of_means_is_none_if_a_mean_is_not_meaningful(fails: bool) -> None:
    cells = [facts(model, ACCURACY, repetitions=10).model_copy(update={"floor": 10.0}) for model in ("a", "b")]
    base = [90.0 + 0.1 * i for i in range(10)]
    failing = [10.0, *base[1:]] if fails else base
    study = stored(cells, [*cell_of(cells[0], failing), *cell_of(cells[1], failing)])
    ((pair,),) = [section.pairs for section in build_report(study).sections]
    assert (pair.decision.difference is None) is fails
    assert pair.decision.verdict == ("undecided" if fails else "equivalent")


def test_decision_is_reversed_with_the_order_of_the_models() -> None:
    cells = [facts(model, ACCURACY, repetitions=10) for model in ("a", "b")]
    entries = [*cell_of(cells[0], [90.0 + i for i in range(10)]), *cell_of(cells[1], [50.0 + i for i in range(10)])]
    (section,) = compare(stored(cells, entries))
    forth, back = between(section.pairs, "a", "b"), between(section.pairs, "b", "a")
    assert forth is not None
    assert back is not None
    assert (forth.verdict, forth.wins, back.verdict, back.wins) == ("better", 10, "worse", 0)
    assert between(section.pairs, "a", "c") is None


@pytest.mark.parametrize(("floor", "substitute"), [(1.0, 1.0), (0.3, 0.6), (None, 0.6)])
def test_failed_trial_counts_as_the_floor_or_as_the_worst_score(floor: float | None, substitute: float) -> None:
    metric = LOSS.model_copy(update={"scale": "linear"})
    cell = facts("tcn", metric, trials=3).model_copy(update={"floor": floor})
    (section,) = compare(stored([cell], searched(cell.cell, [0.2, 0.6, None])))
    assert section.tuning["tcn"].expected[0] == pytest.approx((0.2 + 0.6 + substitute) / 3)
    assert section.tuning["tcn"].expected[-1] == pytest.approx(0.2)


def test_sampler_that_learns_has_the_best_score_so_far() -> None:
    cell = facts("tcn", trials=3)
    study = stored([cell], searched(cell.cell, [0.5, 0.7, 0.1]))
    study = replace(study, manifest=study.manifest.model_copy(update={"sampler": "tpe"}))
    (section,) = compare(study)
    assert section.tuning["tcn"].expected == (0.5, 0.5, 0.1)
    assert section.crossings == ()


def test_cell_whose_trials_all_failed_has_no_tuning_curve() -> None:
    cells = [facts("a"), facts("b")]
    (section,) = compare(stored(cells, [*searched(cells[0].cell, [0.2, 0.1]), *searched(cells[1].cell, [None, None])]))
    assert set(section.tuning) == {"a"}


@pytest.mark.parametrize(("protocol", "weights"), [("paper", "test-last3"), ("fair", "test")])
def test_published_values_are_compared_by_the_rule_of_the_studys_protocol(protocol: str, weights: str) -> None:
    cell = facts("tcn", trials=0)
    study = stored([cell], repeated(cell.cell, None, [0.01, 0.04]))
    study = replace(study, manifest=study.manifest.model_copy(update={"protocol": protocol}))
    (section,) = compare(study)
    assert [verdict.weights for verdict in section.reproductions] == [weights]
