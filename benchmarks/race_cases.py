"""The data sets that `real_races` races on, and what is known about each.

The tasks are registered as a plugin by this module's hook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor, nn

from harness import (
    Arrays,
    Batch,
    Classes,
    Dataset,
    Metric,
    Real,
    Seeds,
    Signature,
    Split,
    Task,
    Total,
    derive,
    hookimpl,
    mean_of,
    percent_of,
)
from harness.recommendation.result import Recommendation

LENGTH = 40
SEQUENCES: dict[Split, int] = {"train": 128, "validation": 64, "test": 256}


def _noise(split: Split, seeds: Seeds, *shape: int) -> Tensor:
    """Uniform in [-1, 1]; the test split is one a study."""
    seed = derive(seeds.fixed if split == "test" else seeds.data, split)
    random = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(SEQUENCES[split], *shape, generator=random) - 1


class Delayed(Task):
    """The input of `delay` steps ago, at each step.  A network that sees fewer is no better than the floor."""

    name: ClassVar[str] = "delayed"
    delay: int = 24
    spread: float = 1.0
    """Of noise in place of the target: 1 is the target alone, 0 noise alone."""

    def signature(self) -> Signature:
        return Signature(input=Real(1), output=Real(1), length=LENGTH, readout="each")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("mse", "", "lower", mean_of("mse"), margin=0.05, scale="log"),)

    def training_sequences(self) -> int:
        return SEQUENCES["train"]

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        drawn = _noise(split, seeds, LENGTH, 2)
        targets = nn.functional.pad(drawn[..., :1], (0, 0, self.delay, 0))[:, :LENGTH]
        targets = self.spread * targets + (1 - self.spread) * drawn[..., 1:]
        return Arrays(drawn[..., :1], targets)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        real, wanted = output[:, self.delay :], batch.targets[:, self.delay :]
        return {"mse": Total(nn.functional.mse_loss(real, wanted, reduction="sum"), wanted.numel())}

    def floor(self) -> float:
        """Of the constant 0: the variance of the target."""
        return (self.spread**2 + (1 - self.spread) ** 2) / 3


class LastSign(Task):
    """The sign of the last input, of which every architecture is capable.  Inputs keep away from zero."""

    name: ClassVar[str] = "last-sign"

    def signature(self) -> Signature:
        return Signature(input=Real(1), output=Classes(2), length=LENGTH, readout="last")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("accuracy", "%", "higher", percent_of("right"), margin=1.0),)

    def training_sequences(self) -> int:
        return SEQUENCES["train"]

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        drawn = _noise(split, seeds, LENGTH, 1)
        drawn = drawn + 0.2 * torch.sign(drawn)
        return Arrays(drawn, (drawn[:, -1, 0] > 0).long())

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        right = (output.argmax(-1) == batch.targets).float().sum()
        nll = nn.functional.cross_entropy(output, batch.targets, reduction="sum")
        return {"nll": Total(nll, len(output)), "right": Total(right, len(output))}

    def floor(self) -> float:
        return 50.0


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    register(Delayed)
    register(LastSign)


@dataclass(frozen=True)
class Case:
    """A race whose right answer is known, or one on real data."""

    name: str
    about: str
    study: Mapping[str, Any]
    """Tables of a study file, hence Any."""
    right: Callable[[Recommendation], bool] | None = None
    """None if the right answer is not known."""
    rows: Callable[[], pd.DataFrame] | None = None
    """Reads the data set of another package, which the task `arrays` then takes as its file."""


SHORT, LONG = (
    {"name": "tcn", "as": label, "space": {"kernel_size": 2, "levels": levels}}
    for label, levels in (("tcn-short", 3), ("tcn-long", 5))
)
"""They see 15 and 63 steps."""
TINY = {"updates": 150, "batch_size": 16, "evaluations": 5}
EASY = {"learning_rate_factor": [1.0, 3.0], "optimizer": "adam", "clip": "none", "dropout": [0.0, 0.1]}
SMALL_RACE = {"trials": 2, "repetitions": 15, "tolerance": 0.1}
EQUALS: Mapping[str, Any] = {
    "models": ["gru", "rnn"],
    "tasks": [{"name": "last-sign", "parameters": 300}],
    "budget": {**SMALL_RACE, "repetitions": 40},  # equivalence is claimed from 29 on
    "training": TINY,
    "search": {"space": {**EASY, "learning_rate_factor": 3.0, "dropout": 0.0}},
}


def _forecast(*, target: str, time: str) -> Mapping[str, Any]:
    """Return the study of a column one row ahead."""
    return {
        "models": ["tcn", "gru", "lstm"],
        "tasks": [{"name": "arrays", "target": target, "time": time, "horizon": 1, "parameters": 2000}],
        "budget": {"trials": 4, "repetitions": 15},
        "training": {"updates": 300, "batch_size": 16, "evaluations": 10},
        "search": {"space": {"optimizer": "adam"}},
    }


def _sunspots() -> pd.DataFrame:
    from statsmodels.datasets import sunspots  # only this case needs it

    rows: pd.DataFrame = sunspots.load_pandas().data
    return rows


def _weather() -> pd.DataFrame:
    from vega_datasets import data  # only this case needs it

    rows: pd.DataFrame = data.seattle_weather()
    return rows


CASES = (
    Case(
        "memory",
        "Known: tcn-long: the target lies 24 steps back, and tcn-short sees 15",
        {
            "models": [SHORT, LONG],
            "tasks": [{"name": "delayed", "parameters": 1000}],
            "budget": SMALL_RACE,
            "training": TINY,
            "search": {"space": EASY},
        },
        lambda answer: answer.verdict == "best" and answer.model == "tcn-long",
    ),
    Case(
        "equal",
        "Known: equivalent: the sign of the last input, which both learn to within 1 %",
        EQUALS,
        lambda answer: answer.verdict == "equivalent",
    ),
    Case(
        "noise",
        "Known: no recommendation: the target is noise",
        {
            "models": ["tcn", "gru"],
            "tasks": [{"name": "delayed", "spread": 0.0, "parameters": 500}],
            "budget": SMALL_RACE,
            "training": {**TINY, "updates": 50},
            "search": {"space": EASY},
        },
        lambda answer: answer.verdict == "nothing-learned",
    ),
    Case(
        "small",
        "Known: inconclusive: the equals, with 6 repetitions, of which no race decides",
        {**EQUALS, "budget": {**SMALL_RACE, "repetitions": 6}},
        lambda answer: answer.verdict == "undecided",
    ),
    Case(
        "real",
        "JSB Chorales, of which the right answer is not known",
        {
            "models": ["tcn", "gru"],
            "tasks": [{"name": "jsb-chorales", "parameters": 10_000}],
            "budget": {"trials": 1, "repetitions": 10},
            "training": {"updates": 600, "batch_size": 8, "evaluations": 3},
            "search": {"space": {**EASY, "learning_rate_factor": 3.0}},
        },
    ),
    Case(
        "sunspots",
        "Yearly sunspot numbers since 1700 (statsmodels), one year ahead",
        _forecast(target="SUNACTIVITY", time="YEAR"),
        rows=_sunspots,
    ),
    Case(
        "weather",
        "Kind of weather in Seattle (vega_datasets), one day ahead",
        _forecast(target="weather", time="date"),
        rows=_weather,
    ),
)
