"""Vectorized trainings: the updates of several runs of one shape computed as one.

Each run stays a run.  Its weights are slices of the stacked ones, so it is evaluated, keeps its best weights, stops and
is saved by itself, and another worker may continue it alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from harness.api.model import Stack
from harness.errors import is_of_plugin
from harness.training.random_state import fork_random_state
from harness.training.run import TrainingRun
from harness.training.stacked_step import StackedStep


def can_stack(run: TrainingRun) -> bool:
    """Whether the backbone of a run offers `stack`."""
    return isinstance(run.network.backbone, Stack)


class VectorizedRuns:
    """Runs that differ in their seeds and data alone, advanced together.

    Without dropout each ends with the weights, curve and outcome that it would have had alone, up to rounding; dropout
    draws for each by itself from one stream, a function of the runs' noise seeds and of the update.
    """

    def __init__(self, runs: Sequence[TrainingRun], *, graphs: bool = False) -> None:
        """graphs: on CUDA, record an update once for each shape of batch and replay it."""
        self.runs = tuple(runs)
        self.errors: dict[TrainingRun, BaseException] = {}
        """What a run's own evaluation raised; such a run is not advanced any more."""
        self._graphs = graphs
        self._stacked: list[TrainingRun] = []
        self._stack: StackedStep | None = None

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
                self._advance_together(active, begun + seconds)
            if time.monotonic() - begun >= seconds:
                break

    def _advance_together(self, active: list[TrainingRun], end: float) -> None:
        """Update all until `end`, or until one of them leaves."""
        stack = self._stack_of(active)
        for run in active:
            run.whole = False
        try:
            with fork_random_state(active[0].step.device):
                self._advance_stack(stack, active, end)
        finally:
            stack.hand_back()
        for run in active:
            run.whole = True

    def _stack_of(self, active: list[TrainingRun]) -> StackedStep:
        """Return the stack of these runs; it is built again where a run has left it."""
        if self._stack is None or self._stacked != active:
            self._stack = StackedStep([run.step for run in active], graphs=self._graphs)
            self._stacked = active
        return self._stack

    def _advance_stack(self, stack: StackedStep, active: list[TrainingRun], end: float) -> None:
        before = time.monotonic()
        leaving = False
        while not leaving:
            try:
                stack.run()
            except BaseException as error:
                for run in active:
                    run.whole = is_of_plugin(error)
                raise
            due = [run for run in active if run.evaluation_is_due()]
            self._evaluate(stack, due)
            now = time.monotonic()
            for run in active:
                run.seconds += (now - before) / len(active)
            before = now
            leaving = now >= end or any(run.outcome is not None or run in self.errors for run in due)

    def _evaluate(self, stack: StackedStep, due: list[TrainingRun]) -> None:
        """Evaluate each run by itself; what one raises is its own."""
        if due:
            stack.share_last_update()
        for run in due:
            try:
                run.evaluate()
            except BaseException as error:  # a third party's task may raise anything; the others continue
                if not is_of_plugin(error):
                    raise
                self.errors[run] = error
