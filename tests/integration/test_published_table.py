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
    one = facts("toy-ema", task="sum").model_copy(
        update={
            "task": TaskRef(name="toy-sum"),
            "published": 0.01,
            "parameters": parameters if protocol == "fair" else None,
            "task_parameters": 161,
        }
    )
    study = stored([one], cell_of(one, [0.0099, 0.0101]))
    return build_report(
        study.__class__(study.manifest.model_copy(update={"protocol": protocol}), study.entries, study.mark)
    )


def line(registry: Registry, *reports: Report) -> list[str]:
    text = markdown.render(page(registry, reports))
    (found,) = [one for one in text.splitlines() if one.startswith("| toy-sum ")]
    return [part.strip() for part in found.strip("|").split(" | ")]


def test_row_that_no_study_has_run_stands_there_alone(toy_registry: Registry) -> None:
    assert line(toy_registry)[1:] == ["toy-ema", "0.01000", "–", "–", "–", "–"]


def test_each_protocol_fills_its_own_column_by_its_own_rule(toy_registry: Registry) -> None:
    found = line(toy_registry, report(161), report(161, "paper"))
    assert found[3].startswith("0.02000 [")  # the toys' last three evaluations score twice their best
    assert found[5].startswith("0.009999 [")
    assert found[5].endswith("n = 2")
    assert found[4] in ("not reproduced", "under-powered")


def test_study_of_another_size_does_not_count(toy_registry: Registry) -> None:
    assert line(toy_registry, report(500))[3:] == ["–", "–", "–", "–"]
