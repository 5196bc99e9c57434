"""Compare the recommended models of races on one task at several sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from harness.analysis.cell_result import CellResult, on_one_scale, summarize_cells
from harness.ledger.journal import read_study
from harness.recommendation.conclusions import scoring_of_test
from harness.recommendation.gains import gains
from harness.recommendation.pairwise import ErrorBudget, ladder
from harness.recommendation.race import interim_look
from harness.recommendation.result import Place, Recommendation
from harness.recommendation.saved_winner import read_recommendation
from harness.records import Cell, MetricFacts, Record


class AtSize(Record):
    """The recommendation at one size, and how it compares with the best size."""

    parameters: int
    place: Place
    """Of the recommended model, or of the leader if the race is inconclusive, against that of the best size.  failed:
    no model has a score, or none is better than the floor."""
    recommendation: Recommendation

    @property
    def model(self) -> str | None:
        """The recommended model or the leader; None if the size failed."""
        return None if self.place == "failed" else self.recommendation.candidates[0].model


class SizesAnswer(Record):
    """What races at several sizes found together."""

    schema_version: Literal[1] = 1
    metric: MetricFacts
    best: int | None
    """Size whose model has the best mean test score over `repetitions`; None if no size has a model."""
    smallest: int | None
    """The smallest size that is equivalent to the best one, or the best one."""
    repetitions: int
    """Paired repetitions that all these models have."""
    sizes: tuple[AtSize, ...]
    """In ascending order."""

    @property
    def undecided(self) -> tuple[int, ...]:
        """Sizes below `smallest` that may be equivalent to the best."""
        return tuple(
            size.parameters
            for size in self.sizes
            if size.place == "open" and self.smallest is not None and size.parameters < self.smallest
        )


def compare_recommended(folders: Sequence[Path]) -> SizesAnswer:
    """Return the answer of finished races in these folders, one per size.  It reads test scores.

    Sizes are compared as models are: on the repetitions that all have, which share their seeds, at the error that the
    races permit.
    """
    known = {folder: read_recommendation(folder) for folder in folders}
    answers = sorted(known.values(), key=_size)
    able = {
        _size(answer): _result(folder, answer)
        for folder, answer in known.items()
        if answer.verdict not in ("failed", "nothing-learned")
    }
    places, shared = size_places(able, answers[0].confidence) if able else ({}, 0)
    settled = [size for size, place in places.items() if place in ("leader", "equivalent")]
    return SizesAnswer(
        metric=answers[0].metric,
        best=next((size for size, place in places.items() if place == "leader"), None),
        smallest=min(settled, default=None),
        repetitions=shared,
        sizes=tuple(
            AtSize(parameters=_size(answer), place=places.get(_size(answer), "failed"), recommendation=answer)
            for answer in answers
        ),
    )


def _size(answer: Recommendation) -> int:
    assert answer.parameters is not None  # a race has a parameter budget
    return answer.parameters


def _result(folder: Path, answer: Recommendation) -> CellResult:
    """Return the cell of the recommended model, or of the leader, with the size in place of the model's label."""
    snapshot = read_study(folder)
    cell = Cell(task=answer.cell, model=answer.candidates[0].model)
    (result,) = (of for of in summarize_cells(snapshot.manifest.cells, snapshot.entries()) if of.facts.cell == cell)
    named = result.facts.model_copy(update={"cell": Cell(task="sizes", model=str(_size(answer)))})
    return replace(result, facts=named)


def size_places(results: Mapping[int, CellResult], confidence: float) -> tuple[dict[int, Place], int]:
    """Return the place of each size, and the number of repetitions on which they are compared."""
    cells = on_one_scale(results.values())
    scores = {size: result.repeated("test") for size, result in zip(results, cells, strict=True)}
    shared = sorted(set.intersection(*map(set, scores.values())))
    paired = {str(size): [of_size[repetition] for repetition in shared] for size, of_size in scores.items()}
    field = gains(paired, scoring_of_test(cells))
    if field is None:
        return {}, 0
    now = interim_look(field, ErrorBudget.of(confidence, looks=ladder(len(shared)), models=len(scores)))
    found: dict[str, Place] = {pair.rival: pair.verdict for pair in now.comparisons}
    return {size: found.get(str(size), "leader") for size in sorted(scores)}, len(shared)
