"""The time that the cells of a plan take, from a few updates of their first configurations on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.execution.trial import WorkerUnusableError
from harness.plugin.process_settings import kept_settings
from harness.plugin.registry import Registry
from harness.recommendation.pilot import cell_throughput, warm_up
from harness.recommendation.time_budget import TEST_EVALUATIONS, Throughput
from harness.records import Cell
from harness.study.cell_plan import CellPlan
from harness.study.plan import Plan
from harness.training.random_state import kept_random_state
from harness.workflow.planned import search_updates

CELL_SECONDS = 60.0
"""Maximum training time of the measurement of a cell; a slow update or evaluation takes its own time beyond it."""


@dataclass
class Measured:
    """The measured time of a plan's cells."""

    seconds: dict[Cell, float] = field(default_factory=dict)
    """Cell → time of all its trials in one process, in seconds."""
    failed: dict[Cell, str] = field(default_factory=dict)
    """Cell → why it could not be measured, beginning with the cell."""


def measure_plan(plan: Plan, registry: Registry, tell: Callable[[Cell], None] = lambda _: None) -> Measured:
    """Train a few updates of each cell, one after another.  Cells without data are not measured.

    The settings and the random state of the process stay as they are.  tell: called with each cell before it is
    measured.
    """
    measured = Measured()
    missing = plan.missing()
    with kept_settings(), kept_random_state():
        for cell in plan.cells:
            if cell.cell in missing:
                continue
            tell(cell.cell)
            throughput = _throughput(cell, plan, registry, first=not measured.seconds)
            if isinstance(throughput, Throughput):
                measured.seconds[cell.cell] = trials_seconds(cell, throughput)
            else:
                measured.failed[cell.cell] = throughput
    return measured


def _throughput(cell: CellPlan, plan: Plan, registry: Registry, *, first: bool) -> Throughput | str:
    """Return the throughput of a cell, or why it could not be measured.  first: none was measured before."""
    search = plan.study.search
    try:
        if first:
            warm_up(cell, search, registry)
        return cell_throughput(cell, search, registry, CELL_SECONDS)
    except (HarnessError, WorkerUnusableError) as error:
        return f"{cell.cell}: {error}"


def trials_seconds(cell: CellPlan, throughput: Throughput) -> float:
    """Return the time of all search and final trials of a cell, in seconds.

    With `training.patience` trials may end earlier.  The search trials share one start: they have the same data.  A
    final trial scores the test split, which counts as `TEST_EVALUATIONS` passes over the validation data.
    """
    training, repetitions = cell.training, cell.facts.repetitions
    evaluations = math.ceil(training.updates / training.evaluate_every)
    seconds = training.updates * throughput.update_seconds + evaluations * throughput.evaluation_seconds
    if training.seconds is not None:
        seconds = min(seconds, training.seconds + throughput.evaluation_seconds)
    trainings = search_updates(cell) / training.updates + repetitions
    starts = min(cell.facts.trials, 1) + repetitions
    tests = repetitions * TEST_EVALUATIONS * throughput.evaluation_seconds
    return starts * throughput.start_seconds + trainings * seconds + tests
