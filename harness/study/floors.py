"""The floors of a cell: of the whole held-out splits, or of the samples of them that are scored."""

from __future__ import annotations

from dataclasses import dataclass

from harness.api.dataset import Split, sample
from harness.api.task import Task
from harness.data.files import locate
from harness.errors import DataError
from harness.seeds import Seeds, evaluation_seed


@dataclass(frozen=True)
class Floors:
    """Scores of the memoryless baseline."""

    test: float | None
    validation: float | None
    sampled: bool
    """Whether they are of the samples."""


def floors_of(task: Task, limit: int | None, seed: int) -> Floors:
    """Return the floors of a task in a study of this seed.

    With a limit they are those of the samples, if the task states how and its data are present; the data are loaded.
    """
    whole = Floors(task.floor(), task.validation_floor(), sampled=False)
    if limit is None or type(task).sample_floor is Task.sample_floor:
        return whole
    try:
        return _sampled(task, limit, seed) or whole
    except DataError:  # reported by whatever trains; a plan needs no data
        return whole


def _sampled(task: Task, limit: int, seed: int) -> Floors | None:
    seeds, files = Seeds.of(seed, 0), {file.name: locate(file) for file in task.files()}
    train = task.load("train", seeds, files)

    def floor(split: Split) -> float | None:
        return task.sample_floor(sample(task.load(split, seeds, files), limit, evaluation_seed(seeds, split)), train)

    test, validation = floor("test"), floor("validation")
    return None if test is None or validation is None else Floors(test, validation, sampled=True)
