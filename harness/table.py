"""Tables and numbers as GitHub's Markdown shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence

NOTHING = "–"
TEXT_LIMIT = 300


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


def escape(text: str) -> str:
    """Text of others as Markdown that shows it: no HTML, no link, no new cell, on one line, at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…"
    for character, entity in {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "@": "&#64;"}.items():
        line = line.replace(character, entity)
    line = re.sub(r"([\\`*\[\]~])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)


def bold(text: str) -> str:
    return f"**{text}**"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are Markdown already; the first column is left, the others right."""
    rule = [":--", *("--:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
