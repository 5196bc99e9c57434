"""The time that the cells of a plan take, from a few updates of their first configurations on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.plugin.registry import Registry
from harness.recommendation.pilot import cell_throughput
from harness.recommendation.time_budget import TEST_EVALUATIONS, Throughput
from harness.records import Cell
from harness.study.cell_plan import CellPlan
from harness.study.plan import Plan
from harness.workflow.planned import search_updates

CELL_SECONDS = 60.0
"""Maximum training time of the measurement of a cell; a slow update or evaluation takes its own time beyond it."""


@dataclass
class Measured:
    """The measured time of a plan's cells."""

    seconds: dict[Cell, float] = field(default_factory=dict)
    """Cell → time of all its trials in one process, in seconds."""
    failed: dict[Cell, str] = field(default_factory=dict)
    """Cell → why it could not be measured."""


def measure_plan(plan: Plan, registry: Registry, tell: Callable[[Cell], None] = lambda _: None) -> Measured:
    """Train a few updates of each cell, one after another.  Cells without data are left out.

    tell: called with each cell before it is measured.
    """
    measured = Measured()
    missing = plan.missing()
    for cell in plan.cells:
        if cell.cell in missing:
            continue
        tell(cell.cell)
        throughput = cell_throughput(cell, plan.study.search, registry, CELL_SECONDS)
        if isinstance(throughput, Throughput):
            measured.seconds[cell.cell] = trials_seconds(cell, throughput)
        else:
            measured.failed[cell.cell] = throughput
    return measured


def trials_seconds(cell: CellPlan, throughput: Throughput) -> float:
    """Return the time of all search and final trials of a cell, in seconds.

    A bound: with `training.patience` trials may end earlier.
    """
    facts, training = cell.facts, cell.training
    search = _training_seconds(cell, throughput, search_updates(cell), facts.trials)
    finals = _training_seconds(cell, throughput, facts.repetitions * training.updates, facts.repetitions)
    return search + finals + facts.repetitions * TEST_EVALUATIONS * throughput.evaluation_seconds


def _training_seconds(cell: CellPlan, throughput: Throughput, updates: int, trials: int) -> float:
    """Return the time of trainings of this many updates together, their starts and evaluations included."""
    evaluations = math.ceil(updates / cell.training.evaluate_every)
    training = updates * throughput.update_seconds + evaluations * throughput.evaluation_seconds
    if cell.training.seconds is not None:
        training = min(training, trials * (cell.training.seconds + throughput.evaluation_seconds))
    return trials * throughput.start_seconds + training
