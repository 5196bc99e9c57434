"""Numbers as a reader takes them in, each a datum that sorts by its value."""

from __future__ import annotations

from harness.analysis.statistics import Interval
from harness.report.document import NOTHING, Datum


def number(value: float | None) -> str:
    """Four significant digits; scientific below 1e-3 and from 1e6."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3e}"
    text = f"{value:#.4g}"
    return f"{value:.0f}" if "e" in text else text.rstrip(".")


def count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.2f} %"


def size(value: float | None) -> str:
    """Of bytes."""
    if value is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def share_interval(share: float, interval: Interval) -> str:
    """Of a probability."""
    return f"{share:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def mean_interval(mean: float, interval: Interval | None) -> str:
    return number(mean) if interval is None else f"{number(mean)} [{number(interval.low)}, {number(interval.high)}]"


def of_number(value: float | None, *, strong: bool = False) -> Datum:
    return Datum(number(value), value, strong)


def of_count(value: float | None) -> Datum:
    return Datum(count(value), value)


def of_percent(value: float | None) -> Datum:
    return Datum(percent(value), value)


def of_size(value: float | None) -> Datum:
    return Datum(size(value), value)
