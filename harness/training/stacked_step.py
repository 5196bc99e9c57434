"""The update steps of several networks of one shape, computed as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.api.dataset import Batch
from harness.seeds import derive
from harness.training.cuda_graphs import Recorded, can_record
from harness.training.evaluation import objective, training_outputs
from harness.training.network import map_state
from harness.training.optimizers import make_optimizer
from harness.training.stacked_network import StackedNetwork
from harness.training.update_step import OptimizerState, UpdateStep
from harness.training.vectorized_batches import (
    are_static,
    broadcast_over_runs,
    count_on_device,
    join_batches,
    without_padding,
)

Signature = tuple[object, ...]
"""What of a stack's batches a recording depends on."""


class StackedStep:
    """The weights, the optimizer and the carried state of steps at the same update, with their axis in front."""

    def __init__(self, steps: Sequence[UpdateStep], *, graphs: bool) -> None:
        """graphs: on CUDA, record an update once for each shape of batch and replay it."""
        first = steps[0]
        self._steps = list(steps)
        self._first = first
        self._graphs = graphs and can_record(first.device) and first.padding is None  # ragged: shapes always differ
        self._recorded: dict[Signature, Recorded] = {}
        self._network = StackedNetwork([step.network for step in steps]).train()
        self._parameters = dict(self._network.named_parameters())
        # Adam, RMSprop, SGD and Adagrad are elementwise: one on stacked parameters is one for each run.
        self._optimizer = make_optimizer(self._network, first.optimisation)
        self._carried = _joined_trees([step.carried for step in steps])
        self._loss = torch.stack([step.loss for step in steps])  # (runs, 2) float64
        self._norm = torch.stack([step.norm for step in steps])  # (runs,)
        self._rates: list[float] = []
        """Learning rates of the last update."""
        self._parts: tuple[list[float], Tensor] | None = None
        """Learning rates, and each as a part of the largest: (runs,)."""
        self._noise = derive(0, *(step.noise for step in steps))
        self._take_over()

    def _take_over(self) -> None:
        """Continue with the steps' optimizer states; their weights and losses become slices of the stacked ones."""
        for name, stacked in self._parameters.items():
            states = [step.optimizer_state(name) for step in self._steps]
            if all(states):
                self._optimizer.state[stacked] = {
                    key: _joined_state([state[key] for state in states], key) for key in states[0]
                }
        weights = {**self._parameters, **dict(self._network.named_buffers())}
        for index, step in enumerate(self._steps):
            step.enter_stack({name: value.detach()[index] for name, value in weights.items()}, self._loss[index])

    def hand_back(self) -> None:
        """Give each step what it needs to be saved, or to continue alone, in memory of its own."""
        for index, step in enumerate(self._steps):
            states: dict[str, OptimizerState] = {
                name: {
                    key: _state_of(index, value, key) for key, value in self._optimizer.state.get(stacked, {}).items()
                }
                for name, stacked in self._parameters.items()
            }
            carried = map_state(partial(_slice, index=index), self._carried)
            step.leave_stack(states, norm=self._norm[index].clone(), carried=carried)

    def share_last_update(self) -> None:
        """Give each step what an evaluation reports of the last update: rate, gradients, norm before clipping."""
        for index, step in enumerate(self._steps):
            gradients = {
                name: None if stacked.grad is None else stacked.grad[index]
                for name, stacked in self._parameters.items()
            }
            step.follow_stack(gradients, norm=self._norm[index], rate=self._rates[index])

    def run(self) -> None:
        """Compute one update of every step."""
        batches = [step.batch() for step in self._steps]
        sums, counts = self._gradients(batches)
        if self._first.optimisation.clip is not None:
            self._clip(self._first.optimisation.clip)
        self._update_weights()
        for step in self._steps:
            step.update += 1
        self._loss[:, 0] += sums
        self._loss[:, 1] += counts

    def _gradients(self, batches: list[Batch]) -> tuple[Tensor, Tensor]:
        """Compute the gradient of every run's own loss; return the losses' sums and counts: (runs,) each."""
        seed = derive(self._noise, self._steps[0].update)
        if self._graphs and are_static(batches):
            recorded, inputs = self._recording(batches)
            torch.manual_seed(seed)
            sums, counts = recorded(inputs)
            return sums, counts
        torch.manual_seed(seed)
        self._optimizer.zero_grad(set_to_none=True)
        return self._backward(join_batches(batches), batches)

    def _recording(self, batches: list[Batch]) -> tuple[Recorded, tuple[Tensor, Tensor]]:
        """Return the recording for batches like these, made where there is none, and what it takes of them."""
        like = batches[0]
        inputs = torch.stack([batch.inputs for batch in batches]), torch.stack([batch.targets for batch in batches])
        key = (inputs[0].shape, inputs[1].shape, like.scored, like.last)
        if key not in self._recorded:

            def computation(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                alike = [replace(like, inputs=x, targets=y) for x, y in zip(*given, strict=True)]
                return self._backward(replace(like, inputs=given[0], targets=given[1]), alike)

            self._recorded[key] = Recorded(computation, inputs, list(self._parameters.values()))
        return self._recorded[key], inputs

    def _backward(self, joined: Batch, batches: list[Batch]) -> tuple[Tensor, Tensor]:
        first = self._first
        output, carried = training_outputs(self._network, first.readout, joined, self._carried, first.precision)
        totals = [
            step.training_loss(without_padding(output[index], batch), batch)
            for index, (step, batch) in enumerate(zip(self._steps, batches, strict=True))
        ]
        # Each run's weights are in its own loss alone, so the gradient of the sum is every run's own.
        torch.stack([objective(total, first.optimisation) for total in totals]).sum().backward()  # type: ignore[no-untyped-call]
        self._carried = carried
        sums = torch.stack([total.sum.detach() for total in totals])
        return sums, torch.stack([count_on_device(total.count, sums) for total in totals])

    def _clip(self, most: float) -> None:
        """Apply `nn.utils.clip_grad_norm_` to every run by itself."""
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
        self._norm = torch.linalg.vector_norm(norms, dim=0)
        factor = (most / (self._norm + 1e-6)).clamp(max=1.0)  # (runs,)
        for gradient in gradients:
            gradient.mul_(broadcast_over_runs(factor, gradient))

    def _update_weights(self) -> None:
        """Take a step at the largest learning rate, of which a run with a lower rate takes a part.

        What these optimizers remember does not depend on the rate, and a step is proportional to it.
        """
        self._rates = rates = [step.learning_rate.after(step.update) for step in self._steps]
        for group in self._optimizer.param_groups:
            group["lr"] = max(rates)
        if len(set(rates)) == 1:
            self._optimizer.step()
            return
        if self._parts is None or self._parts[0] != rates:  # they change with evaluations, and are sent only then
            self._parts = rates, torch.tensor([rate / max(rates) for rate in rates], dtype=torch.float64).to(self._loss)
        before = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._optimizer.step()
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                part = broadcast_over_runs(self._parts[1].to(parameter.dtype), parameter)
                parameter.copy_(torch.lerp(before[name], parameter, part))


def _joined_state(values: list[Any], name: str) -> Any:
    """Return one entry of an optimizer's state for all runs: tensors stacked, but for the count of steps.

    Entries are of several types, hence Any.
    """
    if not isinstance(values[0], Tensor):
        return values[0]
    return values[0].clone() if name == "step" else torch.stack(values)


def _state_of(index: int, value: Any, name: str) -> Any:
    """Return a run's part of such an entry, in memory of its own: a checkpoint stores all that a view looks into."""
    if not isinstance(value, Tensor):
        return value
    return value.clone() if name == "step" else value[index].clone()


def _slice(stacked: Tensor, index: int) -> Tensor:
    return stacked[index].clone()


def _joined_trees(trees: list[Any]) -> Any:
    """Return the runs' carried states (trees of tensors, hence Any) as one."""
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.stack(trees)
    if isinstance(first, dict):
        return {key: _joined_trees([tree[key] for tree in trees]) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_joined_trees(list(branches)) for branches in zip(*trees, strict=True))
    return first
