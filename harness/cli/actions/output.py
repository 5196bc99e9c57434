"""What commands write to standard output for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import typer


def print_json(value: Any) -> None:  # whatever JSON holds
    """Print a value as JSON; numbers that JSON lacks (NaN, infinities) become null."""
    typer.echo(json.dumps(_finite(value), indent=1))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as values of JSON; missing values are None, times are in ISO 8601."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso", double_precision=15))
    return rows


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
