"""The pilot measures how fast a cell trains on this machine, in a few updates of its first configurations."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import StudyError
from harness.execution.trial import Worker
from harness.plugin.registry import Registry
from harness.recommendation.time_budget import Throughput
from harness.records import Trial
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.cell_plan import CellPlan
from harness.study.schema import Search

DRAWS = 3
"""Configurations per model."""
UPDATES = 20
"""Updates per configuration, with an evaluation after each half."""
SECONDS = 20.0
"""Maximum training time of a configuration, in seconds."""


def measure(
    cells: Sequence[CellPlan], search: Search, registry: Registry, seconds: float = math.inf
) -> dict[str, Throughput]:
    """Return model → throughput, the mean over its first configurations.

    seconds: time per model.  A slow model takes longer by at most the start, one update and one evaluation.
    A model whose configurations all fail gets the throughput of the median model.  Raises StudyError if every model
    fails.
    """
    measured = {cell.cell.model: cell_throughput(cell, search, registry, seconds) for cell in cells}
    known = [throughput for throughput in measured.values() if isinstance(throughput, Throughput)]
    if not known:
        raise StudyError(f"no model can be trained: {next(iter(measured.values()))}")
    # Not the slowest: a slow model may be postponed, and the failures are to be reported.
    median = sorted(known, key=lambda throughput: throughput.update_seconds)[(len(known) - 1) // 2]
    return {model: value if isinstance(value, Throughput) else median for model, value in measured.items()}


def cell_throughput(cell: CellPlan, search: Search, registry: Registry, seconds: float) -> Throughput | str:
    """Return the mean throughput of a cell's first configurations, or the reason if all of them fail.

    A cell with a published setting is measured with that.  seconds: as in `measure`.
    """
    state = CellState(Proposer(cell, seed=search.seed), study_id="pilot")
    measured: list[Throughput] = []
    reason = ""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="seqharness-pilot-") as folder:
        worker = Worker(Path(folder), registry)
        for number in range(DRAWS if cell.setting is None else 1):
            left = end - time.monotonic()
            if number > 0 and left <= 0:
                break
            trial = _first_trial(state, number)
            state.remember(trial)
            outcome = _trial_throughput(worker, trial, min(left, SECONDS))
            if isinstance(outcome, Throughput):
                measured.append(outcome)
            else:
                reason = f"{cell.cell}: {outcome}"
    if not measured:
        return reason
    return Throughput(
        update_seconds=sum(throughput.update_seconds for throughput in measured) / len(measured),
        evaluation_seconds=sum(throughput.evaluation_seconds for throughput in measured) / len(measured),
        # The maximum: only the first configuration loads the data, and every repetition loads them.
        start_seconds=max(throughput.start_seconds for throughput in measured),
    )


def _first_trial(state: CellState, number: int) -> Trial:
    """Return a search trial, or one of the published setting that leaves the test split closed as well."""
    if state.plan.setting is None:
        return state.search_trial(number)
    return state.final_trial(0).model_copy(update={"phase": "search", "repetition": None})


def _trial_throughput(worker: Worker, trial: Trial, seconds: float) -> Throughput | str:
    """Train a short version of a trial and return its throughput, or its outcome and reason if it fails."""
    short = {"updates": UPDATES, "evaluate_every": UPDATES // 2, "seconds": seconds, "patience": None}
    shortened = {"training": trial.training.model_copy(update=short), "until": None}
    active = worker.start(trial.model_copy(update=shortened), 1)
    started = time.monotonic()
    while (progress := active.advance(SECONDS)).result is None:
        pass
    wall_seconds = time.monotonic() - started
    run, result = active.run, progress.result
    if run is None or not run.points:
        return f"{result.outcome} ({result.reason})"
    return throughput_of([(point.update, point.seconds) for point in run.points], result.train_seconds, wall_seconds)


def throughput_of(points: Sequence[tuple[int, float]], train_seconds: float, wall_seconds: float) -> Throughput:
    """Return the throughput of one training.

    points: (update, training seconds when it was reached, which include the evaluations before it).
    train_seconds: training time with all evaluations.  wall_seconds: the same and the start.
    """
    evaluation = max(train_seconds - points[-1][1], 0.0)
    update = points[0][1] / points[0][0]
    if len(points) > 1:  # the first updates are slower: memory is allocated, code is loaded
        (first, first_seconds), (last, last_seconds) = points[-2:]
        update = max((last_seconds - first_seconds - evaluation) / (last - first), 0.1 * update)
    start = max(wall_seconds - train_seconds, 0.0)
    return Throughput(update_seconds=update, evaluation_seconds=evaluation, start_seconds=start)
