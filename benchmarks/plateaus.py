"""For how many updates training stays at the floor of a task before a model solves it.

    python benchmarks/plateaus.py adding --model tcn --length 200 [--updates 5000] [--parameters 20000]

Trains one search trial at the reference learning rate of Adam with gradients clipped at 1, without dropout, in batches
of 32, and prints the first evaluation at which the validation score is better than the floor by a tenth of it.
`Task.plateau` of `adding` and `copy-memory` states what this printed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from harness.execution.trial import Worker
from harness.plugin.loader import load_plugins
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.file import parse_study
from harness.study.plan import make_plan

EVERY = 50
"""Updates between two evaluations."""
SHARE = 0.9
"""Share of the floor that a score has to reach."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--model", required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--updates", type=int, default=5000)
    parser.add_argument("--parameters", type=int, default=20_000)
    arguments = parser.parse_args()
    left = plateau(arguments.task, arguments.model, arguments.length, arguments.updates, arguments.parameters)
    place = f"{arguments.task} T={arguments.length}, {arguments.model}"
    print(f"{place}: at the floor for {arguments.updates} updates" if left is None else f"{place}: {left} updates")
    return 0


def plateau(task: str, model: str, length: int, updates: int, parameters: int) -> int | None:
    """Return the update of the first evaluation below `SHARE` of the floor; None if there is none."""
    space = {"optimizer": "adam", "learning_rate_factor": 1.0, "clip": 1.0, "dropout": 0.0}
    tables: dict[str, Any] = {  # of a study file
        "name": "plateau",
        "models": [model],
        "tasks": [{"name": task, "length": length, "parameters": parameters}],
        "training": {"updates": updates, "batch_size": 32, "evaluations": updates // EVERY},
        "search": {"space": space},
    }
    registry = load_plugins().registry
    (cell,) = make_plan(parse_study(tables, source="plateaus.py"), registry).cells
    trial = CellState(Proposer(cell, seed=0), study_id="plateau").search_trial(0)
    floor = cell.facts.validation_floor
    assert floor is not None, f"{task} states no floor"
    with tempfile.TemporaryDirectory() as folder:
        active = Worker(Path(folder), registry).start(trial, 1)
        while True:
            progress = active.advance(5.0)
            for point in progress.points:
                if point.metrics[cell.facts.metric.name] < SHARE * floor:
                    return point.update
            if progress.result is not None:
                return None


if __name__ == "__main__":
    raise SystemExit(main())
