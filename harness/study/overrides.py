"""Changes to a study from the command line: values, selections and profiles."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import StudyError, did_you_mean
from harness.records import ParamValue
from harness.study.schema import known_keys

PROFILES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "smoke": {
        "budget": {"trials": 1, "repetitions": 1},
        "training": {"seconds": 20.0, "evaluation_limit": 256},
        # One draw a cell, so one that a few updates take below the floor: RMSprop's first steps are ten times its rate.
        "search": {"space": {"optimizer": "adam", "learning_rate_factor": 1.0}},
    }
}
"""Name → what replaces a study's values (of any type, hence Any), its tasks' own included.

smoke: does it run from end to end?  Two trials a cell, bounded by seconds, scored on a part of the held-out data.
"""


def select_models(entries: Any, names: Sequence[str]) -> list[Any]:
    """The study's entries of each label, else of each name; a name it lacks stands for that model, unrestricted."""
    known = entries if isinstance(entries, list) else []
    chosen: list[Any] = []
    for name in names:
        of_label = [entry for entry in known if _label_of(entry) == name]
        of_name = [entry for entry in known if isinstance(entry, dict) and entry.get("name") == name]
        chosen += of_label or of_name or [name]
    return chosen


def select_tasks(entries: Any, names: Sequence[str], source: str) -> list[Any]:
    """The study's entries of these labels, else of these names."""
    known = entries if isinstance(entries, list) else []
    chosen: list[Any] = []
    for name in names:
        of_label = [entry for entry in known if _label_of(entry) == name]
        of_name = [entry for entry in known if _name_of(entry) == name]
        if not (of_label or of_name):
            labels = [str(_label_of(entry)) for entry in known]
            raise StudyError(
                f"{source}: has no task {name!r};{did_you_mean(name, labels)} Its tasks: {', '.join(labels)}"
            )
        chosen += of_label or of_name
    return chosen


def apply_profile(data: dict[str, Any], name: str) -> None:
    """Set the profile's values in the tables of a study file (hence Any), whose name says so."""
    if name not in PROFILES:
        raise StudyError(f"--profile {name!r}:{did_you_mean(name, PROFILES)} Known: {', '.join(PROFILES)}")
    for section, values in PROFILES[name].items():
        if section == "search" and _has_published_settings(data):
            continue  # they have an optimiser and a rate of their own
        own = data.setdefault(section, {})
        if isinstance(own, dict):
            own |= {key: _under(own.get(key), value) for key, value in values.items()}
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


def _under(own: Any, value: Any) -> Any:
    """A profile's value; of a table, what the study does not say itself."""
    if own is None or not isinstance(value, dict):
        return value
    return {**value, **own} if isinstance(own, dict) else own


def parse_value(text: str) -> ParamValue | list[Any]:
    """A value from the command line, written as TOML; a bare word is a string, `none` is no value (hence Any)."""
    if text == "none":
        return None
    try:
        document: dict[str, ParamValue | list[Any]] = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A line break may smuggle in further keys, which would be lost.
    return document["value"] if document.keys() == {"value"} else text


def parse_assignment(text: str) -> tuple[str, ParamValue | list[Any]]:
    """`key=value` → key and value."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyError(f"{text!r}: expected key=value, as budget.trials=3")
    return key.strip(), parse_value(value.strip())


def apply_assignment(data: dict[str, Any], text: str) -> None:
    path, value = parse_assignment(text)
    *parents, last = path.split(".")
    if not all((*parents, last)):
        raise StudyError(f"{text!r}: {path!r} has an empty part; expected key=value, as budget.trials=3")
    place: Any = data
    for index, part in enumerate(parents):
        place = _of_list(place, part, text) if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise StudyError(f"{text!r}: {'.'.join(parents[: index + 1])} is a value, not a table")
    if isinstance(place, list):
        raise StudyError(f"{text!r}: name what to set in it, as tasks.0.length=200")
    if value is None and parents[-1:] == ["space"]:
        place[last] = "none"
    elif value is None and (last in place or last in known_keys((*parents, last))):
        place.pop(last, None)
    else:
        place[last] = value


def _of_list(entries: list[Any], part: str, text: str) -> Any:
    """An entry of [[tasks]] or models by its index, its label or its name."""
    by_label = [index for index, entry in enumerate(entries) if _label_of(entry) == part]
    by_name = [index for index, entry in enumerate(entries) if _name_of(entry) == part]
    by_index = [index for index in range(len(entries)) if part == str(index)]
    found = by_index or by_label or by_name
    if not found:
        raise StudyError(f"{text!r}: there is no entry {part!r}; use its index, from 0, or its name")
    if len(found) > 1:
        raise StudyError(f"{text!r}: {len(found)} entries are called {part!r}; use an index, from 0, or a label")
    if isinstance(entries[found[0]], str):
        entries[found[0]] = {"name": entries[found[0]]}
    return entries[found[0]]


def _name_of(entry: object) -> object:
    return entry.get("name") if isinstance(entry, dict) else entry


def _label_of(entry: object) -> object:
    return entry["as"] if isinstance(entry, dict) and "as" in entry else _name_of(entry)
