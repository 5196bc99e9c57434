"""A document as LaTeX: a fragment to \\input, whose tables need booktabs and graphicx."""

from __future__ import annotations

from collections.abc import Iterable

from harness.document import Block, Datum, Heading, Notes, Paragraph, Picture, Table

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "’": "'", "[": "{[}", "]": "{]}",
}  # fmt: skip
_LEVELS = {1: "section", 2: "subsection", 3: "subsubsection"}


def escape(text: str) -> str:
    """Text as LaTeX that shows it; a bracket is no optional argument, and nothing is a command."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def render(blocks: Iterable[Block]) -> str:
    shown = [_block(block) for block in blocks if not isinstance(block, Picture)]
    return "\n\n".join(["% \\usepackage{booktabs,graphicx}", *shown]) + "\n"


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
            return _table(block)


def _table(table: Table) -> str:
    columns = "l" + "r" * (len(table.header) - 1)
    caption = [f"  \\caption{{{escape(table.caption)}}}"] if table.caption else []
    return "\n".join(
        [
            "\\begin{table}[ht]",
            "  \\centering",
            *caption,
            "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
            f"  \\begin{{tabular}}{{{columns}}}",
            "    \\toprule",
            f"    {' & '.join(escape(name) for name in table.header)} \\\\",
            "    \\midrule",
            *(f"    {' & '.join(_datum(one) for one in row)} \\\\" for row in table.rows),
            "    \\bottomrule",
            "  \\end{tabular}}",
            "\\end{table}",
        ]
    )


def _datum(one: Datum) -> str:
    return f"\\textbf{{{escape(one.text)}}}" if one.strong else escape(one.text)
