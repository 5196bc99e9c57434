"""The size at which the leading model changes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis import leader_changes
from harness.analysis.leader_changes import Array, expanded_tail, find_leaders

SIZES = (5_000, 20_000, 80_000)
LOGS = np.log(SIZES)


def lines(*of_models: tuple[float, float], noise: float = 0.0, n: int = 10, seed: int = 0) -> Array:
    """Return gains of models whose means are straight lines over log parameters: value at log 20,000, and slope."""
    means = np.asarray([level + slope * (LOGS - math.log(20_000)) for level, slope in of_models])
    return means[:, :, None] + noise * np.random.default_rng(seed).standard_normal((len(of_models), 3, n))


@pytest.mark.parametrize("size", [6_000, 18_000, 20_001, 79_000])
def test_straight_lines_cross_where_their_equations_say(size: int) -> None:
    flat, rising = (0.0, 0.0), (math.log(20_000 / size), 1.0)
    found = find_leaders(lines(flat, rising), SIZES)
    assert found.verdict == "changes"
    (change,) = found.changes
    assert (change.before, change.after) == (0, 1)
    assert change.parameters == pytest.approx(size)
    assert (change.interval.low, change.interval.high) == pytest.approx((size, size))


def test_two_changes_of_three_models_are_both_found() -> None:
    found = find_leaders(lines((0.0, -1.0), (0.5, 0.0), (0.0, 1.0)), SIZES)
    assert found.indices == (0, 1, 2)
    assert [round(change.parameters) for change in found.changes] == [
        round(20_000 * math.exp(-0.5)),
        round(20_000 * math.exp(0.5)),
    ]


def test_model_that_leads_everywhere_is_the_same_leader() -> None:
    found = find_leaders(lines((1.0, 0.0), (0.0, 0.1), noise=0.1), SIZES)
    assert (found.verdict, found.indices, found.changes) == ("same", (0, 0, 0), ())


def test_crossing_of_two_models_is_no_change_of_leader_if_a_third_may_lead() -> None:
    """The third is the best at every size; noise often puts the others before it where they come close."""
    gains = [lines((0.0, -0.7), (0.0, 0.7), (1.0, 0.0), noise=1.0, seed=seed) for seed in range(200)]
    found = [find_leaders(each[:, (0, 2)], (SIZES[0], SIZES[2])) for each in gains]
    without = [leaders for leaders in found if 2 not in leaders.indices]
    assert len(without) >= 30
    assert sum(leaders.verdict == "changes" for leaders in without) <= 0.05 * len(found)


def test_noise_determines_nothing() -> None:
    verdicts = [find_leaders(lines((0.0, 0.0), (0.0, 0.0), noise=1.0, seed=seed), SIZES).verdict for seed in range(40)]
    assert verdicts.count("undetermined") >= 30


def test_few_repetitions_determine_nothing() -> None:
    assert find_leaders(lines((0.0, 0.0), (0.1, 1.0), n=9), SIZES).verdict == "undetermined"


def test_order_of_models_changes_nothing() -> None:
    gains = lines((0.0, 0.0), (0.1, 0.3), noise=0.2)
    (change,), (swapped,) = find_leaders(gains, SIZES).changes, find_leaders(gains[::-1], SIZES).changes
    assert (change.before, change.after) == (1 - swapped.before, 1 - swapped.after)
    assert (change.parameters, change.interval) == (swapped.parameters, swapped.interval)


def test_effect_of_a_repetition_that_all_models_share_changes_nothing() -> None:
    gains = lines((0.0, 0.0), (0.1, 0.3), noise=0.2)
    shared = 100 * np.random.default_rng(1).standard_normal((1, 3, 10))
    (change,), (shifted,) = find_leaders(gains, SIZES).changes, find_leaders(gains + shared, SIZES).changes
    assert shifted.parameters == pytest.approx(change.parameters)
    assert shifted.interval.low == pytest.approx(change.interval.low)


def test_end_outside_the_sizes_is_open() -> None:
    found = find_leaders(lines((0.0, 0.0), (math.log(20_000 / 75_000), 1.0), noise=0.3, seed=1), SIZES)
    (change,) = found.changes
    assert 5_000 < change.interval.low < change.parameters < 80_000
    assert change.interval.high == math.inf


@pytest.mark.parametrize("n", [10, 20])
def test_interval_covers_the_true_size(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nominal 95 %, of 300 simulated studies; the standard error of the share is 1.3 %."""
    monkeypatch.setattr(leader_changes, "RESAMPLES", 2000)
    size, covered, studies = 15_000, 0, 300
    for seed in range(studies):
        gains = lines((0.0, 0.0), (math.log(20_000 / size), 1.0), noise=0.5, n=n, seed=seed)
        of_study = [change.interval for change in find_leaders(gains, SIZES).changes]
        covered += any(interval.low <= size <= interval.high for interval in of_study)
    assert 0.92 <= covered / studies <= 0.99


def test_expanded_tail_is_the_plain_one_for_many_repetitions() -> None:
    assert expanded_tail(0.025, 10**6) == pytest.approx(0.025, rel=1e-4)
    assert expanded_tail(0.025, 10) < 0.015
