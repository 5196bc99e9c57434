"""The scheduler decides which trial comes next.

Pure: plans and results in, trials out; no clock, no files, no Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.records import Resources, Trial, TrialResult
from harness.search.cell import CellState


class TrialScheduler:
    """Hands out the trials of all cells in turn; in each cell interrupted trials, then search, then final trials."""

    def __init__(self, cells: Sequence[CellState]) -> None:
        self._cells = {str(state.plan.cell): state for state in cells}
        self._turn = 0
        self._running: dict[str, Resources] = {}
        self._requeued: set[str] = set()
        """Keys of trials whose worker failed or that ran out of memory."""
        self._workers: dict[str, str] = {}
        """Key of a running trial → key of the trial that its worker was started for: its own, unless it is a
        companion."""
        self._postponed = False
        self._idle: list[Resources] = []
        """Resources of the workers that wait for a trial; the one that has waited longest comes first."""

    @property
    def cells(self) -> Mapping[str, CellState]:
        return self._cells

    @property
    def running(self) -> Mapping[str, Resources]:
        """Key → resources of every running trial."""
        return self._running

    def ask(self, fits: Callable[[Resources], bool]) -> Trial | None:
        """Return the next trial whose resources fit.  None if no resources fit, or no trial is ready.

        fits: whether these resources are free, in addition to those of the running trials.
        """
        for state in self._in_turn():
            # The resources are checked first, because creating a trial solves widths.
            if not fits(state.next_resources()):
                continue
            trial = state.next_trial()
            if trial is None:
                continue
            self._turn = list(self._cells.values()).index(state) + 1
            self._start(state, trial)
            return trial
        return None

    def companions(self, trial: Trial) -> tuple[Trial, ...]:
        """Return further final trials of the cell, to train together with this trial on its worker.

        A requeued trial has no companions and is no companion, so that another failure is due to that trial alone.
        """
        state = self._cells[str(trial.cell)]
        companions: list[Trial] = []
        if trial.phase != "final" or trial.key in self._requeued:
            return ()
        while 1 + len(companions) < trial.resources.stack:
            companion = state.next_trial()
            if companion is None or companion.resources != trial.resources or companion.key in self._requeued:
                break
            self._start(state, companion, worker=trial.key)
            companions.append(companion)
        return tuple(companions)

    def _in_turn(self) -> list[CellState]:
        """Return the cells in the order of their turns; cells whose resources have an idle worker come first.

        A worker serves trials of equal resources.  Replacing it by a worker of other resources takes seconds.
        """
        states = list(self._cells.values())
        turned = [*states[self._turn :], *states[: self._turn]]
        return sorted(turned, key=lambda state: state.plan.resources not in self._idle)

    def _start(self, state: CellState, trial: Trial, worker: str | None = None) -> None:
        """Record that a trial runs.  worker: key of the trial whose worker it shares; None: it has its own."""
        if trial.key in state.again:
            state.again.remove(trial.key)
        else:
            state.remember(trial)
        self._running[trial.key] = trial.resources
        self._workers[trial.key] = worker or trial.key
        if self._idle and worker is None:  # an idle worker of equal resources, or the one that is replaced
            self._idle.remove(trial.resources if trial.resources in self._idle else self._idle[0])

    def tell(self, trial: Trial, result: TrialResult) -> None:
        """Record the result of a trial."""
        self._cells[str(trial.cell)].tell(trial, result)
        self._release(trial)

    def pause(self, trial: Trial, result: TrialResult) -> None:
        """Record that a trial has trained to its next rung.  result: what it has measured so far."""
        self._cells[str(trial.cell)].pause(trial, result)
        self._release(trial)

    def pruned(self) -> list[tuple[Trial, TrialResult]]:
        """Return the trials that wait at a rung and do not train on, with the results that they end with."""
        entries = [state.entries[key] for state in self._cells.values() for key in state.decisions().pruned]
        return [(entry.trial, entry.rungs[-1]) for entry in entries]

    def requeue(self, trial: Trial, *, alone: bool = False) -> None:
        """Queue a trial that did not end to be retried.  alone: with a whole GPU."""
        state = self._cells[str(trial.cell)]
        state.again.append(trial.key)
        self._requeued.add(trial.key)
        if alone:
            state.alone.add(trial.key)
        self._release(trial)

    def postpone(self, trial: Trial) -> None:
        """Postpone a trial that did not end: it is not retried now.  Its cell waits for it, other cells go on."""
        self._postponed = True
        self._release(trial)

    def only_postponed_trials_left(self) -> bool:
        """Return whether nothing runs and no trial is ready, but postponed trials have not ended."""
        if not self._postponed or self._running:
            return False
        return all(state.next_trial() is None for state in self._cells.values())

    def _release(self, trial: Trial) -> None:
        """Record that a trial does not run any more; its worker is idle once all trials on it have ended."""
        if self._running.pop(trial.key, None) is not None:
            worker = self._workers.pop(trial.key)
            if worker not in self._workers.values():
                self._idle.append(trial.resources)

    def finished(self) -> bool:
        """Return whether all trials of all cells have ended."""
        return all(state.finished() for state in self._cells.values())
