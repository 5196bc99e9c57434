"""`harness plan`, `harness list` and `harness show`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import nn

from harness.api.model import Model, Published
from harness.api.task import Task
from harness.cli.formatting import duration_text, params_text, value_text, widths_text
from harness.cli.run import load_with_messages, say_notes
from harness.data.files import file_status
from harness.errors import StudyError, UnknownNameError, did_you_mean
from harness.plugin.registry import Entry, Registry
from harness.records import ParamValue
from harness.search.scheduler import CellState
from harness.study.budget import Size
from harness.study.plan import CellPlan, make_plan
from harness.study.schema import Study, parse_assignment
from harness.study.space import common_space, describe
from harness.training.network import build_network

FLOPS_PER_PARAMETER = 6
"""Forward and backward, a multiply and an add each, at every step of a sequence."""
FLOPS_PER_SECOND = 3e10
"""What one core is taken to do on networks this small; fast paths and large networks do better."""


@dataclass(frozen=True)
class PlannedTrial:
    """One configuration as it would be trained."""

    params: dict[str, ParamValue]
    size: Size
    receptive_field: str
    seconds: float


def show_plan(study: Study, draws: int) -> None:
    loaded = load_with_messages()
    plan = make_plan(study, loaded.registry)
    console = Console(width=None if Console().is_terminal else 200)
    table = Table(title=escape(f"{study.name}: protocol {study.protocol}, {study.search.sampler} search"))
    right = ("budget", "parameters", "deviation", "bare", "sees / needs", "updates (epochs)", "trials", "estimate")
    for heading in ("task", "model", "widths", *right, "first draw" if draws == 1 else "draw"):
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    total = 0.0
    for cell in plan.cells:
        for index, planned in enumerate(planned_trials(cell, study, draws)):
            table.add_row(*_row(cell, planned, first=index == 0))
            total += cell_seconds(cell, planned) if index == 0 else 0
    console.print(table)
    say_notes(console, plan.cells)
    for left in plan.left_out:
        console.print(f"left out: {left.cell}: {left.reason}", markup=False)
    for reason in dict.fromkeys(plan.missing().values()):
        console.print(f"not at hand: {reason}", markup=False, soft_wrap=True)
    console.print(
        f"{len(plan.cells)} cells, {plan.trials()} trials; roughly {duration_text(total)} of one core at "
        f"{FLOPS_PER_SECOND / 1e9:g} GFLOP/s, from counts alone",
        markup=False,
    )


def planned_trials(cell: CellPlan, study: Study, draws: int) -> Iterator[PlannedTrial]:
    """The published setting, or the first configurations that the search would train."""
    if cell.setting is not None:
        yield _planned(cell, dict(cell.setting.params), cell.published_size())
        return
    state = CellState(cell, study_id="plan", seed=study.search.seed, sampler=study.search.sampler)
    for number in range(draws):
        trial = state.search_trial(number)
        state.remember(trial)
        yield _planned(cell, trial.params, cell.size(trial.build))


def _planned(cell: CellPlan, params: dict[str, ParamValue], size: Size) -> PlannedTrial:
    build = cell.space.build_params(params) if cell.setting is None else params
    with torch.device("meta"):
        backbone = build_network(cell.model, cell.signature, size.widths, build).backbone
    bare = size.count.parameters - size.count.embedding
    steps = cell.training.updates * cell.training.batch_size * cell.signature.length
    seconds = FLOPS_PER_PARAMETER * bare * steps / FLOPS_PER_SECOND
    return PlannedTrial(params, size, _sees(backbone, cell), seconds)


def cell_seconds(cell: CellPlan, planned: PlannedTrial) -> float:
    return planned.seconds * (cell.facts.trials + cell.facts.repetitions)


def _row(cell: CellPlan, planned: PlannedTrial, *, first: bool) -> list[str]:
    size, facts = planned.size, cell.facts
    epochs = cell.training.updates / cell.task.updates_per_epoch(cell.training.batch_size)
    return [
        escape(facts.cell.task) if first else "",
        escape(facts.cell.model) if first else "",
        widths_text(size.widths),
        f"{facts.parameters:,}" if facts.parameters is not None else "as published",
        f"{size.count.parameters:,}",
        f"{size.deviation:+.2%}",
        f"{size.bare_deviation:+.2%}",
        planned.receptive_field,
        f"{cell.training.updates:,} ({epochs:.3g})",
        f"{facts.trials} + {facts.repetitions}",
        duration_text(cell_seconds(cell, planned)),
        escape(params_text(planned.params)),
    ]


def _sees(backbone: nn.Module, cell: CellPlan) -> str:
    needs = f"{cell.signature.dependency:,}" if cell.signature.dependency is not None else "unknown"
    if not hasattr(backbone, "receptive_field"):
        return f"not stated / {needs}"
    sees = backbone.receptive_field
    return f"{'all' if sees is None else f'{sees:,}'} / {needs}"


def show_registry() -> None:
    """Two tables; where nothing is installed, what to install."""
    registry = load_with_messages().registry
    console = Console(width=None if Console().is_terminal else 160)
    if not registry.models and not registry.tasks:
        console.print(
            "No models and no tasks are installed. The paper's own come with: pip install seqharness-models "
            "seqharness-tasks",
            soft_wrap=True,
        )
        return
    console.print(_entries("model", registry.models.values()))
    console.print(_entries("task", registry.tasks.values()))


def _entries(kind: str, entries: Iterable[Entry[Model]] | Iterable[Entry[type[Task]]]) -> Table:
    table = Table()
    for heading in (kind, "plugin", "version", "origin"):
        table.add_column(heading)
    for row in sorted((entry.name, entry.plugin.name, entry.plugin.version, entry.origin) for entry in entries):
        table.add_row(*map(escape, row))
    return table


def show(name: str, options: Sequence[str]) -> None:
    registry = load_with_messages().registry
    if name in registry.tasks:
        given: dict[str, Any] = dict(map(parse_assignment, options))  # whatever was typed: the task validates it
        _show_task(registry.make_task(name, given), registry)
    elif name in registry.models:
        if options:
            raise StudyError(f"show {name}: a model has no options, got {options[0]!r}; a task has")
        _show_model(registry.models[name].value, registry)
    else:
        known = [*registry.tasks, *registry.models]
        raise UnknownNameError(
            f"no task or model {name!r} is installed;{did_you_mean(name, known)} Installed: {', '.join(sorted(known))}"
        )


def _show_task(task: Task, registry: Registry) -> None:
    console, row, metric = Console(), task.published(), task.metric
    lines = [
        headline(task),
        f"  metric      {metric.name} {f'({metric.unit}) ' if metric.unit else ''}{metric.better} is better",
        f"  floor       {'unknown' if task.floor() is None else f'{task.floor():.6g}'} (memoryless or marginal)",
        f"  signature   {task.signature()}",
        f"  training    {task.training_sequences():,} sequences an epoch",
        f"  options     {', '.join(f'{key}={value}' for key, value in task.model_dump().items()) or 'none'}",
    ]
    lines += [f"  note        {note}" for note in task.notes()]
    if row is not None:
        size = f"{row.parameters:,} parameters" if row.parameters is not None else "no size"
        results = ", ".join(f"{model} {value:g}" for model, value in row.results.items()) or "no results"
        lines += [f"  published   {size}; {results}", f"  source      {row.source}"]
        lines += [f"  note        {row.note}"] if row.note else []
    for model in sorted(registry.models):
        found = [registry.models[model].value.published(row) for row in (task.row(), f"{task.row()}/second")]
        settings = [_setting_text(setting) for setting in found if setting is not None]
        lines += [f"  setting     {model}: {text}" for text in settings or ["none published"]]
    for file in task.files():
        lines.append(f"  data        {file.name}: {file_status(file).state}, {file.bytes:,} bytes, {file.source}")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def headline(shown: Task | Model) -> str:
    """Its name and the first line of its class's own docstring, where it has one."""
    first = (vars(type(shown)).get("__doc__") or "").strip().split("\n")[0]
    return f"{shown.name}: {first}" if first else shown.name


