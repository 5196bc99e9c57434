"""Arrangement of reports as documents."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from harness.records import (
    Cell,
    LeftOut,
)
from harness.report.document import quote
from harness.report.formats import to_html, to_markdown
from harness.report.report import build_report
from harness.report.writers import markdown
from tests.support.cells import (
    LOSS,
    cell_of,
    facts,
    repeated,
    searched,
    stored,
)


def test_left_out_cells_and_older_studies_are_shown() -> None:
    tcn = facts("tcn")
    left = LeftOut(cell=Cell(task="copy", model="rnn"), reason="no published setting")
    study = stored([tcn], cell_of(tcn, [0.01, 0.04]), left_out=(left,), others=("s0",))
    text = to_markdown(build_report(study))
    assert "- copy/rnn: no published setting" in text
    assert "this is the requested or newest one. Others: s0." in text


def test_foreign_text_cannot_break_the_page() -> None:
    evil = "a|b <script>alert(1)</script> [x](http://e) `c`\n| d | *e* _f_ @g"
    metric = LOSS.model_copy(update={"name": evil, "unit": evil})
    tcn = facts("tcn", metric).model_copy(update={"published_source": evil, "assumed": (evil,)})
    entries = [
        *searched(tcn.cell, [0.1, None], outcome="failed", reason=evil),
        *repeated(tcn.cell, 0, [0.1, 0.2], metric),
    ]
    strange = {"params": {evil: evil}, "rejections": (evil,)}
    entries[0] = replace(entries[0], trial=entries[0].trial.model_copy(update=strange))
    text = to_markdown(build_report(stored([tcn], entries, study=evil)))
    assert "<" not in text
    assert "@" not in text
    assert "](" not in text.replace("\\](", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    page = to_html(build_report(stored([tcn], entries, study=evil)))
    assert "<script>alert" not in page
    assert page.count("<script>") == 1


@given(st.text(max_size=400))
def test_quoted_and_escaped_text_stays_in_its_cell(text: str) -> None:
    shown = markdown.escape(quote(text))
    assert len(shown.splitlines()) <= 1
    assert not set("|<>@") & set(shown)
    assert len(quote(text)) <= 300
