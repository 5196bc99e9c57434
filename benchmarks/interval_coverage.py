"""Measure how often the intervals of a report cover the truth, on simulated cells with a known truth.

    python benchmarks/interval_coverage.py [--samples 10000] [--seed 0] [--markdown]

Prints the share of samples whose 95 % interval covers the truth, with its standard error, for 3, 5, 10 and 30
repetitions, and the power of a decision.  A remark marks the rows whose interval a report does not trust: there it
warns, or shows another interval instead.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.analysis.aggregate import interquartile_interval
from harness.analysis.paired_tests import decide, noether_pairs, power
from harness.analysis.statistics import Interval, Scale, mean_interval, median_interval, proportion

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
COUNTS = (3, 5, 10, 30)
RESAMPLES = 999
FAILED = 0.5
"""Scores above this belong to failed runs."""


@dataclass(frozen=True)
class Population:
    """A distribution of simulated scores."""

    name: str
    draw: Draw
    mean: float
    """True mean, arithmetic on a linear scale and geometric on a log scale."""
    median: float
    scale: Scale = "linear"
    warned: str = ""
    """What a report does with such a cell instead of trusting the interval of its mean; '' if it trusts it."""


def _with_failures(random: np.random.Generator, size: tuple[int, ...]) -> Array:
    return random.normal(0, 0.1, size=size) + (random.random(size=size) < 0.2)


EXPONENTIAL = Population("exponential", lambda random, size: random.exponential(size=size), 1.0, math.log(2))
POPULATIONS = (
    Population("normal", lambda random, size: random.normal(size=size), 0.0, 0.0),
    Population("logistic", lambda random, size: random.logistic(size=size), 0.0, 0.0),
    Population("Student's t, 5 degrees", lambda random, size: random.standard_t(5, size=size), 0.0, 0.0),
    Population("uniform", lambda random, size: random.uniform(-1, 1, size=size), 0.0, 0.0),
    Population("log-normal, a decade wide", lambda random, size: random.lognormal(0, 2.3, size=size), 1.0, 1.0, "log"),
    Population("log-logistic", lambda random, size: np.exp(random.logistic(size=size)), 1.0, 1.0, "log"),
    Population("exponential", EXPONENTIAL.draw, math.exp(-np.euler_gamma), EXPONENTIAL.median, "log"),
    Population("exponential", EXPONENTIAL.draw, 1.0, EXPONENTIAL.median, warned="report warns"),
    # 5 of 8 successes lie below the median of all: the normal's quantile at 0.5 / 0.8.
    Population("one run in five fails", _with_failures, 0.2, 0.1 * 0.31864, warned="not shown"),
)
TRUSTED = tuple(population for population in POPULATIONS if not population.warned)


def _normal(random: np.random.Generator, size: tuple[int, ...]) -> Array:
    return random.normal(size=size)


def _exponential_below(random: np.random.Generator, size: tuple[int, ...]) -> Array:
    return -random.exponential(size=size)


def _successes(random: np.random.Generator, size: tuple[int, ...]) -> Array:
    return (random.random(size=size) < 0.8) + random.normal(0, 0.02, size=size)


@dataclass(frozen=True)
class Benchmark:
    """Normalised scores of several tasks."""

    name: str
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    """`centres` and `spreads` are the location and the scale of each task's noise."""
    noise: Draw = _normal

    def draw(self, random: np.random.Generator, samples: int, n: int) -> Array:
        """Return scores of shape (samples, tasks, n)."""
        centres, spreads = np.asarray(self.centres), np.asarray(self.spreads)
        return centres[:, None] + spreads[:, None] * self.noise(random, (samples, len(centres), n))


BENCHMARKS = (
    Benchmark("3 tasks apart, normal", (0.2, 0.5, 0.8), (0.1, 0.1, 0.1)),
    Benchmark("3 tasks alike, normal", (0.5, 0.5, 0.5), (0.1, 0.1, 0.1)),
    Benchmark("2 tasks apart, normal", (0.2, 0.8), (0.05, 0.05)),
    Benchmark("5 tasks, one 30 times as noisy as another", (0.1, 0.3, 0.5, 0.7, 0.9), (0.01, 0.02, 0.05, 0.1, 0.3)),
    Benchmark("5 tasks, exponential", (0.3, 0.5, 0.6, 0.8, 1.0), (0.1,) * 5, _exponential_below),
    Benchmark("5 tasks, one run in five fails", (0.0,) * 5, (0.5, 0.6, 0.8, 0.9, 1.0), _successes),
)


def share_covered(intervals: Sequence[Interval | None], truth: float) -> float:
    """Return the share of intervals that cover the truth, without missing intervals; NaN if all are missing."""
    covered = [interval.low <= truth <= interval.high for interval in intervals if interval is not None]
    return float(np.mean(covered)) if covered else math.nan


def mean_coverage(population: Population, n: int, samples: int, seed: int) -> float:
    drawn = population.draw(np.random.default_rng(seed), (samples, n))
    return share_covered([mean_interval(sample, scale=population.scale) for sample in drawn.tolist()], population.mean)


def conditional_coverage(n: int, samples: int, seed: int) -> float:
    """Return the coverage of the mean of successful runs, from those of n runs that succeed."""
    drawn = _with_failures(np.random.default_rng(seed), (samples, n))
    successes = [[value for value in sample if value < FAILED] for sample in drawn.tolist()]
    return share_covered([mean_interval(sample) for sample in successes], 0.0)


def median_coverage(population: Population, n: int, samples: int, seed: int) -> float:
    drawn = population.draw(np.random.default_rng(seed), (samples, n))
    return share_covered([median_interval(sample) for sample in drawn.tolist()], population.median)


