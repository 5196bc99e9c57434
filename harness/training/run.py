"""The training loop: updates, evaluation, early stopping, and a state from which it continues exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.api.dataset import Dataset, resident
from harness.api.task import Task
from harness.records import Optimisation, Outcome, Point, Training
from harness.seeds import Seeds
from harness.training.evaluation import Weights, evaluate
from harness.training.kept_weights import KeptWeights
from harness.training.network import Network
from harness.training.stopping import StoppingRule
from harness.training.update_step import UpdateStep


@dataclass(frozen=True)
class TrainingData:
    """The splits that a training reads."""

    train: Dataset
    validation: Dataset


class TrainingRun:
    """A training that advances slice by slice.

    The random state of its updates is kept between slices, so that whatever else runs in the process changes nothing.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        *,
        training: Training,
        optimisation: Optimisation,
        data: TrainingData,
        seeds: Seeds,
    ) -> None:
        """The network is trained on its device."""
        self.step = UpdateStep(
            network, task, training=training, optimisation=optimisation, train=data.train, seeds=seeds
        )
        self.kept = KeptWeights(task.metric.better)
        self.stopping = StoppingRule(training)
        self.points: list[Point] = []
        self.outcome: Outcome | None = None
        """None while it can advance; `complete`, `diverged`, or `pruned` where it pauses at `until`."""
        self.until: int | None = None
        """Updates after which it pauses, at an evaluation; None: it trains to its end."""
        self.reason = ""
        self.seconds = 0.0
        """Training and evaluation so far."""
        self.whole = True
        """False within a slice, and after one that was broken off: such a state lies between two updates."""
        self._task = task
        self._validation = resident(data.validation, self.step.device)

    @property
    def network(self) -> Network:
        """The network as it is after the last update."""
        return self.step.network

    @property
    def update(self) -> int:
        """Updates so far."""
        return self.step.update

    @property
    def epochs(self) -> float:
        """Epochs so far."""
        return self.step.epochs

    @property
    def padding(self) -> float | None:
        """Padded over real frames in training, minus 1; None where all sequences have one length."""
        return self.step.padding

    @property
    def best(self) -> Weights:
        """Weights of the best evaluation so far; empty before the first."""
        return self.kept.best

    @property
    def best_update(self) -> int | None:
        """The update of the best evaluation so far."""
        return self.kept.best_update

    @property
    def best_score(self) -> float | None:
        """Validation score of the best evaluation so far."""
        return self.kept.best_score

    @property
    def last(self) -> list[Weights]:
        """Weights of the last three evaluations, oldest first."""
        return self.kept.last

    def advance(self, seconds: float) -> None:
        """Train for about `seconds` and one update at least, or to the end."""
        begun = time.monotonic()
        before = self.seconds
        self.network.train()
        self.whole = False
        with self.step.own_random_state():
            while self.outcome is None:
                self.step.run()
                self.seconds = before + time.monotonic() - begun
                if self.evaluation_is_due():
                    self.evaluate()
                    self.seconds = before + time.monotonic() - begun
                if self.seconds - before >= seconds:
                    break
        self.whole = True

    def evaluation_is_due(self) -> bool:
        """Whether the run is to be evaluated after its last update."""
        return self.stopping.evaluation_is_due(self.update, self.seconds)

    def evaluate(self) -> None:
        """Score the weights on validation, keep them, and end the run where its time is over."""
        train_loss = self.step.mean_loss()
        if not math.isfinite(train_loss):
            self._diverge(f"loss {train_loss} at update {self.update}")
            return
        metrics = evaluate(self.network, self._task, self._validation, self.step.device)
        score = metrics[self._task.metric.name]
        if not math.isfinite(score):
            self._diverge("validation is not finite")
            return
        self.kept.add(self.network, update=self.update, score=score)
        self.points.append(
            Point(
                update=self.update,
                epoch=self.epochs,
                seconds=self.seconds,
                time=time.time(),
                learning_rate=self.step.last_rate,
                train_loss=train_loss,
                gradient_norm=self.step.gradient_norm(),
                metrics=metrics,
            )
        )
        self.step.learning_rate.follow(self._validation_losses())
        if self.stopping.is_over(self.update, self.seconds, without_better=self._evaluations_since_best()):
            self.outcome = "complete"
        else:
            self._pause_if_due()

    def _pause_if_due(self) -> None:
        if self.until is not None and self.update >= self.until:
            self.outcome = "pruned"

    def _diverge(self, reason: str) -> None:
        """End the run; the weights and the score of its best evaluation stay."""
        self.outcome, self.reason = "diverged", reason

    def _validation_losses(self) -> list[float]:
        """Scores so far, the smaller the better."""
        sign = 1 if self._task.metric.better == "lower" else -1
        return [sign * point.metrics[self._task.metric.name] for point in self.points]

    def _evaluations_since_best(self) -> int:
        return sum(point.update > (self.best_update or 0) for point in self.points)

    def state(self) -> dict[str, Any]:
        """Return everything from which `restore` continues exactly: tensors, numbers, strings (a tree, hence Any)."""
        return {
            **self.step.state(),
            **self.kept.state(),
            "seconds": self.seconds,
            "points": [point.model_dump(mode="json") for point in self.points],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a stored state."""
        self.seconds = state["seconds"]
        self.points = [Point.model_validate(point) for point in state["points"]]
        self.step.restore(state)
        self.kept.restore(state, {point.update: point.metrics[self._task.metric.name] for point in self.points})
        self.step.learning_rate.follow(self._validation_losses())
        self._pause_if_due()
