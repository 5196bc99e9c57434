"""One model's row in the comparison of a task."""

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
from harness.records import CellFacts, ParamValue, Trial


@dataclass(frozen=True)
class Row:
    """One model on one task."""

    model: str
    setting: Literal["searched", "published"]
    """`published`: shown beside the searched cells of a fair study, without a rank."""
    state: State
    reason: str
    """Reason of trials that did not complete; '' if all did."""
    parameters: int | None
    """Parameters of the measured setting: the winner's, or the published one's."""
    deviation_percent: float | None
    """Deviation from the budget, or from the task's published size if there is no budget."""
    dimensions: Mapping[str, ParamValue]
    """Name → value of the setting that was measured."""
    search_ended: int
    search_granted: int
    repetitions_ended: int
    repetitions_granted: int
    search_outcomes: Mapping[str, int]
    repetition_outcomes: Mapping[str, int]
    """Outcomes of the present winner's repetitions."""
    updates: tuple[int, int] | None
    """Fewest and most updates of a repetition of the present winner; None if none has ended."""
    evaluation_limit: int | None
    """Held-out sequences or windows that were scored; None: all."""
    rejections: int
    """Draws that the budget did not admit."""
    rejection: str
    """An example of the most frequent reason for a rejection, numbers aside; '' without any."""
    seconds: float
    """Training and evaluation of all trials."""
    peak_bytes: int | None
    """Largest of any trial."""
    lacking: int | None
    """Ended trials of the ledger that the store lacks (negative: it has more than its mark says); None without a
    mark."""
    best_validation: float | None
    test: Summary | None
    """Best-validation weights, over the present winner's repetitions."""
    successes: Summary | None
    """Summary of the successful ones of `test`, if runs are mixed."""
    success: Proportion | None
    """Repetitions that are better than the floor by more than the margin, or have a score if no floor is known."""
    last3: Summary | None
    """Mean over the weights of the last three evaluations."""
    published: float | None
    published_source: str
    assumed: tuple[str, ...]
    superseded: int
    """Repetitions of an earlier winner."""
    test_opened: int
    capped: str = ""
    """What was left out so that all cells of the task have an equal budget; '' if nothing was."""
    refused: str = ""
    """Why the cell cannot be compared with the others of its task; '' if it can."""
    race: bool = False
    """Whether it belongs to a race, whose models have unequal repetitions: it is shown without a rank."""
    rank: int | None = None
    """Rank by mean among searched cells; None if the cell is incomplete, rejected or part of a race."""
    against_best: Decision | None = None
    """Decision against the cell of rank 1; None for that cell and without a rank."""

    @property
    def complete(self) -> bool:
        """Whether all allocated trials are there and the store agrees with the ledger."""
        return self.state == "complete" and self.lacking == 0

    @property
    def ranks(self) -> bool:
        able = self.complete and self.setting == "searched" and self.test is not None
        return able and not self.refused and not self.race

    @property
    def standing(self) -> str:
        """The state in words, if the row has no rank."""
        ended, granted = self.search_ended + self.repetitions_ended, self.search_granted + self.repetitions_granted
        if self.lacking:
            return f"incomplete {ended}/{granted}: the store and its mark differ by {abs(self.lacking)}"
        if self.lacking is None or self.state == "incomplete":
            return f"incomplete {ended}/{granted}" + ("" if self.lacking is not None else ": the store has no mark")
        if self.refused:
            return "not comparable"
        if self.state == "partial":
            scored = self.test.n if self.test is not None else 0
            return f"{scored} of {self.repetitions_granted} repetitions have a score"
        if self.race and self.state == "complete":
            return f"race, {self.repetitions_ended} repetitions"
        return "FAILED" if self.state == "failed" else "complete"


def make_row(one: CellResult, lacking: int | None) -> Row:
    facts, setting = one.facts, one.setting
    rejections = one.rejections
    return Row(
        model=facts.cell.model,
        setting=facts.setting,
        state=one.state,
        reason=one.reason,
        parameters=setting.parameters if setting is not None else None,
        deviation_percent=_deviation_percent(setting, facts),
        dimensions=setting.params if setting is not None else {},
        search_ended=one.search_ended,
        search_granted=facts.trials,
        repetitions_ended=one.finals_ended,
        repetitions_granted=facts.repetitions,
        search_outcomes=_by_name(one.search),
        repetition_outcomes=_by_name(one.finals),
        updates=_updates(one.finals),
        evaluation_limit=setting.training.evaluation_limit if setting is not None else None,
        rejections=len(rejections),
        rejection=_most_frequent(rejections),
        seconds=one.train_seconds,
        peak_bytes=one.peak_bytes,
        lacking=lacking,
        best_validation=one.best_validation,
        test=one.summary("test"),
        successes=one.successes,
        success=one.success,
        last3=one.summary("test-last3"),
        published=facts.published,
        published_source=facts.published_source,
        assumed=facts.assumed,
        superseded=len(one.superseded),
        test_opened=one.test_opened,
    )


def _deviation_percent(setting: Trial | None, facts: CellFacts) -> float | None:
    size = facts.parameters if facts.parameters is not None else facts.task_parameters
    return None if setting is None or size is None else 100 * (setting.parameters / size - 1)


def _updates(entries: Sequence[TrialEntry]) -> tuple[int, int] | None:
    done = [entry.result.updates for entry in entries if entry.result is not None]
    return (min(done), max(done)) if done else None


def _by_name(entries: Sequence[TrialEntry]) -> dict[str, int]:
    return {str(outcome): n for outcome, n in outcomes_of(entries).items()}


def _most_frequent(reasons: Sequence[str]) -> str:
    """Return the first of the most frequent reasons, numbers aside: the widths in them differ from draw to draw."""
    kinds = [re.sub(r"[^A-Za-z]+", " ", reason) for reason in reasons]
    return reasons[kinds.index(Counter(kinds).most_common(1)[0][0])] if reasons else ""
