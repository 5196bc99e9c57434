"""Write a document as one self-contained page, with its styles, figures and sortable tables."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby

from harness.report.document import Block, Datum, Heading, Notes, Paragraph, Picture, Table

NO_BREAK = "\u00a0"
WORD_LIMIT = 24
"""Longest word, in characters, that a table does not break."""
STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #555; --rule: #ccc; --shade: #f6f6f4; --mark: #0072B2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1440px; padding: 1.5rem clamp(0.75rem, 2.5vw, 2.5rem) 4rem; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; margin: 2.5rem 0 0.5rem; } h1:first-child { margin-top: 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.25rem; padding-top: 0.75rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 0.25rem; }
h1, h2, h3, p, li { overflow-wrap: anywhere; }
nav { font-size: 0.9rem; display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; } nav a { color: var(--mark); }
/* A shadow at the right edge of a table that continues there; the table's end covers it. */
.scroll { overflow-x: auto; margin: 0.75rem 0;
  background: linear-gradient(to left, #fff 40%, #fff0) right / 2rem 100% no-repeat local,
    linear-gradient(to left, #0004, #0000) right / 0.9rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: 0.78rem; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { text-align: left; color: var(--soft); }
th, td { padding: 0.3rem 0.45rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--rule); }
td { max-width: 22rem; } td.short, .whole { white-space: nowrap; }
td.long { overflow-wrap: anywhere; min-width: 10rem; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit; }
th button:focus-visible { outline: 2px solid var(--mark); }
th[aria-sort="ascending"] button::after { content: " ▲"; } th[aria-sort="descending"] button::after { content: " ▼"; }
tbody tr:hover td { background: var(--shade); }
@media (max-width: 640px) { td.long:first-child { min-width: 7rem; max-width: 8rem; } }
.notes { color: var(--soft); font-size: 0.82rem; padding-left: 1.1rem; margin: 0.5rem 0; }
.notes li { margin: 0.1rem 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 540px), 1fr)); gap: 0 1.5rem; }
figure { margin: 1rem 0; max-width: 760px; } figure img { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 0.82rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  .scroll { overflow: visible; background: none; }
  table { font-size: 7pt; } th, td { padding: 0.15rem 0.25rem; }
  th:first-child, td:first-child { position: static; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const column = head.cellIndex, up = head.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)], [p, q] = [Number(x), Number(y)];
      const known = [x !== "" && !Number.isNaN(p), y !== "" && !Number.isNaN(q)];
      if (known[0] !== known[1]) return known[0] ? -1 : 1;
      return (up ? 1 : -1) * (known[0] ? p - q : x.localeCompare(y));
    };
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...[...body.rows].sort(order));
  });
}
"""


def render(blocks: Iterable[Block], title: str) -> str:
    """Return the page; strings are escaped, and its policy forbids all requests and all scripts except its own."""
    shown = list(blocks)
    headings = [block for block in shown if isinstance(block, Heading)]
    anchors = {id(block): f"part-{index}" for index, block in enumerate(headings)}
    links = "".join(
        f'<a href="#{anchors[id(heading)]}">{escape(heading.text)}</a>' for heading in headings if heading.level <= 2
    )
    first, rest = shown[:1], shown[1:]
    body = [
        *(_block(block, anchors) for block in first),
        f"<nav>{links}</nav>",
        *_grouped(rest, anchors),
    ]
    return "\n".join([_head(title), "<body>", *body, f"<script>{SCRIPT}</script>", "</body>", "</html>", ""])


def _grouped(blocks: Iterable[Block], anchors: dict[int, str]) -> Iterator[str]:
    """Render blocks; consecutive pictures are placed side by side if there is room."""
    for pictures, group in groupby(blocks, key=lambda block: isinstance(block, Picture)):
        shown = "\n".join(_block(block, anchors) for block in group)
        yield f'<div class="figures">{shown}</div>' if pictures else shown


def _head(title: str) -> str:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
        ]
    )


def _block(block: Block, anchors: dict[int, str]) -> str:
    match block:
        case Heading(text, level):
            return f'<h{level} id="{anchors[id(block)]}">{escape(text)}</h{level}>'
        case Paragraph(text):
            return f"<p>{_prose(text)}</p>"
        case Notes(items):
            lines = "".join(f"<li>{_prose(item)}</li>" for item in items)
            return f'<ul class="notes">{lines}</ul>'
        case Picture():
            return _picture(block)
        case Table():
            return _table(block)


def _picture(picture: Picture) -> str:
    """Render as an image, so that SVG ids of two pictures cannot clash and nothing in them can run."""
    data = base64.b64encode(picture.svg.encode()).decode()
    caption = _prose(picture.caption)
    source = f"data:image/svg+xml;base64,{data}"
    return f'<figure><img alt="{caption}" src="{source}"><figcaption>{caption}</figcaption></figure>'


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    header = "".join(
        f'<th scope="col"><button type="button">{_unbroken(escape(name))}</button></th>' for name in table.header
    )
    rows = "\n".join(f"<tr>{''.join(_datum(cell) for cell in row)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _datum(cell: Datum) -> str:
    value = f' data-value="{cell.value!r}"' if cell.value is not None else ""
    text = _unbroken(escape(cell.text))
    kind = ' class="long"' if _is_long(cell.text) else "" if " " in cell.text else ' class="short"'
    return f"<td{kind}{value}>{f'<strong>{text}</strong>' if cell.strong else text}</td>"


def _is_long(text: str) -> bool:
    """Return whether a word of the text is too long for a column."""
    return max(map(len, text.split()), default=0) > WORD_LIMIT


def _prose(text: str) -> str:
    """Escape text and keep each number on one line with its %."""
    return re.sub(r"(?<=\d) (?=%)", NO_BREAK, escape(text))


def _unbroken(text: str) -> str:
    """Keep intervals, and numbers with their unit, on one line."""
    text = re.sub(r"\[[^\]]*\]|\d+ % CI", r'<span class="whole">\g<0></span>', text)
    return re.sub(r"(?<=\d) (?=(%|B|[KMG]iB)$)", NO_BREAK, text)
