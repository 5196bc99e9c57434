"""The floor of a part of a held-out split, from the arrays that a network reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness import Arrays, Dataset, Ragged
from harness_tasks.own.columns import Codes
from harness_tasks.own.facts import Facts
from harness_tasks.own.targets import class_floor, number_floor, persistence_floor


def floor_on(sample: Dataset, train: Dataset, facts: Facts, *, ahead: bool) -> float:
    """Return the score of the best memoryless baseline, as `Facts.floor` has it for the whole test split.

    ahead: whether answers lie ahead, so that a present value or class may be the answer.
    """
    known, held_out = _answers(train, facts), _answers(sample, facts)
    if not facts.classes:
        present = _inputs(sample, facts)[facts.target] if ahead and facts.target in facts.inputs else None
        return number_floor(facts.score, known, held_out, present)
    floors = [class_floor(facts.score, known, held_out, len(facts.classes))]
    if facts.shown:
        pairs = [(_present(train, facts), known), (_present(sample, facts), held_out)]
        floors.append(persistence_floor(facts.score, pairs[0], pairs[1], len(facts.classes)))
    return min(floors) if facts.score == "log-loss" else max(floors)


def _answers(dataset: Dataset, facts: Facts) -> Any:
    """Return the answers end to end: numbers of classes, or numbers in the unit of the target."""
    assert isinstance(dataset, Arrays | Ragged)  # as `OwnArrays.load` returns it
    if facts.classes:
        return dataset.targets.flatten().numpy()
    return dataset.targets.flatten().double().numpy() * facts.target_scale + facts.target_mean


def _steps(dataset: Dataset, facts: Facts) -> Any:
    """Return the inputs of all steps end to end, in their units: (steps, channels)."""
    assert isinstance(dataset, Arrays | Ragged)
    steps = dataset.inputs.reshape(-1, facts.channels).double().numpy()
    return steps * np.array(facts.scales) + np.array(facts.means)


def _inputs(dataset: Dataset, facts: Facts) -> dict[str, Any]:
    """Return input column → its values."""
    return dict(zip(facts.inputs, _steps(dataset, facts).T, strict=False))


def _present(dataset: Dataset, facts: Facts) -> Codes:
    """Return the number of the present class at each step; -1 for a class that is no input."""
    shown = _steps(dataset, facts)[:, len(facts.inputs) :]
    numbers = np.array([facts.classes.index(label) for label in facts.shown])
    return np.where(shown.max(1) > 0.5, numbers[shown.argmax(1)], -1)
