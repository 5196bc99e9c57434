"""New rows: encoded as training rows were, and answered in the user's own terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness import Arrays, DataError, Dataset, Ragged
from harness.api.dataset import SPLITS
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import CLASSES, arrays, of_sequences, of_series, pieces, sequences, series, written


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def test_rows_of_training_are_encoded_as_they_were_in_training(tmp_path: Path) -> None:
    task = of_sequences(tmp_path)
    again = task.examples(Path(task.data), {})
    assert isinstance(again, Ragged)
    assert again.last
    sequences = {part.numpy().tobytes() for part in torch.split(again.inputs, again.lengths.tolist())}
    assert len(sequences) == 60
    assert sequences == {part.tobytes() for split in SPLITS for part in pieces(task, split)}


def test_classes_are_answered_by_name_in_the_order_of_sequences(tmp_path: Path) -> None:
    task = of_sequences(tmp_path)
    new = sequences(7, seed=5)[["b", "t", "id", "a"]].sample(frac=1, random_state=0)  # other order, no target
    rows = Path(written(new, tmp_path / "new.csv"))
    assert len(task.examples(rows, {})) == 7
    outputs = torch.eye(3)[[0, 1, 2, 0, 1, 2, 2]] * 50
    answers = task.answers(outputs, rows, {})
    assert list(answers.columns) == ["id", "prediction", *(f"probability_{name}" for name in CLASSES)]
    assert answers["id"].tolist() == sorted(new["id"].unique())
    assert answers["prediction"].tolist() == [CLASSES[k] for k in (0, 1, 2, 0, 1, 2, 2)]
    assert np.allclose(answers.filter(like="probability").sum(axis=1), 1)


def test_steps_are_answered_in_the_order_of_the_file_and_in_the_targets_unit(tmp_path: Path) -> None:
    table = sequences(60)
    task = of_sequences(tmp_path, table, target="level", drop="kind")
    facts = task._facts()
    new = table[table["id"] < "s010"].sample(frac=1, random_state=1)
    rows = Path(written(new, tmp_path / "new.csv"))
    examples = task.examples(rows, {})
    assert isinstance(examples, Ragged)
    # A network that gives back its input `a`, in standard deviations of the target.
    a = examples.inputs[:, :1].double() * facts.scales[0] + facts.means[0]
    answers = task.answers((a - facts.target_mean) / facts.target_scale, rows, {})
    assert list(answers.columns) == ["id", "t", "prediction"]
    assert answers["id"].tolist() == new["id"].tolist()
    assert answers["t"].tolist() == new["t"].tolist()
    assert np.allclose(answers["prediction"], new["a"], atol=1e-5)


def lengths_of(dataset: Dataset) -> torch.Tensor:
    if isinstance(dataset, Ragged):
        return dataset.lengths
    assert isinstance(dataset, Arrays)
    return torch.full((len(dataset),), dataset.inputs.shape[1])


@pytest.mark.parametrize("rows", [7, 100, 1003])
def test_every_row_of_a_new_series_has_an_answer_and_no_window_is_longer_than_in_training(
    rows: int, tmp_path: Path
) -> None:
    task = of_series(tmp_path, series(1200), horizon=1)
    new = Path(written(series(rows, seed=4), tmp_path / "new.csv"))
    examples = task.examples(new, {})
    lengths = lengths_of(examples)
    assert int(lengths.sum()) == rows
    assert int(lengths.max()) <= task.signature().length + 1
    answers = task.answers(torch.zeros(rows, 1), new, {})
    assert len(answers) == rows
    assert np.allclose(answers["prediction"], task._facts().target_mean)


def test_arrays_are_answered_by_their_place(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    task = OwnArrays(
        data=arrays(tmp_path, {"x": random.normal(size=(40, 5, 2)), "y": random.integers(0, 2, 40)}), target="y"
    )
    new = Path(arrays(tmp_path, {"x": random.normal(size=(3, 5, 2))}, "new.npz"))
    assert task.examples(new, {}).inputs.shape == (3, 5, 2)  # type: ignore[union-attr]
    answers = task.answers(torch.eye(2)[[1, 0, 1]], new, {})
    assert answers["sequence"].tolist() == [0, 1, 2]
    assert answers["prediction"].tolist() == [1, 0, 1]


def test_new_rows_without_a_column_are_refused(tmp_path: Path) -> None:
    task = of_sequences(tmp_path)
    rows = Path(written(sequences(4).drop(columns=["a", "t"]), tmp_path / "new.csv"))
    with pytest.raises(DataError, match=r"new\.csv: lacks 'a', 't', which the training data have; add the column"):
        task.examples(rows, {})


def test_forecast_needs_the_past_of_its_target(tmp_path: Path) -> None:
    task = of_series(tmp_path, horizon=1)
    rows = Path(written(series(50).drop(columns="heat"), tmp_path / "new.csv"))
    with pytest.raises(DataError, match="lacks 'heat'"):
        task.examples(rows, {})


def test_new_rows_with_holes_are_refused(tmp_path: Path) -> None:
    new = sequences(4)
    new.loc[2, "a"] = np.nan
    rows = Path(written(new, tmp_path / "new.csv"))
    with pytest.raises(DataError, match=r"new\.csv: column 'a' is missing in row 3"):
        of_sequences(tmp_path).examples(rows, {})


def test_outputs_of_other_rows_are_refused(tmp_path: Path) -> None:
    rows = Path(written(sequences(4), tmp_path / "new.csv"))
    with pytest.raises(DataError, match="there are 5 outputs for 4 answers; give the outputs of its examples"):
        of_sequences(tmp_path).answers(torch.zeros(5, 3), rows, {})


def test_class_names_come_back_as_they_were(tmp_path: Path) -> None:
    table = sequences()
    table["kind"] = table["kind"].map({"ash": "007", "elm": "08", "oak": "x"})
    task = of_sequences(tmp_path, table)
    rows = Path(written(sequences(3), tmp_path / "new.csv"))
    assert task.answers(torch.eye(3), rows, {})["prediction"].tolist() == ["007", "08", "x"]
    assert isinstance(task.answers(torch.eye(3), rows, {}), pd.DataFrame)


@pytest.mark.parametrize("kind", ["classes", "forecast", "wide"])
def test_facts_are_enough_to_predict_without_the_file(kind: str, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    if kind == "classes":
        task = of_sequences(tmp_path)
        written(sequences(7, seed=5).drop(columns="kind"), new)
    elif kind == "forecast":
        task = of_series(tmp_path, horizon=1)
        written(series(90, seed=5), new)
    else:
        random = np.random.default_rng(0)
        table = pd.DataFrame(random.normal(size=(60, 8)), columns=list("abcdefgh")).assign(y=random.normal(size=60))
        task = OwnArrays(data=written(table, tmp_path / "x.csv"), target="y", wide=True)
        written(table[:5].drop(columns="y"), new)
    signature, kept = task.signature(), task.with_prediction_facts(task.prediction_facts())
    examples = task.examples(new, {})
    assert isinstance(examples, Arrays | Ragged)
    last = signature.readout == "last"
    count = len(examples) if last else len(examples.inputs.reshape(-1, examples.inputs.shape[-1]))
    outputs = torch.randn(count, signature.out_features)
    expected, floor = task.answers(outputs, new, {}), task.floor()
    Path(task.data).unlink()
    assert (kept.signature(), kept.files(), kept.floor()) == (signature, (), floor)
    again = kept.examples(new, {})
    assert isinstance(again, Arrays | Ragged)
    assert torch.equal(again.inputs, examples.inputs)
    pd.testing.assert_frame_equal(kept.answers(outputs, new, {}), expected)
