"""Trainings of one shape in lockstep: the updates of several runs computed as one.

Each run stays a run.  Its weights are slices of the stacked ones, so it evaluates, keeps its best, stops and is saved
by itself, and another worker may go on with it alone.  What is here is the inside of `TrainingRun`'s loop for several,
hence what it reads of a run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.api.dataset import Batch
from harness.api.model import Stack
from harness.seeds import derive
from harness.training.cuda_graphs import Recorded, can_record
from harness.training.evaluation import first_total, objective, training_outputs
from harness.training.network import map_state
from harness.training.optimizers import make_optimizer
from harness.training.random_state import fork_random_state, seeded_random_state
from harness.training.run import TrainingRun
from harness.training.stacked_network import StackedNetwork
from harness.training.vectorized_batches import (
    are_static,
    broadcast_over_runs,
    count_on_device,
    join_batches,
    without_padding,
)

Signature = tuple[object, ...]
"""What of a stack's batches a recording depends on."""


def can_stack(run: TrainingRun) -> bool:
    return isinstance(run.network.backbone, Stack)


class VectorizedRuns:
    """Runs that differ in their seeds and data alone, advanced together.

    Without dropout each ends with the weights, curve and outcome that it would have had alone, up to rounding; dropout
    draws for each by itself from one stream, a function of the runs' noise seeds and of the update.
    """

    def __init__(self, runs: Sequence[TrainingRun], *, graphs: bool = False) -> None:
        """graphs: on CUDA, record an update once for each shape of batch and replay it."""
        self.runs = tuple(runs)
        self.errors: dict[TrainingRun, Exception] = {}
        """What a run's own evaluation raised; such a run is not advanced any more."""
        self._graphs = graphs
        self._stack: _Stack | None = None

    def advance(self, seconds: float) -> None:
        """Train for about `seconds` and one update at least, or until every run has ended.

        Their training seconds are shares of the time that passed: summed up, what they took together.  What an update
        raises leaves every run whole, as it was before that update.
        """
        begun = time.monotonic()
        while active := [run for run in self.runs if run.outcome is None and run not in self.errors]:
            latest = max(run.update for run in active)
            behind = [run for run in active if run.update < latest]
            if behind:  # saved before the others were, by a worker that died in between
                behind[0].advance(0)
            else:
                self._together(active, begun + seconds)
            if time.monotonic() - begun >= seconds:
                break

    def _together(self, active: list[TrainingRun], end: float) -> None:
        """Update all until `end`, or until one of them leaves."""
        if self._stack is None or self._stack.runs != active:
            self._stack = _Stack(active, graphs=self._graphs)
        for run in active:
            run.whole = False
        try:
            with fork_random_state(active[0]._device):
                self._advance(self._stack, end)
        finally:
            self._stack.hand_back()
        for run in active:
            run.whole = True

    def _advance(self, stack: _Stack, end: float) -> None:
        before = time.monotonic()
        leaving = False
        while not leaving:
            try:
                stack.step()
            except Exception:
                for run in stack.runs:
                    run.whole = True
                raise
            due = [run for run in stack.runs if run._evaluation_is_due()]
            self._evaluate(stack, due)
            now = time.monotonic()
            for run in stack.runs:
                run.seconds += (now - before) / len(stack.runs)
            before = now
            leaving = now >= end or any(run.outcome is not None or run in self.errors for run in due)

    def _evaluate(self, stack: _Stack, due: list[TrainingRun]) -> None:
        """Each by itself; what one raises is its own."""
        if due:
            stack.tell()
        for run in due:
            try:
                run._evaluate()
            except Exception as error:  # noqa: BLE001  # a stranger's task may raise anything; the others go on
                self.errors[run] = error


