"""Read, validate and write study files (TOML); an error names the key at fault."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from harness.errors import StudyError, did_you_mean, fault_text, shown
from harness.study.overrides import apply_assignment, apply_profile, select_models, select_tasks
from harness.study.schema import Study, SuccessiveHalving, known_keys


def read_study_file(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    models: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    profile: str | None = None,
) -> Study:
    """Return the study in a TOML file, changed from the command line in this order.

    profile: name of a set of values, such as `smoke`.  overrides: assignments such as `budget.trials=3`.
    models, tasks: labels or names to keep; None keeps all.  Raises StudyError if the file cannot be read or is invalid.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such file; the shipped ones are in studies/") from error
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"{path}: not a TOML file ({error})") from error
    _change(data, overrides, profile)
    if models is not None:
        data["models"] = select_models(data.get("models"), models)
    if tasks is not None:
        data["tasks"] = select_tasks(data.get("tasks"), tasks, source=str(path))
    return parse_study(data, source=str(path))


def study_of(
    data: dict[str, Any], overrides: Sequence[str], *, profile: str | None = None, updates: int, source: str
) -> Study:
    """Return the study in the tables of a TOML file (hence Any), changed as by `read_study_file`.  Changes `data`.

    updates: of a trial, unless the tables or the changes give updates or epochs.  source: where the tables come from,
    for error messages.
    """
    _change(data, overrides, profile)
    training = data.setdefault("training", {})
    if isinstance(training, dict) and not training.keys() & {"updates", "epochs"}:
        training["updates"] = updates
    return parse_study(data, source=source)


def _change(data: dict[str, Any], overrides: Sequence[str], profile: str | None) -> None:
    if profile is not None:
        apply_profile(data, profile)
    for override in overrides:
        apply_assignment(data, override)


def parse_study(data: Mapping[str, Any], source: str) -> Study:
    """Validate the tables of a TOML file (hence Any).  Raises StudyError with the first fault and its key."""
    tables = _as_tables(data)
    try:
        # Strict: a string in place of a number is an error and is not converted.
        return Study.model_validate(tables, strict=True)
    except ValidationError as error:
        raise StudyError(f"{source}: {_first_fault(error, tables)}") from error


def study_toml(study: Study) -> str:
    """Return the whole study as TOML, defaults included.  Reading the text gives an equal study."""
    whole = study.model_dump(mode="json", by_alias=True)
    # The sections of a task override those of the study, so their defaults must not be written.
    given = study.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return tomli_w.dumps(_without_none({**whole, "models": given["models"], "tasks": given["tasks"]}))


def _first_fault(error: ValidationError, data: Mapping[str, Any]) -> str:
    """Return the key at fault and what is wrong with it.  Unknown keys come first: they may explain a missing key."""
    faults = [
        fault | {"loc": _without_branch(fault["loc"])} for fault in error.errors() if _is_meant(fault["loc"], data)
    ]
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    location = fault["loc"]
    place, given = _place(location, data)
    where = ".".join(map(str, place))
    if len(place) < len(location) and fault["type"] != "missing":
        sizes = given if place[-1] == "parameters" and isinstance(given, list) else []
        items = f"[{', '.join(map(shown, sizes))}]" if sizes else shown(given)
        return f"{where!r} must be {_of_union(place)}, got {items}"
    if place == ("tasks",):
        return f"'tasks' must be a list of tables, each begun with [[tasks]], got {shown(given)}"
    match fault["type"]:
        case "missing":
            return f"{'.'.join(map(str, location))!r} is missing"
        case "extra_forbidden":
            known = known_keys(location)
            return f"unknown key {where!r};{did_you_mean(str(location[-1]), known)} Known: {', '.join(known)}"
        case "string_pattern_mismatch":
            return f"{where!r} is {given!r}; a label has only a-z, 0-9, '.' and '-', and begins with a letter or digit"
    return fault_text(where, given, kind=fault["type"], message=fault["msg"], limits=fault.get("ctx", {}))


def _is_meant(location: tuple[int | str, ...], data: Mapping[str, Any]) -> bool:
    """Return whether a fault is about the branch of a union that was meant: of a table, the record and not a word."""
    place, given = _place(location, data)
    is_word = len(place) < len(location) and location[len(place)] != SuccessiveHalving.__name__
    return not (place == ("search", "pruning") and isinstance(given, dict) and is_word)


def _without_branch(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return a pydantic location without the record among the branches of a union, whose fields follow it."""
    return tuple(part for part in location if part != SuccessiveHalving.__name__)


def _place(location: tuple[int | str, ...], data: Mapping[str, Any]) -> tuple[tuple[int | str, ...], Any]:
    """Return the part of a location that exists in the data, and its value.

    The rest of a pydantic location names branches of a union type.
    """
    value: Any = data
    for depth, part in enumerate(location):
        in_table = isinstance(value, dict) and part in value
        in_list = isinstance(value, list | tuple) and isinstance(part, int)
        if not (in_table or in_list):
            return location[:depth], value
        value = value[part]
    return location, value


def _of_union(place: tuple[int | str, ...]) -> str:
    if "space" in place[:-1]:
        return "a number, a string, true, false, or a list of such values that is not empty"
    if place[-1] == "pruning":
        return '"none" or a table: { kind = "successive-halving", minimum_updates = 200 }'
    if place[-1] == "parameters":
        return '"published", a whole number of at least 1, or a list of different such numbers'
    return "a number, a string, true or false"


def _as_tables(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables with each model name as a table and with tuples for lists, as strict validation requires."""
    shaped = dict(data)
    if isinstance(models := data.get("models"), list):
        shaped["models"] = tuple({"name": entry} if isinstance(entry, str) else entry for entry in models)
    if isinstance(tasks := data.get("tasks"), list):
        shaped["tasks"] = tuple(tasks)
    return shaped


def _without_none(value: Any) -> Any:
    """Drop keys whose value is None, and write None in a list as "none": TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return ["none" if item is None else _without_none(item) for item in value]
    return value
