"""How often a race decides rightly, on simulated scores: nothing trains.

    python benchmarks/simulated_races.py [--samples 500]

Where truth is set by hand, the share of right answers; where it is drawn, P(best) against how often the leader is best.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.recommendation.conclusions import place_of
from harness.recommendation.inference import probabilities
from harness.recommendation.race import Errors, Scoring, follow, gains, ladder, look

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class World:
    """Where simulated scores come from: means of each model, the spread between seeds, and what pairs share."""

    name: str
    means: tuple[float, ...]
    spread: float
    shared: float
    """Correlation of two models on the same seeds."""
    transfer: float
    """Correlation of validation and test of one training."""
    margin: float
    right: Callable[[Decided], bool]
    most: int = 29


@dataclass(frozen=True)
class Decided:
    """One simulated race."""

    leader: str
    places: Mapping[str, str]
    """Rival → against the leader."""
    chance: float
    """P(best) of the leader."""
    learned: bool
    repetitions: int
    """Of all models."""


def decided(validation: Numbers, test: Numbers, scoring: Scoring) -> Decided:
    """A race over given scores, (models, repetitions), as `harness recommend` holds it."""
    models = [f"m{index}" for index in range(len(test))]
    looks = ladder(test.shape[1])
    errors = Errors.of(0.95, looks=len(looks), models=len(models))
    held = dict.fromkeys(models, 0)
    while True:
        seen = {model: list(validation[index, : held[model]]) for index, model in enumerate(models)}
        step = follow(seen, scoring, looks, errors)
        if not step.models:
            break
        held |= dict.fromkeys(step.models, step.repetitions)
    field = gains({model: list(test[index, : held[model]]) for index, model in enumerate(models)}, scoring)
    assert field is not None
    now = look(field, errors, error=errors.answer)
    places = {duel.rival: place_of(duel, step) for duel in now.duels}
    left = sum(duel.probability for duel in now.duels if duel.rival not in step.alive)
    share = probabilities(field, list(step.alive)).get(now.leader, 0.0)
    return Decided(now.leader, places, max(1 - left, 0) * share, not now.nothing_learned, sum(held.values()))


def _drawn(world: World, random: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Validation and test scores, (models, repetitions): a part of the spread is the seed's, a part the pair's own."""
    shape = (len(world.means), world.most)
    common = random.standard_normal((1, world.most))
    own = np.sqrt(world.shared) * common + np.sqrt(1 - world.shared) * random.standard_normal(shape)
    noise = [np.sqrt(world.transfer) * own + np.sqrt(1 - world.transfer) * random.standard_normal(shape) for _ in "vt"]
    means = np.asarray(world.means)[:, None]
    return means + world.spread * noise[0], means + world.spread * noise[1]


def _best(found: Decided) -> bool:
    return found.leader == "m0" and set(found.places.values()) == {"lost"}


def _equal(found: Decided) -> bool:
    return set(found.places.values()) == {"equivalent"}


def _open(found: Decided) -> bool:
    return "open" in found.places.values()


WORLDS = (
    World("one is better by 3 spreads, of 2", (3.0, 0.0), 1.0, 0.3, 0.8, 0.1, _best),
    World("one is better by 1 spread, of 4", (1.0, 0.0, 0.0, 0.0), 1.0, 0.3, 0.8, 0.1, _best),
    World("all equal, the margin is 2 spreads, of 3", (0.0, 0.0, 0.0), 1.0, 0.3, 0.8, 2.0, _equal),
    World("all equal, no margin, of 4: never to be told", (0.0,) * 4, 1.0, 0.3, 0.8, 0.0, _open),
    World("better by 0.3 spreads, 6 repetitions: too small", (0.3, 0.0), 1.0, 0.3, 0.8, 0.05, _open, most=6),
)


def simulate(samples: int, seed: int) -> None:
    print(f"## Simulated decisions\n\nNormal scores, no training: 20 races, then {samples}, of each world.\n")
    print("| world | right of 20 | right | repetitions | leader is best |\n| :-- | --: | --: | --: | --: |")
    for world in WORLDS:
        random = np.random.default_rng(seed)
        scoring = Scoring("higher", world.margin)
        found = [decided(*_drawn(world, random), scoring) for _ in range(samples)]
        right = [world.right(one) for one in found]
        count = np.mean([one.repetitions for one in found])
        best = np.mean([world.means[int(one.leader[1:])] == max(world.means) for one in found])
        print(f"| {world.name} | {sum(right[:20])} | {np.mean(right):.3f} | {count:.1f} | {best:.3f} |")
    print(flush=True)


def calibrate(samples: int, seed: int) -> None:
    """P(best) against how often the leader is best, where true differences are themselves drawn."""
    print("## Is P(best) right?\n\nSimulated: 3 models, true means drawn with a spread of `tau` seeds' spreads.\n")
    bands = ((0.0, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 0.97), (0.97, 1.01))
    print("| tau | " + " | ".join(f"said {low:g} to {min(high, 1):g}" for low, high in bands) + " |")
    print("| --: |" + " --: |" * len(bands))
    for tau in (0.3, 1.0, 3.0):
        random = np.random.default_rng(seed)
        said: list[tuple[float, bool]] = []
        for _ in range(samples):
            world = World("", tuple(tau * random.standard_normal(3)), 1.0, 0.3, 0.8, 0.0, _open)
            found = decided(*_drawn(world, random), Scoring("higher"))
            said.append((found.chance, int(found.leader[1:]) == int(np.argmax(world.means))))
        cells = [[right for chance_, right in said if low <= chance_ < high] for low, high in bands]
        print(f"| {tau:g} | " + " | ".join(f"{np.mean(c):.2f} of {len(c)}" if c else "–" for c in cells) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    samples = parser.parse_args().samples
    simulate(samples, seed=0)
    calibrate(samples, seed=1)


if __name__ == "__main__":
    main()
