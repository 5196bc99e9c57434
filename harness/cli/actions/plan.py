"""`harness plan`: the cells of a study, their sizes and their cost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.actions.output import print_json
from harness.cli.actions.study_input import load_with_messages
from harness.plugin.process_settings import output_to_stderr
from harness.plugin.registry import plugin_border
from harness.records import Cell
from harness.report.json_text import records
from harness.study.cell_plan import CellPlan
from harness.study.plan import Plan, make_plan
from harness.study.schema import Study
from harness.study.shapes import unmet_shapes
from harness.workflow.formatting import duration_text, params_text, several, widths_text
from harness.workflow.planned import (
    FLOPS_PER_SECOND,
    PlannedTrial,
    cell_seconds,
    epochs_of,
    is_off_budget,
    notes,
    plan_frame,
    planned_trials,
    repetition_notes,
    wall_seconds,
)


def print_plan(study: Study, *, measure: bool) -> None:
    """Print one JSON object per cell: the columns of `harness.Study.plan`."""
    print_json(records(plan_frame(*_planned(study, measure=measure))))


def show_plan(study: Study, draws: int, *, shapes: bool, measure: bool) -> None:
    """Print every cell with its widths, and the cells that are left out.

    draws: configurations per cell.  shapes: also list the shapes that cannot meet the budget.
    measure: time a few updates of each cell for the estimate.
    """
    plan, measured = _planned(study, measure=measure)
    console = Console(width=None if Console().is_terminal else 200)
    table, seconds = _table(plan, draws, measured)
    console.print(table)
    for text in (*notes(plan), *repetition_notes(plan)):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if shapes:
        _show_unmet_shapes(console, plan.cells)
    for left in plan.left_out:
        console.print(f"left out: {left.cell}: {left.reason}", markup=False)
    for reason in dict.fromkeys(plan.missing().values()):
        console.print(f"cannot be trained yet: {reason}", markup=False, soft_wrap=True)
    console.print(_total(plan, seconds, len(measured), measure=measure), markup=False, soft_wrap=True)


def _planned(study: Study, *, measure: bool) -> tuple[Plan, Mapping[Cell, float]]:
    """Return the plan, and the seconds of the cells that were measured; standard error says which could not be."""
    registry = load_with_messages().registry
    plan = make_plan(study, registry)
    if not measure:
        return plan, {}
    from harness.workflow.measured import measure_plan  # imports what training needs

    with output_to_stderr():  # a model or a task that prints must not add lines to the plan
        measured = measure_plan(plan, registry, lambda cell: typer.echo(f"harness: measuring {cell}", err=True))
    for reason in measured.failed.values():
        typer.echo(f"harness: not measured: {reason}; its estimate is from its parameters", err=True)
    return plan, measured.seconds


def _total(plan: Plan, seconds: float, measured: int, *, measure: bool) -> str:
    """Return the sentence about the whole plan.

    seconds: of all trials one after another.  measured: number of cells.
    """
    assumed = f"parameter counts at {FLOPS_PER_SECOND / 1e9:g} GFLOP/s"
    source = several(measured, "measured cell") + (f", others from {assumed}" if measured < len(plan.cells) else "")
    at_most = "at most " if any(cell.training.patience for cell in plan.cells) else ""
    return (
        f"{several(len(plan.cells), 'cell')}, {several(plan.trials(), 'trial')}; estimate from "
        f"{source if measure else assumed}: {at_most}{duration_text(seconds)} one after another"
        + _wall_time(plan, seconds)
        + ("" if measure else "; --measure times each cell instead")
    )


def _wall_time(plan: Plan, seconds: float) -> str:
    """Return what `harness run` takes on the cores of this machine; "" if trials need GPUs."""
    if any(cell.resources.gpu for cell in plan.cells):
        return ""
    cores = os.cpu_count() or 1
    wall = duration_text(wall_seconds(plan, seconds, cores))
    return f"; `harness run` on the {cores} cores of this machine: {wall}, the start of Ray and MLflow included"


def _table(plan: Plan, draws: int, measured: Mapping[Cell, float]) -> tuple[Table, float]:
    """Return the table of the plan and the estimated time of all trials, in seconds.

    measured: seconds of the cells that were measured.
    """
    study = plan.study
    table = Table(title=escape(f"{study.name}: protocol {study.protocol}, {study.search.sampler} search"))
    numbers = (
        "budget",
        "parameters",
        "deviation",
        "without embedding",
        "receptive field / needed",
        "updates (epochs)",
        "trials",
        "estimate",
    )
    for heading in ("task", "model", "widths", *numbers, "first configuration" if draws == 1 else "configuration"):
        table.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    seconds = 0.0
    for cell in plan.cells:
        for index, planned in enumerate(planned_trials(cell, study, draws)):
            first = index == 0
            estimate = measured[cell.cell] if first and cell.cell in measured else cell_seconds(cell, planned)
            table.add_row(*_row(cell, planned, estimate, first=first))
            seconds += estimate if first else 0
    return table, seconds


def _show_unmet_shapes(console: Console, cells: Iterable[CellPlan]) -> None:
    """Print how many shapes of each searched cell meet the budget, and the reasons of those that do not."""
    for cell in cells:
        if cell.facts.parameters is None or cell.setting is not None:
            continue
        with plugin_border(str(cell.cell), *cell.plugins):
            outcome = unmet_shapes(
                cell.model,
                cell.signature,
                cell.space.architecture,
                budget=cell.facts.parameters,
                tolerance=cell.tolerance,
            )
        console.print(
            f"{cell.cell}: {outcome.total - len(outcome.unmet)} of {outcome.total} shapes meet "
            f"{cell.facts.parameters:,} parameters"
            + ("" if outcome.complete else " (only the first shapes of a larger space were tried)"),
            markup=False,
        )
        for shape in outcome.unmet:
            console.print(f"  {params_text(dict(shape.params))}: {shape.reason}", markup=False, soft_wrap=True)


def _row(cell: CellPlan, planned: PlannedTrial, seconds: float, *, first: bool) -> list[str]:
    size, facts = planned.size, cell.facts
    epochs = epochs_of(cell)
    return [
        escape(facts.cell.task) if first else "",
        escape(facts.cell.model) if first else "",
        widths_text(size.widths),
        f"{facts.parameters:,}" if facts.parameters is not None else "as published",
        f"{size.count.parameters:,}",
        f"{size.deviation:+.2%}{' (off budget)' if is_off_budget(cell, size) else ''}",
        f"{size.bare_deviation:+.2%}",
        _receptive_field(cell, planned),
        f"{cell.training.updates:,} ({epochs:.3g})",
        f"{facts.trials} + {facts.repetitions}",
        duration_text(seconds),
        escape(params_text(planned.params)),
    ]


def _receptive_field(cell: CellPlan, planned: PlannedTrial) -> str:
    """Return the receptive field / the steps that the task needs."""
    needed = f"{cell.signature.dependency:,}" if cell.signature.dependency is not None else "unknown"
    if not planned.states_field:
        return f"not stated / {needed}"
    steps = planned.receptive_field
    return f"{'all' if steps is None else f'{steps:,}'} / {needed}"
