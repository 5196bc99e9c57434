"""A winner as scikit-learn users know it: predict, predict_proba, get_params, and errors about new rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import harness
from harness import DataError, Ragged, Winner
from harness.errors import HarnessError, StudyError

pytest.importorskip("harness_models", reason="a winner loads the installed plugins")
pytest.importorskip("harness_tasks", reason="a winner loads the installed plugins")

CLASSES = ["high", "low", "mid"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Forty machines of different lengths, each in one state."""
    random = np.random.default_rng(0)
    lengths = random.integers(3, 9, 40)
    table = pd.DataFrame({"machine": np.repeat(np.arange(40), lengths), "load": random.normal(size=lengths.sum())})
    table["heat"] = random.normal(size=len(table))
    return table.assign(state=np.repeat(random.choice(CLASSES, 40), lengths))


@pytest.fixture(scope="module")
def results(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> harness.Results:
    folder = tmp_path_factory.mktemp("classes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HARNESS_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        frame.to_csv("state.csv", index=False)
        own = {"name": "arrays", "data": "state.csv", "sequence": "machine", "parameters": 300}
        study = harness.Study(
            "classes",
            ["gru"],
            [{**own, "as": "state", "target": "state"}, {**own, "as": "load", "target": "load", "drop": "state"}],
            budget={"trials": 1, "repetitions": 1, "tolerance": 0.2},
            training={"updates": 5, "batch_size": 8, "evaluations": 1},
        )
        return harness.run(study, executor="serial", progress=False, log_models=False)


@pytest.fixture(scope="module")
def winner(results: harness.Results) -> Winner:
    return results.winner("state", "gru")


@pytest.fixture
def rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["machine"] < 9].drop(columns="state")


def test_probabilities_are_the_softmax_of_the_network_s_outputs(
    winner: Winner, rows: pd.DataFrame, tmp_path: Path
) -> None:
    """Computed anew: one sequence at a time, without batches, and the softmax in NumPy."""
    shares = winner.predict_proba(rows)
    assert list(shares.columns) == CLASSES
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    examples = winner.task.examples(tmp_path / "rows.csv", {})
    assert isinstance(examples, Ragged)
    with torch.inference_mode():
        parts = torch.split(examples.inputs, examples.lengths.tolist())
        logits = torch.cat([winner.network(part[None])[:, -1] for part in parts]).double().numpy()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(shares, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


def test_prediction_is_the_class_of_the_largest_probability(winner: Winner, rows: pd.DataFrame) -> None:
    predicted, shares = winner.predict(rows), winner.predict_proba(rows)
    assert predicted["machine"].tolist() == list(range(9))
    assert predicted["prediction"].tolist() == shares.idxmax(axis=1).tolist()


def test_numbers_have_no_probabilities(results: harness.Results, frame: pd.DataFrame) -> None:
    with pytest.raises(StudyError, match="task 'arrays' predicts numbers, which have no probabilities; use predict"):
        results.winner("load", "gru").predict_proba(frame)


def test_params_are_those_of_the_trial(winner: Winner) -> None:
    params = winner.get_params()
    assert params == {
        "model": "gru",
        "widths": winner.trial.widths,
        "parameters": winner.trial.parameters,
        **winner.trial.params,
    }
    params["model"] = "other"
    assert winner.get_params()["model"] == "gru"


def test_columns_that_training_did_not_use_are_ignored(winner: Winner, rows: pd.DataFrame) -> None:
    more = rows.assign(state="unknown", colour="red")[["colour", "heat", "state", "machine", "load"]]
    pd.testing.assert_frame_equal(winner.predict(more), winner.predict(rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="load"), "lacks 'load', which the training data have; add the column"),
        (lambda rows: rows.rename(columns={"load": "Load"}), "lacks 'load', which the training data have"),
        (lambda rows: rows[["machine"]], "lacks 'load', 'heat', which the training data have"),
        (lambda rows: rows.drop(columns="machine"), "lacks 'machine', which the training data have"),
        (lambda rows: rows.assign(heat="hot"), "column 'heat' holds text, as 'hot'; encode it as numbers, or leave"),
        (lambda rows: rows.assign(heat=np.nan), "column 'heat' is missing in row 1"),
        (lambda rows: rows.head(0), "has no rows"),
    ],
)
def test_rows_that_cannot_be_predicted_are_an_error_of_one_line(
    winner: Winner, rows: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    for predict in (winner.predict, winner.predict_proba):
        with pytest.raises(HarnessError) as caught:
            predict(change(rows))
        assert isinstance(caught.value, DataError)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
