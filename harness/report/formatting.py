"""Format numbers for tables; each datum sorts by its value."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.statistics import Interval
from harness.report.document import NOTHING, Datum


def number(value: float | None) -> str:
    """Format with four significant digits; scientific notation below 1e-3 and from 1e6."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3e}"
    text = f"{value:#.4g}"
    return f"{value:.0f}" if "e" in text else text.rstrip(".")


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: `tcn, gru and rnn`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.2f} %"


def size(value: float | None) -> str:
    """Format a number of bytes with a binary unit."""
    if value is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def short(text: str, limit: int) -> str:
    """Return the text, with its middle replaced by … if it is longer than `limit` characters."""
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - half]}…{text[-half:]}"


def share_interval(share: float, interval: Interval) -> str:
    """Format a probability with its interval."""
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
