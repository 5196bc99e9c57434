"""Write a document as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.report.document import Block, Datum, Heading, Notes, Paragraph, Picture, Table


def escape(text: str) -> str:
    """Escape text so that Markdown shows it literally: no HTML, no link, no new table cell."""
    for character, entity in {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "@": "&#64;"}.items():
        text = text.replace(character, entity)
    text = re.sub(r"([\\`*~]|\](?=[(\[:]))", r"\\\1", text)  # brackets make a link only before one of ( [ :
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def render(blocks: Iterable[Block]) -> str:
    return "\n\n".join(_block(block) for block in blocks if not isinstance(block, Picture)) + "\n"


def _block(block: Heading | Paragraph | Table | Notes) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape(text)}"
        case Paragraph(text):
            return escape(text)
        case Notes(items):
            return "\n".join(f"- {escape(item)}" for item in items)
        case Table():
            caption = f"{escape(block.caption)}\n\n" if block.caption else ""
            return caption + _table(block)


def _table(table: Table) -> str:
    header = [escape(name) for name in table.header]
    rule = [":--", *("--:" for _ in header[1:])]
    return "\n".join(_line(cells) for cells in (header, rule, *([_datum(cell) for cell in row] for row in table.rows)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _datum(cell: Datum) -> str:
    return f"**{escape(cell.text)}**" if cell.strong else escape(cell.text)
