"""Make a study from a user-supplied dataset, without a study file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.api.distributions import at_unit
from harness.api.model import Model
from harness.api.task import Task
from harness.errors import StudyError, did_you_mean
from harness.plugin.registry import Entry, Registry, plugin_border
from harness.study.file import study_of
from harness.study.overrides import parse_assignment
from harness.study.schema import Study, label_text
from harness.study.space import cell_space

TRIALS = 10
"""Search trials per model."""
REPETITIONS = 17
"""The number of pairs after which one of nine models is decided that wins every pair; of two models, after 10."""
EPOCHS = 50
LEAST_UPDATES, MOST_UPDATES = 500, 5000
BATCH_SIZE, SMALL_BATCH_SIZE = 32, 16
SMALL_NETWORK, SMALL_NETWORK_TOLERANCE = 10_000, 0.05
"""With fewer parameters than this, one step of a width is often more than the usual tolerance of 1 %."""
SMALL = 20 * BATCH_SIZE
"""With fewer training sequences than this, the batch size is `SMALL_BATCH_SIZE`."""
UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True)
class DataRequest:
    """A user-supplied dataset and the study that is requested on it."""

    data: Path
    parameters: int | tuple[int, ...]
    """Parameter budget of each network; a task per size if there are several."""
    target: str | None = None
    """Value of the task's option `target`."""
    task: str | None = None
    """The task that reads the file; None: the only task that can."""
    models: Sequence[str] | None = None
    """Model names; None: all installed models that can be used."""
    overrides: Sequence[str] = ()
    """Options of the task, such as `sequence=id`, and values of the study, such as `budget.trials=3`."""
    name: str | None = None
    """Name of the study; None: the name of the file."""
    profile: str | None = None


def study_of_file(registry: Registry, request: DataRequest) -> Study:
    """Return a study of models on a user-supplied dataset.

    Unless they are given, batch size and updates follow from the number of training sequences: 50 epochs, at least 500
    and at most 5000 updates.  If the smallest size is below 10,000 parameters, networks may deviate by 5 % from the
    budget, else by 1 %.

    Raises StudyError or UnknownNameError if the request does not fit the task, DataError if the file cannot be used.
    """
    data = request.data
    entry = _reader(registry, data, request.task)
    task_overrides, study_overrides = _split_overrides(request.overrides, entry)
    options = {"data": str(data), **_target(request.target, entry), **dict(map(parse_assignment, task_overrides))}
    task = registry.make_task(entry.name, options)
    with plugin_border(f"--data {data}", entry.plugin):
        batch_size = BATCH_SIZE if task.training_sequences() >= SMALL else SMALL_BATCH_SIZE
        updates = min(max(EPOCHS * task.updates_per_epoch(batch_size), LEAST_UPDATES), MOST_UPDATES)
    sizes = [request.parameters] if isinstance(request.parameters, int) else [*request.parameters]
    label = request.name or label_text(data.stem) or "own-data"
    tables: dict[str, Any] = {  # the tables of a study file
        "name": label,
        "models": list(request.models or usable_models(registry, task)),
        "tasks": [{"name": entry.name, "as": label, "parameters": sizes, **_given_options(task, options)}],
        "budget": {"trials": TRIALS, "repetitions": REPETITIONS, **_tolerance(min(sizes))},
        "training": {"batch_size": batch_size},
    }
    return study_of(tables, study_overrides, profile=request.profile, updates=updates, source=f"--data {data}")


def _tolerance(parameters: int) -> dict[str, float]:
    """Return the tolerance of a budget, if it is not that of every study."""
    return {"tolerance": SMALL_NETWORK_TOLERANCE} if parameters < SMALL_NETWORK else {}


