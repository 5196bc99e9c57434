"""The pilot measures how fast a cell trains on this machine, in a few updates of its first configurations."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import StudyError
from harness.execution.trial import Worker
from harness.plugin.registry import Registry
from harness.recommendation.time_budget import Throughput
from harness.records import Point, Trial
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.seeds import Seeds
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

    seconds: time per model.  A slow model takes longer by at most the start, one update and two evaluations; the first
    model is trained for two updates before it is measured.
    A model whose configurations all fail gets the throughput of the median model.  Raises StudyError if every model
    fails.
    """
    warm_up(cells[0], search, registry)
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
    state = _state(cell, search)
    measured: list[Throughput] = []
    reason = ""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="seqharness-pilot-") as folder:
        worker = Worker(Path(folder), registry)
        for number in range(DRAWS):
            left = end - time.monotonic()
            if number > 0 and left <= 0:
                break
            trial = _trial(state, number)
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


def warm_up(cell: CellPlan, search: Search, registry: Registry) -> None:
    """Train two updates of a cell, so that what the first training of a process loads is not measured with it."""
    short = {"updates": 2, "evaluate_every": 2, "evaluation_limit": 1, "seconds": SECONDS, "patience": None}
    with tempfile.TemporaryDirectory(prefix="seqharness-pilot-") as folder:
        trial = _trial(_state(cell, search), 0)
        active = Worker(Path(folder), registry).start(_shortened(trial, short), 1)
        while active.advance(SECONDS).result is None:
            pass


def _state(cell: CellPlan, search: Search) -> CellState:
    return CellState(Proposer(cell, seed=search.seed), study_id="pilot")


def _trial(state: CellState, number: int) -> Trial:
    """Return a search trial, or one of the published setting that leaves the test split closed as well.

    Each has its own order of batches, so that sequences of unequal length are measured on more of them.
    """
    if state.plan.setting is not None:
        return state.final_trial(number).model_copy(update={"phase": "search", "repetition": None})
    trial = state.search_trial(number)
    order = Seeds.of(state.proposer.seed, number).order
    return trial.model_copy(update={"seeds": trial.seeds.model_copy(update={"order": order})})


def _shortened(trial: Trial, short: Mapping[str, object]) -> Trial:
    return trial.model_copy(update={"training": trial.training.model_copy(update=short), "until": None})


def _trial_throughput(worker: Worker, trial: Trial, seconds: float) -> Throughput | str:
    """Train a short version of a trial and return its throughput, or its outcome and reason if it fails."""
    short = {"updates": UPDATES, "evaluate_every": UPDATES // 2, "seconds": seconds, "patience": None}
    active = worker.start(_shortened(trial, short), 1)
    started = time.monotonic()
    while (progress := active.advance(SECONDS)).result is None:
        pass
    wall_seconds = time.monotonic() - started
    run, result = active.run, progress.result
    if run is None or not run.points or result.outcome not in ("complete", "diverged"):
        return f"{result.outcome} ({result.reason})"
    return throughput_of(run.points, result.updates, result.train_seconds, wall_seconds)


def throughput_of(points: Sequence[Point], updates: int, train_seconds: float, wall_seconds: float) -> Throughput:
    """Return the throughput of one training.

    updates, train_seconds: of the whole training, with all evaluations.  wall_seconds: the same and the start.
    """
    last = points[-1]
    update = points[0].seconds / points[0].update
    evaluation = max(train_seconds - last.seconds - (updates - last.update) * update, 0.0)
    if len(points) > 1:
        # The first updates are slower: memory is allocated, code is loaded.
        measured = (last.time - points[-2].time - evaluation) / (last.update - points[-2].update)
        update = max(measured, 0.1 * update)
    return Throughput(
        update_seconds=update, evaluation_seconds=evaluation, start_seconds=max(wall_seconds - train_seconds, 0.0)
    )
