"""Labels of tasks and models; they are unique within a study."""

from __future__ import annotations

from harness.api.task import Task
from harness.errors import StudyError
from harness.records import LONGEST_LABEL, ParamValue
from harness.study.schema import ModelEntry, TaskEntry, label_text


def task_label(entry: TaskEntry, task: Task) -> str:
    """Return the label that the study gives, or the task's name and the options that differ from their defaults."""
    if entry.label is not None:
        return entry.label
    different = sorted(different_options(entry, task).items())
    return "-".join([entry.name, *(f"{label_text(key)}-{label_text(value)}" for key, value in different)])


def different_options(entry: TaskEntry, task: Task) -> dict[str, ParamValue]:
    """Return the options of a task's entry that differ from their defaults."""
    defaults = type(task).model_fields
    return {key: value for key, value in entry.options.items() if value != defaults[key].default}


def default_options(entry: TaskEntry, task: Task) -> dict[str, ParamValue]:
    """Return the options of a task that `different_options` leaves out, as far as they are single values."""
    different = different_options(entry, task)
    return {
        key: value
        for key, value in task.model_dump(mode="json").items()
        if key not in different and (value is None or isinstance(value, bool | int | float | str))
    }


def model_label(entry: ModelEntry) -> str:
    """Return the label that the study gives, or the model's name, its setting and the values that the study fixes."""
    if entry.label is not None:
        return entry.label
    suffix = [] if entry.setting == "searched" else [entry.setting]
    fixed = [f"{label_text(key)}-{label_text(value)}" for key, value in sorted(entry.space.items())]
    return "-".join([entry.name, *suffix, *fixed])


def check_labels(kind: str, labels: list[str]) -> None:
    """Raise StudyError if a label is used twice or is too long.  kind: `task` or `model`."""
    seen: set[str] = set()
    for label in labels:
        if label in seen:
            raise StudyError(f'two {kind}s of the study are labelled {label!r}; give one another label: as = "…"')
        if len(label) > LONGEST_LABEL:
            raise StudyError(
                f'{kind} label {label!r} is longer than {LONGEST_LABEL} characters; give a shorter one: as = "…"'
            )
        seen.add(label)
