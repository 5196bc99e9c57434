"""What `harness recommend` says where the right answer is known, how long it takes, and how often it is right.

    python benchmarks/real_races.py [--only memory,equal,noise,small,real,sunspots,weather] [--races 10] [--runs FOLDER]

Each data set is raced in this process, `--races` times with other seeds of data, weights, order and search.  The same
command continues an interrupted run.  The two data sets of other packages need `pip install statsmodels vega_datasets`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from statistics import mean

import torch

from harness.data.in_memory import data_file
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
from race_cases import CASES, Case


@dataclass(frozen=True)
class Raced:
    """The answer of a race and its cost."""

    answer: Recommendation
    minutes: float
    """Sum of the times of its trainings, one after another."""

    @property
    def repetitions(self) -> int:
        """Most repetitions of any model."""
        return max(candidate.repetitions for candidate in self.answer.candidates)


def loaded_here() -> Loaded:
    """Return the installed plugins and the tasks of `race_cases`."""
    own = EntryPoint(name="race-cases", value="race_cases", group="harness")
    return load_plugins([*entry_points(group="harness"), own])


def race(case: Case, loaded: Loaded, runs: Path, *, seed: int) -> Raced:
    """Run a whole race in this process, or read it if it has run."""
    tables = {**case.study, "name": f"{case.name}-{seed}"}
    tables["search"] = {**tables["search"], "seed": seed}
    if case.rows is not None:
        path = data_file(case.rows(), runs / "data", case.name)
        tables["tasks"] = [{**tables["tasks"][0], "as": case.name, "data": str(path.resolve())}]
    study = parse_study(tables, source=case.name)

    def train(plan: Plan) -> StudyOutcome:
        runner = Runner(plan, loaded, runs)
        return runner.run(lambda controller: run_serial(controller, Worker(runner.folder, loaded.registry)))

    request = RecommendRequest(make_plan(study, loaded.registry))
    begun = begin(request, loaded.registry, runs, slots=1, say=lambda _: None)
    answer = RaceDriver(begun, race_plan(begun, request, loaded.registry), runs, train).run()
    assert answer is not None  # no trial is postponed in one process
    results = [entry.result for entry in read_study(runs / study.name).entries() if entry.result is not None]
    return Raced(answer, sum(result.ended - result.started for result in results) / 60)


def print_answer(case: Case, raced: Raced) -> None:
    """Print the answer of a race as a user reads it."""
    right = "" if case.right is None else f" [{'right' if case.right(raced.answer) else 'WRONG'}]"
    print(f"## {case.name}\n\n{case.about}. The first race took {raced.minutes:.1f} min of training{right}.\n")
    print(f"> {brief(raced.answer)}\n")
    print("| model | against the leader | P(best) | test mean | repetitions |\n| :-- | --: | --: | --: | --: |")
    learned = raced.answer.verdict != "nothing-learned"
    for candidate in raced.answer.candidates:
        test = "" if candidate.mean is None else f"{candidate.mean:.4g}"
        place, probability = (
            (candidate.place, chance(candidate.probability)) if learned else ("no better than the floor", "–")
        )
        print(f"| {candidate.model} | {place} | {probability} | {test} | {candidate.repetitions} |")
    print(flush=True)


def row(case: Case, races: Sequence[Raced]) -> str:
    """Return a row of the last table: how often each answer was given, and its cost."""
    right = "–" if case.right is None else sum(case.right(raced.answer) for raced in races)
    said = Counter(
        raced.answer.verdict + (f" ({raced.answer.model})" if raced.answer.verdict == "best" else "") for raced in races
    )
    listed = ", ".join(f"{count} {answer}" for answer, count in said.most_common())
    repetitions = [raced.repetitions for raced in races]
    span = f"{mean(repetitions):.1f} ({min(repetitions)} to {max(repetitions)})"
    return f"| {case.name} | {len(races)} | {right} | {listed} | {span} | {mean(r.minutes for r in races):.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(case.name for case in CASES))
    parser.add_argument("--races", type=int, default=10, help="of each case")
    parser.add_argument("--runs", type=Path, default=Path("runs/real-races"), help="ledgers, from which it continues")
    given = parser.parse_args()
    torch.set_num_threads(1)
    loaded, rows = loaded_here(), []
    for case in [case for case in CASES if case.name in given.only.split(",")]:
        races = [race(case, loaded, given.runs, seed=seed) for seed in range(given.races)]
        print_answer(case, races[0])
        rows.append(row(case, races))
    print("## How often\n\n| case | races | right | what was said | repetitions, mean (range) | minutes of training |")
    print("| :-- | --: | --: | :-- | :-- | --: |", *rows, sep="\n")


if __name__ == "__main__":
    main()
