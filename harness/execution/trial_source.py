"""The protocol between a study and the executors that train its trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.records import Death, Point, Resources, Trial, TrialResult


class TrialSource(Protocol):
    """Where an executor asks for trials and tells their results.

    An executor must not swallow what a source raises: it ends its workers and raises it.
    """

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        """Return a trial whose resources fit and its attempt; None if there is none at present."""

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        """Return trials, with their attempts, that are to be trained together with this one in the same worker."""

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None: ...

    def note(self, trial: Trial, text: str) -> None:
        """Something that the user should know of how the trial ran."""

    def tell(self, trial: Trial, result: TrialResult) -> None: ...

    def worker_failed(self, trial: Trial, why: str, *, death: Death) -> None:
        """Report that the worker of a trial failed, and how, as far as known."""

    def finished(self) -> bool:
        """Return whether nothing is left to start or to wait for."""

    def resource_classes(self) -> tuple[Resources, ...]:
        """The resource classes of the trials to come."""


@dataclass(frozen=True)
class Progress:
    """What one slice of training reported."""

    points: tuple[Point, ...]
    result: TrialResult | None
    notes: tuple[str, ...] = ()
    """Notes for the user: skipped checkpoints, random state that a model changes."""
