"""The facts about a user's file that its signature, metrics and floor need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from harness import Split
from harness_tasks.own.options import Label, Score


class Facts(BaseModel):
    """Facts about one file, or three, with one set of options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    readout: Literal["last", "each"]
    inputs: tuple[str, ...]
    """Input columns, in the order of the channels."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    """Mean of each input, then of each shown class, over the training rows; inputs are (value - mean) / scale."""
    shown: tuple[Label, ...] = ()
    """Present classes that are inputs too, with one channel per class: 1 if the target has the class."""
    classes: tuple[Label, ...] = ()
    """Classes of the training rows; empty for a regression."""
    target: str
    target_mean: float = 0.0
    target_scale: float = 1.0
    sequence: str | None
    time: str | None
    window: int | None
    """Most steps of a window; None: sequences are whole."""
    gap: float | None = None
    """The longest step inside a window, in median steps of a sequence; None: windows do not end at gaps."""
    longest: int
    """Steps of the longest sequence or window of any split."""
    sequences: Mapping[Split, int]
    score: Score
    floor: float
    """Floor of the test split."""
    validation_floor: float
    margin: float
    notes: tuple[str, ...]

    @property
    def channels(self) -> int:
        return len(self.inputs) + len(self.shown)

    def stored(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.model_dump_json().encode(), dtype=np.uint8)


def read_facts(stored: npt.NDArray[np.generic]) -> Facts:
    return Facts.model_validate(json.loads(stored.tobytes()))
