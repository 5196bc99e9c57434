"""Classes that are asked for ahead: the present class is an input, and staying with it a floor."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness import DataError
from harness.api.dataset import SPLITS
from harness.testing import check_task
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import SEEDS, of_series, pieces, series, written

STATES = ("low", "mid", "top")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def states(rows: int = 800, *, hold: int = 20, seed: int = 0) -> pd.DataFrame:
    """A series in a state that holds for so many rows."""
    drawn = np.random.default_rng(seed).integers(3, size=-(-rows // hold))
    steps = np.repeat(drawn, hold)[:rows]
    return series(rows).assign(state=[STATES[step] for step in steps])


def task_on(folder: Path, table: pd.DataFrame, **options: object) -> OwnArrays:
    return of_series(folder, table, **{"target": "state", "horizon": 1, **options})


@pytest.mark.parametrize("horizon", [1, 4])
def test_present_class_is_an_input_and_the_one_ahead_is_not(horizon: int, tmp_path: Path) -> None:
    table = states().assign(row=np.arange(800.0))
    task = task_on(tmp_path, table, horizon=horizon, drop="wind,heat")
    facts = task._facts()
    assert (facts.inputs, facts.shown, task.signature().in_features) == (("row",), STATES, 4)
    known = [STATES.index(state) for state in table["state"]]
    for split in SPLITS:
        dataset = task.load(split, SEEDS, {})
        seen = np.concatenate(pieces(task, split)) * facts.scales + facts.means
        rows = np.rint(seen[:, 0]).astype(int)
        assert np.allclose(seen[:, 1:], np.eye(3)[[known[row] for row in rows]], atol=1e-5)
        assert dataset.targets.flatten().tolist() == [known[row + horizon] for row in rows]


@pytest.mark.parametrize("score", ["accuracy", "balanced-accuracy", "log-loss"])
def test_floor_is_the_present_class_where_that_is_better(score: str, tmp_path: Path) -> None:
    table = states()
    task = task_on(tmp_path, table, score=score, length=20)
    ahead = task.load("test", SEEDS, {}).targets.flatten().numpy()
    facts = task._facts()
    shown = (np.concatenate(pieces(task, "test")) * facts.scales + facts.means)[:, 2:]
    present = shown.argmax(1)
    if score == "accuracy":
        assert task.floor() == pytest.approx(100 * np.mean(present == ahead))
    elif score == "balanced-accuracy":
        shares = [np.mean(present[ahead == state] == state) for state in np.unique(ahead)]
        assert task.floor() == pytest.approx(100 * np.mean(shares))
    else:
        stays = math.exp(-task.floor() / 2)  # a bound: of all steps, the few that change cost more
        assert 0.9 < stays < np.mean(present == ahead)
        return
    assert task.floor() > 90


@pytest.mark.parametrize("score", ["accuracy", "balanced-accuracy", "log-loss"])
def test_floor_is_the_commonest_class_where_classes_do_not_hold(score: str, tmp_path: Path) -> None:
    table = states(hold=1)
    forecast = task_on(tmp_path, table, score=score, length=20)
    fixed = task_on(tmp_path, table, score=score, length=20, drop="state")
    better = max if score != "log-loss" else min
    assert forecast.floor() == better(forecast.floor() or 0, fixed.floor() or 0)
    assert forecast.floor() == pytest.approx(fixed.floor(), rel=0.25)


def test_class_may_be_forecast_from_its_own_past_alone(tmp_path: Path) -> None:
    table = states()[["when", "state"]]
    task = task_on(tmp_path, table)
    assert task.signature().in_features == 3
    with pytest.raises(DataError, match="has no column left for the inputs"):
        task_on(tmp_path, table, drop="state").signature()


def test_dropped_target_is_no_input(tmp_path: Path) -> None:
    facts = task_on(tmp_path, states(), drop="state")._facts()
    assert (facts.inputs, facts.shown) == (("wind", "heat"), ())


def test_very_many_classes_show_the_commonest(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"c{number:03}" for number in (random.integers(150, size=3000) ** 2 // 150)]
    table = pd.DataFrame({"when": np.arange(3000), "x": random.normal(size=3000), "state": names})
    facts = task_on(tmp_path, table)._facts()
    assert len(facts.shown) == 100 < len(facts.classes)


def test_new_rows_show_their_present_class(tmp_path: Path) -> None:
    task = task_on(tmp_path, states())
    facts = task._facts()
    new = states(50, seed=3)
    rows = Path(written(new, tmp_path / "new.csv"))
    examples = task.examples(rows, {})
    seen = examples.inputs.reshape(50, 5).double() * torch.tensor(facts.scales) + torch.tensor(facts.means)  # type: ignore[union-attr]
    assert [STATES[place] for place in seen[:, 2:].argmax(1)] == new["state"].tolist()
    assert len(task.answers(torch.zeros(50, 3), rows, {})) == 50
    with pytest.raises(DataError, match="lacks 'state', which the training data have"):
        task.examples(Path(written(new.drop(columns="state"), tmp_path / "new.csv")), {})


def test_new_rows_with_a_class_that_training_lacks_are_refused(tmp_path: Path) -> None:
    new = states(50).assign(state="stopped")
    rows = Path(written(new, tmp_path / "new.csv"))
    with pytest.raises(
        DataError, match=r"new\.csv: column 'state' holds class 'stopped', which the training data lack;"
    ):
        task_on(tmp_path, states()).examples(rows, {})


def test_new_rows_whose_classes_all_spell_numbers_show_the_classes_of_training(tmp_path: Path) -> None:
    table = states()
    task = task_on(tmp_path, table.assign(state=table["state"].map({"low": "1", "mid": "2", "top": "off"})))
    rows = written(series(4).assign(state=["1", "2", "2", "1"]), tmp_path / "new.csv")
    facts = task._facts()
    examples = task.examples(Path(rows), {})
    seen = examples.inputs.reshape(4, 5).double() * torch.tensor(facts.scales) + torch.tensor(facts.means)  # type: ignore[union-attr]
    assert seen[:, 2:].round().tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_contract(tmp_path: Path) -> None:
    task = task_on(tmp_path, states(2000))
    assert [(result.check, result.reason) for result in check_task(task) if not result.good] == []
