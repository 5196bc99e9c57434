"""Changes to a study from the command line: values, selections and profiles."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import StudyError, did_you_mean
from harness.records import ParamValue
from harness.study.schema import TaskEntry, known_keys, size_text

PROFILES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "smoke": {
        "budget": {"trials": 1, "repetitions": 1},
        "training": {"seconds": 20.0, "evaluation_limit": 256},
        # A cell has one configuration here, so it must learn in few updates.  RMSprop's first steps are ten times its
        # learning rate.
        "search": {"space": {"optimizer": "adam", "learning_rate_factor": 1.0}},
    }
}
"""Profile → section → key → value (of any type, hence Any).  They replace those of the study and of its tasks.

smoke: check that a study runs from end to end.  Two trials per cell, limited in seconds, scored on a part of the
held-out data.
"""


_WITHOUT_OPTIONS = TaskEntry.model_fields.keys()
"""Keys of a task's entry that are no options of the task."""


def select_models(entries: Any, names: Sequence[str]) -> list[Any]:
    """Return the study's entries with these labels or, if no label matches, these names.

    A name that the study does not have adds that model with its whole space.
    """
    known = entries if isinstance(entries, list) else []
    chosen: list[Any] = []
    for name in names:
        of_label = [entry for entry in known if _label_of(entry) == name]
        of_name = [entry for entry in known if isinstance(entry, dict) and entry.get("name") == name]
        chosen += of_label or of_name or [name]
    return chosen


def select_tasks(entries: Any, names: Sequence[str], source: str) -> list[Any]:
    """Return the study's entries with these labels or, if no label matches, these names.

    The label of one size of a list, such as adding-5k, selects that size.  Raises StudyError if the study has no such
    task.
    """
    known = entries if isinstance(entries, list) else []
    sized = [at_size for entry in known for at_size in _sizes_of(entry)]
    chosen: list[Any] = []
    for name in names:
        of_label = [entry for entry in [*known, *sized] if _label_of(entry) == name]
        of_name = [entry for entry in known if _name_of(entry) == name]
        if not (of_label or of_name):
            labels = [str(_label_of(entry)) for entry in [*known, *sized]]
            raise StudyError(
                f"{source}: has no task {name!r};{did_you_mean(name, labels)} Its tasks: {', '.join(labels)}"
            )
        chosen += of_label or of_name
    return chosen


def _sizes_of(entry: object) -> list[dict[str, Any]]:
    """Return a task's entry (of any type, hence Any) at each size of its list, with the label that a plan gives it.

    Empty if the label depends on which options differ from their defaults, which only the task knows.
    """
    if not isinstance(entry, dict) or ("as" not in entry and not entry.keys() <= _WITHOUT_OPTIONS):
        return []
    sizes = entry.get("parameters")
    numbers = sizes if isinstance(sizes, list) and all(type(size) is int for size in sizes) else []
    return [entry | {"parameters": size, "as": f"{_label_of(entry)}-{size_text(size)}"} for size in numbers]


def apply_profile(data: dict[str, Any], name: str) -> None:
    """Set the profile's values in the tables of a study file (hence Any), and append the profile to its name."""
    if name not in PROFILES:
        raise StudyError(f"--profile {name!r}:{did_you_mean(name, PROFILES)} Known: {', '.join(PROFILES)}")
    for section, values in PROFILES[name].items():
        if section == "search" and _has_published_settings(data):
            continue  # they have their own optimiser and learning rate
        table = data.setdefault(section, {})
        if isinstance(table, dict):
            table |= {key: _merged(table.get(key), value) for key, value in values.items()}
    tasks = data.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        if isinstance(task, dict) and isinstance(task.get("training"), dict):
            task["training"] = {k: v for k, v in task["training"].items() if k not in PROFILES[name]["training"]}
    if "name" in data:
        data["name"] = f"{data['name']}-{name}"


def _has_published_settings(data: Mapping[str, Any]) -> bool:
    models = data.get("models")
    entries = [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []
    return data.get("protocol") == "paper" or any(entry.get("setting", "searched") != "searched" for entry in entries)


def _merged(given: Any, value: Any) -> Any:
    """Return a profile's value; if it is a table, the study's own keys take precedence."""
    if given is None or not isinstance(value, dict):
        return value
    return {**value, **given} if isinstance(given, dict) else given


def parse_value(text: str) -> ParamValue | list[Any]:
    """Return a value of the command line, written as TOML (hence Any).  A bare word is a string, `none` is None."""
    if text == "none":
        return None
    try:
        document: dict[str, ParamValue | list[Any]] = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A value with a line break may hold further keys.  They would be ignored, so the text is taken as a string.
    return document["value"] if document.keys() == {"value"} else text


def parse_assignment(text: str) -> tuple[str, ParamValue | list[Any]]:
    """Split `key=value`.  Raises StudyError if there is no key or no equals sign."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyError(f"{text!r}: expected key=value, such as budget.trials=3")
    return key.strip(), parse_value(value.strip())


def apply_assignment(data: dict[str, Any], text: str) -> None:
    """Set one value, such as `budget.trials=3`, in the tables of a study file (hence Any).

    Raises StudyError if the path leads through a value, or through a list to no entry.
    """
    path, value = parse_assignment(text)
    *parents, last = path.split(".")
    if not all((*parents, last)):
        raise StudyError(f"{text!r}: {path!r} has an empty part; expected key=value, such as budget.trials=3")
    table: Any = data
    for index, part in enumerate(parents):
        table = _list_entry(table, part, text) if isinstance(table, list) else table.setdefault(part, {})
        if not isinstance(table, dict | list):
            raise StudyError(f"{text!r}: {'.'.join(parents[: index + 1])} is a value, not a table; leave out the rest")
    if isinstance(table, list):
        raise StudyError(f"{text!r}: {'.'.join(parents)} is a list; name an entry and a key, as tasks.0.length=200")
    if value is None and parents[-1:] == ["space"]:
        table[last] = "none"
    elif value is None and (last in table or last in known_keys((*parents, last))):
        table.pop(last, None)
    else:
        table[last] = value


def _list_entry(entries: list[Any], part: str, text: str) -> Any:
    """Return an entry of `tasks` or `models` by its index, its label or its name.  text: the whole assignment."""
    by_label = [index for index, entry in enumerate(entries) if _label_of(entry) == part]
    by_name = [index for index, entry in enumerate(entries) if _name_of(entry) == part]
    by_index = [index for index in range(len(entries)) if part == str(index)]
    matches = by_index or by_label or by_name
    if not matches:
        raise StudyError(f"{text!r}: there is no entry {part!r}; use its index, from 0, or its name")
    if len(matches) > 1:
        raise StudyError(f"{text!r}: {len(matches)} entries are called {part!r}; use an index, from 0, or a label")
    if isinstance(entries[matches[0]], str):
        entries[matches[0]] = {"name": entries[matches[0]]}
    return entries[matches[0]]


def _name_of(entry: object) -> object:
    return entry.get("name") if isinstance(entry, dict) else entry


def _label_of(entry: object) -> object:
    return entry["as"] if isinstance(entry, dict) and "as" in entry else _name_of(entry)
