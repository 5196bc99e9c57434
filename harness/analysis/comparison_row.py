"""A row of a task's comparison: one model and its results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.cell_result import CellResult, State, outcomes_of
from harness.analysis.paired_tests import Decision
from harness.analysis.statistics import Proportion, Summary
from harness.ledger.journal import TrialEntry
from harness.records import ParamValue


@dataclass(frozen=True)
class Row:
    """The results of one model on one task."""

    model: str
    setting: Literal["searched", "published"]
    """`published`: a published setting shown next to the searched cells of a fair study, without a rank."""
    state: State
    reason: str
    """Why trials did not complete; '' if all did."""
    parameters: int | None
    """Parameters of the measured setting: the winner, or the published one."""
    deviation_percent: float | None
    """Deviation from the budget in percent; from the task's published size if there is no budget."""
    off_budget: bool
    """See `CellResult.off_budget`."""
    allow_deviation: bool
    """Whether the study ranks the row although it is off the budget."""
    dimensions: Mapping[str, ParamValue]
    """Name → value in the measured setting."""
    search_ended: int
    search_granted: int
    repetitions_ended: int
    repetitions_granted: int
    search_outcomes: Mapping[str, int]
    repetition_outcomes: Mapping[str, int]
    """Outcomes of the current winner's repetitions."""
    updates: tuple[int, int] | None
    """Fewest and most updates of the current winner's repetitions; None before the first has ended."""
    evaluation_limit: int | None
    """Number of held-out sequences or windows that were scored; None if all were."""
    rejections: int
    """Number of configurations that the budget did not admit."""
    rejection: str
    """An example of the most frequent reason, or ''.  Reasons that differ only in numbers count as one."""
    seconds: float
    """Training and evaluation time of all trials, in seconds."""
    peak_bytes: int | None
    """Largest peak memory of any trial, in bytes."""
    lacking: int | None
    """Ended trials that the ledger has and the store lacks; None if the store was never synced.

    Negative if the store holds more trials than at its last sync.
    """
    best_validation: float | None
    test: Summary | None
    """Test scores of the current winner's repetitions, with the weights of the best validation score."""
    successes: Summary | None
    """Summary of the successful repetitions in `test`; None unless some succeed and some do not."""
    success: Proportion | None
    """Success rate: see `CellResult.success`."""
    last3: Summary | None
    """Test scores, each the mean over the weights of the last three evaluations."""
    published: float | None
    published_source: str
    assumed: tuple[str, ...]
    superseded: int
    """Number of repetitions of an earlier winner."""
    test_opened: int
    capped: str = ""
    """What was dropped so that all cells of the task have the same budget; '' if nothing was."""
    refused: str = ""
    """Why the cell cannot be compared with the others of its task; '' if it can."""
    race: bool = False
    """Whether the study is a race, whose models have unequal repetitions: the row is shown whole, without a rank."""
    rank: int | None = None
    """Rank by mean among searched cells; None if the row does not take part in the ranking (`ranks`)."""
    against_best: Decision | None = None
    """Decision of this cell against the cell of rank 1; None for that cell and for cells without a rank."""

    @property
    def complete(self) -> bool:
        """Whether all allocated trials have ended with a score and the store is in sync with the ledger."""
        return self.state == "complete" and self.lacking == 0

    @property
    def ranks(self) -> bool:
        """Whether the row takes part in the ranking."""
        able = self.complete and self.setting == "searched" and self.test is not None
        return able and self.comparable and not self.race

    @property
    def comparable(self) -> bool:
        """Whether the row was trained at the budget of its task, so that it can be compared with the others."""
        return not self.refused and (not self.off_budget or self.allow_deviation)

    @property
    def status(self) -> str:
        """The state of a row without a rank, in words."""
        ended, allocated = self.search_ended + self.repetitions_ended, self.search_granted + self.repetitions_granted
        if self.lacking:
            return f"incomplete {ended}/{allocated}: the store differs from its last sync by {abs(self.lacking)}"
        if self.lacking is None:
            return f"incomplete {ended}/{allocated}: the store was never synced"
        if self.state == "incomplete":
            return f"incomplete {ended}/{allocated}"
        if self.refused:
            return "not comparable"
        if self.state == "partial":
            scored = self.test.n if self.test is not None else 0
            return f"{scored} of {self.repetitions_granted} repetitions have a score"
        if self.race and self.state == "complete":
            return f"race, {self.repetitions_ended} repetitions"
        if not self.comparable and self.state == "complete":
            return "not ranked"
        return "FAILED" if self.state == "failed" else "complete"


def make_row(result: CellResult, lacking: int | None) -> Row:
    """Return the row of a cell, without its rank.

    lacking: see `Row.lacking`.
    """
    facts, setting = result.facts, result.setting
    rejections = result.rejections
    return Row(
        model=facts.cell.model,
        setting=facts.setting,
        state=result.state,
        reason=result.reason,
        parameters=setting.parameters if setting is not None else None,
        deviation_percent=result.deviation_percent,
        off_budget=result.off_budget,
        allow_deviation=facts.allow_deviation,
        dimensions=setting.params if setting is not None else {},
        search_ended=result.search_ended,
        search_granted=facts.trials,
        repetitions_ended=result.finals_ended,
        repetitions_granted=facts.repetitions,
        search_outcomes=_by_name(result.search),
        repetition_outcomes=_by_name(result.finals),
        updates=_updates(result.finals),
        evaluation_limit=setting.training.evaluation_limit if setting is not None else None,
        rejections=len(rejections),
        rejection=_most_frequent(rejections),
        seconds=result.train_seconds,
        peak_bytes=result.peak_bytes,
        lacking=lacking,
        best_validation=result.best_validation,
        test=result.summary("test"),
        successes=result.successes,
        success=result.success,
        last3=result.summary("test-last3"),
        published=facts.published,
        published_source=facts.published_source,
        assumed=facts.assumed,
        superseded=len(result.superseded),
        test_opened=result.test_opened,
    )


def _updates(entries: Sequence[TrialEntry]) -> tuple[int, int] | None:
    done = [entry.result.updates for entry in entries if entry.result is not None]
    return (min(done), max(done)) if done else None


def _by_name(entries: Sequence[TrialEntry]) -> dict[str, int]:
    return {str(outcome): n for outcome, n in outcomes_of(entries).items()}


def _most_frequent(reasons: Sequence[str]) -> str:
    """Return the first reason of the most frequent kind.

    Numbers are ignored, since the widths in a reason differ between configurations.
    """
    kinds = [re.sub(r"[^A-Za-z]+", " ", reason) for reason in reasons]
    return reasons[kinds.index(Counter(kinds).most_common(1)[0][0])] if reasons else ""