def parse_count(text: str) -> int:
    """Return a number of parameters, given as `50k`, `1.2M` or `50000`.  Raises StudyError if it is none."""
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)([km]?)", text.strip().lower())
    count = float(match[1]) * UNITS[match[2]] if match else 0.0
    if count < 1 or not count.is_integer():
        raise StudyError(f"--budget {text!r}: not a number of parameters; give one, such as 50k, 1.2M or 50000")
    return int(count)


def parse_counts(text: str) -> tuple[int, ...]:
    """Return numbers of parameters, given as `50k` or `5k,20k,80k`, in ascending order.

    Raises StudyError if a part is no such number, if one is given twice, or if the commas may separate thousands.
    """
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", text):
        several = "" if ",0" in text else f" or {text.replace(',', ', ')!r}"
        raise StudyError(f"--budget {text!r}: one number or several? Write {text.replace(',', '')!r}{several}")
    counts = sorted(map(parse_count, text.split(",")))
    twice = next((size for size, following in pairwise(counts) if size == following), None)
    if twice is not None:
        raise StudyError(f"--budget {text!r}: has {twice:,} twice; give each size once")
    return tuple(counts)


def _reader(registry: Registry, data: Path, task: str | None) -> Entry[type[Task]]:
    """Return the task of this name, or the only installed task that reads the file.

    Raises StudyError if the named task takes no file, or if none or several tasks read this one.
    """
    if task is not None:
        entry = registry.task(task)
        if "data" not in entry.value.model_fields:
            raise StudyError(f"--task {task}: has no option 'data' and reads no file; choose another task")
        return entry
    able = [entry for entry in registry.tasks.values() if entry.value.reads(data)]
    if len(able) == 1:
        return able[0]
    if able:
        names = ", ".join(sorted(entry.name for entry in able))
        raise StudyError(f"--data {data}: several tasks read such files ({names}); choose one with --task")
    takers = ", ".join(sorted(entry.name for entry in registry.tasks.values() if "data" in entry.value.model_fields))
    ends = f"that end in {data.suffix!r}" if data.suffix else "without an ending"
    raise StudyError(
        f"--data {data}: no installed task reads files {ends}; if one of the tasks that take a file "
        f"({takers or 'none'}) can read it, name that task: --task NAME, or harness recommend NAME"
    )


def _split_overrides(overrides: Sequence[str], entry: Entry[type[Task]]) -> tuple[list[str], list[str]]:
    """Return the options of the task and the values of the study.  Raises StudyError if a key is neither."""
    parts: tuple[list[str], list[str]] = ([], [])
    options, sections = entry.value.model_fields, Study.model_fields
    for text in overrides:
        key, _ = parse_assignment(text)
        if key not in options and key.partition(".")[0] not in sections:
            hint = did_you_mean(key, (*options, *sections))
            raise StudyError(
                f"-s {text}: {key!r} is neither an option of {entry.name} nor a key of a study file;{hint} Options: "
                f"{', '.join(options)}"
            )
        parts[key not in options].append(text)
    return parts


def _target(target: str | None, entry: Entry[type[Task]]) -> dict[str, Any]:
    if target is None:
        return {}
    if "target" not in entry.value.model_fields:
        raise StudyError(f"--target {target}: task {entry.name} has no option 'target'; leave out --target")
    return {"target": target}


def _given_options(task: Task, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as the task validated them: paths are absolute."""
    return {key: value for key, value in task.model_dump(mode="json").items() if key in options and value is not None}


def usable_models(registry: Registry, task: Task) -> Iterator[str]:
    """Yield the names of the installed models that support the task at the middle of their search space."""
    for name, entry in sorted(registry.models.items()):
        with plugin_border(f"model {name!r}", entry.plugin):
            if _unsupported(task, entry.value) is None:
                yield name


def _unsupported(task: Task, model: Model) -> str | None:
    signature = task.signature()
    space = cell_space(task, model, signature, shared={}, own={}, where=f"model {model.name!r}")
    example = {name: at_unit(dimension, 0.5) for name, dimension in space.dimensions.items()}
    return model.unsupported(signature, **space.build_params(example))
