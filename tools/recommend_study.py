"""What `harness recommend` says where the right answer is known, how long it takes, and how often it is right.

    python tools/recommend_study.py [--only memory,equal,noise,small,real] [--runs FOLDER] [--repeats 0]

Four data sets of known answer and a real one are raced for real, in this process; those of known answer `--repeats`
times more with other seeds of everything.  Then, on the level of decisions alone, races are simulated from the means
and spreads that the real ones showed, and where truth is set by hand.  Each table says which it is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from harness import (
    Arrays,
    Batch,
    Classes,
    Dataset,
    Metric,
    Real,
    Seeds,
    Signature,
    Split,
    Task,
    Total,
    derive,
    hookimpl,
    mean_of,
    percent_of,
)
from harness.advice import brief, chance
from harness.ledger import Entry, read_study
from harness.plugins import Loaded, load_plugins
from harness.race import Errors, Scoring, follow, gains, ladder, look, probabilities
from harness.recommend import Racing, Wish, begin
from harness.recommendation import Recommendation, place_of
from harness.records import MetricFacts
from harness.results import standing
from harness.run import Outcome, Runner
from harness.serial import run_serial
from harness.study import Study, parse_study
from harness.trial import Worker

Numbers = np.ndarray[Any, np.dtype[np.float64]]
LENGTH = 40
SEQUENCES: dict[Split, int] = {"train": 128, "validation": 64, "test": 256}


def _noise(split: Split, seeds: Seeds, *shape: int) -> Tensor:
    """Uniform in [-1, 1]; the test split is one a study."""
    seed = derive(seeds.fixed if split == "test" else seeds.data, split)
    random = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(SEQUENCES[split], *shape, generator=random) - 1


class Delayed(Task):
    """The input of `delay` steps ago, at each step.  A network that sees fewer is no better than the floor."""

    name: ClassVar[str] = "delayed"
    delay: int = 24
    spread: float = 1.0
    """Of noise in place of the target: 1 is the target alone, 0 noise alone."""

    def signature(self) -> Signature:
        return Signature(input=Real(1), output=Real(1), length=LENGTH, readout="each")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("mse", "", "lower", mean_of("mse"), margin=0.05, scale="log"),)

    def training_sequences(self) -> int:
        return SEQUENCES["train"]

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        drawn = _noise(split, seeds, LENGTH, 2)
        targets = nn.functional.pad(drawn[..., :1], (0, 0, self.delay, 0))[:, :LENGTH]
        targets = self.spread * targets + (1 - self.spread) * drawn[..., 1:]
        return Arrays(drawn[..., :1], targets)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        real, wanted = output[:, self.delay :], batch.targets[:, self.delay :]
        return {"mse": Total(nn.functional.mse_loss(real, wanted, reduction="sum"), wanted.numel())}

    def floor(self) -> float:
        """Of the constant 0: the variance of the target."""
        return (self.spread**2 + (1 - self.spread) ** 2) / 3


class LastSign(Task):
    """The sign of the last input, of which every architecture is capable.  Inputs keep away from zero."""

    name: ClassVar[str] = "last-sign"

    def signature(self) -> Signature:
        return Signature(input=Real(1), output=Classes(2), length=LENGTH, readout="last")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("accuracy", "%", "higher", percent_of("right"), margin=1.0),)

    def training_sequences(self) -> int:
        return SEQUENCES["train"]

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        drawn = _noise(split, seeds, LENGTH, 1)
        drawn = drawn + 0.2 * torch.sign(drawn)
        return Arrays(drawn, (drawn[:, -1, 0] > 0).long())

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        right = (output.argmax(-1) == batch.targets).float().sum()
        nll = nn.functional.cross_entropy(output, batch.targets, reduction="sum")
        return {"nll": Total(nll, len(output)), "right": Total(right, len(output))}

    def floor(self) -> float:
        return 50.0


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    register(Delayed)
    register(LastSign)


@dataclass(frozen=True)
class Case:
    """A race whose right answer is known, or one on real data."""

    name: str
    known: str
    study: Mapping[str, Any]
    """Tables of a study file, hence Any."""
    right: Callable[[Recommendation], bool] | None


SHORT, LONG = (
    {"name": "tcn", "as": label, "space": {"kernel_size": 2, "levels": levels}}
    for label, levels in (("tcn-short", 3), ("tcn-long", 5))
)
"""They see 15 and 63 steps."""
TINY = {"updates": 150, "batch_size": 16, "evaluations": 5}
EASY = {"learning_rate_factor": [1.0, 3.0], "optimizer": "adam", "clip": "none", "dropout": [0.0, 0.1]}
SMALL_RACE = {"trials": 2, "repetitions": 15, "tolerance": 0.1}

CASES = (
    Case(
        "memory",
        "tcn-long: the target lies 24 steps back, and tcn-short sees 15",
        {
            "models": [SHORT, LONG],
            "tasks": [{"name": "delayed", "parameters": 1000}],
            "budget": SMALL_RACE,
            "training": TINY,
            "search": {"space": EASY},
        },
        lambda found: found.verdict == "best" and found.model == "tcn-long",
    ),
    Case(
        "equal",
        "equivalent: the sign of the last input, which both learn to within 1 %",
        {
            "models": ["gru", "rnn"],
            "tasks": [{"name": "last-sign", "parameters": 300}],
            "budget": SMALL_RACE,
            "training": TINY,
            "search": {"space": {**EASY, "learning_rate_factor": 3.0, "dropout": 0.0}},
        },
        lambda found: found.verdict == "equivalent",
    ),
    Case(
        "noise",
        "no recommendation: the target is noise",
        {
            "models": ["tcn", "gru"],
            "tasks": [{"name": "delayed", "spread": 0.0, "parameters": 500}],
            "budget": SMALL_RACE,
            "training": {**TINY, "updates": 50},
            "search": {"space": EASY},
        },
        lambda found: found.verdict == "nothing-learned",
    ),
    Case(
        "small",
        "too small to tell: one network under two names, 6 repetitions, where equals need 10",
        {
            "models": [{"name": "gru", "as": label, "space": {"layers": 1}} for label in ("gru-a", "gru-b")],
            "tasks": [{"name": "delayed", "delay": 2, "parameters": 300}],
            "budget": {"trials": 1, "repetitions": 6, "tolerance": 0.1},
            "training": {**TINY, "updates": 100},
            "search": {"space": {**EASY, "learning_rate_factor": 3.0, "dropout": 0.0}},
        },
        lambda found: found.verdict == "undecided",
    ),
    Case(
        "real",
        "not known",
        {
            "models": ["tcn", "gru"],
            "tasks": [{"name": "jsb-chorales", "parameters": 10_000}],
            "budget": {"trials": 1, "repetitions": 10},
            "training": {"updates": 150, "batch_size": 8, "evaluations": 3},
            "search": {"space": {**EASY, "learning_rate_factor": 3.0}},
        },
        None,
    ),
)


def loaded_here() -> Loaded:
    own = EntryPoint(name="recommend-study", value="recommend_study", group="harness")
    return load_plugins([*entry_points(group="harness"), own])


def raced(case: Case, loaded: Loaded, runs: Path, *, seed: int = 0) -> tuple[Recommendation, float]:
    """A whole race in this process, and the seconds that its trainings took."""
    tables = {**case.study, "name": f"{case.name}-{seed}"}
    tables["search"] = {**tables["search"], "seed": seed}
    study = parse_study(tables, source=case.name)

    def train(granted: Study) -> Outcome:
        runner = Runner(granted, loaded, runs)
        return runner.run(lambda desk: run_serial(desk, Worker(runner.folder, loaded.registry)))

    race = begin(Wish(study), loaded.registry, runs, slots=1, say=lambda _: None)
    found = Racing(race, runs, loaded.registry, train).run()
    assert found is not None  # nothing is set aside in one process
    results = [entry.result for entry in read_study(runs / study.name).entries() if entry.result is not None]
    return found, sum(result.ended - result.started for result in results)


def tell(case: Case, found: Recommendation, seconds: float) -> None:
    right = "" if case.right is None else f" [{'right' if case.right(found) else 'WRONG'}]"
    print(f"## {case.name}\n\nKnown: {case.known}. Raced for real, {seconds:.0f} s of training{right}.\n")
    print(f"> {brief(found)}\n")
    print("| model | against the leader | P(best) | test mean | repetitions |\n| :-- | --: | --: | --: | --: |")
    for one in found.candidates:
        mean = "" if one.mean is None else f"{one.mean:.4g}"
        print(f"| {one.model} | {one.place} | {chance(one.probability)} | {mean} | {one.repetitions} |")
    print(flush=True)


# ---- the level of decisions


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


def as_measured(case: Case, runs: Path, samples: int) -> None:
    """Races simulated from the means and covariances that a real race showed: normal, on the metric's scale."""
    snapshot = read_study(runs / f"{case.name}-0")
    standings = [standing(facts, snapshot.entries()) for facts in snapshot.manifest.cells]
    metric, floor = standings[0].facts.metric, standings[0].facts.floor
    scoring = Scoring("higher", metric.margin, floor=_turned(floor, metric) if floor is not None else None)
    shared = min(len(one.finals) for one in standings)
    columns = [
        [_turned(value(entry), metric) for entry in one.finals[:shared]]
        for value in (_validation, _test(metric.name))
        for one in standings
    ]
    means, covariance = np.mean(columns, axis=1), np.cov(columns)
    random, models, most = np.random.default_rng(0), len(standings), case.study["budget"]["repetitions"]
    answers: Counter[str] = Counter()
    for _ in range(samples):
        drawn = random.multivariate_normal(means, covariance, size=most).T  # (2 models, repetitions)
        found = decided(drawn[:models], drawn[models:], scoring)
        leader = standings[int(found.leader[1:])].facts.cell.model
        answers["nothing learned" if not found.learned else f"{leader}, {' '.join(found.places.values())}"] += 1
    print(f"| {case.name} | {shared} | " + "; ".join(f"{n} x {text}" for text, n in answers.most_common()) + " |")


