"""What a study would train: the first configurations of each cell, their sizes and their cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from harness.analysis.sign_test import fewest_pairs
from harness.halving import describe, total_updates
from harness.plugin.registry import plugin_border
from harness.records import Cell, ParamValue
from harness.report.columns import CELL, Column, Values, to_frame
from harness.samplers import COMPLETE_ONLY
from harness.search.proposals import Proposer
from harness.study.budget import Size
from harness.study.cell_plan import CellPlan
from harness.study.plan import Plan
from harness.study.schema import Study, SuccessiveHalving
from harness.training.network import build_network, on_meta_device

FLOPS_PER_PARAMETER = 6
"""Operations per parameter and step of a sequence: a multiply and an add, forward and backward."""
FLOPS_PER_SECOND = 3e10
"""Assumed speed of one core on networks this small.  Fast paths and large networks are faster."""
RAY_AND_MLFLOW_SECONDS = 23.0
"""Time of a run outside training: `study` in benchmarks/results/overhead.md, forty trials on two cores."""

COLUMNS = {
    **CELL,
    "setting": Column("string", "searched or published"),
    "reason": Column("string", "why the cell cannot be trained; missing if it can"),
    "budget": Column("Int64", "parameter budget; missing under protocol paper"),
    "widths": Column("string", "first configuration: width of each level, separated by spaces"),
    "parameters": Column("Int64", "trainable parameters of the whole network"),
    "deviation_percent": Column("Float64", "deviation from the budget, in percent"),
    "bare_deviation_percent": Column("Float64", "the same without the embedding"),
    "off_budget": Column("boolean", "whether it deviates by more than budget.tolerance; false under protocol paper"),
    "receptive_field": Column("Int64", "in steps; missing if unlimited or not stated"),
    "dependency": Column("Int64", "steps that the task needs; missing if unknown"),
    "updates": Column("Int64", "updates of one trial"),
    "epochs": Column("Float64", "passes over the training split of one trial"),
    "trials": Column("Int64", "search trials"),
    "search_updates": Column("Int64", "updates of all search trials together"),
    "plateau": Column("Int64", "updates for which training is known to stay at the floor; missing if unknown"),
    "repetitions": Column("Int64", "final trials"),
    "seconds": Column("Float64", "estimated training of all trials one after another, in seconds"),
    "measured": Column("boolean", "whether `seconds` is from updates on this machine; false: from parameter counts"),
}
"""Of the frame of a plan; after them `params.<dimension>` of the first configuration."""


@dataclass(frozen=True)
class PlannedTrial:
    """One configuration as it would be trained."""

    params: dict[str, ParamValue]
    size: Size
    receptive_field: int | None
    """In steps; None if it is unlimited or not stated."""
    states_field: bool
    """Whether the backbone states its receptive field."""
    seconds: float
    """Estimated training time."""


def notes(plan: Plan) -> list[str]:
    """Return what the tasks of a plan say about their data, and what pruning does on each of them."""
    tasks = {cell.cell.task: cell.task for cell in plan.cells}
    searched = {cell.cell.task: cell for cell in plan.cells if cell.setting is None}
    of_data = [f"{label}: {note}" for label, task in tasks.items() for note in task.notes()]
    pruning = plan.study.search.pruning
    if pruning == "none":
        return of_data
    return [
        *of_data,
        *(f"{label}: {note}" for label, cell in searched.items() for note in pruning_notes(cell, pruning)),
    ]


def repetition_notes(plan: Plan) -> list[str]:
    """Return that no comparison of the models of a task can be decided with so few repetitions, once per number."""
    repetitions = plan.study.budget.repetitions
    searched = [cell for cell in plan.cells if cell.setting is None]
    found = []
    for task in dict.fromkeys(cell.cell.task for cell in searched):
        cells = [cell for cell in searched if cell.cell.task == task]
        fewest = 0 if len(cells) < 2 else fewest_pairs(len(cells), equivalence=cells[0].facts.metric.margin > 0)
        if repetitions < fewest:
            found.append(
                f"budget.repetitions = {repetitions} decides no comparison of {len(cells)} models; one that wins every "
                f"pair is decided after {fewest}"
            )
    return list(dict.fromkeys(found))


def pruning_notes(cell: CellPlan, pruning: SuccessiveHalving) -> list[str]:
    """Return the rungs of a cell, and a warning if the task is known to stay at the floor beyond the first one."""
    rungs, plateau = cell.facts.rungs, cell.task.plateau()
    if not rungs:
        return [f"search.pruning prunes no trial: {_why_none_is_pruned(cell, pruning)}"]
    said = [f"successive halving in every cell: {describe(rungs)}"]
    if cell.sampler.value in COMPLETE_ONLY:
        said.append(
            f"sampler {cell.sampler.name!r} learns nothing: it reads complete trials alone, and every configuration is "
            "drawn before a trial is complete; use tpe"
        )
    first = rungs[0].updates
    if plateau is not None and plateau.updates >= first:
        said.append(
            f"pruning is unsafe: training is known to stay at the floor for {plateau.updates:,} updates, "
            f"{plateau.updates - first:,} more than the first rung of {first:,} ({plateau.source}); set "
            f'search.pruning.minimum_updates above {plateau.updates:,}, or pruning = "none"'
        )
    return said


def _why_none_is_pruned(cell: CellPlan, pruning: SuccessiveHalving) -> str:
    updates, every = cell.training.updates, cell.training.evaluate_every
    if updates / pruning.reduction < pruning.minimum_updates:
        return (
            f"the first rung would be {updates:,} / {pruning.reduction} updates, fewer than "
            f"minimum_updates = {pruning.minimum_updates:,}"
        )
    if every >= updates:
        return f"there is no evaluation before the end, at {updates:,} updates; raise training.evaluations"
    return "budget.trials is too small for more than one trial in the first rung"


def search_updates(cell: CellPlan) -> int:
    """Return the updates of all search trials of a cell together."""
    facts = cell.facts
    return total_updates(facts.rungs) if facts.rungs else facts.trials * cell.training.updates


def planned_trials(cell: CellPlan, study: Study, draws: int) -> Iterator[PlannedTrial]:
    """Yield the published setting, or the first configurations that the search would train."""
    if cell.setting is not None:
        yield _planned(cell, dict(cell.setting.params), cell.published_size())
        return
    for proposal in Proposer(cell, seed=study.search.seed).first(draws):
        yield _planned(cell, dict(proposal.params), proposal.size)


def _planned(cell: CellPlan, params: dict[str, ParamValue], size: Size) -> PlannedTrial:
    build = cell.space.build_params(params) if cell.setting is None else params
    with on_meta_device():
        backbone = build_network(cell.model, cell.signature, size.widths, build).backbone
    bare = size.count.parameters - size.count.embedding
    steps = cell.training.updates * cell.training.batch_size * cell.signature.length
    seconds = FLOPS_PER_PARAMETER * bare * steps / FLOPS_PER_SECOND
    field = getattr(backbone, "receptive_field", None)
    return PlannedTrial(params, size, field, hasattr(backbone, "receptive_field"), seconds)


def is_off_budget(cell: CellPlan, size: Size) -> bool:
    """Return whether a size deviates from the cell's budget by more than the tolerance; never under `paper`."""
    return cell.facts.parameters is not None and abs(size.bare_deviation) > cell.tolerance


