"""The splits that a worker keeps in memory between trials."""

from __future__ import annotations

import socket
from collections import OrderedDict
from pathlib import Path

from harness.api.dataset import Dataset, Split
from harness.api.task import Task
from harness.data.files import locate
from harness.errors import DataError
from harness.records import Trial

SPLITS_KEPT = 8
"""Splits that a worker keeps between trials."""


class TrialData:
    """Splits by task, options and seeds; the least recently used one is dropped first."""

    def __init__(self) -> None:
        self._splits: OrderedDict[tuple[str, ...], Dataset] = OrderedDict()

    def split(self, task: Task, split: Split, trial: Trial) -> Dataset:
        """Return a split, from memory where an earlier trial had the same."""
        data_seed = "" if split == "test" else str(trial.seeds.data)
        key = (task.name, task.model_dump_json(), split, str(trial.seeds.fixed), data_seed)
        if key not in self._splits:
            self._drop_other_draws(key)
            self._splits[key] = task.load(split, trial.seeds, _planned_files(task, trial))
            while len(self._splits) > SPLITS_KEPT:
                self._splits.popitem(last=False)
        self._splits.move_to_end(key)
        return self._splits[key]

    def _drop_other_draws(self, key: tuple[str, ...]) -> None:
        """A final trial has data of its own: no later trial of this worker reads those of another repetition."""
        for known in [known for known in self._splits if known[:-1] == key[:-1]]:
            del self._splits[known]


def _planned_files(task: Task, trial: Trial) -> dict[str, Path]:
    """Return where the task's files are; DataError where one is not the file that the driver planned with."""
    for file in task.files():
        planned = trial.data.get(file.name, file.sha256)
        if file.sha256 != planned:
            raise DataError(
                f"data file {file.name} on {socket.gethostname()} has sha256 {file.sha256}, but the study was planned "
                f"with {planned}; restore that content, or start again with --fresh"
            )
    return {file.name: locate(file) for file in task.files()}