class _Stack:
    """The weights, the optimiser and what is carried of runs at the same update, with the runs' axis in front."""

    def __init__(self, runs: Sequence[TrainingRun], *, graphs: bool) -> None:
        first = runs[0]
        self.runs = list(runs)
        self._first = first
        self._graphs = graphs and can_record(first._device) and first.padding is None  # ragged: ever other shapes
        self._recorded: dict[Signature, Recorded] = {}
        self._network = StackedNetwork([run.network for run in runs]).train()
        self._parameters = dict(self._network.named_parameters())
        # Adam, RMSprop, SGD and Adagrad are elementwise: one on stacked parameters is one for each run.
        self._optimizer = make_optimizer(self._network, first._optimisation)
        self._carried = _joined_trees([run._carried for run in runs])
        self._loss = torch.stack([run._loss for run in runs])  # (runs, 2) float64
        self._norm = torch.stack([run._norm for run in runs])  # (runs,)
        self._rates: list[float] = []
        """Of the last update."""
        self._parts: tuple[list[float], Tensor] | None = None
        """Learning rates, and each as a part of the largest: (runs,)."""
        self._noise = derive(0, *(run._noise for run in runs))
        self._take_over()

    def _take_over(self) -> None:
        """The optimiser goes on from the runs' own; their weights and losses become slices of the stacked."""
        for name, stacked in self._parameters.items():
            states = [run._optimizer.state.get(run.network.get_parameter(name), {}) for run in self.runs]
            if all(states):
                self._optimizer.state[stacked] = {
                    key: _joined_state([state[key] for state in states], key) for key in states[0]
                }
        buffers = dict(self._network.named_buffers())
        for index, run in enumerate(self.runs):
            run._optimizer.zero_grad()
            for name, single in (*run.network.named_parameters(), *run.network.named_buffers()):
                single.data = {**self._parameters, **buffers}[name].detach()[index]
            run._loss = self._loss[index]

    def hand_back(self) -> None:
        """Make each run whole: what it needs to be saved, or to go on alone, in memory of its own.

        Its own stream of dropout begins anew with each update, or runs that part would draw alike.
        """
        for index, run in enumerate(self.runs):
            for name, stacked in self._parameters.items():
                state = self._optimizer.state.get(stacked, {})
                run._optimizer.state[run.network.get_parameter(name)] = {
                    key: _state_of(index, value, key) for key, value in state.items()
                }
            run._norm = self._norm[index].clone()
            run._carried = map_state(partial(_slice, index=index), self._carried)
            run._random = seeded_random_state(derive(run._noise, run.update), run._device)

    def tell(self) -> None:
        """What an evaluation reports of the last update: rates, gradients, and their norms before clipping."""
        for index, run in enumerate(self.runs):
            run._optimizer.param_groups[0]["lr"] = self._rates[index]
            run._norm = self._norm[index]
            for name, stacked in self._parameters.items():
                run.network.get_parameter(name).grad = None if stacked.grad is None else stacked.grad[index]

    def step(self) -> None:
        """One update of every run."""
        batches = [run._batches.at(run.update) for run in self.runs]
        sums, counts = self._gradients(batches)
        if self._first._optimisation.clip is not None:
            self._clip(self._first._optimisation.clip)
        self._update_weights()
        for run in self.runs:
            run.update += 1
        self._loss[:, 0] += sums
        self._loss[:, 1] += counts

    def _gradients(self, batches: list[Batch]) -> tuple[Tensor, Tensor]:
        """Of every run's own loss; the losses' sums and counts: (runs,) each."""
        seed = derive(self._noise, self.runs[0].update)
        if self._graphs and are_static(batches):
            recorded, inputs = self._recording(batches)
            torch.manual_seed(seed)
            sums, counts = recorded(inputs)
            return sums, counts
        torch.manual_seed(seed)
        self._optimizer.zero_grad(set_to_none=True)
        return self._backward(join_batches(batches), batches)

    def _recording(self, batches: list[Batch]) -> tuple[Recorded, tuple[Tensor, Tensor]]:
        """The recording for batches like these, made where there is none, and what it takes of them."""
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
        output, carried = training_outputs(
            self._network, first._readout, joined, self._carried, first._training.precision
        )
        totals = [
            first_total(run._task.loss(without_padding(output[index], batch), batch))
            for index, (run, batch) in enumerate(zip(self.runs, batches, strict=True))
        ]
        # Each run's weights are in its own loss alone, so the gradient of the sum is every run's own.
        torch.stack([objective(total, first._optimisation) for total in totals]).sum().backward()  # type: ignore[no-untyped-call]
        self._carried = carried
        sums = torch.stack([total.sum.detach() for total in totals])
        return sums, torch.stack([count_on_device(total.count, sums) for total in totals])

    def _clip(self, most: float) -> None:
        """`nn.utils.clip_grad_norm_` of every run by itself."""
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
        self._norm = torch.linalg.vector_norm(norms, dim=0)
        factor = (most / (self._norm + 1e-6)).clamp(max=1.0)  # (runs,)
        for gradient in gradients:
            gradient.mul_(broadcast_over_runs(factor, gradient))

    def _update_weights(self) -> None:
        """A step at the largest learning rate, of which a run whose schedule has lowered its own takes a part: what
        these optimisers remember does not depend on the rate, and a step is proportional to it."""
        self._rates = rates = [run._learning_rate() for run in self.runs]
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
    """One entry of an optimiser's state (of several types, hence Any): a tensor a run, but for the count of steps."""
    if not isinstance(values[0], Tensor):
        return values[0]
    return values[0].clone() if name == "step" else torch.stack(values)


def _state_of(index: int, value: Any, name: str) -> Any:
    """A run's part of such an entry, in memory of its own: a checkpoint stores all that a view looks into."""
    if not isinstance(value, Tensor):
        return value
    return value.clone() if name == "step" else value[index].clone()


def _slice(stacked: Tensor, index: int) -> Tensor:
    return stacked[index].clone()


def _joined_trees(trees: list[Any]) -> Any:
    """The runs' carried states (trees of tensors, hence Any) as one."""
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.stack(trees)
    if isinstance(first, dict):
        return {key: _joined_trees([tree[key] for tree in trees]) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_joined_trees(list(branches)) for branches in zip(*trees, strict=True))
    return first
