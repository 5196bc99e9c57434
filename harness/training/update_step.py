"""The update step of one network, and everything that an update changes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.api.dataset import Batch, Dataset
from harness.api.task import Task, Total
from harness.records import Optimisation, Training
from harness.seeds import Seeds, derive
from harness.training.batches import training_batches
from harness.training.evaluation import first_total, objective, training_outputs
from harness.training.kept_weights import copy_weights
from harness.training.network import Network, map_state
from harness.training.optimizers import LearningRate, make_optimizer
from harness.training.random_state import fork_random_state, seeded_random_state

OptimizerState = dict[str, Any]
"""What an optimizer remembers of one parameter: tensors and a count of steps, hence Any."""


class UpdateStep:
    """One network's updates: batch, loss, gradient, clipping, optimizer.

    All randomness after the initial weights comes from `seeds`: batches from `order`, dropout from `noise`.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        *,
        training: Training,
        optimisation: Optimisation,
        train: Dataset,
        seeds: Seeds,
    ) -> None:
        """The updates take place on the network's device."""
        self.network = network
        self.device = next(network.parameters()).device
        self.optimisation = optimisation
        self.precision = training.precision
        self.readout = task.signature().readout
        self.optimizer = make_optimizer(network, optimisation)
        self.learning_rate = LearningRate(optimisation, training.updates)
        self.update = 0
        """Updates so far."""
        self.loss = torch.zeros(2, dtype=torch.float64, device=self.device)
        """Sum and count of the primary loss since `mean_loss` was last asked."""
        self.norm = torch.zeros((), device=self.device)
        """Gradient norm of the last update before clipping; only kept where gradients are clipped."""
        self.carried: Any = None
        """State after the last update, of a stream that carries one: a tree of tensors, hence Any."""
        self.noise = seeds.noise
        self._task = task
        self._batches = training_batches(
            train, batch_size=training.batch_size, order_seed=seeds.order, device=self.device
        )
        self._random = seeded_random_state(seeds.noise, self.device)

    @property
    def epochs(self) -> float:
        """Epochs so far."""
        return self.update / self._batches.per_epoch

    @property
    def padding(self) -> float | None:
        """Padded over real frames, minus 1; None where all sequences have one length."""
        return self._batches.padding

    @property
    def last_rate(self) -> float:
        """Learning rate of the last update."""
        return float(self.optimizer.param_groups[0]["lr"])

    def batch(self) -> Batch:
        """Return the batch of the next update."""
        return self._batches.at(self.update)

    def training_loss(self, output: Tensor, batch: Batch) -> Total:
        """Return the total that is back-propagated."""
        return first_total(self._task.loss(output, batch))

    def run(self) -> None:
        """Compute one update."""
        batch = self.batch()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate.after(self.update)
        self.optimizer.zero_grad(set_to_none=True)
        output, self.carried = training_outputs(self.network, self.readout, batch, self.carried, self.precision)
        primary = self.training_loss(output, batch)
        objective(primary, self.optimisation).backward()  # type: ignore[no-untyped-call]
        if self.optimisation.clip is not None:
            self.norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.optimisation.clip)
        self.optimizer.step()
        self.update += 1
        self.loss[0] += primary.sum.detach()
        self.loss[1] += primary.count

    def mean_loss(self) -> float:
        """Return the mean primary loss over the batches since the last call."""
        loss_sum, count = self.loss.tolist()
        self.loss.zero_()
        return float(loss_sum / count)

    def gradient_norm(self) -> float:
        """Return the gradient norm of the last update, before clipping."""
        if self.optimisation.clip is not None:
            return float(self.norm)
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    @contextlib.contextmanager
    def own_random_state(self) -> Iterator[None]:
        """Make this step's random state the default one; the process's is put back afterwards."""
        cuda = self.device.type == "cuda"
        with fork_random_state(self.device):
            torch.set_rng_state(self._random["cpu"])
            if cuda:
                torch.cuda.set_rng_state(self._random["cuda"], self.device)
            yield
            self._random = {"cpu": torch.get_rng_state()}
            if cuda:
                self._random["cuda"] = torch.cuda.get_rng_state(self.device)

    # ---- part of a stack

    def optimizer_state(self, name: str) -> OptimizerState:
        """Return what the optimizer remembers of a parameter; empty before the first update."""
        state: OptimizerState = self.optimizer.state.get(self.network.get_parameter(name), {})
        return state

    def enter_stack(self, weights: Mapping[str, Tensor], loss: Tensor) -> None:
        """Use slices of a stack's parameters and buffers as the network's, and one of its losses."""
        self.optimizer.zero_grad()
        for name, own in (*self.network.named_parameters(), *self.network.named_buffers()):
            own.data = weights[name]
        self.loss = loss

    def follow_stack(self, gradients: Mapping[str, Tensor | None], *, norm: Tensor, rate: float) -> None:
        """Take over what an evaluation reports of the stack's last update."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.norm = norm
        for name, gradient in gradients.items():
            self.network.get_parameter(name).grad = gradient

    def leave_stack(self, states: Mapping[str, OptimizerState], *, norm: Tensor, carried: Any) -> None:
        """Take over all that is needed to be saved or to continue alone; `carried` is a tree of tensors, hence Any.

        The random state starts again from the update: steps that leave one stack would otherwise draw alike.
        """
        for name, state in states.items():
            self.optimizer.state[self.network.get_parameter(name)] = state
        self.norm, self.carried = norm, carried
        self._random = seeded_random_state(derive(self.noise, self.update), self.device)

    # ---- checkpoints

    def state(self) -> dict[str, Any]:
        """Return everything from which `restore` continues exactly (a tree, hence Any)."""
        return {
            "update": self.update,
            "weights": copy_weights(self.network),
            "optimizer": self.optimizer.state_dict(),
            "random": self._random,
            "carried": self.carried,
            "loss": self.loss,
            "norm": self.norm,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a stored state."""
        self.update = state["update"]
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._random = state["random"]
        self.carried = map_state(lambda tensor: tensor.to(self.device), state["carried"])
        self.loss = state["loss"].to(self.device)
        self.norm = state["norm"].to(self.device)
