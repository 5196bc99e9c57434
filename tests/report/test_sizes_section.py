"""The comparison of a task over its sizes: sentence, table, frame and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from harness.records import Cell, TaskRef
from harness.report import frames
from harness.report.document import Table
from harness.report.figures.lines import points_of
from harness.report.figures.sizes import score_against_parameters
from harness.report.figures.style import model_styles
from harness.report.formats import FORMATS, figures, to_description, to_markdown, to_summary
from harness.report.report import Report, across_tasks, build_report, uncounted_tasks
from harness.report.sections.sizes import size_sentence, sizes_blocks
from harness.report.writers.tabular import to_csv
from tests.support.cells import ACCURACY, cell_of, facts, stored

SIZES = (5_000, 20_000, 80_000)
LABELS = ("copy-5k", "copy-20k", "copy-80k")
NOT_LEARNED = 10.0
"""An accuracy below the floor of `made`, 30."""


def made(
    means: Mapping[str, Sequence[float | None]],
    *,
    noise: float = 0.2,
    n: int = 10,
    labels: Sequence[str] = LABELS,
    training: Sequence[str] = ("a", "a", "a"),
) -> Report:
    """Return the report of models with these mean accuracies at each size; None: the model is not there.

    training: digest of the training at each size.
    """
    random = np.random.default_rng(0)
    cells, entries = [], []
    for place, (label, parameters) in enumerate(zip(labels, SIZES, strict=True)):
        for model, of_sizes in means.items():
            mean = of_sizes[place]
            if mean is None:
                continue
            cell = facts(model, ACCURACY, task=label, repetitions=n).model_copy(
                update={
                    "parameters": parameters,
                    "tolerance": 0.01,
                    "floor": 30.0,
                    "task": TaskRef(name="copy"),
                    "fingerprint": {"training": training[place]},
                }
            )
            assert cell.cell == Cell(task=label, model=model)
            cells.append(cell)
            entries += [
                entry.__class__(
                    entry.trial.model_copy(update={"parameters": parameters}), entry.attempt, (), entry.result
                )
                for entry in cell_of(cell, list(mean + noise * random.standard_normal(n)))
            ]
    return build_report(stored(cells, entries))


def sentence(report: Report) -> str:
    (sizes,) = report.sizes
    return size_sentence(sizes)


CROSSING = {"gru": [60.0, 60.0, 60.0], "tcn": [55.0, 59.0, 63.0]}
"""The lines cross a quarter of the way from log 20,000 to log 80,000: at 20,000 * sqrt(2)."""


def test_sentence_names_the_size_at_which_the_leader_changes() -> None:
    assert sentence(made(CROSSING, noise=0.0)) == (
        "copy: gru leads up to about 28,000 parameters (95 % interval 28,000 to 28,000), tcn above."
    )


def test_leader_that_does_not_change_is_said_to_stay() -> None:
    assert sentence(made({"gru": [60.0, 60.0, 60.0], "tcn": [50.0, 50.0, 50.0]})) == (
        "copy: gru leads; the leader does not change between 5,000 and 80,000 parameters."
    )


def test_sizes_that_train_differently_are_not_compared() -> None:
    """A leader that changes could be due to the updates."""
    assert made(CROSSING, training=("a", "b", "c")).sizes == ()
    (sizes,) = made(CROSSING, training=("a", "b", "a")).sizes
    assert sizes.parameters == (5_000, 80_000)


def test_too_few_repetitions_are_named_as_the_reason() -> None:
    assert sentence(made(CROSSING, n=5)) == (
        "copy: whether the leader changes between 5,000 and 80,000 parameters is not determined (5 repetitions; 10 are "
        "needed); best mean: gru at 5,000 and 20,000; tcn at 80,000."
    )


def test_mean_of_successes_and_failures_of_a_leader_determines_nothing() -> None:
    report = made({"gru": [60.0, 60.0, 60.0], "tcn": [20.0, 31.0, 63.0]}, noise=1.0)
    assert sentence(report) == (
        "copy: whether the leader changes between 5,000 and 80,000 parameters is not determined (some repetitions of "
        "tcn at 20,000 succeed and some do not); best mean: gru at 5,000 and 20,000; tcn at 80,000."
    )
    assert set(frames.leader_changes(report)["verdict"]) == {"undetermined"}
    behind = made({"gru": [60.0, 60.0, 60.0], "tcn": [20.0, 31.0, 50.0]}, noise=1.0)
    assert "gru leads; the leader does not change" in sentence(behind)


def test_noise_is_not_determined() -> None:
    text = sentence(made({"gru": [60.0, 60.1, 60.0], "tcn": [60.1, 60.0, 60.1]}, noise=5.0))
    assert "is not determined; best mean: " in text


def test_two_changes_are_listed_in_order() -> None:
    report = made({"gru": [60.0, 50.0, 60.0], "tcn": [55.0, 55.0, 55.0]}, noise=0.0)
    assert sentence(report) == (
        "copy: gru leads up to about 10,000 parameters (95 % interval 10,000 to 10,000), tcn up to about 40,000 (95 % "
        "interval 40,000 to 40,000), gru above."
    )


def test_open_end_is_said_in_words() -> None:
    report = made({"gru": [60.0, 60.0, 60.0], "tcn": [52.0, 56.0, 60.7]}, noise=0.6)
    assert "to above the largest size), tcn above." in sentence(report)
    assert frames.leader_changes(report)["high"].isna().all()


def test_size_at_which_nothing_was_learned_and_missing_models_are_left_out() -> None:
    means: dict[str, list[float | None]] = {
        "gru": [NOT_LEARNED, 60.0, 60.0],
        "rnn": [NOT_LEARNED, 45.0, None],
        "tcn": [NOT_LEARNED, 55.0, 65.0],
    }
    text = sentence(made(means))
    assert text.startswith("copy: gru leads up to about 40,000 parameters")
    assert text.endswith("tcn above; nothing was learned at 5,000; not ranked at every size: rnn.")


def test_one_model_has_no_change() -> None:
    assert "fewer than two models are ranked at two or more sizes" in sentence(made({"gru": [60.0, 60.0, 60.0]}))


def test_sentence_is_where_readers_begin() -> None:
    report = made(CROSSING, noise=0.0)
    for text in (to_markdown(report), to_summary(report), to_description(report, 10_000)):
        assert sentence(report) in text
    assert all(FORMATS[name](report) for name in FORMATS)


def test_table_has_a_column_per_size_with_the_leader_in_bold() -> None:
    (sizes,) = made(CROSSING).sizes
    (table,) = (block for block in sizes_blocks(sizes) if isinstance(block, Table))
    assert table.header[1:] == tuple(f"test accuracy at {size} parameters" for size in ("5,000", "20,000", "80,000"))
    assert {row[0].text: [datum.strong for datum in row[1:]] for row in table.rows} == {
        "gru": [True, True, False],
        "tcn": [False, False, True],
    }


def test_holm_is_within_a_size() -> None:
    """Each size has the decisions that it has alone."""
    report = made(CROSSING)
    for section in report.sections:
        alone = made(
            {model: [mean if label == section.task else None for label, mean in zip(LABELS, means, strict=True)]
             for model, means in CROSSING.items()},
            noise=0.0,
        )  # fmt: skip
        assert [pair.decision.verdict for pair in section.pairs] == [
            pair.decision.verdict for pair in alone.sections[0].pairs
        ]


def test_frame_has_a_row_per_change() -> None:
    frame = frames.leader_changes(made(CROSSING, noise=0.0))
    (line,) = frame.to_dict("records")
    assert (line["task"], line["verdict"], line["before"], line["after"]) == ("copy", "changes", "gru", "tcn")
    assert line["parameters"] == pytest.approx(20_000 * math.sqrt(2))
    same = frames.leader_changes(made({"gru": [60.0] * 3, "tcn": [50.0] * 3}))
    assert (same["verdict"][0], same["before"][0], same["after"].isna()[0]) == ("same", "gru", True)


def test_one_size_per_task_has_none_of_this() -> None:
    report = made({"gru": [60.0, None, None], "tcn": [50.0, None, None]})
    assert report.sizes == ()
    assert frames.leader_changes(report).empty
    assert "score against parameters" not in to_markdown(report)
    assert not [name for name in figures([report]) if "parameters" in name]


def test_figure_shows_the_change_and_its_interval() -> None:
    figure = figures([made(CROSSING)])["score-against-parameters-copy"]
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    labels = axes.get_legend_handles_labels()[1]
    assert {"gru", "tcn", "leader changes"} <= set(labels)
    assert not [label for label in labels if label.startswith("_")]


def test_figure_has_no_interval_where_some_runs_succeed_and_some_do_not() -> None:
    """Student's interval would be too short there, so the tables have none either."""
    (comparison,) = made({"gru": [60.0, 60.0, 60.0], "tcn": [31.0, 59.0, 63.0]}, noise=5.0).sizes
    points = points_of(comparison.sections, lambda section, _: section.parameters)
    assert [summary.interval is None for _, summary in points["tcn"]] == [True, False, False]
    assert [summary.interval is None for _, summary in points["gru"]] == [False, False, False]
    drawn = score_against_parameters(comparison, model_styles([made(CROSSING)]))
    assert drawn is not None
    assert "none where some repetitions succeed and some do not" in drawn.caption


def test_sizes_of_one_task_are_not_several_tasks() -> None:
    report = made(CROSSING)
    assert across_tasks([report]) is None
    assert {reason for _, reason in uncounted_tasks([report])} == {
        "it is one task at several sizes, which are no independent tasks"
    }
    assert "Across tasks" not in to_markdown(report)


def test_labels_without_a_common_part_are_named_by_the_task() -> None:
    assert made(CROSSING, labels=("small", "medium", "large")).sizes[0].task == "copy"


def test_cells_of_each_size_are_rows_of_the_files() -> None:
    text = to_csv(made(CROSSING))
    assert all(label in text for label in LABELS)