def _setting_text(setting: Published) -> str:
    optimisation = setting.optimisation
    parts = [
        f"widths {widths_text(setting.widths)}, {params_text(dict(setting.params))}",
        *([f"embedding {setting.embedding}"] if setting.embedding is not None else []),
        *([f"{'' if setting.tied else 'not '}tied"] if setting.tied is not None else []),
        f"{optimisation.optimizer} {optimisation.learning_rate:g}, clip {value_text(optimisation.clip)}",
        f"{optimisation.schedule.kind} schedule, {optimisation.reduction} of the batch",
        f"batch {setting.batch_size}, {setting.epochs} epochs",
    ]
    assumed = f"; assumed: {', '.join(sorted(setting.assumed))}" if setting.assumed else ""
    return f"{'; '.join(parts)} ({setting.source}{assumed})"


def _show_model(model: Model, registry: Registry) -> None:
    console = Console()
    lines = [headline(model)]
    for task in registry.standing().values():
        space = {**model.space(task.signature()), **common_space(task)}
        dimensions = ", ".join(f"{name} {describe(dimension)}" for name, dimension in space.items())
        lines.append(f"  {task.name}: searches {dimensions}")
        setting = model.published(task.row())
        if setting is not None:
            params = params_text(dict(setting.params))
            lines.append(f"    published {widths_text(setting.widths)}, {params} ({setting.source})")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
