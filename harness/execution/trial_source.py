"""The protocol between a study and the executors that train its trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.records import Death, Point, Resources, Trial, TrialResult


class TrialSource(Protocol):
    """Where an executor gets its trials and hands in what became of them.

    Nothing that a source raises may be swallowed: the executor ends its workers and raises it.
    """

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        """A trial whose resources fit and its attempt; None where there is none now."""

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        """Trials, with their attempts, that are dealt together with this one, to be trained beside it in its place."""

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None: ...

    def note(self, trial: Trial, text: str) -> None:
        """Something that the user should know of how the trial ran."""

    def tell(self, trial: Trial, result: TrialResult) -> None: ...

    def worker_failed(self, trial: Trial, why: str, *, death: Death) -> None:
        """The worker died, in this way as far as can be told."""

    def finished(self) -> bool:
        """Nothing is left to deal or to wait for."""

    def resource_classes(self) -> tuple[Resources, ...]:
        """The resource classes of the trials to come."""


@dataclass(frozen=True)
class Progress:
    """What a slice brought."""

    points: tuple[Point, ...]
    result: TrialResult | None
    notes: tuple[str, ...] = ()
    """What the user should know: checkpoints that were passed over, random state that a model touches."""
