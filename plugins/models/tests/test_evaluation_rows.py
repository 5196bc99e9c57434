"""Scores of a text do not depend on the number of rows that it is evaluated in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Batch,
    Classes,
    Dataset,
    Metric,
    Model,
    Optimisation,
    Seeds,
    Signature,
    Split,
    Stream,
    Task,
    Tokens,
    Total,
    bits_of,
)
from harness.records import Training
from harness.training.evaluation import evaluate
from harness.training.network import build_network
from harness.training.run import TrainingData, TrainingRun
from harness_models.recurrent import Gru, Lstm
from harness_models.tcn import Tcn

CPU = torch.device("cpu")
SEEDS = Seeds.of(0, 0)
MARGIN = 0.01
"""Bits a character: the margin of the text tasks."""
LETTERS = 12


class Text(Task):
    """Words of a small lexicon, drawn one after another, by letters: a cold start costs a word or two."""

    name: ClassVar[str] = "text"

    def signature(self) -> Signature:
        return Signature(Tokens(LETTERS, 8), Classes(LETTERS), length=40, readout="each", tied=True)

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("bpc", "bits/character", "lower", bits_of("nll"), margin=MARGIN),)

    def training_sequences(self) -> int:
        return 200

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        random = np.random.default_rng(0)
        lexicon = [random.integers(1, LETTERS, random.integers(3, 9)) for _ in range(30)]
        drawn = np.random.default_rng(len(split)).integers(len(lexicon), size=2000)
        letters = np.concatenate([np.append(lexicon[word], 0) for word in drawn])
        return Stream(torch.from_numpy(letters[:8000]), before=0, scored=40, history=None, rows=10)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats = F.cross_entropy(output.flatten(0, -2), batch.targets.flatten(), reduction="none").view_as(batch.targets)
        mask = torch.ones_like(nats, dtype=torch.bool) if batch.mask is None else batch.mask
        return {"nll": Total((nats * mask).sum(dtype=torch.float64), mask.sum())}


MODELS: dict[str, tuple[Model, tuple[int, ...], dict[str, Any]]] = {  # parameters of several types
    "tcn": (Tcn(), (24,) * 4, {"kernel_size": 3, "levels": 4}),
    "gru": (Gru(), (48,), {"layers": 1}),
    "lstm": (Lstm(), (48,), {"layers": 1, "forget_bias": 1.0}),
}


@pytest.mark.parametrize("name", MODELS)
def test_ten_rows_score_as_one_within_a_tenth_of_the_margin(name: str) -> None:
    model, widths, params = MODELS[name]
    task = Text()
    torch.manual_seed(0)
    run = TrainingRun(
        build_network(model, task.signature(), widths, params),
        task,
        training=Training(updates=200, batch_size=8, evaluate_every=200),
        optimisation=Optimisation(learning_rate=5e-3, clip=1.0),
        data=TrainingData(task.load("train", SEEDS, {}), task.load("validation", SEEDS, {})),
        seeds=SEEDS,
    )
    run.advance(1e9)
    assert run.best_score is not None
    assert run.best_score < 0.75 * math.log2(LETTERS)  # it has learned something that a past is needed for
    test = task.load("test", SEEDS, {})
    assert isinstance(test, Stream)
    for tokens in (1000, 2000, 6000):
        part = replace(test, tokens=test.tokens[:tokens])
        single, ten = (evaluate(run.network, task, replace(part, rows=rows), CPU)["bpc"] for rows in (1, 10))
        assert abs(ten - single) < MARGIN / 10, tokens
