"""Figures across tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.records import CellFacts, MetricFacts, ParamValue, TaskRef
from harness.report.document import Picture
from harness.report.figures.across_tasks import draw_across_tasks
from harness.report.figures.style import model_styles
from harness.report.formats import pictures
from harness.report.report import build_report
from tests.support.cells import (
    ACCURACY,
    cell_of,
    facts,
    stored,
)


def drawn_of(*cells: CellFacts) -> dict[str, Picture]:
    """Return name → picture of test scores against an option."""
    report = build_report(stored(cells, [entry for cell in cells for entry in cell_of(cell, [0.1, 0.2])]))
    drawn = draw_across_tasks([report], model_styles([report]))
    return {picture.name: picture for picture in drawn if picture.name.startswith("retention")}


def of_copy(options: dict[str, ParamValue], **changes: object) -> CellFacts:
    """Return a cell of a task with options, of which those at their defaults are given as `default_options`."""
    label = "-".join(f"{value}" for value in ("copy", *options.values()))
    cell = facts("tcn", task=label.lower().replace(".", "-"))
    return cell.model_copy(update={"task": TaskRef(name="copy", options=options), **changes})


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ([{"length": 5}, {"length": 20}, {"length": 80}], ["retention-copy-loss"]),
        ([{"length": 5, "n": 9}, {"length": 20, "n": 9}, {"length": 80, "n": 9}], ["retention-copy-loss"]),
        ([{"length": 5}, {"length": 20}], []),
        ([{"length": 5, "n": 1}, {"length": 20, "n": 2}, {"length": 80, "n": 3}], []),
        ([{"kind": "a"}, {"kind": "b"}, {"kind": "c"}], []),
        ([{"on": True}, {"on": False}, {"on": None}], []),
    ],
)
def test_retention_is_drawn_for_tasks_that_differ_in_a_single_number(
    options: list[dict[str, ParamValue]], drawn: list[str]
) -> None:
    assert list(drawn_of(*map(of_copy, options))) == drawn


def test_task_at_the_default_of_an_option_is_drawn_with_the_others() -> None:
    """The facts of a cell name an option in `task` only if it differs from its default."""
    default = of_copy({}, default_options={"length": 1000, "loss": "mean"})
    cells = [of_copy({"length": 5}), of_copy({"length": 20}), default]
    picture = drawn_of(*cells)["retention-copy-loss"]
    assert picture.figure is not None
    (line, *_) = picture.figure.axes[0].lines
    assert np.asarray(line.get_xdata()).round().tolist() == [5, 20, 1000]
    assert "Left out" not in picture.caption


def test_task_whose_default_is_not_stored_is_named_as_left_out() -> None:
    """Studies of earlier versions do not store defaults."""
    cells = [*(of_copy({"length": length}) for length in (5, 20, 80)), of_copy({})]
    caption = drawn_of(*cells)["retention-copy-loss"].caption
    assert caption.endswith(" Left out, since the study stores no number as length: copy.")


def test_tasks_with_the_same_value_are_left_out() -> None:
    """Which of them belongs to the line cannot be told: they may be trained differently."""
    cells = [of_copy({"length": length}) for length in (5, 20, 80)]
    alike = [
        facts("tcn", task=f"long-{place}").model_copy(
            update={"task": TaskRef(name="copy"), "default_options": {"length": 1000}}
        )
        for place in "ab"
    ]
    caption = drawn_of(*cells, *alike)["retention-copy-loss"].caption
    assert caption.endswith(" Left out, since their length is the same: long-a and long-b.")
    assert not drawn_of(*cells[:2], *alike)


def retained(others: tuple[MetricFacts, ...], accuracy: float = 90.0) -> dict[str, str]:
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
        metrics = {part: {**of, "accuracy": accuracy, "accuracy-40": 80.0} for part, of in entry.result.metrics.items()}
        entries.append(replace(entry, result=entry.result.model_copy(update={"metrics": metrics})))
    return pictures([build_report(stored(cells, entries))])


def test_every_metric_in_a_retention_picture_has_its_unit_and_direction() -> None:
    drawn = retained((ACCURACY,))
    assert "<!-- test loss, nats (↓ better) -->" in drawn["retention-copy-loss"]
    assert "<!-- test accuracy, % (↑ better) -->" in drawn["retention-copy-accuracy"]
    assert "<!-- test accuracy-40, % (↑ better) -->" in drawn["retention-copy-accuracy-40"]


def test_metric_that_a_store_does_not_describe_is_still_drawn() -> None:
    assert "<!-- test accuracy -->" in retained(())["retention-copy-accuracy"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metric_without_a_finite_score_leaves_the_other_pictures(value: float) -> None:
    drawn = retained((ACCURACY,), accuracy=value)
    assert "retention-copy-loss" in drawn
    assert "retention-copy-accuracy-40" in drawn
    assert "retention-copy-accuracy" not in drawn


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
