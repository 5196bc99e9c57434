"""`harness list` and `harness show`: the installed plugins, and the facts of a task or a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.api.model import Model, Published
from harness.api.task import Task
from harness.cli.actions.facts import model_facts, task_facts
from harness.cli.actions.output import print_json
from harness.cli.actions.study_input import load_with_messages
from harness.data.files import file_status
from harness.errors import StudyError, UnknownNameError, did_you_mean
from harness.plugin.registry import Entry, Registry
from harness.study.overrides import parse_assignment
from harness.study.space import common_space, describe
from harness.workflow.formatting import params_text, value_text, widths_text


def show_registry(*, as_json: bool) -> None:
    """Print tables of models, tasks and samplers, or what to install if there is nothing."""
    registry = load_with_messages().registry
    if as_json:
        entries: dict[str, Iterable[Entry[Any]]] = {
            "model": registry.models.values(),
            "task": registry.tasks.values(),
            "sampler": registry.samplers.values(),
        }
        print_json([{"kind": kind, **_facts(entry)} for kind, known in entries.items() for entry in known])
        return
    console = Console(width=None if Console().is_terminal else 160)
    if not registry.models and not registry.tasks:
        console.print(
            "No models and no tasks are installed. Install those of the paper with: pip install seqharness-models "
            "seqharness-tasks",
            soft_wrap=True,
        )
        return
    console.print(_entries("model", registry.models.values()))
    console.print(_entries("task", registry.tasks.values()))
    console.print(_entries("sampler", registry.samplers.values()))


def _facts(entry: Entry[Any]) -> dict[str, str]:  # of a model, a task or a sampler
    plugin = entry.plugin
    return {"name": entry.name, "plugin": plugin.name, "version": plugin.version, "origin": entry.origin}


def _entries(kind: str, entries: Iterable[Entry[Any]]) -> Table:  # of models, tasks or samplers
    table = Table()
    for heading in (kind, "plugin", "version", "origin"):
        table.add_column(heading)
    for row in sorted(tuple(_facts(entry).values()) for entry in entries):
        table.add_row(*map(escape, row))
    return table


def show(name: str, options: Sequence[str], *, as_json: bool) -> None:
    """Print the facts of a task with these options, or of a model.

    Raises UnknownNameError if neither is installed, StudyError if options are given for a model.
    """
    registry = load_with_messages().registry
    if name in registry.tasks:
        given: dict[str, Any] = dict(map(parse_assignment, options))  # whatever was typed: the task validates it
        task = registry.make_task(name, given)
        print_json(task_facts(task, registry)) if as_json else _show_task(task, registry)
    elif name in registry.models:
        if options:
            raise StudyError(f"show {name}: a model has no options, got {options[0]!r}; leave it out")
        model = registry.models[name].value
        print_json(model_facts(model, registry)) if as_json else _show_model(model, registry)
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
        f"  training    {task.training_sequences():,} sequences per epoch",
        f"  options     {', '.join(f'{key}={value}' for key, value in task.model_dump().items()) or 'none'}",
    ]
    lines += [f"  note        {note}" for note in task.notes()]
    if row is not None:
        size = f"{row.parameters:,} parameters" if row.parameters is not None else "no size"
        results = ", ".join(f"{model} {value:g}" for model, value in row.results.items()) or "no results"
        lines += [f"  published   {size}; {results}", f"  source      {row.source}"]
        lines += [f"  note        {row.note}"] if row.note else []
    for model in sorted(registry.models):
        published = [registry.models[model].value.published(row) for row in (task.row(), f"{task.row()}/second")]
        settings = [_setting_text(setting) for setting in published if setting is not None]
        lines += [f"  setting     {model}: {text}" for text in settings or ["none published"]]
    for file in task.files():
        lines.append(f"  data        {file.name}: {file_status(file).state}, {file.bytes:,} bytes, {file.source}")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def headline(shown: Task | Model) -> str:
    """Return the name and, if the class itself has a docstring, its first line."""
    first = (vars(type(shown)).get("__doc__") or "").strip().split("\n")[0]
    return f"{shown.name}: {first}" if first else shown.name


def _setting_text(setting: Published) -> str:
    optimisation = setting.optimisation
    parts = [
        f"widths {widths_text(setting.widths)}, {params_text(dict(setting.params))}",
        *([f"embedding {setting.embedding}"] if setting.embedding is not None else []),
        *([f"embedding dropout {setting.embedding_dropout:g}"] if setting.embedding_dropout is not None else []),
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
    for task in registry.default_tasks().values():
        space = {**model.space(task.signature()), **common_space(task)}
        dimensions = ", ".join(f"{name} {describe(dimension)}" for name, dimension in space.items())
        lines.append(f"  {task.name}: searches {dimensions}")
        setting = model.published(task.row())
        if setting is not None:
            params = params_text(dict(setting.params))
            lines.append(f"    published {widths_text(setting.widths)}, {params} ({setting.source})")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
