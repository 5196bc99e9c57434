"""Draw the packages of the core, layer by layer, as docs/architecture.svg, from .importlinter and their docstrings.

python docs/make_architecture.py
"""

from __future__ import annotations

import ast
import configparser
import textwrap
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
WIDTH, MARGIN, GAP = 980, 20, 12
TITLE, LINE = 22, 16
"""Heights in pixels."""
CHARACTER = 6.6
"""Width of a small letter in pixels, about."""


def layers() -> list[list[str]]:
    """Packages and modules of the core, the highest layer first; those of one layer do not import one another."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    lines = parser["importlinter:contract:layers"]["layers"].split("\n")
    return [[name.strip() for name in line.split("|")] for line in lines if line.strip()]


def purpose(name: str) -> str:
    """The first sentence of a package's or module's docstring."""
    folder = ROOT / "harness" / name
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def drawing() -> str:
    """The picture as SVG: an arrow of imports leads from every layer to those below."""
    parts: list[str] = []
    y = MARGIN
    for layer in layers():
        width = (WIDTH - 2 * MARGIN - GAP * (len(layer) - 1)) / len(layer)
        texts = [textwrap.wrap(purpose(name), int((width - 20) / CHARACTER)) for name in layer]
        height = TITLE + LINE * max(map(len, texts)) + 14
        for index, (name, lines) in enumerate(zip(layer, texts, strict=True)):
            x = MARGIN + index * (width + GAP)
            parts.append(f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{height}" rx="6" class="box"/>')
            parts.append(f'<text x="{x + 10:.0f}" y="{y + TITLE}" class="name">{escape(name)}</text>')
            parts += [
                f'<text x="{x + 10:.0f}" y="{y + TITLE + LINE * (number + 1)}">{escape(line)}</text>'
                for number, line in enumerate(lines)
            ]
        y += height + GAP
    style = (
        ".box{fill:#f6f8fa;stroke:#57606a}.name{font-weight:bold;font-size:14px}"
        "text{font-family:sans-serif;font-size:12px;fill:#1f2328}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">'
    background = f'<rect width="{WIDTH}" height="{y}" fill="white"/>'
    return "\n".join([head, f"<style>{style}</style>", background, *parts, "</svg>\n"])


if __name__ == "__main__":
    (DOCS / "architecture.svg").write_text(drawing())
