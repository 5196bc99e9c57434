"""How numbers are written in a terminal."""

from __future__ import annotations

from itertools import groupby

from harness.records import ParamValue


def widths_text(widths: tuple[int, ...]) -> str:
    """Runs of equal widths as `24 x 8`."""
    runs = [(width, len(list(run))) for width, run in groupby(widths)]
    return ", ".join(f"{width} x {count}" if count > 1 else f"{width}" for width, count in runs)


def value_text(value: ParamValue) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "none" if value is None else str(value)


def params_text(params: dict[str, ParamValue]) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in params.items())


def duration_text(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
