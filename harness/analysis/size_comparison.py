"""Compare the models of one task over the sizes at which a study has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.comparison import Section
from harness.analysis.leader_changes import Array, Leaders, find_leaders
from harness.analysis.statistics import Scale


@dataclass(frozen=True)
class SizeComparison:
    """One task at several sizes, and which model leads at which of them."""

    task: str
    """Label of the task without the size."""
    sections: tuple[Section, ...]
    """The task at each size, in ascending order."""
    compared: tuple[int, ...]
    """The sizes at which a model is better than the floor, in ascending order."""
    models: tuple[str, ...]
    """Models that are ranked at every such size."""
    leaders: Leaders | None
    """By size; None with fewer than two sizes or two models.  Undetermined if a mean of `mixed` decides."""
    repetitions: int
    """Repetitions that all models have a score of at all these sizes."""
    mixed: tuple[tuple[str, int], ...] = ()
    """Model and size: models that lead somewhere, where some of their repetitions are better than the floor and some
    are not.  A mean of both describes neither."""

    @property
    def parameters(self) -> tuple[int, ...]:
        """The sizes, in ascending order."""
        return tuple(_parameters(section) for section in self.sections)


def compare_sizes(sections: Iterable[Section]) -> tuple[SizeComparison, ...]:
    """Return a comparison for each task that a study has at several sizes.

    sections: of one study.  Tasks are the same if their name, their options and their training are.  If two of them
    have the same size, they differ in something else, and there is no comparison.
    """
    groups: dict[tuple[str, frozenset[str]], list[Section]] = {}
    for section in sections:
        if section.parameters is not None:
            groups.setdefault((section.ref.model_dump_json(), _training(section)), []).append(section)
    return tuple(_compared(sorted(group, key=_parameters)) for group in groups.values() if _is_axis(group))


def _training(section: Section) -> frozenset[str]:
    """Return the digest of the training that the searched models of a task share."""
    searched = (result.facts for result in section.results if result.facts.setting == "searched")
    return frozenset(facts.fingerprint.get("training", "") for facts in searched)


def _is_axis(group: Sequence[Section]) -> bool:
    return len({section.parameters for section in group}) == len(group) > 1


def _compared(group: Sequence[Section]) -> SizeComparison:
    learned = [section for section in group if not section.nothing_learned]
    models = sorted(set.intersection(*map(_ranked, learned))) if learned else []
    shared = sorted(set.intersection(*_repetitions(learned, models))) if models else []
    sizes = tuple(_parameters(section) for section in learned)
    able = len(learned) > 1 and len(models) > 1 and shared
    leaders = find_leaders(_gains(learned, models, shared), sizes) if able else None
    leading = {models[index] for index in leaders.indices} if leaders is not None else set[str]()
    mixed = tuple((model, _parameters(section)) for section in learned for model in _mixed(section) if model in leading)
    if leaders is not None and mixed:
        leaders = replace(leaders, verdict="undetermined")
    return SizeComparison(_label(group), tuple(group), sizes, tuple(models), leaders, len(shared), mixed)


def _mixed(section: Section) -> list[str]:
    return [result.facts.cell.model for result in section.results if result.mixed]


def _parameters(section: Section) -> int:
    assert section.parameters is not None  # `compare_sizes` has selected
    return section.parameters


def _ranked(section: Section) -> set[str]:
    return {row.model for row in section.rows if row.rank is not None}


def _label(group: Sequence[Section]) -> str:
    """Return the label of the task without the size, which is its last part: adding-5k and adding-20k are adding."""
    labels = {section.task.rpartition("-")[0] for section in group}
    first = group[0].ref
    options = [str(part) for option in first.options.items() for part in option]
    return labels.pop() if len(labels) == 1 and "" not in labels else "-".join([first.name, *options])


def _scores(section: Section, model: str) -> dict[int, float]:
    """Return repetition → test score; every repetition of a ranked model has one."""
    return next(result for result in section.results if result.facts.cell.model == model).repeated("test")


def _repetitions(sections: Sequence[Section], models: Sequence[str]) -> Iterator[set[int]]:
    return (set(_scores(section, model)) for section in sections for model in models)


def _gains(sections: Sequence[Section], models: Sequence[str], repetitions: Sequence[int]) -> Array:
    """Return test scores as (models, sizes, repetitions), higher is better, on the scale of their means."""
    scores = [[_scores(section, model) for section in sections] for model in models]
    gains = np.asarray([[[of_size[r] for r in repetitions] for of_size in of_model] for of_model in scores])
    scales: set[Scale] = {section.scale for section in sections}
    values = np.log(gains) if scales == {"log"} else gains
    return values if sections[0].metric.better == "higher" else -values
