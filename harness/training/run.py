"""The one training loop: updates, evaluation, early stopping, and a state from which it continues exactly."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from harness.api.dataset import Dataset, resident
from harness.api.task import Task
from harness.records import Optimisation, Outcome, Point, Training
from harness.seeds import Seeds
from harness.training.batches import training_batches
from harness.training.evaluation import Weights, evaluate, first_total, objective, training_outputs
from harness.training.network import Network, map_state
from harness.training.optimizers import make_optimizer, schedule_factor
from harness.training.random_state import fork_random_state, seeded_random_state

KEPT_FOR_LAST = 3
"""Bai et al. report the mean over the last three epochs (locuslab/TCN issue 40)."""


class TrainingRun:
    """A training that advances slice by slice.

    All randomness after the initial weights comes from `seeds`: batches from `order`, dropout from `noise`, whose
    generator state is kept between slices, so that whatever runs in the same process in between changes nothing.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        *,
        training: Training,
        optimisation: Optimisation,
        train: Dataset,
        validation: Dataset,
        seeds: Seeds,
        device: torch.device,
    ) -> None:
        self.network = network.to(device)
        self.points: list[Point] = []
        self.outcome: Outcome | None = None
        """None while it can advance; `complete` or `diverged` after."""
        self.reason = ""
        self.best: Weights = {}
        self.best_update: int | None = None
        self.last: list[Weights] = []
        """Weights of the last three evaluations, oldest first."""
        self.update = 0
        self.seconds = 0.0
        self.whole = True
        """False within a slice, and after one that was broken off: such a state is between two updates' states."""
        self._task = task
        self._readout = task.signature().readout
        self._training = training
        self._optimisation = optimisation
        self._batches = training_batches(train, batch_size=training.batch_size, order_seed=seeds.order, device=device)
        self._validation = resident(validation, device)
        self._device = device
        self._optimizer = make_optimizer(network, optimisation)
        self._scheduled = -1  # points there were when the learning rate was last set
        self._carried: Any = None  # the state after the last update, of a stream that carries one: a tree of tensors
        self._loss = torch.zeros(2, dtype=torch.float64, device=device)  # (sum, count) since the last point
        self._norm = torch.zeros((), device=device)
        self._noise = seeds.noise
        self._random = seeded_random_state(seeds.noise, device)

    @property
    def epochs(self) -> float:
        return self.update / self._batches.per_epoch

    @property
    def padding(self) -> float | None:
        return self._batches.padding

    @property
    def best_score(self) -> float | None:
        point = next((point for point in self.points if point.update == self.best_update), None)
        return None if point is None else point.metrics[self._task.metric.name]

    def advance(self, seconds: float) -> None:
        """Train for about `seconds` and one update at least, or to the end."""
        begun = time.monotonic()
        before = self.seconds
        self.network.train()
        self.whole = False
        with _random_state(self):
            while self.outcome is None:
                self._step()
                self.seconds = before + time.monotonic() - begun
                if self._evaluation_is_due():
                    self._evaluate()
                    self.seconds = before + time.monotonic() - begun
                if self.seconds - before >= seconds:
                    break
        self.whole = True

    def _step(self) -> None:
        batch = self._batches.at(self.update)
        if self._schedule_moves():
            for group in self._optimizer.param_groups:
                group["lr"] = self._learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        output, self._carried = training_outputs(
            self.network, self._readout, batch, self._carried, self._training.precision
        )
        primary = first_total(self._task.loss(output, batch))
        objective(primary, self._optimisation).backward()  # type: ignore[no-untyped-call]
        if self._optimisation.clip is not None:
            self._norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._optimisation.clip)
        self._optimizer.step()
        self.update += 1
        self._loss[0] += primary.sum.detach()
        self._loss[1] += primary.count

    def _gradient_norm(self) -> float:
        """Of the last update, before clipping."""
        if self._optimisation.clip is not None:
            return float(self._norm)
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _schedule_moves(self) -> bool:
        """Whether the learning rate may differ from that of the update before: cosine's always, else after a point."""
        moved = self._optimisation.schedule.kind == "cosine" or self._scheduled != len(self.points)
        self._scheduled = len(self.points)
        return moved

    def _learning_rate(self) -> float:
        factor = schedule_factor(
            self._optimisation.schedule, self._validation_losses(), self.update / self._training.updates
        )
        return self._optimisation.learning_rate * factor

    def _validation_losses(self) -> list[float]:
        """Scores so far, the smaller the better."""
        sign = 1 if self._task.metric.better == "lower" else -1
        return [sign * point.metrics[self._task.metric.name] for point in self.points]

    def _out_of_time(self) -> bool:
        return self._training.seconds is not None and self.seconds >= self._training.seconds

    def _evaluation_is_due(self) -> bool:
        return (
            self.update % self._training.evaluate_every == 0
            or self.update >= self._training.updates
            or self._out_of_time()
        )

    def _evaluate(self) -> None:
        loss_sum, loss_count = self._loss.tolist()
        self._loss.zero_()
        train_loss = loss_sum / loss_count
        metrics = (
            evaluate(self.network, self._task, self._validation, self._device) if math.isfinite(train_loss) else {}
        )
        if not metrics or not math.isfinite(metrics[self._task.metric.name]):
            self.outcome = "diverged"
            self.reason = f"loss {train_loss} at update {self.update}" if not metrics else "validation is not finite"
            return
        self._keep(metrics)
        self.points.append(
            Point(
                update=self.update,
                epoch=self.epochs,
                seconds=self.seconds,
                time=time.time(),
                learning_rate=self._optimizer.param_groups[0]["lr"],
                train_loss=train_loss,
                gradient_norm=self._gradient_norm(),
                metrics=metrics,
            )
        )
        if self.update >= self._training.updates or self._out_of_time() or self._patience_is_over():
            self.outcome = "complete"

    def _keep(self, metrics: Mapping[str, float]) -> None:
        """Remember the weights where they are the best so far, and those of the last three evaluations."""
        score, best = metrics[self._task.metric.name], self.best_score
        sign = 1 if self._task.metric.better == "lower" else -1
        now = copy_weights(self.network)
        self.last = [*self.last, now][-KEPT_FOR_LAST:]
        if best is None or sign * score < sign * best:
            self.best, self.best_update = now, self.update

    def _patience_is_over(self) -> bool:
        patience = self._training.patience
        if patience is None or self.update < self._training.minimum_updates:
            return False
        return sum(point.update > (self.best_update or 0) for point in self.points) >= patience

    def state(self) -> dict[str, Any]:
        """Everything from which `restore` continues exactly: tensors, numbers, strings (a tree, hence Any)."""
        return {
            "update": self.update,
            "seconds": self.seconds,
            "weights": copy_weights(self.network),
            "optimizer": self._optimizer.state_dict(),
            "random": self._random,
            "carried": self._carried,
            "loss": self._loss,
            "norm": self._norm,
            "best": self.best,
            "best_update": self.best_update,
            "last": self.last,
            "points": [point.model_dump(mode="json") for point in self.points],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.update, self.seconds, self._scheduled = state["update"], state["seconds"], -1
        self.network.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._random = state["random"]
        self._carried = map_state(lambda tensor: tensor.to(self._device), state["carried"])
        self._loss = state["loss"].to(self._device)
        self._norm = state["norm"].to(self._device)
        self.best, self.best_update, self.last = state["best"], state["best_update"], state["last"]
        self.points = [Point.model_validate(point) for point in state["points"]]


def copy_weights(network: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


@contextlib.contextmanager
def _random_state(run: TrainingRun) -> Iterator[None]:
    """The run's own random state as the default one; the process's is put back."""
    cuda = run._device.type == "cuda"
    with fork_random_state(run._device):
        torch.set_rng_state(run._random["cpu"])
        if cuda:
            torch.cuda.set_rng_state(run._random["cuda"], run._device)
        yield
        run._random = {"cpu": torch.get_rng_state()}
        if cuda:
            run._random["cuda"] = torch.cuda.get_rng_state(run._device)
