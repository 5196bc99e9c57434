"""Checks of the parameters that a model's `build` receives beside the widths. An error names the parameter and a valid
value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.errors import SpaceError, did_you_mean
from harness.records import Record

T = TypeVar("T", bound=Record)


def read_params(kind: type[T], model: str, given: Mapping[str, Any]) -> T:
    """Return the parameters as a record of type `kind`.

    The values are Any because they come from a study file or a sampler. Raises SpaceError if one is unknown, missing or
    out of range.
    """
    known = kind.model_fields
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        hint = did_you_mean(unknown, known)
        raise SpaceError(f"model {model!r} has no parameter {unknown!r};{hint} Parameters: {', '.join(known)}")
    try:
        return kind.model_validate(dict(given), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        value = f", got {given[name]!r}" if name in given else ""
        raise SpaceError(f"model {model!r}, parameter {name!r}: {first['msg']}{value}") from error


def require_param(name: str, model: str, given: Mapping[str, Any]) -> int:
    """Return one integer parameter.

    Other parameters are not checked, because `build` may share them with other methods. Raises SpaceError if it is
    missing.
    """
    if name not in given:
        raise SpaceError(f"model {model!r} needs the parameter {name!r}; given: {', '.join(given) or 'none'}")
    return int(given[name])


def check_widths(widths: tuple[int, ...], levels: int, model: str) -> None:
    """Raise SpaceError unless there is one width >= 1 per level."""
    if len(widths) != levels or any(width < 1 for width in widths):
        raise SpaceError(f"model {model!r} takes {levels} widths >= 1 at {levels} levels, got {widths}")