def proportion_coverage(probability: float, n: int, samples: int, seed: int) -> float:
    happened = np.random.default_rng(seed).binomial(n, probability, size=samples)
    known = lru_cache(proportion)
    return share_covered([known(int(count), n).interval for count in happened], probability)


def pair_coverage(shift: float, n: int, samples: int, seed: int) -> tuple[float, float]:
    """Return the coverage of P(A > B) and of the difference of means.

    The scores are normal and share half their variance within a pair.
    """
    random = np.random.default_rng(seed)
    shared, first, second = random.normal(size=(3, samples, n))
    truth = 0.5 * math.erfc(-shift / 2)  # two unit normals differ by a normal of variance 2
    pairs = zip((shared + first + shift).tolist(), (shared + second).tolist(), strict=True)
    decisions = [decide(a, b, better="higher") for a, b in pairs]
    of_probability = share_covered([decision.interval for decision in decisions], truth)
    return of_probability, share_covered([decision.difference for decision in decisions], shift)


def interquartile_coverage(benchmark: Benchmark, n: int, samples: int, seed: int) -> float:
    """Return the coverage of Yuen's interval; the truth comes from a large sample."""
    drawn = benchmark.draw(np.random.default_rng(seed), samples, n)
    return share_covered([interquartile_interval(sample) for sample in drawn.tolist()], _interquartile_truth(benchmark))


def bootstrap_coverage(benchmark: Benchmark, n: int, samples: int, seed: int) -> float:
    """Return the coverage of the percentile bootstrap within each task, which a report does not use."""
    random = np.random.default_rng(seed)
    intervals = []
    for sample in benchmark.draw(random, samples, n):
        places = random.integers(0, n, size=(RESAMPLES, *sample.shape))
        means = _middle_half(np.take_along_axis(sample[None], places, axis=2).reshape(RESAMPLES, -1))
        low, high = np.percentile(means, [2.5, 97.5]).tolist()
        intervals.append(Interval(low, high, 0.95))
    return share_covered(intervals, _interquartile_truth(benchmark))


@lru_cache
def _interquartile_truth(benchmark: Benchmark) -> float:
    return float(_middle_half(benchmark.draw(np.random.default_rng(1), 1, 400_000).reshape(1, -1))[0])


def _middle_half(values: Array) -> Array:
    ordered, quarter = np.sort(values, axis=1), values.shape[1] // 4
    means: Array = ordered[:, quarter : values.shape[1] - quarter].mean(axis=1)
    return means


Line = tuple[str, list[float]]


def lines(samples: int, seed: int) -> Iterator[Line]:
    """Yield the name of each estimate, with its coverage at each of `COUNTS`."""
    for population in POPULATIONS:
        warned = f" ({population.warned})" if population.warned else ""
        shares = [mean_coverage(population, n, samples, seed) for n in COUNTS]
        yield f"mean, {population.scale}: {population.name}{warned}", shares
    yield "mean of successful runs: one run in five fails", [conditional_coverage(n, samples, seed) for n in COUNTS]
    for population in (POPULATIONS[0], POPULATIONS[4], *POPULATIONS[-2:]):
        yield f"median: {population.name}", [median_coverage(population, n, samples, seed) for n in COUNTS]
    for probability in (0.02, 0.1, 0.5, 0.8, 0.95):
        shares = [proportion_coverage(probability, n, samples, seed) for n in COUNTS]
        yield f"success rate {probability}", shares
    for shift in (0.0, 0.5, 1.0):
        of_pairs, of_means = zip(*(pair_coverage(shift, n, samples, seed) for n in COUNTS), strict=True)
        yield f"P(A > B), normal pairs, shift {shift}", list(of_pairs)
        yield f"difference of means, normal pairs, shift {shift}", list(of_means)
    for benchmark in BENCHMARKS:
        shares = [interquartile_coverage(benchmark, n, samples, seed) for n in COUNTS]
        yield f"interquartile mean: {benchmark.name}", shares
    shares = [bootstrap_coverage(BENCHMARKS[0], n, samples, seed) for n in COUNTS]
    yield f"interquartile mean, bootstrap (not used): {BENCHMARKS[0].name}", shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    arguments = parser.parse_args()
    show = _as_markdown if arguments.markdown else _as_text
    show([f"coverage of 95 % intervals, in % (± standard error), {arguments.samples:,} samples", *map(_count, COUNTS)])
    for index, (name, shares) in enumerate(lines(arguments.samples, arguments.seed)):
        if arguments.markdown and index == 0:
            print("| :-- |" + " --: |" * len(COUNTS))
        show([name, *(_share(share, arguments.samples) for share in shares)])
    print()
    show(["power of a decision if a pair is won with probability 0.75", "pairs", "power"])
    if arguments.markdown:
        print("| :-- | --: | --: |")
    enough = next(n for n in range(noether_pairs(), 1000) if all(power(m) >= 0.95 for m in range(n, n + 20)))
    for n in (10, noether_pairs(), enough):
        show(["", str(n), f"{power(n):.3f}"])


def _count(n: int) -> str:
    return f"n = {n}"


def _share(share: float, samples: int) -> str:
    if math.isnan(share):
        return "–"
    error = math.sqrt(share * (1 - share) / samples)
    return f"{100 * share:.1f} ± {100 * error:.1f}"


def _as_text(parts: Sequence[str]) -> None:
    print(f"{parts[0]:<80}" + "".join(f"{part:>14}" for part in parts[1:]), flush=True)


def _as_markdown(parts: Sequence[str]) -> None:
    print(f"| {' | '.join(parts)} |", flush=True)


if __name__ == "__main__":
    main()