def cell_seconds(cell: CellPlan, planned: PlannedTrial) -> float:
    """Return the estimated time of all trials of a cell, in seconds."""
    return planned.seconds * (search_updates(cell) / cell.training.updates + cell.facts.repetitions)


def wall_seconds(plan: Plan, training: float, cores: int) -> float:
    """Return the estimated time of `harness run` on one machine, start and end included.

    training: of all trials on one core, in seconds.  cores: of the machine.  Trials of a GPU are not considered.
    """
    per_trial = max((cell.resources.cpu for cell in plan.cells), default=1)
    # Trials of less than a core each share the cores: together they train no faster than the cores do.
    workers = max(1, min(int(cores / per_trial), cores, plan.trials()))
    return training / workers + RAY_AND_MLFLOW_SECONDS


def epochs_of(cell: CellPlan) -> float:
    """Return the passes over the training split of one trial."""
    return cell.training.updates / cell.task.updates_per_epoch(cell.training.batch_size)


def plan_frame(plan: Plan, measured: Mapping[Cell, float] = MappingProxyType({})) -> pd.DataFrame:
    """Return one row per cell: `COLUMNS`, and `params.<dimension>` of the first configuration.

    measured: seconds of cells, in place of the estimate from parameter counts.
    """
    missing = plan.missing()
    planned = [
        {**_line(cell, plan.study, measured.get(cell.cell)), "reason": missing.get(cell.cell)} for cell in plan.cells
    ]
    left: list[Values] = [
        {"task": out.cell.task, "model": out.cell.model, "reason": out.reason} for out in plan.left_out
    ]
    return to_frame([*planned, *left], COLUMNS)


def _line(cell: CellPlan, study: Study, measured: float | None) -> Values:
    with plugin_border(str(cell.cell), *cell.plugins):
        first, plateau = next(planned_trials(cell, study, 1)), cell.task.plateau()
    return {
        "task": cell.cell.task,
        "model": cell.cell.model,
        "setting": cell.facts.setting,
        "budget": cell.facts.parameters,
        "widths": " ".join(map(str, first.size.widths)),
        "parameters": first.size.count.parameters,
        "deviation_percent": 100 * first.size.deviation,
        "bare_deviation_percent": 100 * first.size.bare_deviation,
        "off_budget": is_off_budget(cell, first.size),
        "receptive_field": first.receptive_field,
        "dependency": cell.signature.dependency,
        "updates": cell.training.updates,
        "epochs": epochs_of(cell),
        "trials": cell.facts.trials,
        "search_updates": search_updates(cell),
        "plateau": plateau.updates if plateau is not None else None,
        "repetitions": cell.facts.repetitions,
        "seconds": cell_seconds(cell, first) if measured is None else measured,
        "measured": measured is not None,
        **{f"params.{name}": value for name, value in first.params.items()},
    }
