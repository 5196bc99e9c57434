from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from harness.analysis.cell_result import Curves
from harness.records import MetricFacts, TaskRef
from harness.report.document import Block, Datum, Heading, Notes, Paragraph, Picture, Table
from harness.report.figures.per_task import draw
from harness.report.formats import ENDINGS, FORMATS, pictures, to_html, to_latex, to_markdown, to_summary
from harness.report.report import Report, build_report
from harness.report.writers import latex, markdown
from harness.report.writers.html import render
from harness.report.writers.tabular import COLUMNS, to_csv, to_parquet
from tests.support.cells import ACCURACY, LOSS, cell_of, facts, stored

EVIL = "</td><script>alert(1)</script> & \\end{tabular} $x_1$ 100% #1 ~ ^ {a} [b](c) | `d` @e"


@pytest.fixture(scope="module")
def report() -> Report:
    """Two tasks, two models, curves for one task."""
    metrics = {"copy": LOSS, "digits": ACCURACY}
    cells = [facts(model, metric, task=task) for task, metric in metrics.items() for model in ("tcn", "gru")]
    scores = ([0.01, 0.04], [0.1, 0.4], [90.0, 92.0], [80.0, 82.0])
    entries = [entry for cell, values in zip(cells, scores, strict=True) for entry in cell_of(cell, values)]
    finals = [entry.trial.key for entry in entries if entry.trial.phase == "final" and entry.trial.cell.task == "copy"]
    curves: Curves = {key: {"loss": ((1, 2.0), (2, 1.0)), "gradient_norm": ((1, 0.5), (2, 5.0))} for key in finals}
    return build_report(replace(stored(cells, entries), curves=curves))


def test_every_format_has_an_ending(report: Report) -> None:
    assert FORMATS.keys() == ENDINGS.keys()


def test_summary_is_the_beginning_of_the_whole(report: Report) -> None:
    summary, whole = to_summary(report), to_markdown(report)
    assert len(summary) < len(whole) / 2
    assert "| model | rank |" in summary
    assert "Budget allocated and used" not in summary
    assert "Budget allocated and used" in whole


