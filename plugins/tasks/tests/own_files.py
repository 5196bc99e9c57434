"""Small files as users bring them, for the tests of the tasks on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from harness import Dataset, Ragged, Seeds, Split
from harness_tasks import OwnArrays

SEEDS = Seeds.of(0, 0)
CLASSES = ("ash", "elm", "oak")


def sequences(count: int = 60, *, longest: int = 9, seed: int = 0) -> pd.DataFrame:
    """One row a time step; `kind` is the same in all rows of a sequence, `level` differs."""
    random = np.random.default_rng(seed)
    parts = []
    for number in range(count):
        steps, kind = int(random.integers(4, longest + 1)), number % 3
        a = random.normal(size=steps) + kind
        parts.append(
            pd.DataFrame(
                {
                    "id": f"s{number:03}",
                    "t": np.arange(steps),
                    "a": a,
                    "b": 100 * random.normal(size=steps) + 1000,
                    "kind": CLASSES[kind],
                    "level": np.cumsum(a) + random.normal(size=steps),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def series(rows: int = 400, *, seed: int = 0) -> pd.DataFrame:
    """One long series by the hour."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=rows, freq="h").astype(str),
            "wind": random.gamma(2.0, size=rows),
            "heat": 20 + 5 * np.sin(np.arange(rows) / 7) + 0.3 * random.normal(size=rows),
        }
    )


def written(table: pd.DataFrame, path: Path) -> str:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return str(path)


def arrays(folder: Path, given: Mapping[str, Any], name: str = "x.npz") -> str:
    np.savez(folder / name, **given)
    return str(folder / name)


def of_sequences(folder: Path, table: pd.DataFrame | None = None, **options: Any) -> OwnArrays:
    """The classes of `sequences`, one answer each, unless options say otherwise."""
    path = written(sequences() if table is None else table, folder / "sequences.parquet")
    return OwnArrays(data=path, **{"target": "kind", "sequence": "id", "time": "t", "drop": "level", **options})


def of_series(folder: Path, table: pd.DataFrame | None = None, **options: Any) -> OwnArrays:
    path = written(series() if table is None else table, folder / "series.csv")
    return OwnArrays(data=path, **{"target": "heat", "time": "when", **options})


def load(task: OwnArrays, split: Split) -> Dataset:
    return task.load(split, SEEDS, {})


def pieces(task: OwnArrays, split: Split) -> list[np.ndarray[Any, Any]]:
    """The inputs of each sequence of a split: (steps, channels)."""
    dataset = load(task, split)
    if isinstance(dataset, Ragged):
        return [part.numpy() for part in torch.split(dataset.inputs, dataset.lengths.tolist())]
    return list(dataset.inputs.numpy())  # type: ignore[union-attr]  # no stream
