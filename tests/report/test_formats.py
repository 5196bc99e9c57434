"""Reports in every format."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace

import pytest

from harness.report.document import Block, Datum, Heading, Notes, Paragraph, Picture, Table
from harness.report.figures.per_task import draw
from harness.report.formats import ENDINGS, FORMATS, pictures, to_latex, to_markdown, to_summary
from harness.report.report import Report
from harness.report.writers import latex, markdown
from harness.report.writers.html import render
from harness.report.writers.tabular import to_csv
from tests.support.pages import Page

EVIL = "</td><script>alert(1)</script> & \\end{tabular} $x_1$ 100% #1 ~ ^ {a} [b](c) | `d` @e"


def test_every_format_has_an_ending(report: Report) -> None:
    assert FORMATS.keys() == ENDINGS.keys()


def test_summary_is_the_beginning_of_the_whole(report: Report) -> None:
    summary, whole = to_summary(report), to_markdown(report)
    assert len(summary) < len(whole) / 2
    assert "| model | rank |" in summary
    assert "Budget allocated and used" not in summary
    assert "Budget allocated and used" in whole


def test_same_report_draws_the_same_figures(report: Report) -> None:
    assert pictures([report]) == pictures([report])


def test_markdown_needs_no_matplotlib(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harness.report.figures.per_task", raising=False)
    to_markdown(report)
    to_latex(report)
    assert "harness.report.figures.per_task" not in sys.modules


def test_several_studies_follow_each_other(report: Report) -> None:
    other = replace(report, study="other", study_id="s2")
    text = to_markdown(report, other)
    assert text.index("# copying\n") < text.index("# other\n") < text.index("# Across tasks, protocol fair\n")
    assert {name.partition("-")[0] for name in pictures([report, other]) if name != "ranks"} == {"copying", "other"}
    lines = list(csv.DictReader(io.StringIO(to_csv(report, other))))
    assert [line["study"] for line in lines] == ["copying"] * 4 + ["other"] * 4


def test_pictures_of_two_protocols_and_of_names_with_slashes_each_have_a_file(report: Report) -> None:
    strange = report.sections[0]
    strange = replace(strange, task="../copy a/b")
    paper = replace(report, study="other", study_id="s2", protocol="paper", sections=(strange, report.sections[1]))
    named = pictures([report, paper])
    assert {"fair-ranks", "paper-ranks", "other-scores-..-copy-a-b"} <= named.keys()
    drawn = [picture for pictures in draw([report, paper]).values() for picture in pictures]
    assert len(named) == len(drawn)
    assert not any("/" in name for name in named)


def test_pictures_of_one_name_are_numbered(report: Report) -> None:
    again = replace(report, study_id="s2")
    assert {"copying-scores-copy", "copying-scores-copy-2"} <= pictures([report, again]).keys()


def test_foreign_text_is_shown_literally() -> None:
    blocks: list[Block] = [
        Heading(EVIL, 1),
        Paragraph(EVIL),
        Table((EVIL,), ((Datum(EVIL, strong=True),),), EVIL),
        Notes((EVIL,)),
    ]
    page = render(blocks, title=EVIL)
    assert Page(page).scripts == 1
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 8
    tex = latex.render(blocks)
    for command in (r"100\%", r"\#1", r"\$x\_1\$", r"\textbackslash{}end\{tabular\}", r"{[}b{]}"):
        assert tex.count(command) == 7  # a second page repeats the header
    assert tex.count(r"\end{tabular}") == 0
    text = markdown.render(blocks)
    assert "<script>" not in text
    assert "](" not in text.replace("\\](", "")


def test_figure_is_shown_only_in_formats_that_support_it() -> None:
    picture = Picture("a", "<svg/>", "seen & said")
    assert markdown.render([picture]).strip() == ""
    assert "svg" not in latex.render([picture])
    assert "seen &amp; said" in render([Heading("t", 1), picture], title="t")
