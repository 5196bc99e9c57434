"""What commands write to standard output for other programs."""

from __future__ import annotations

from typing import Any

import typer

from harness.report.json_text import json_text


def print_json(value: Any) -> None:  # whatever JSON holds
    """Print a value as JSON; numbers that JSON lacks (NaN, infinities) become null."""
    typer.echo(json_text(value))
