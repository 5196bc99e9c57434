"""The comparison on a terminal: a sentence, and a table that fits."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.cli.actions.comparison_view import show_comparison
from harness.report.report import build_report
from harness.report.sections.conclusion import conclusion
from tests.support.cells import ACCURACY, cell_of, facts, stored


@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_table_fits_and_keeps_model_rank_and_score(width: int) -> None:
    tcn, gru = facts("tcn", ACCURACY, repetitions=12), facts("gru", ACCURACY, repetitions=12)
    entries = [*cell_of(tcn, [90.0 + i for i in range(12)]), *cell_of(gru, [80.0 + i for i in range(12)])]
    report = build_report(stored([tcn, gru], entries))
    file = io.StringIO()
    show_comparison(Console(file=file, width=width), report)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(file.getvalue().split())
    assert conclusion(report.sections[0]) in text
    assert "95.50" in text
    assert "&" not in text, "no entities of HTML"
    assert ("parameters" in text) == (width >= 80)
