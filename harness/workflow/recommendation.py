"""Recommendations as Python has them: the answer, its table, and the trained network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from harness.ledger.journal import read_study
from harness.recommendation import page, sizes_page
from harness.recommendation.predictor import Winner, load_winner
from harness.recommendation.result import PAGE
from harness.recommendation.result import Recommendation as Answer
from harness.recommendation.saved_winner import read_recommendation
from harness.recommendation.sizes import SizesAnswer, compare_recommended
from harness.report.columns import Column, to_frame
from harness.workflow.results import Results, results_of

COLUMNS = {
    "model": Column("string", "label of the model"),
    "place": Column("string", "leader, equivalent, open, lost or failed"),
    "probability": Column("Float64", "probability of the best mean test score, 0 to 1"),
    "mean": Column("Float64", "mean test score, on the metric's scale"),
    "low": Column("Float64", "lower end of its 95 % interval"),
    "high": Column("Float64", "upper end of that interval"),
    "repetitions": Column("Int64", "repetitions that were trained"),
    "scored": Column("Int64", "repetitions with a score"),
    "parameters": Column("Int64", "trainable parameters of the whole network"),
    "seconds": Column("Float64", "mean time of one training, in seconds"),
    "reason": Column("string", "why repetitions or trials have no score"),
}
"""Of `Recommendation.table`."""


@dataclass(frozen=True)
class Recommendation:
    """The answer to "which architecture?", and the trained network."""

    folder: Path
    """Folder of the study that compared the models."""

    @cached_property
    def content(self) -> Answer:
        """All numbers of the answer, as stored in `recommendation.json`."""
        return read_recommendation(self.folder)

    @property
    def answer(self) -> str:
        """The answer in one or two sentences."""
        return page.brief(self.content)

    @property
    def verdict(self) -> str:
        """best, equivalent, undecided, alone, nothing-learned or failed."""
        return self.content.verdict

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per model, the leader first: `COLUMNS`."""
        return to_frame(
            (
                {
                    **{name: getattr(candidate, name, None) for name in COLUMNS},
                    **(candidate.interval.model_dump() if candidate.interval is not None else {}),
                }
                for candidate in self.content.candidates
            ),
            COLUMNS,
        )

    @cached_property
    def winner(self) -> Winner:
        """The recommended model as it was trained, or the leader if the comparison is inconclusive.

        Raises LedgerError if no model has a score.
        """
        return load_winner(self.folder)

    @cached_property
    def results(self) -> Results:
        """The trials behind the answer."""
        return results_of(read_study(self.folder))

    def page(self) -> str:
        """Return the whole recommendation as Markdown."""
        return (self.folder / PAGE).read_text()

    def _repr_markdown_(self) -> str:
        return self.page()

    def __repr__(self) -> str:
        return f"Recommendation({self.answer})"


SIZE_COLUMNS = {
    "budget": Column("Int64", "parameter budget"),
    "verdict": Column("string", "of the models at this size: as `Recommendation.verdict`"),
    "model": COLUMNS["model"],
    "place": Column("string", "of the size: leader, equivalent, open, lost or failed"),
    **{name: COLUMNS[name] for name in ("mean", "low", "high", "repetitions", "parameters", "seconds")},
    "study": Column("string", "name of the study"),
}
"""Of `RecommendationBySize.table`."""


@dataclass(frozen=True)
class RecommendationBySize:
    """The answer to "which architecture at which size?": a recommendation per size, and how the sizes compare."""

    by_size: dict[int, Recommendation]
    """Parameter budget → recommendation, in ascending order."""

    @cached_property
    def content(self) -> SizesAnswer:
        """All numbers of the answer."""
        return compare_recommended([recommendation.folder for recommendation in self.by_size.values()])

    @property
    def answer(self) -> str:
        """One line per size, and one about the smallest size that is equivalent to the best."""
        return "\n".join(sizes_page.sentences(self.content))

    @property
    def smallest(self) -> Recommendation | None:
        """The recommendation at the smallest size that is equivalent to the best or is the best; None if all fail."""
        return None if self.content.smallest is None else self.by_size[self.content.smallest]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per size: `SIZE_COLUMNS`."""
        return to_frame((sizes_page.line_of(size) for size in self.content.sizes), SIZE_COLUMNS)

    def page(self) -> str:
        """Return the answer and its table as Markdown."""
        return sizes_page.page(self.content)

    def _repr_markdown_(self) -> str:
        return self.page()

    def __repr__(self) -> str:
        return f"RecommendationBySize({self.answer})"


def by_size(recommendations: Iterable[Recommendation]) -> RecommendationBySize:
    """Return the recommendations of races at several sizes by their parameter budgets, in ascending order."""
    known = {each.content.parameters or 0: each for each in recommendations}
    return RecommendationBySize(dict(sorted(known.items())))
