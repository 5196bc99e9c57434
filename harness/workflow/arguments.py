"""Values that Python callers give, converted to those that a study file can hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tomli_w

from harness.api.task import Task
from harness.errors import StudyError, shown


def plain(value: Any, source: str, key: str = "") -> Any:  # values of a study file
    """Return the value as a study file holds it: NumPy's numbers and arrays as Python's, paths as strings.

    source, key: where the value comes from, for the message.  Raises StudyError if no study file can hold it.
    """
    if hasattr(value, "tolist") and not isinstance(value, type):  # of NumPy, pandas or PyTorch
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        return {_name(name, source, key): plain(item, source, _below(key, name)) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item, source, _below(key, place)) for place, item in enumerate(value)]
    raise StudyError(
        f"{source}: {key!r} is of type {type(value).__qualname__}; give a number, a string, true or false, a path, or "
        "a list or table of these"
    )


def _name(name: object, source: str, key: str) -> str:
    if not isinstance(name, str):
        raise StudyError(f"{source}: {_below(key, name)!r} ends in a key that is no string; write {str(name)!r}")
    return str(name)


def _below(key: str, part: object) -> str:
    return f"{key}.{part}" if key else str(part)


def listed(value: Any, source: str, key: str) -> list[Any]:  # entries of any type
    """Return the entries of a list.  Raises StudyError for a single entry, whose letters or keys are no entries."""
    if isinstance(value, str | Mapping | Task) or not isinstance(value, Iterable):
        given = repr(value) if isinstance(value, str) else "…"
        raise StudyError(f"{source}: {key!r} must be a list, got {shown(value)}; write [{given}]")
    return list(value)


def assignments(options: Any, source: str) -> Iterator[str]:
    """Yield options as `key=value`, as the command line takes them; a table as one line for each of its keys.

    Raises StudyError if they are not a mapping, or if an option has a value that no study file can hold.
    """
    if not isinstance(options, Mapping):
        raise StudyError(f"{source} must be a mapping, such as {{'updates': 500}}, got {shown(options)}")
    for key, value in plain(options, source).items():
        yield from _lines(key, value)


def _lines(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _lines(_below(key, name), item)
    else:
        yield f"{key}={'none' if value is None else _toml(value)}"


def _toml(value: Any) -> str:
    """Return a value in one line of TOML, which has no null: in a list, None is "none"."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(name)} = {_toml(item)}' for name, item in value.items())}}}"
    return tomli_w.dumps({"value": "none" if value is None else value}).removeprefix("value = ").rstrip()
