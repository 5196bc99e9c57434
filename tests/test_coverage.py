"""Coverage of the intervals on simulated cells; `python tools/coverage.py` prints the whole table."""

from __future__ import annotations

import pytest

pytest.importorskip("tools.coverage", reason="the core's wheel is tested without the tools")

from tools.coverage import POPULATIONS, Population, interquartile_coverage, mean_coverage, pair_coverage

MEANT = [population for population in POPULATIONS if population.meant]


@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("population", MEANT, ids=lambda population: population.name)
def test_interval_of_a_mean_covers_at_least_93_percent(population: Population, n: int) -> None:
    assert mean_coverage(population, n, samples=2000, seed=0) >= 0.93


def test_mean_of_runs_of_which_some_fail_is_not_covered() -> None:
    # Why a success rate stands beside the mean.
    (population,) = [one for one in POPULATIONS if one.name == "one run in five fails"]
    assert mean_coverage(population, 5, samples=1000, seed=1) < 0.8


@pytest.mark.parametrize("n", [5, 10, 30])
def test_interval_of_a_probability_of_winning_covers_at_least_93_percent(n: int) -> None:
    assert pair_coverage(0.5, n, samples=200, seed=1) >= 0.93


def test_bootstrap_of_few_repetitions_is_approximate() -> None:
    assert 0.8 <= interquartile_coverage(5, samples=100, seed=1) <= 0.95
