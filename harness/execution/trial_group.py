"""Trials that one worker trains beside each other: stacked where there are several, each with a result of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.errors import is_of_plugin
from harness.execution.trial import ActiveTrial
from harness.execution.trial_source import Progress
from harness.records import Trial
from harness.redaction import without_secrets
from harness.training.run import TrainingRun
from harness.training.vectorized import VectorizedRuns


class ActiveGroup:
    """Trials of one shape in training.  One alone is advanced as it is.

    An error of the common update belongs to no single trial: they go on separately, where each meets its own failure.
    """

    def __init__(self, members: Sequence[ActiveTrial]) -> None:
        self._active = list(members)
        self._together = len(members) > 1
        self._lockstep: VectorizedRuns | None = None

    def advance(self, seconds: float) -> list[tuple[Trial, Progress]]:
        """Train for about `seconds` and return the progress of each trial.  Not called again once all have a result."""
        if not self._together:
            return self._drop_ended([(member, member.advance(seconds)) for member in self._active])
        first = self._active[0]
        with first.isolated() as notes:
            progress = self._advance_stack(seconds)
        # Before its result, after which nothing more is reported of a trial.
        return [*((first.trial, Progress((), None, (note,))) for note in notes), *progress]

    def _advance_stack(self, seconds: float) -> list[tuple[Trial, Progress]]:
        progress: list[tuple[Trial, Progress]] = []
        if self._lockstep is None:
            progress = self._drop_ended([(member, member.follow(_stay)) for member in self._active])
        note = self._advance_together(seconds)
        progress += self._drop_ended([(member, member.follow(self._raise_own)) for member in self._active])
        return progress + ([(self._active[0].trial, Progress((), None, (note,)))] if note and self._active else [])

    @property
    def ended(self) -> bool:
        return not self._active

    def save(self) -> None:
        for member in self._active:
            member.save()

    def _drop_ended(self, progress: list[tuple[ActiveTrial, Progress]]) -> list[tuple[Trial, Progress]]:
        """Keep the trials that have not ended, and return the progress of all."""
        self._active = [member for member, news in progress if news.result is None]
        return [(member.trial, news) for member, news in progress]

    def _advance_together(self, seconds: float) -> str | None:
        """Train the trials as one batch; return why they go on separately, None if they do not."""
        runs = [member.run for member in self._active if member.run is not None]
        if self._lockstep is None:
            self._lockstep = VectorizedRuns(runs, graphs=any(member.trial.resources.graphs for member in self._active))
        try:
            self._lockstep.advance(seconds)
        # A stranger's model or task may raise anything, and a stack may need more memory than there is.
        except BaseException as error:
            if not is_of_plugin(error):
                raise
            self._together, self._lockstep = False, None
            reason = without_secrets(f"{type(error).__name__}: {error}".splitlines()[0])
        else:
            return None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # not before the error, which holds what the update held, is gone
        return f"its stack of {len(runs)} could not be trained as one ({reason}); its trials go on separately"

    def _raise_own(self, run: TrainingRun) -> None:
        if self._lockstep is not None and run in self._lockstep.errors:
            raise self._lockstep.errors[run]


def _stay(run: TrainingRun) -> None:
    """A trial begins, and stays where it is."""
