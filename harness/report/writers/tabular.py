"""Write the comparison of reports as CSV, JSON or Parquet: one row per cell, numbers at full precision."""

from __future__ import annotations

import io

from harness.report.frames import comparison
from harness.report.json_text import json_text, records
from harness.report.report import Report

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a text that a spreadsheet would read as a formula."""


def to_csv(*reports: Report) -> str:
    """Return reports as CSV.

    Text that a spreadsheet would read as a formula begins with an apostrophe.
    """
    frame = comparison(*reports)
    for name in frame.columns[frame.dtypes == "string"]:
        risky = frame[name].str.startswith(FORMULA).fillna(value=False)
        frame[name] = frame[name].mask(risky, "'" + frame[name])
    return frame.to_csv(index=False, lineterminator="\n")


def to_parquet(*reports: Report) -> bytes:
    """Return reports as Parquet; text is unchanged, and unknown values are null."""
    file = io.BytesIO()
    comparison(*reports).to_parquet(file, index=False)
    return file.getvalue()


def to_json(*reports: Report) -> str:
    """Return reports as a JSON array with one object per cell; unknown values are null."""
    return json_text(records(comparison(*reports))) + "\n"
