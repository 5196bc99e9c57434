"""When a run is evaluated, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records import Training


@dataclass(frozen=True)
class StoppingRule:
    """The evaluations and the end of a run, as its training settings state them."""

    training: Training

    def evaluation_is_due(self, update: int, seconds: float) -> bool:
        """Whether to evaluate after `update` updates, which took `seconds`; always so after the last one."""
        return update % self.training.evaluate_every == 0 or self._is_used_up(update, seconds)

    def is_over(self, update: int, seconds: float, *, without_better: int) -> bool:
        """Whether the run ends with this evaluation.  without_better: evaluations since the best one."""
        return self._is_used_up(update, seconds) or self._patience_is_over(update, without_better)

    def _is_used_up(self, update: int, seconds: float) -> bool:
        most = self.training.seconds
        return update >= self.training.updates or (most is not None and seconds >= most)

    def _patience_is_over(self, update: int, without_better: int) -> bool:
        patience = self.training.patience
        return patience is not None and update >= self.training.minimum_updates and without_better >= patience
