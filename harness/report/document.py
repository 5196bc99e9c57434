"""Blocks of plain text that make a page; the writers of Markdown, LaTeX and HTML escape and render them."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "–"
QUOTE_LIMIT = 300


@dataclass(frozen=True)
class Datum:
    """One cell of a table."""

    text: str
    value: float | None = None
    """Sort key of the cell; None sorts by the text."""
    strong: bool = False


@dataclass(frozen=True)
class Heading:
    text: str
    level: int
    """1 for the page's title."""


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[Datum, ...], ...]
    """Cells by row; the first column names the row."""
    caption: str = ""


@dataclass(frozen=True)
class Notes:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A figure; formats without figures skip it."""

    name: str
    """File name without its suffix."""
    svg: str
    caption: str


Block = Heading | Paragraph | Table | Notes | Picture


def quote(text: str) -> str:
    """Return text from outside as one printable line of at most 300 characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= QUOTE_LIMIT else line[: QUOTE_LIMIT - 1] + "…"
