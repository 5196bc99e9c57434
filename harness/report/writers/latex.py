r"""A document as LaTeX: a fragment to \input, whose tables need booktabs and longtable."""

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
"""Characters per line on a page of A4 in footnotesize."""
COLUMN_LIMIT = 40
"""Characters of a column that is not broken into lines."""
_LEVELS = {1: "section", 2: "subsection", 3: "subsubsection"}


def escape(text: str) -> str:
    """Text as LaTeX that shows it; a bracket is no optional argument, and nothing is a command.

    Characters that pdfLaTeX's standard fonts lack, it would stop at: they are shown as their code.
    """
    return "".join(_SPECIAL.get(character, character if _has(character) else _code(character)) for character in text)


def _has(character: str) -> bool:
    """Return whether it is ASCII or a letter of Western Europe."""
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
    """The columns of as few tables as fit on a page, each with the first, and none much wider than another."""
    lengths = [_length(table, column) for column in range(len(table.header))]
    fewest = len(_cut(lengths, LINE))
    return next(parts for limit in range(LINE + 1) if len(parts := _cut(lengths, limit)) == fewest)


def _cut(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Columns in order, the first in every part, as many in each as stay within the limit, but at least one."""
    parts, used = [[0]], lengths[0]
    for column, length in enumerate(lengths[1:], start=1):
        if len(parts[-1]) > 1 and used + length > limit:
            parts.append([0])
            used = lengths[0]
        parts[-1].append(column)
        used += length
    return parts


def _length(table: Table, column: int) -> int:
    """Return the characters of a column and its separator."""
    texts = [table.header[column], *(row[column].text for row in table.rows)]
    return min(COLUMN_LIMIT, max(map(len, texts))) + 3


def _table(table: Table, columns: Sequence[int]) -> str:
    """Return a table of some columns, which continues on the next page."""
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
    """Return the column type: text longer than a column is wrapped."""
    if max((len(row[column].text) for row in table.rows), default=0) > COLUMN_LIMIT:
        return f"p{{{COLUMN_LIMIT / 2}em}}"
    return "r" if column else "l"


def _datum(one: Datum) -> str:
    return f"\\textbf{{{escape(one.text)}}}" if one.strong else escape(one.text)
