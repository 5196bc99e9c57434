"""Numbers and values as text for a terminal."""

from __future__ import annotations

from itertools import groupby

from harness.records import ParamValue


def widths_text(widths: tuple[int, ...]) -> str:
    """Return widths as text, eight equal widths of 24 as `24 x 8`."""
    runs = [(width, len(list(run))) for width, run in groupby(widths)]
    return ", ".join(f"{width} x {count}" if count > 1 else f"{width}" for width, count in runs)


def value_text(value: ParamValue) -> str:
    """Return a value as the command line takes it, floats with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else "none" if value is None else str(value)


def params_text(params: dict[str, ParamValue]) -> str:
    """Return parameters as `name=value`, separated by commas."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in params.items())


def several(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 cell` and `2 cells`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration_text(seconds: float) -> str:
    """Return a time in the unit that fits: seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
