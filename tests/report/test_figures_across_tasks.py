"""Figures across tasks."""

from __future__ import annotations

from dataclasses import replace

from harness.records import (
    MetricFacts,
    TaskRef,
)
from harness.report.formats import pictures
from harness.report.report import build_report
from tests.support.cells import (
    ACCURACY,
    cell_of,
    facts,
    stored,
)


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
    assert [name for name in drawn if "parameters" in name] == ["score-against-parameters-copy"]
