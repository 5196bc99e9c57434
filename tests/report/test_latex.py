"""Documents as LaTeX."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.report.document import Datum, Table
from harness.report.formats import to_latex
from harness.report.report import Report, build_report
from harness.report.writers import latex
from tests.support.cells import (
    LOSS,
    cell_of,
    facts,
    stored,
)

EVIL = "</td><script>alert(1)</script> & \\end{tabular} $x_1$ 100% #1 ~ ^ {a} [b](c) | `d` @e"


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
