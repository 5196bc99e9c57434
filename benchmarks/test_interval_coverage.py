"""Coverage of the intervals on simulated cells; `python benchmarks/interval_coverage.py` prints the whole table."""

from __future__ import annotations

import pytest

from interval_coverage import (
    BENCHMARKS,
    EXPONENTIAL,
    POPULATIONS,
    TRUSTED,
    Benchmark,
    Population,
    bootstrap_coverage,
    conditional_coverage,
    interquartile_coverage,
    mean_coverage,
    median_coverage,
    pair_coverage,
)

# The coverage from 2000 samples has a standard error of 0.5 %, from 1000 samples of 0.8 %: if the truth is near 93 %,
# the bound lies below it.
FAILING = next(population for population in POPULATIONS if population.name == "one run in five fails")


@pytest.mark.parametrize("n", [3, 5, 10, 30])
@pytest.mark.parametrize("population", TRUSTED, ids=lambda population: f"{population.name}, {population.scale}")
def test_interval_of_a_mean_covers_at_least_93_percent(population: Population, n: int) -> None:
    assert mean_coverage(population, n, samples=2000, seed=0) >= 0.93


@pytest.mark.parametrize("population", [FAILING, EXPONENTIAL], ids=lambda case: str(case.name))
def test_interval_of_a_mean_that_is_not_trusted_covers_less(population: Population) -> None:
    # This is why a report warns of one of them and does not show the other.
    assert mean_coverage(population, 5, samples=1000, seed=1) < 0.9


@pytest.mark.parametrize("n", [5, 10, 30])
def test_interval_of_runs_that_succeed_covers_their_mean(n: int) -> None:
    assert conditional_coverage(n, samples=2000, seed=0) >= 0.93


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("population", [FAILING, EXPONENTIAL], ids=lambda case: str(case.name))
def test_interval_of_a_median_covers_whatever_the_scores(population: Population, n: int) -> None:
    assert median_coverage(population, n, samples=2000, seed=0) >= 0.925


@pytest.mark.parametrize("n", [5, 10, 30])
def test_intervals_of_pairs_cover_at_least_93_percent(n: int) -> None:
    assert min(pair_coverage(0.5, n, samples=500, seed=1)) >= 0.93


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda case: str(case.name))
def test_interval_of_an_interquartile_mean_covers_its_truth(benchmark: Benchmark, n: int) -> None:
    assert interquartile_coverage(benchmark, n, samples=1000, seed=0) >= 0.92


def test_bootstrap_of_few_repetitions_covers_less() -> None:
    assert bootstrap_coverage(BENCHMARKS[0], 5, samples=300, seed=1) < 0.92