def _turned(score: float, metric: MetricFacts) -> float:
    """On the metric's scale, more is better."""
    value = float(np.log(score)) if metric.scale == "log" else score
    return value if metric.better == "higher" else -value


def _validation(entry: Entry) -> float:
    assert entry.result is not None  # the race has ended
    assert entry.result.score is not None
    return entry.result.score


def _test(metric: str) -> Callable[[Entry], float]:
    return lambda entry: entry.result.metrics["test"][metric] if entry.result is not None else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="memory,equal,noise,small,real")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--samples", type=int, default=500)
    given = parser.parse_args()
    torch.set_num_threads(1)
    loaded, names = loaded_here(), given.only.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        runs = given.runs or Path(scratch)
        chosen = [case for case in CASES if case.name in names]
        for case in chosen:
            tell(case, *raced(case, loaded, runs))
        print("## Simulated from what was measured\n\n20 races each, no training: normal scores.\n")
        print("| case | repetitions measured | answers: leader, each rival |\n| :-- | --: | :-- |")
        for case in chosen:
            as_measured(case, runs, samples=20)
        print(flush=True)
        for case in chosen:
            if case.right is not None and given.repeats:
                again(case, loaded, runs, given.repeats)
    if given.samples:
        simulate(given.samples, seed=0)
        calibrate(given.samples, seed=1)


def again(case: Case, loaded: Loaded, runs: Path, repeats: int) -> None:
    """Whole races with other seeds of data, weights, order and search."""
    assert case.right is not None  # asked before
    found = [raced(case, loaded, runs, seed=seed) for seed in range(1, repeats + 1)]
    right = sum(case.right(one) for one, _ in found)
    verdicts = dict(Counter(one.verdict for one, _ in found))
    seconds = sum(each for _, each in found) / len(found)
    print(f"{case.name}: right in {right} of {repeats} races for real ({verdicts}), {seconds:.0f} s each\n", flush=True)


if __name__ == "__main__":
    main()
