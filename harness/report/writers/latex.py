"""Write a document as a LaTeX fragment to \\input; its tables need booktabs and longtable."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from harness.report.document import Block, Datum, Heading, Notes, Paragraph, Picture, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "’": "'", "[": "{[}", "]": "{]}",
    "→": r"$\to$", "×": r"$\times$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "−": "$-$", "µ": r"$\mu$",
    "\u00a0": "~",
}  # fmt: skip
LINE = 88
"""Characters per line of an A4 page in footnotesize."""
COLUMN_LIMIT = 40
"""Longest column, in characters, that is not broken into lines."""
_LEVELS = {1: "section", 2: "subsection", 3: "subsubsection"}


def escape(text: str) -> str:
    """Escape text so that LaTeX shows it literally: no command, and no bracket as an optional argument.

    pdfLaTeX stops at characters that its standard fonts lack, so these are shown as their code point.
    """
    return "".join(
        _SPECIAL.get(character, character if _is_in_fonts(character) else _code(character)) for character in text
    )


def _is_in_fonts(character: str) -> bool:
    """Return whether a character is ASCII or a Western European letter."""
    latin = character <= "ÿ" and unicodedata.normalize("NFD", character)[0].isascii()
    return character.isascii() or latin or character in "ßæøÆØ"


def _code(character: str) -> str:
    return f"{{[}}U+{ord(character):04X}{{]}}"


def render(blocks: Iterable[Block]) -> str:
    shown = [_block(block) for block in blocks if not isinstance(block, Picture)]
    begin = "% \\usepackage{booktabs,longtable}\n\\begingroup\\sloppy"
    return "\n\n".join([begin, *shown, "\\par\\endgroup"]) + "\n"


def _block(block: Heading | Paragraph | Table | Notes) -> str:
    match block:
        case Heading(text, level):
            return f"\\{_LEVELS.get(level, 'paragraph')}{{{escape(text)}}}"
        case Paragraph(text):
            return escape(text)
        case Notes(items):
            lines = [f"  \\item {escape(item)}" for item in items]
            return "\n".join(["\\begin{itemize}", *lines, "\\end{itemize}"])
        case Table():
            return "\n\n".join(_table(block, columns) for columns in _parts(block))


def _parts(table: Table) -> list[list[int]]:
    """Split the columns into as few tables of similar width as fit on a page; each repeats the first column."""
    lengths = [_length(table, column) for column in range(len(table.header))]
    fewest = len(_cut(lengths, LINE))
    return next(parts for limit in range(LINE + 1) if len(parts := _cut(lengths, limit)) == fewest)


def _cut(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Split columns in order into parts within the limit; each has the first column and at least one other."""
    parts, used = [[0]], lengths[0]
    for column, length in enumerate(lengths[1:], start=1):
        if len(parts[-1]) > 1 and used + length > limit:
            parts.append([0])
            used = lengths[0]
        parts[-1].append(column)
        used += length
    return parts


def _length(table: Table, column: int) -> int:
    """Return the width of a column with its gap, in characters."""
    texts = [table.header[column], *(row[column].text for row in table.rows)]
    return min(COLUMN_LIMIT, max(map(len, texts))) + 3


def _table(table: Table, columns: Sequence[int]) -> str:
    """Render some columns of a table, which may continue on the next page."""
    caption = [f"  \\caption{{{escape(table.caption)}}} \\\\"] if table.caption else []
    header = [f"  {' & '.join(escape(table.header[column]) for column in columns)} \\\\", "  \\midrule"]
    return "\n".join(
        [
            f"{{\\footnotesize\\begin{{longtable}}{{{''.join(_kind(table, column) for column in columns)}}}",
            *caption,
            "  \\toprule",
            *header,
            "  \\endfirsthead",
            *header,
            "  \\endhead",
            *(f"  {' & '.join(_datum(row[column]) for column in columns)} \\\\" for row in table.rows),
            "  \\bottomrule",
            "\\end{longtable}}",
        ]
    )


def _kind(table: Table, column: int) -> str:
    """Return the alignment of a column; long text is broken into lines."""
    if max((len(row[column].text) for row in table.rows), default=0) > COLUMN_LIMIT:
        return f"p{{{COLUMN_LIMIT / 2}em}}"
    return "r" if column else "l"


def _datum(cell: Datum) -> str:
    return f"\\textbf{{{escape(cell.text)}}}" if cell.strong else escape(cell.text)
