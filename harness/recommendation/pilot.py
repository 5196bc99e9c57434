"""How fast each model of a study trains here: a few updates of its first configurations."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import StudyError
from harness.execution.trial import Worker
from harness.plugin.registry import Registry
from harness.recommendation.time_budget import Throughput
from harness.records import Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.cell_plan import CellPlan
from harness.study.schema import Search

DRAWS = 3
UPDATES = 20
"""Of each draw, with an evaluation after one half and after the other."""
SECONDS = 20.0
"""After which a draw's pilot ends, whatever its updates."""


def measure(cells: Sequence[CellPlan], search: Search, registry: Registry) -> dict[str, Throughput]:
    """Model → its pace, the mean over its first draws.  One whose draws all fail is taken for the slowest.

    StudyError where no model trains at all.
    """
    found = {cell.cell.model: _pace(cell, search, registry) for cell in cells}
    known = [pace for pace in found.values() if isinstance(pace, Throughput)]
    if not known:
        raise StudyError(f"no model trains: {next(iter(found.values()))}")
    slowest = max(known, key=lambda pace: pace.update_seconds)
    return {model: pace if isinstance(pace, Throughput) else slowest for model, pace in found.items()}


def _pace(cell: CellPlan, search: Search, registry: Registry) -> Throughput | str:
    """Why there is none, where there is none."""
    state = CellState(Proposer(cell, seed=search.seed, sampler=search.sampler), study_id="pilot")
    paces: list[Throughput] = []
    reason = ""
    with tempfile.TemporaryDirectory(prefix="seqharness-pilot-") as folder:
        worker = Worker(Path(folder), registry)
        for number in range(DRAWS):
            trial = state.search_trial(number)
            state.remember(trial)
            one = _timed(worker, trial)
            if isinstance(one, Throughput):
                paces.append(one)
            else:
                reason = f"{cell.cell}: {one}"
    if not paces:
        return reason
    return Throughput(
        update_seconds=sum(pace.update_seconds for pace in paces) / len(paces),
        evaluation_seconds=sum(pace.evaluation_seconds for pace in paces) / len(paces),
        start_seconds=max(pace.start_seconds for pace in paces),  # the first loads data, as every repetition does
    )


def _timed(worker: Worker, trial: Trial) -> Throughput | str:
    short = {"updates": UPDATES, "evaluate_every": UPDATES // 2, "seconds": SECONDS, "patience": None}
    active = worker.start(trial.model_copy(update={"training": trial.training.model_copy(update=short)}), 1)
    begun = time.monotonic()
    while (progress := active.advance(SECONDS)).result is None:
        pass
    wall = time.monotonic() - begun
    run, result = active.run, progress.result
    if run is None or not run.points:
        return f"{result.outcome} ({result.reason})"
    return _pace_of([(point.update, point.seconds) for point in run.points], result, wall)


def _pace_of(points: Sequence[tuple[int, float]], result: TrialResult, wall: float) -> Throughput:
    """points: update → training seconds when it was reached, the evaluations before it included."""
    evaluation = max(result.train_seconds - points[-1][1], 0.0)
    update = points[0][1] / points[0][0]
    if len(points) > 1:  # the first updates are slower: memory is allocated, code is loaded
        (before, then), (after, now) = points[-2:]
        update = max((now - then - evaluation) / (after - before), 0.1 * update)
    start = max(wall - result.train_seconds, 0.0)
    return Throughput(update_seconds=update, evaluation_seconds=evaluation, start_seconds=start)
