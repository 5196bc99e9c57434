"""The floor of a part of a held-out split: that of the whole split on all of it, and by hand on a few sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.dataset import Arrays, Ragged, sample
from harness_tasks import OwnArrays, TextFile
from plugins.tasks.tests.own_files import SEEDS, load, of_sequences, of_series, sequences, series


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def floors(task: OwnArrays, limit: int = 10**9) -> tuple[float, float]:
    train = load(task, "train")
    test, validation = (
        task.sample_floor(sample(load(task, split), limit, 0), train) for split in ("test", "validation")
    )
    return test, validation


@pytest.mark.parametrize(
    "options",
    [
        {"target": "kind", "score": "accuracy"},
        {"target": "kind", "score": "balanced-accuracy"},
        {"target": "kind", "score": "log-loss"},
        {"target": "level", "drop": "kind"},
        {"target": "level", "drop": "kind", "score": "mae"},
    ],
    ids=lambda options: f"{options['target']}-{options.get('score')}",
)
def test_floor_of_all_sequences_is_the_floor(options: dict[str, Any], tmp_path: Path) -> None:
    task = of_sequences(tmp_path, **options)
    assert floors(task) == pytest.approx((task.floor(), task.validation_floor()), rel=1e-6)


@pytest.mark.parametrize("score", ["rmse", "mae"])
@pytest.mark.parametrize("walks", [True, False])
def test_floor_of_a_whole_forecast_is_the_floor(score: str, walks: bool, tmp_path: Path) -> None:
    steps = np.random.default_rng(0).normal(size=600)
    table = series(600).assign(heat=np.cumsum(steps) if walks else steps)
    task = of_series(tmp_path, table, horizon=2, score=score, length=15)
    assert floors(task) == pytest.approx((task.floor(), task.validation_floor()), rel=1e-5)


@pytest.mark.parametrize("score", ["accuracy", "balanced-accuracy", "log-loss"])
@pytest.mark.parametrize("hold", [1, 20])
def test_floor_of_a_whole_class_forecast_is_the_floor(score: str, hold: int, tmp_path: Path) -> None:
    states = np.repeat(np.random.default_rng(0).integers(3, size=800 // hold), hold)
    table = series(800).assign(state=[("low", "mid", "top")[state] for state in states])
    task = of_series(tmp_path, table, target="state", horizon=1, score=score, length=20)
    assert floors(task) == pytest.approx((task.floor(), task.validation_floor()), rel=1e-6)


def test_floor_of_a_few_sequences_is_the_share_of_the_commonest_class_among_them(tmp_path: Path) -> None:
    table = sequences()
    table["kind"] = np.where(table["kind"] == "ash", "ash", "elm")
    task = of_sequences(tmp_path, table, score="accuracy")
    few = sample(load(task, "test"), 4, 1)
    assert isinstance(few, Arrays | Ragged)
    shares = 100 * float((few.targets == 1).double().mean())
    assert task.sample_floor(few, load(task, "train")) == pytest.approx(shares)
    assert shares != pytest.approx(task.floor())


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_floor_of_a_piece_of_a_text_is_that_of_its_tokens(unit: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "text.txt"
    path.write_text(
        "\n".join(" ".join(random.choice(["a", "bc", "d", "eff"], p=[0.6, 0.2, 0.1, 0.1], size=8)) for _ in range(400))
    )
    task = TextFile(data=str(path), unit=unit, scored=10)
    train, test = task.load("train", SEEDS, {}), task.load("test", SEEDS, {})
    assert task.sample_floor(test, train) == pytest.approx(task.floor())
    piece = sample(test, 3, 1)
    counts = torch.bincount(train.tokens.long(), minlength=task.vocabulary()).double()
    shares = (counts + 0.5) / (len(train) + task.vocabulary() / 2)
    nats = float(-shares[piece.tokens.long()].log().mean())  # type: ignore[union-attr]  # a stream
    assert task.sample_floor(piece, train) == pytest.approx(task._score_of(nats))
    assert task.sample_floor(piece, train) != pytest.approx(task.floor())
