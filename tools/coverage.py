"""How often the intervals of a report cover the truth, on simulated cells whose truth is known.

    python tools/coverage.py [--samples 10000] [--seed 0]

Prints, for 5, 10 and 30 repetitions, the share of samples whose 95 % interval covers, and the power of a decision.
Distributions beyond those for which an interval is meant are marked; there it may cover less than it says.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.aggregate import interquartile_interval
from harness.decision import decide, noether_pairs, power
from harness.statistics import Interval, Scale, mean_interval, proportion

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]
COUNTS = (5, 10, 30)


@dataclass(frozen=True)
class Population:
    """Where simulated scores come from."""

    name: str
    draw: Draw
    mean: float
    """On `scale`, back on that of the values: arithmetic or geometric."""
    scale: Scale = "linear"
    meant: bool = True
    """Whether Student's interval is meant for it: symmetric, or so on the stated scale."""


POPULATIONS = (
    Population("normal", lambda random, size: random.normal(size=size), 0.0),
    Population("logistic", lambda random, size: random.logistic(size=size), 0.0),
    Population("Student's t, 5 degrees", lambda random, size: random.standard_t(5, size=size), 0.0),
    Population("uniform", lambda random, size: random.uniform(-1, 1, size=size), 0.0),
    Population("log-normal, a decade wide", lambda random, size: random.lognormal(0, 2.3, size=size), 1.0, "log"),
    Population("log-logistic", lambda random, size: np.exp(random.logistic(size=size)), 1.0, "log"),
    Population("exponential", lambda random, size: random.exponential(size=size), 1.0, meant=False),
    Population(
        "one run in five fails",
        lambda random, size: random.normal(0, 0.1, size=size) + (random.random(size=size) < 0.2),
        0.2,
        meant=False,
    ),
)


def share_covered(intervals: Sequence[Interval | None], truth: float) -> float:
    return float(np.mean([one is not None and one.low <= truth <= one.high for one in intervals]))


def mean_coverage(population: Population, n: int, samples: int, seed: int) -> float:
    drawn = population.draw(np.random.default_rng(seed), (samples, n))
    return share_covered([mean_interval(one, scale=population.scale) for one in drawn.tolist()], population.mean)


def proportion_coverage(probability: float, n: int, samples: int, seed: int) -> float:
    happened = np.random.default_rng(seed).binomial(n, probability, size=samples)
    return share_covered([proportion(int(one), n).interval for one in happened], probability)


def pair_coverage(shift: float, n: int, samples: int, seed: int) -> float:
    """P(A > B) of normal scores that share half their variance by pair."""
    random = np.random.default_rng(seed)
    shared, one, other = random.normal(size=(3, samples, n))
    truth = 0.5 * math.erfc(-shift / 2)  # two unit normals differ by a normal of variance 2
    pairs = zip((shared + one + shift).tolist(), (shared + other).tolist(), strict=True)
    return share_covered([decide(a, b, better="higher").interval for a, b in pairs], truth)


def interquartile_coverage(n: int, samples: int, seed: int, tasks: int = 3) -> float:
    """Normal scores about a mean of each task's own; by symmetry the truth is that of a large sample."""
    random = np.random.default_rng(seed)
    centres = np.linspace(0.2, 0.8, tasks)[:, None]
    truth = float(np.mean(_middle_half(np.sort((centres + 0.1 * random.normal(size=(tasks, 100_000))).ravel()))))
    drawn = centres + 0.1 * random.normal(size=(samples, tasks, n))
    return share_covered([interquartile_interval(one) for one in drawn.tolist()], truth)


def _middle_half(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    quarter = len(ordered) // 4
    return ordered[quarter:-quarter]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    samples, seed = arguments.samples, arguments.seed
    print(f"{'coverage of 95 % intervals, in %, at n =':<52}" + "".join(f"{n:>8}" for n in COUNTS))
    for population in POPULATIONS:
        name = f"mean, {population.scale}: {population.name}" + ("" if population.meant else " (not meant for it)")
        _line(name, [mean_coverage(population, n, samples, seed) for n in COUNTS])
    for probability in (0.02, 0.1, 0.5, 0.8, 0.95):
        _line(f"success rate {probability}", [proportion_coverage(probability, n, samples, seed) for n in COUNTS])
    for shift in (0.0, 0.5, 1.0):
        _line(
            f"P(A > B), normal pairs, shift {shift}",
            [pair_coverage(shift, n, min(samples, 2000), seed) for n in COUNTS],
        )
    few = min(samples, 500)
    _line(f"interquartile mean, 3 tasks ({few} samples)", [interquartile_coverage(n, few, seed) for n in COUNTS])
    print(f"\n{'power of a decision where a pair is won with 0.75':<52}{'pairs':>8}{'power':>8}")
    enough = next(n for n in range(noether_pairs(), 1000) if all(power(m) >= 0.95 for m in range(n, n + 20)))
    for n in (10, noether_pairs(), enough):
        print(f"{'':<52}{n:>8}{power(n):>8.3f}")


def _line(name: str, shares: Sequence[float]) -> None:
    print(f"{name:<52}" + "".join(f"{100 * share:>8.1f}" for share in shares))


if __name__ == "__main__":
    main()
