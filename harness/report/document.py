"""A page as blocks of plain text: what a writer of Markdown, LaTeX or HTML is given, and escapes."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "–"
QUOTE_LIMIT = 300


@dataclass(frozen=True)
class Datum:
    """One cell of a table."""

    text: str
    value: float | None = None
    """Sort key of a column; None: its text."""
    strong: bool = False


@dataclass(frozen=True)
class Heading:
    text: str
    level: int
    """1 is the page's title."""


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[Datum, ...], ...]
    """Rows; the first column names the row."""
    caption: str = ""


@dataclass(frozen=True)
class Notes:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """Only pages that can hold one show it."""

    name: str
    """File name without its suffix."""
    svg: str
    caption: str


Block = Heading | Paragraph | Table | Notes | Picture


def quote(text: str) -> str:
    """Text of others: printable, on one line, at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= QUOTE_LIMIT else line[: QUOTE_LIMIT - 1] + "…"
