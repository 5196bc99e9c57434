"""Reports as CSV and Parquet."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from harness.records import (
    Cell,
    LeftOut,
)
from harness.report.report import Report, build_report
from harness.report.writers.tabular import COLUMNS, to_csv, to_parquet
from tests.support.cells import (
    ACCURACY,
    cell_of,
    facts,
    stored,
)


def test_csv_has_one_line_per_cell_at_full_precision() -> None:
    tcn = facts("tcn", ACCURACY)
    left = LeftOut(cell=Cell(task="copy", model="rnn"), reason="=cmd()")
    scores = [1 / 3, 2 / 7]
    lines = list(
        csv.DictReader(io.StringIO(to_csv(build_report(stored([tcn], cell_of(tcn, scores), left_out=(left,))))))
    )
    assert [list(line) for line in lines] == [list(COLUMNS)] * 2
    assert float(lines[0]["test_mean"]) == pytest.approx(sum(scores) / 2, rel=1e-15)
    wanted = {"task": "copy", "model": "tcn", "state": "complete", "rank": "1", "search_complete": "2", "test_n": "2"}
    assert wanted.items() <= lines[0].items()
    assert (lines[1]["model"], lines[1]["state"], lines[1]["reason"]) == ("rnn", "left-out", "'=cmd()")


def test_parquet_holds_what_the_csv_holds(report: Report) -> None:
    frame = pd.read_parquet(io.BytesIO(to_parquet(report)))
    assert list(frame.columns) == list(COLUMNS)
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert frame["test_mean"].tolist() == pytest.approx([float(line["test_mean"]) for line in lines])
    assert frame["against_best_verdict"].tolist()[1] == lines[1]["against_best_verdict"] == "undecided"
    assert frame["updates_done"].tolist() == [15, 15, 15, 15]