class Page(HTMLParser):
    """The requests that a page would make, and whether its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.requested: list[str] = []
        self.images: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.scripts += tag == "script"
        self.requested += [
            value for name, value in given.items() if name in ("src", "href") and not value.startswith("#")
        ]
        if tag == "img":
            self.images.append(self.requested.pop())
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_makes_no_request(report: Report) -> None:
    text = to_html(report)
    page = Page(text)
    assert page.open == []
    assert page.requested == []
    assert page.scripts == 1
    assert all(image.startswith("data:image/svg+xml;base64,") for image in page.images)
    assert "url(" not in text
    assert "@import" not in text


def test_page_allows_only_its_own_script(report: Report) -> None:
    text = to_html(report)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_every_figure_is_an_image_in_the_page(report: Report) -> None:
    page = Page(to_html(report))
    shown = [base64.b64decode(image.partition(",")[2]).decode() for image in page.images]
    drawn = pictures([report])
    assert sorted(drawn) == [
        "best-of-k-copy",
        "best-of-k-digits",
        "learning-copy",
        "ranks",
        "scores-copy",
        "scores-digits",
    ]
    assert sorted(shown) == sorted(drawn.values())
    for svg in shown:
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_same_report_draws_the_same_figures(report: Report) -> None:
    assert pictures([report]) == pictures([report])


def test_markdown_needs_no_matplotlib(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harness.figures", raising=False)
    to_markdown(report)
    to_latex(report)
    assert "harness.figures" not in sys.modules


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


def test_parquet_holds_what_the_csv_holds(report: Report) -> None:
    frame = pd.read_parquet(io.BytesIO(to_parquet(report)))
    assert list(frame.columns) == list(COLUMNS)
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert frame["test_mean"].tolist() == pytest.approx([float(line["test_mean"]) for line in lines])
    assert frame["against_best_verdict"].tolist()[1] == lines[1]["against_best_verdict"] == "undecided"
    assert frame["updates_done"].tolist() == [15, 15, 15, 15]


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


def test_table_in_latex_has_booktabs_rules_and_one_row_per_line() -> None:
    table = Table(("model", "score"), ((Datum("tcn"), Datum("0.5 [0.4, 0.6]", 0.5, strong=True)),), "copy")
    lines = [line.strip() for line in latex.render([table]).splitlines()]
    assert lines[0] == r"% \usepackage{booktabs,longtable}"
    assert [line for line in lines if line.endswith("rule")] == [
        r"\toprule",
        r"\midrule",
        r"\midrule",
        r"\bottomrule",
    ]
    assert r"tcn & \textbf{0.5 {[}0.4, 0.6{]}} \\" in lines
    assert r"{\footnotesize\begin{longtable}{lr}" in lines


def test_wide_table_in_latex_is_split_and_repeats_the_first_column() -> None:
    header = ("model", *(f"a column of numbers {n}" for n in range(9)))
    table = Table(header, (tuple(Datum(f"{n}") for n in range(10)),))
    tex = latex.render([table])
    assert tex.count(r"\begin{longtable}") == 3
    assert tex.count("  model & ") == 6
    assert all(tex.count(f" & a column of numbers {n}") == 2 for n in range(9))


def test_long_text_in_latex_is_broken_into_lines() -> None:
    tex = latex.render([Table(("model", "test"), ((Datum("tcn"), Datum("FAILED: " + "no memory " * 20)),))])
    assert r"\begin{longtable}{lp{20.0em}}" in tex


def test_long_word_in_a_page_is_broken_and_a_short_one_is_not() -> None:
    page = render([Heading("t", 1), Table(("model",), ((Datum("x" * 60),), (Datum("tcn"),)))], title="t")
    assert f'<td class="long">{"x" * 60}</td>' in page
    assert '<td class="short">tcn</td>' in page


def test_interval_in_a_header_and_percent_in_prose_are_not_broken() -> None:
    table = Table(("model", "test loss (mean, 95 % CI)"), ((Datum("tcn"), Datum("0.02 [3e-06, 133.7]")),))
    page = render([Heading("t", 1), Paragraph("at 95 % of runs"), table, Notes(("5 %",))], title="t")
    assert '>test loss (mean, <span class="whole">95 % CI</span>)</button>' in page
    assert '>0.02 <span class="whole">[3e-06, 133.7]</span></td>' in page
    assert ".whole { white-space: nowrap; }" in page
    assert "<p>at 95\u00a0% of runs</p>" in page
    assert "<li>5\u00a0%</li>" in page


def test_figure_is_shown_only_in_formats_that_support_it() -> None:
    picture = Picture("a", "<svg/>", "seen & said")
    assert markdown.render([picture]).strip() == ""
    assert "svg" not in latex.render([picture])
    assert "seen &amp; said" in render([Heading("t", 1), picture], title="t")


def test_column_sorts_by_value_and_not_by_text() -> None:
    table = Table(("model", "size"), ((Datum("tcn"), Datum("1.0 KiB", 1024.0)), (Datum("gru"), Datum("2 B", 2.0))))
    page = render([Heading("t", 1), table], title="t")
    assert 'data-value="1024.0">1.0\u00a0KiB<' in page
    assert '<th scope="col"><button type="button">size</button></th>' in page


def test_retention_is_drawn_for_tasks_that_differ_in_a_single_number() -> None:
    cells = [
        facts("tcn", task=f"copy-{length}").model_copy(
            update={"task": TaskRef(name="copy", options={"length": length, "sequences": 9})}
        )
        for length in (5, 20, 80)
    ]
    entries = [entry for cell in cells for entry in cell_of(cell, [0.1, 0.2])]
    drawn = pictures([build_report(stored(cells, entries))])
    assert [name for name in drawn if name.startswith("retention")] == ["retention-copy-loss"]
    two = pictures([build_report(stored(cells[:2], entries[:8]))])
    assert not [name for name in two if name.startswith("retention")]


def retained(others: tuple[MetricFacts, ...]) -> dict[str, str]:
    """Draw a task at three lengths whose trials report an accuracy in addition to the loss."""
    cells = [
        facts("tcn", task=f"copy-{length}").model_copy(
            update={"task": TaskRef(name="copy", options={"length": length}), "others": others}
        )
        for length in (5, 20, 80)
    ]
    entries = []
    for entry in [entry for cell in cells for entry in cell_of(cell, [0.1, 0.2])]:
        assert entry.result is not None
        metrics = {part: {**of, "accuracy": 90.0, "accuracy-40": 80.0} for part, of in entry.result.metrics.items()}
        entries.append(replace(entry, result=entry.result.model_copy(update={"metrics": metrics})))
    return pictures([build_report(stored(cells, entries))])


def test_every_metric_in_a_retention_picture_has_its_unit_and_direction() -> None:
    drawn = retained((ACCURACY,))
    assert "<!-- test loss, nats (↓ better) -->" in drawn["retention-copy-loss"]
    assert "<!-- test accuracy, % (↑ better) -->" in drawn["retention-copy-accuracy"]
    assert "<!-- test accuracy-40, % (↑ better) -->" in drawn["retention-copy-accuracy-40"]


def test_metric_that_a_store_does_not_describe_is_still_drawn() -> None:
    assert "<!-- test accuracy -->" in retained(())["retention-copy-accuracy"]


def test_size_is_drawn_for_a_task_at_more_than_one_size() -> None:
    cells = [
        facts("tcn", task=label).model_copy(update={"parameters": parameters, "task": TaskRef(name="copy")})
        for label, parameters in (("small", 1000), ("large", 9000))
    ]
    entries = [
        replace(entry, trial=entry.trial.model_copy(update={"parameters": cell.parameters}))
        for cell in cells
        for entry in cell_of(cell, [0.1, 0.2])
    ]
    drawn = pictures([build_report(stored(cells, entries))])
    assert [name for name in drawn if name.startswith("size")] == ["size-small"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_with_any_names(report: Report, tmp_path: Path) -> None:
    evil = LOSS.model_copy(update={"name": f"{EVIL} é ł 中 → \u00a0", "unit": "µs/±"})
    named = facts("tcn", evil)
    texts = (to_latex(report), to_latex(build_report(stored([named], cell_of(named, [0.01, 0.04])))))
    begin, end = "\\documentclass{article}\n\\usepackage{booktabs,longtable}\n\\begin{document}\n", "\\end{document}\n"
    (tmp_path / "page.tex").write_text(begin + "\n".join(texts) + end, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout.replace("Overfull \\vbox", "")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000


@pytest.mark.parametrize(("text", "shown"), [("é", "é"), ("中", "{[}U+4E2D{]}"), ("a_b", r"a\_b"), ("≥", r"$\geq$")])
def test_latex_shows_what_its_fonts_lack_as_a_code(text: str, shown: str) -> None:
    assert latex.escape(text) == shown
