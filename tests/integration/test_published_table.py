"""The table that compares studies with the published results."""

from __future__ import annotations

import pytest

from harness.plugin.registry import Registry
from harness.records import TaskRef
from harness.report.report import Report, build_report
from tests.support.cells import cell_of, facts, stored

pytest.importorskip("published_table", reason="the core's wheel is tested without studies/")

from harness.report.writers import markdown
from published_table import page


def report(parameters: int, protocol: str = "fair") -> Report:
    cell = facts("toy-ema", task="sum").model_copy(
        update={
            "task": TaskRef(name="toy-sum"),
            "published": 0.01,
            "parameters": parameters if protocol == "fair" else None,
            "task_parameters": 161,
        }
    )
    study = stored([cell], cell_of(cell, [0.0099, 0.0101]))
    return build_report(
        study.__class__(study.manifest.model_copy(update={"protocol": protocol}), study.entries, study.mark)
    )


def line(registry: Registry, *reports: Report) -> list[str]:
    text = markdown.render(page(registry, reports))
    (row,) = [row for row in text.splitlines() if row.startswith("| toy-sum ")]
    return [part.strip() for part in row.strip("|").split(" | ")]


def test_row_without_a_study_has_only_its_published_value(toy_registry: Registry) -> None:
    assert line(toy_registry)[1:] == ["toy-ema", "0.01000", "–", "–", "–", "–"]


def test_each_protocol_fills_its_own_columns(toy_registry: Registry) -> None:
    columns = line(toy_registry, report(161), report(161, "paper"))
    assert columns[3].startswith("0.02000 [")  # the toys' last three evaluations score twice their best
    assert columns[5].startswith("0.009999 [")
    assert columns[5].endswith("n = 2")
    assert columns[4] in ("not reproduced", "under-powered")


def test_study_of_another_size_is_left_out(toy_registry: Registry) -> None:
    assert line(toy_registry, report(500))[3:] == ["–", "–", "–", "–"]
