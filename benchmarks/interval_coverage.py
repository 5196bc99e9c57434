"""How often the intervals of a report cover the truth, on simulated cells whose truth is known.

    python benchmarks/interval_coverage.py [--samples 10000] [--seed 0] [--markdown]

Prints, for 5, 10 and 30 repetitions, the share of samples whose 95 % interval covers and its standard error, and the
power of a decision.  Rows that a report does not stand for say so: there it warns, or shows another interval instead.
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
COUNTS = (5, 10, 30)
RESAMPLES = 999
FAILED = 0.5
"""Scores above are those of runs that fail."""


@dataclass(frozen=True)
class Population:
    """Where simulated scores come from."""

    name: str
    draw: Draw
    mean: float
    """On `scale`, back on that of the values: arithmetic or geometric."""
    median: float
    scale: Scale = "linear"
    warned: str = ""
    """What a report says of such a cell instead of trusting the interval of its mean."""


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
    Population("exponential", EXPONENTIAL.draw, 1.0, EXPONENTIAL.median, warned="said to be short"),
    # 5 of 8 successes lie below the median of all: the normal's quantile at 0.5 / 0.8.
    Population("one run in five fails", _with_failures, 0.2, 0.1 * 0.31864, warned="not shown"),
)
MEANT = tuple(one for one in POPULATIONS if not one.warned)


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
    """By task, with `centres`: where its noise lies, and what it is multiplied with."""
    noise: Draw = _normal

    def draw(self, random: np.random.Generator, samples: int, n: int) -> Array:
        """(samples, tasks, n)."""
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
    """Of those that are shown."""
    return float(np.mean([one.low <= truth <= one.high for one in intervals if one is not None]))


def mean_coverage(population: Population, n: int, samples: int, seed: int) -> float:
    drawn = population.draw(np.random.default_rng(seed), (samples, n))
    return share_covered([mean_interval(one, scale=population.scale) for one in drawn.tolist()], population.mean)


def conditional_coverage(n: int, samples: int, seed: int) -> float:
    """Of the mean of runs that succeed, from those of the n that do."""
    drawn = _with_failures(np.random.default_rng(seed), (samples, n))
    return share_covered([mean_interval([value for value in one if value < FAILED]) for one in drawn.tolist()], 0.0)


def median_coverage(population: Population, n: int, samples: int, seed: int) -> float:
    drawn = population.draw(np.random.default_rng(seed), (samples, n))
    return share_covered([median_interval(one) for one in drawn.tolist()], population.median)


def proportion_coverage(probability: float, n: int, samples: int, seed: int) -> float:
    happened = np.random.default_rng(seed).binomial(n, probability, size=samples)
    known = lru_cache(proportion)
    return share_covered([known(int(one), n).interval for one in happened], probability)


def pair_coverage(shift: float, n: int, samples: int, seed: int) -> tuple[float, float]:
    """P(A > B), and the difference of means, of normal scores that share half their variance by pair."""
    random = np.random.default_rng(seed)
    shared, one, other = random.normal(size=(3, samples, n))
    truth = 0.5 * math.erfc(-shift / 2)  # two unit normals differ by a normal of variance 2
    pairs = zip((shared + one + shift).tolist(), (shared + other).tolist(), strict=True)
    found = [decide(a, b, better="higher") for a, b in pairs]
    return share_covered([one.interval for one in found], truth), share_covered(
        [one.difference for one in found], shift
    )


def interquartile_coverage(benchmark: Benchmark, n: int, samples: int, seed: int) -> float:
    """The truth is that of a large sample."""
    drawn = benchmark.draw(np.random.default_rng(seed), samples, n)
    return share_covered([interquartile_interval(one) for one in drawn.tolist()], _interquartile_truth(benchmark))


def bootstrap_coverage(benchmark: Benchmark, n: int, samples: int, seed: int) -> float:
    """Of the percentile bootstrap that resamples within each task, which a report does not use."""
    random = np.random.default_rng(seed)
    intervals = []
    for one in benchmark.draw(random, samples, n):
        places = random.integers(0, n, size=(RESAMPLES, *one.shape))
        means = _middle_half(np.take_along_axis(one[None], places, axis=2).reshape(RESAMPLES, -1))
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
    """What is covered, and how often at each of `COUNTS`."""
    for one in POPULATIONS:
        warned = f" ({one.warned})" if one.warned else ""
        yield f"mean, {one.scale}: {one.name}{warned}", [mean_coverage(one, n, samples, seed) for n in COUNTS]
    yield "mean of those that succeed: one run in five fails", [conditional_coverage(n, samples, seed) for n in COUNTS]
    for one in (POPULATIONS[0], POPULATIONS[4], *POPULATIONS[-2:]):
        yield f"median: {one.name}", [median_coverage(one, n, samples, seed) for n in COUNTS]
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
    parser.add_argument("--markdown", action="store_true", help="as tables of Markdown")
    arguments = parser.parse_args()
    told = _as_markdown if arguments.markdown else _as_text
    told([f"coverage of 95 % intervals, in % (± standard error), {arguments.samples:,} samples", *map(_count, COUNTS)])
    for index, (name, shares) in enumerate(lines(arguments.samples, arguments.seed)):
        if arguments.markdown and index == 0:
            print("| :-- | --: | --: | --: |")
        told([name, *(_share(share, arguments.samples) for share in shares)])
    print()
    told(["power of a decision where a pair is won with 0.75", "pairs", "power"])
    if arguments.markdown:
        print("| :-- | --: | --: |")
    enough = next(n for n in range(noether_pairs(), 1000) if all(power(m) >= 0.95 for m in range(n, n + 20)))
    for n in (10, noether_pairs(), enough):
        told(["", str(n), f"{power(n):.3f}"])


def _count(n: int) -> str:
    return f"n = {n}"


def _share(share: float, samples: int) -> str:
    error = math.sqrt(share * (1 - share) / samples)
    return f"{100 * share:.1f} ± {100 * error:.1f}"


def _as_text(parts: Sequence[str]) -> None:
    print(f"{parts[0]:<80}" + "".join(f"{part:>14}" for part in parts[1:]), flush=True)


def _as_markdown(parts: Sequence[str]) -> None:
    print(f"| {' | '.join(parts)} |", flush=True)


if __name__ == "__main__":
    main()
