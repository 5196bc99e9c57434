"""Results as data frames: rows, dtypes and missing values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from harness.analysis.stored_study import StoredStudy
from harness.records import Cell, LeftOut, ParamValue, Point
from harness.report import frames
from harness.report.columns import BEST_OF_K, COMPARISON, CURVES, DECISIONS, LEADER_CHANGES, SCORES, TRIALS
from harness.report.report import build_report
from tests.support.cells import ACCURACY, cell_of, facts, repeated, stored


@pytest.fixture
def study() -> StoredStudy:
    """Two models with twelve repetitions, one that failed, one that has no trials, and one that was left out."""
    tcn, gru, rnn, lstm = (facts(name, ACCURACY, repetitions=12) for name in ("tcn", "gru", "rnn", "lstm"))
    entries = [
        *cell_of(tcn, [90.0 + i for i in range(12)]),
        *cell_of(gru, [80.0 + i for i in range(12)]),
        *cell_of(rnn, [math.nan] * 12),
    ]
    left = LeftOut(cell=Cell(task="copy", model="words"), reason="needs tokens")
    return stored([tcn, gru, rnn, lstm], entries, left_out=(left,))


def test_no_column_is_of_objects_and_every_declared_column_has_its_dtype(study: StoredStudy) -> None:
    report = build_report(study)
    made = {
        "trials": (frames.trials(study), TRIALS),
        "scores": (frames.scores(study), SCORES),
        "curves": (frames.curves(study), CURVES),
        "comparison": (frames.comparison(report), COMPARISON),
        "decisions": (frames.decisions(report), DECISIONS),
        "leader_changes": (frames.leader_changes(report), LEADER_CHANGES),
        "best_of_k": (frames.best_of_k(report), BEST_OF_K),
    }
    for name, (frame, columns) in made.items():
        dtypes = frame.dtypes.astype(str)
        assert {column: dtypes[column] for column in columns} == {c: d.dtype for c, d in columns.items()}, name
        assert "object" not in set(dtypes), name


@pytest.mark.parametrize("make", [frames.trials, frames.scores, frames.curves])
def test_frames_of_a_study_without_trials_are_empty_with_their_dtypes(
    make: Callable[[StoredStudy], pd.DataFrame],
) -> None:
    frame = make(stored([facts("tcn")], []))
    assert frame.empty
    assert "object" not in set(frame.dtypes.astype(str))


def test_trials_have_one_row_each_with_their_metrics() -> None:
    tcn = facts("tcn")
    entries = [*cell_of(tcn, [0.1, 0.2]), *repeated(tcn.cell, 0, [9.0])]
    frame = frames.trials(stored([tcn], entries))
    assert len(frame) == len(entries)
    assert frame[frame["phase"] == "final"]["test/loss"].tolist() == [0.1, 0.2, 9.0]
    assert frame["superseded"].tolist() == [False] * 4 + [True]
    assert frame["seed_init"].tolist() == [entry.trial.seeds.init for entry in entries]


def test_dimensions_have_the_dtype_of_their_values() -> None:
    tcn, gru = facts("tcn"), facts("gru")
    first, *_ = cell_of(tcn, [0.1, 0.2])
    second, *_ = cell_of(gru, [0.1, 0.2])
    params: list[dict[str, ParamValue]] = [
        {"levels": 3, "clip": None, "tied": True, "kind": "a", "mixed": 1},
        {"clip": 0.5, "mixed": "two"},
    ]
    entries = [
        replace(entry, trial=entry.trial.model_copy(update={"params": given}))
        for entry, given in zip((first, second), params, strict=True)
    ]
    frame = frames.trials(stored([tcn, gru], entries))
    dtypes = {name: str(frame[f"params.{name}"].dtype) for name in params[0]}
    assert dtypes == {"levels": "Int64", "clip": "Float64", "tied": "boolean", "kind": "string", "mixed": "string"}
    assert frame["params.levels"].tolist()[0] == 3
    assert frame["params.clip"].isna().tolist() == [True, False]


def test_scores_are_long_with_the_published_value_on_test_alone(study: StoredStudy) -> None:
    frame = frames.scores(study)
    test = frame[(frame["split"] == "test") & (frame["model"] == "tcn")]
    assert test["score"].tolist() == [90.0 + i for i in range(12)]
    assert test["baseline"].tolist() == [2.0794] * 12
    assert frame[frame["split"] == "validation"]["published"].isna().all()


def test_curves_of_a_ledger_have_every_quantity_and_those_of_mlflow_what_was_read() -> None:
    tcn = facts("tcn", repetitions=1)
    *search, final = cell_of(tcn, [0.1])
    point = Point(
        update=5, epoch=1.5, seconds=2.0, time=0.0, learning_rate=0.1, train_loss=3.0, gradient_norm=4.0,
        metrics={"loss": 0.3},
    )  # fmt: skip
    frame = frames.curves(stored([tcn], [*search, replace(final, points=(point,))]))
    values = dict(zip(frame["quantity"], frame["value"], strict=True))
    assert values == {"train_loss": 3.0, "learning_rate": 0.1, "gradient_norm": 4.0, "validation/loss": 0.3}
    assert set(frame["update"]) == {5}
    read = replace(stored([tcn], [*search, final]), curves={final.trial.key: {"loss": ((5, 0.3),)}})
    line = frames.curves(read).iloc[0]
    assert (line["quantity"], line["update"], line["value"]) == ("validation/loss", 5, 0.3)
    assert pd.isna(line["epoch"])


def test_comparison_has_the_ranks_and_left_out_cells_last(study: StoredStudy) -> None:
    frame = frames.comparison(build_report(study)).set_index("model")
    assert frame.loc["tcn", "rank"] == 1
    assert frame.loc["tcn", "test_mean"] == pytest.approx(95.5)
    assert frame["rank"].isna().loc["rnn"]
    assert frame.index[-1] == "words"
    assert frame.loc["words", "state"] == "left-out"


def test_decisions_name_both_models_and_their_verdict(study: StoredStudy) -> None:
    frame = frames.decisions(build_report(study))
    line = frame[(frame["model"] == "tcn") & (frame["other"] == "gru")].iloc[0]
    assert (line["verdict"], line["wins"], line["pairs"]) == ("better", 12, 12)


def test_best_of_k_has_a_row_for_every_number_of_trials(study: StoredStudy) -> None:
    frame = frames.best_of_k(build_report(study))
    assert frame[frame["model"] == "tcn"]["k"].tolist() == [1, 2]
