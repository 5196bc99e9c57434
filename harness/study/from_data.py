"""A file of the user's → a study on it, for someone who has data and no study file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.api.model import Model
from harness.api.task import Task
from harness.errors import StudyError, did_you_mean
from harness.plugin.registry import Entry, Registry, plugin_border
from harness.study.file import study_of
from harness.study.overrides import parse_assignment
from harness.study.schema import Study, label_text
from harness.study.space import at_unit, cell_space

TRIALS = 10
REPETITIONS = 10
"""As many pairs as a report needs to decide."""
EPOCHS = 50
LEAST_UPDATES, MOST_UPDATES = 500, 5000
BATCH_SIZE, SMALL_BATCH_SIZE = 32, 16
SMALL = 20 * BATCH_SIZE
"""Training sequences, below which a batch is the small one."""
UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def study_of_file(
    registry: Registry,
    data: Path,
    *,
    parameters: int,
    target: str | None = None,
    task: str | None = None,
    models: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    name: str | None = None,
    profile: str | None = None,
) -> Study:
    """All installed models that can serve, or `models`, on the user's file at a budget of `parameters`.

    target: option of that name, where the task has one.  task: which of those that read the file.  name: of the study,
    else the file's.  overrides: options of the task, `sequence=id`, and values of the study, `budget.trials=3`.
    Batch and length follow from how many sequences train: 50 epochs, between 500 and 5000 updates.
    """
    entry = _reader(registry, data, task)
    own, others = _parted(overrides, entry)
    options = {"data": str(data), **_target(target, entry), **dict(map(parse_assignment, own))}
    made = registry.make_task(entry.name, options)
    with plugin_border(f"--data {data}", entry.plugin):
        batch_size = BATCH_SIZE if made.training_sequences() >= SMALL else SMALL_BATCH_SIZE
        updates = min(max(EPOCHS * made.updates_per_epoch(batch_size), LEAST_UPDATES), MOST_UPDATES)
    label = name or label_text(data.stem) or "own-data"
    tables: dict[str, Any] = {  # as a study file has them
        "name": label,
        "models": list(models or that_serve(registry, made)),
        "tasks": [{"name": entry.name, "as": label, "parameters": parameters, **_written(made, options)}],
        "budget": {"trials": TRIALS, "repetitions": REPETITIONS},
        "training": {"updates": updates, "batch_size": batch_size},
    }
    return study_of(tables, others, profile=profile, source=f"--data {data}")


def parse_count(text: str) -> int:
    """`50k`, `1.2M` or `50000` parameters."""
    found = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)([km]?)", text.strip().lower())
    count = float(found[1]) * UNITS[found[2]] if found else 0.0
    if count < 1 or not count.is_integer():
        raise StudyError(f"--budget {text!r}: give the parameters of each network, as 50k, 1.2M or 50000")
    return int(count)


def _reader(registry: Registry, data: Path, task: str | None) -> Entry[type[Task]]:
    """The task that is named, or the one that reads the file."""
    if task is not None:
        entry = registry.task(task)
        if "data" not in entry.value.model_fields:
            raise StudyError(f"--task {task}: has no option 'data', so it takes no file of yours")
        return entry
    able = [entry for entry in registry.tasks.values() if entry.value.reads(data)]
    if len(able) == 1:
        return able[0]
    if able:
        names = ", ".join(sorted(entry.name for entry in able))
        raise StudyError(f"--data {data}: {names} read such files; choose with --task")
    takers = ", ".join(sorted(entry.name for entry in registry.tasks.values() if "data" in entry.value.model_fields))
    ends = f"that end in {data.suffix!r}" if data.suffix else "without an ending"
    raise StudyError(
        f"--data {data}: no installed task reads files {ends}; if one that takes a file can ({takers or 'none'}), name "
        "it: --task NAME, or harness recommend NAME"
    )


def _parted(overrides: Sequence[str], entry: Entry[type[Task]]) -> tuple[list[str], list[str]]:
    """Options of the task, and values of the study."""
    parts: tuple[list[str], list[str]] = ([], [])
    options, sections = entry.value.model_fields, Study.model_fields
    for text in overrides:
        key, _ = parse_assignment(text)
        if key not in options and key.partition(".")[0] not in sections:
            hint = did_you_mean(key, (*options, *sections))
            raise StudyError(
                f"-s {text}: {key!r} is no option of {entry.name} and no value of a study;{hint} Options: "
                f"{', '.join(options)}"
            )
        parts[key not in options].append(text)
    return parts


def _target(target: str | None, entry: Entry[type[Task]]) -> dict[str, Any]:
    if target is None:
        return {}
    if "target" not in entry.value.model_fields:
        raise StudyError(f"--target {target}: {entry.name} has no target to choose; leave it out")
    return {"target": target}


def _written(made: Task, options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as the task has them: paths are whole."""
    return {key: value for key, value in made.model_dump(mode="json").items() if key in options and value is not None}


def that_serve(registry: Registry, task: Task) -> Iterator[str]:
    """Installed models, but those that say of a middling configuration that they cannot serve."""
    for name, entry in sorted(registry.models.items()):
        with plugin_border(f"model {name!r}", entry.plugin):
            if _unsupported(task, entry.value) is None:
                yield name


def _unsupported(task: Task, model: Model) -> str | None:
    signature = task.signature()
    space = cell_space(task, model, signature, shared={}, own={}, where=f"model {model.name!r}")
    example = {name: at_unit(dimension, 0.5) for name, dimension in space.dimensions.items()}
    return model.unsupported(signature, **space.build_params(example))
