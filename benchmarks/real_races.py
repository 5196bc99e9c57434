"""Run `harness recommend` on data with a known answer; print the answer, the time, and how often it is right.

    python benchmarks/real_races.py [--only memory,equal,noise,small,real] [--races 20]

Four data sets with a known answer are raced in this process, `--races` times with different seeds of everything, and a
real data set once.  The first recommendation of each is printed as a user reads it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar

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
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.journal import read_study
from harness.plugin.loader import Loaded, load_plugins
from harness.recommendation.driver import RaceDriver
from harness.recommendation.page import brief, chance
from harness.recommendation.result import Recommendation
from harness.recommendation.state import RecommendRequest, begin, race_plan
from harness.study.file import parse_study
from harness.study.plan import Plan, make_plan

LENGTH = 40
SEQUENCES: dict[Split, int] = {"train": 128, "validation": 64, "test": 256}


def _noise(split: Split, seeds: Seeds, *shape: int) -> Tensor:
    """Return numbers uniform in [-1, 1]; a study has one test split."""
    seed = derive(seeds.fixed if split == "test" else seeds.data, split)
    random = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(SEQUENCES[split], *shape, generator=random) - 1


class Delayed(Task):
    """Predict the input of `delay` steps ago, at each step; a shorter receptive field is no better than the floor."""

    name: ClassVar[str] = "delayed"
    delay: int = 24
    spread: float = 1.0
    """Weight of the target against noise: 1 is only the target, 0 only noise."""

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
        """Return the score of the constant 0: the variance of the target."""
        return (self.spread**2 + (1 - self.spread) ** 2) / 3


class LastSign(Task):
    """Predict the sign of the last input, which every architecture can do; inputs are not close to zero."""

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
    """A race with a known right answer, or one on real data."""

    name: str
    known: str
    study: Mapping[str, Any]
    """Tables of a study file, hence Any."""
    right: Callable[[Recommendation], bool] | None


SHORT, LONG = (
    {"name": "tcn", "as": label, "space": {"kernel_size": 2, "levels": levels}}
    for label, levels in (("tcn-short", 3), ("tcn-long", 5))
)
"""Their receptive fields are 15 and 63 steps."""
TINY = {"updates": 150, "batch_size": 16, "evaluations": 5}
EASY = {"learning_rate_factor": [1.0, 3.0], "optimizer": "adam", "clip": "none", "dropout": [0.0, 0.1]}
SMALL_RACE = {"trials": 2, "repetitions": 15, "tolerance": 0.1}
EQUALS: Mapping[str, Any] = {
    "models": ["gru", "rnn"],
    "tasks": [{"name": "last-sign", "parameters": 300}],
    "budget": SMALL_RACE,
    "training": TINY,
    "search": {"space": {**EASY, "learning_rate_factor": 3.0, "dropout": 0.0}},
}

CASES = (
    Case(
        "memory",
        "tcn-long: the target is 24 steps back, and the receptive field of tcn-short is 15",
        {
            "models": [SHORT, LONG],
            "tasks": [{"name": "delayed", "parameters": 1000}],
            "budget": SMALL_RACE,
            "training": TINY,
            "search": {"space": EASY},
        },
        lambda recommendation: recommendation.verdict == "best" and recommendation.model == "tcn-long",
    ),
    Case(
        "equal",
        "equivalent: the sign of the last input, which both learn to within 1 %",
        EQUALS,
        lambda recommendation: recommendation.verdict == "equivalent",
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
        lambda recommendation: recommendation.verdict == "nothing-learned",
    ),
    Case(
        "small",
        "inconclusive: the equals, with 6 repetitions, where equals need 10",
        {**EQUALS, "budget": {**SMALL_RACE, "repetitions": 6}},
        lambda recommendation: recommendation.verdict == "undecided",
    ),
    Case(
        "real",
        "not known",
        {
            "models": ["tcn", "gru"],
            "tasks": [{"name": "jsb-chorales", "parameters": 10_000}],
            "budget": {"trials": 1, "repetitions": 10},
            "training": {"updates": 600, "batch_size": 8, "evaluations": 3},
            "search": {"space": {**EASY, "learning_rate_factor": 3.0}},
        },
        None,
    ),
)


def loaded_here() -> Loaded:
    own = EntryPoint(name="real-races", value="real_races", group="harness")
    return load_plugins([*entry_points(group="harness"), own])


def raced(case: Case, loaded: Loaded, runs: Path, *, seed: int) -> tuple[Recommendation, float]:
    """Run a whole race in this process; return its recommendation and the seconds of its trainings."""
    tables = {**case.study, "name": f"{case.name}-{seed}"}
    tables["search"] = {**tables["search"], "seed": seed}
    study = parse_study(tables, source=case.name)

    def train(plan: Plan) -> StudyOutcome:
        runner = Runner(plan, loaded, runs)
        return runner.run(lambda trials: run_serial(trials, Worker(runner.folder, loaded.registry)))

    request = RecommendRequest(make_plan(study, loaded.registry))
    race = begin(request, loaded.registry, runs, slots=1, say=lambda _: None)
    recommendation = RaceDriver(race, race_plan(race, request, loaded.registry), runs, train).run()
    assert recommendation is not None  # no trial is postponed in one process
    results = [entry.result for entry in read_study(runs / study.name).entries() if entry.result is not None]
    return recommendation, sum(result.ended - result.started for result in results)


def show(case: Case, recommendation: Recommendation, seconds: float) -> None:
    right = "" if case.right is None else f" [{'right' if case.right(recommendation) else 'WRONG'}]"
    print(f"## {case.name}\n\nKnown: {case.known}. A real race, {seconds:.0f} s of training{right}.\n")
    print(f"> {brief(recommendation)}\n")
    print("| model | against the leader | P(best) | test mean | repetitions |\n| :-- | --: | --: | --: | --: |")
    for candidate in recommendation.candidates:
        mean = "" if candidate.mean is None else f"{candidate.mean:.4g}"
        probability = chance(candidate.probability)
        print(f"| {candidate.model} | {candidate.place} | {probability} | {mean} | {candidate.repetitions} |")
    print(flush=True)


def count(case: Case, results: Sequence[tuple[Recommendation, float]]) -> str:
    """Return a row of the last table."""
    right = "–" if case.right is None else sum(case.right(recommendation) for recommendation, _ in results)
    verdicts = Counter(recommendation.verdict for recommendation, _ in results)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
    seconds = sum(seconds for _, seconds in results) / len(results)
    return f"| {case.name} | {len(results)} | {right} | {counts} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(case.name for case in CASES))
    parser.add_argument("--races", type=int, default=20, help="races of each case with a known answer")
    given = parser.parse_args()
    torch.set_num_threads(1)
    loaded, rows = loaded_here(), []
    with tempfile.TemporaryDirectory() as scratch:
        for case in [case for case in CASES if case.name in given.only.split(",")]:
            races = 1 if case.right is None else given.races
            results = [raced(case, loaded, Path(scratch), seed=seed) for seed in range(races)]
            show(case, *results[0])
            rows.append(count(case, results))
    print("## How often\n\n| case | races | right | recommendations | seconds of training |")
    print("| :-- | --: | --: | :-- | --: |", *rows, sep="\n")


if __name__ == "__main__":
    main()
