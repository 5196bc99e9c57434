"""Costs of a cell."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.analysis.cell_result import Curves, summarize_cell
from harness.analysis.efficiency import first_reaching, halfway, trade_offs
from harness.records import MetricFacts
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, measured, repeated, searched

CELL = facts("tcn", repetitions=3)
LINEAR = LOSS.model_copy(update={"scale": "linear"})


@pytest.mark.parametrize(
    ("metric", "floor", "best", "expected"),
    [
        (LINEAR, 1.0, 0.2, 0.6),
        (LOSS, 1.0, 0.04, 0.2),  # geometric on a log scale
        (ACCURACY, 10.0, 90.0, 50.0),
        (LINEAR, 0.1, 0.2, None),  # not better than the floor
        (LINEAR, None, 0.2, None),
    ],
)
def test_threshold_is_halfway_from_the_floor_to_the_best_score(
    metric: MetricFacts, floor: float | None, best: float, expected: float | None
) -> None:
    cell = facts("tcn", metric).model_copy(update={"floor": floor})
    worse = best / 2 if metric.better == "higher" else 1.1 * best
    threshold = halfway([summarize_cell(cell, searched(cell.cell, [worse, best]))])
    assert threshold == (None if expected is None else pytest.approx(expected))


def test_threshold_is_reached_at_the_first_evaluation_that_is_as_good() -> None:
    curve = ((10, 0.9), (20, 0.5), (30, 0.7), (40, 0.1))
    assert first_reaching(curve, 0.5, LOSS) == 20
    assert first_reaching(curve, 0.05, LOSS) is None
    assert first_reaching(curve, 0.8, ACCURACY) == 10
    assert first_reaching(curve, None, LOSS) is None


def test_costs_are_medians_over_the_repetitions() -> None:
    entries = cell_of(CELL, [0.1, 0.2, 0.3])  # repetitions of 7, 8 and 9 updates
    finals = [
        measured(entry, seconds, size) for entry, seconds, size in zip(entries[2:], (7, 24, 18), (1, 5, 3), strict=True)
    ]
    costs = trade_offs(summarize_cell(CELL, [*entries[:2], *finals]), {}, None)
    assert (costs.update_seconds, costs.peak_bytes) == (2.0, 3)
    assert (costs.updates_to_threshold, costs.curves, costs.gradient_norm) == (None, 0, None)


def test_updates_to_threshold_are_of_the_repetitions_that_reach_it() -> None:
    entries = cell_of(CELL, [0.1, 0.2, 0.3])
    levels = dict(zip((entry.trial.key for entry in entries[2:]), (0.1, 0.2, 0.9), strict=True))
    curves: Curves = {key: {"loss": ((1, 1.0), (4, value))} for key, value in levels.items()}
    costs = trade_offs(summarize_cell(CELL, entries), curves, 0.5)
    assert (costs.updates_to_threshold, costs.reached, costs.curves) == (4, 2, 3)


def test_steady_gradient_norm_has_a_swing_of_one() -> None:
    entries = cell_of(CELL, [0.1, 0.2, 0.3])
    steady: Curves = {entries[2].trial.key: {"gradient_norm": ((1, 2.0), (2, 2.0), (3, 0.0))}}
    costs = trade_offs(summarize_cell(CELL, entries), steady, None)
    assert (costs.gradient_norm, costs.gradient_swing) == (2.0, 1.0)  # a norm of 0 is not counted


def test_infinite_gradient_norms_have_no_swing() -> None:
    entries = cell_of(CELL, [0.1, 0.2, 0.3])
    exploded: Curves = {entries[2].trial.key: {"gradient_norm": ((1, 2.0), (2, math.inf), (3, math.inf))}}
    costs = trade_offs(summarize_cell(CELL, entries), exploded, None)
    assert (costs.gradient_norm, costs.gradient_swing) == (math.inf, None)


def test_divergence_rate_is_of_all_trials_that_ended() -> None:
    entries = [*searched(CELL.cell, [0.1, None]), *repeated(CELL.cell, 0, [0.1, 0.2])]
    waiting = replace(entries[3], result=None)
    diverged = trade_offs(summarize_cell(CELL, [*entries[:3], waiting]), {}, None).diverged
    assert diverged is not None
    assert (diverged.happened, diverged.n) == (1, 3)
    assert trade_offs(summarize_cell(CELL, []), {}, None).diverged is None
