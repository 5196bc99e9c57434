"""The protocol between a study and the executors that train its trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.execution.retry_policy import FailureKind
from harness.records import Point, Resources, Trial, TrialResult


class TrialSource(Protocol):
    """Where an executor asks for trials and reports their results.

    An executor must not swallow an exception of the source: it ends its workers and raises the exception.
    """

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        """Return the next trial and its attempt; None if no trial is ready or none fits.

        fits: whether these resources are free.
        """

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        """Return further trials, with their attempts, to train together with this trial in the same worker."""

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        """Report new points of a trial's curve; points that were reported before change nothing."""

    def note(self, trial: Trial, text: str) -> None:
        """Report something about a trial's training that the user should know."""

    def tell(self, trial: Trial, result: TrialResult) -> None:
        """Report the result of a trial."""

    def worker_failed(self, trial: Trial, reason: str, *, kind: FailureKind) -> None:
        """Report that the worker of a trial failed.  reason: in one line.  kind: how, as far as known."""

    def finished(self) -> bool:
        """Return whether no trial is left to start or to wait for."""

    def resource_classes(self) -> tuple[Resources, ...]:
        """Return the different resources of the trials to come."""


@dataclass(frozen=True)
class Progress:
    """The progress of a trial in one slice of training."""

    points: tuple[Point, ...]
    result: TrialResult | None
    """None while the trial trains."""
    notes: tuple[str, ...] = ()
    """Notes for the user: skipped checkpoints, random state that a model changes."""
