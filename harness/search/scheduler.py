"""The scheduler: which trial comes next.  Pure: plans and told results in, trials out; no clock, no files, no Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.ledger.journal import TrialEntry
from harness.records import Resources, Trial, TrialResult
from harness.search.cell import CellState


class TrialScheduler:
    """Deals trials over all cells in turn: what was interrupted, then the search, then the final trials."""

    def __init__(self, cells: Sequence[CellState]) -> None:
        self._cells = {str(state.plan.cell): state for state in cells}
        self._turn = 0
        self._running: dict[str, Resources] = {}
        self._died: set[str] = set()
        """Keys of trials whose worker died, or that lacked room."""
        self._places: dict[str, str] = {}
        """Key of each of them → key of the trial whose worker it has: its own, unless it is a companion."""
        self._aside = False
        self._idle: list[Resources] = []
        """Classes of workers that wait for a trial, the longest waiting first."""

    @property
    def cells(self) -> Mapping[str, CellState]:
        return self._cells

    @property
    def running(self) -> Mapping[str, Resources]:
        """Key → resources of every trial that was dealt and has not ended."""
        return self._running

    def ask(self, fits: Callable[[Resources], bool]) -> Trial | None:
        """The next trial whose resources fit beside those running; None where none does or none is ready."""
        for state in self._in_turn():
            # Asked first, since making a trial solves widths.
            if not fits(state.next_resources()):
                continue
            trial = state.next_trial()
            if trial is None:
                continue
            self._turn = list(self._cells.values()).index(state) + 1
            self._started(state, trial)
            return trial
        return None

    def companions(self, trial: Trial) -> tuple[Trial, ...]:
        """Further final trials of its cell that are trained beside this one, in its place.

        One whose worker died has none and is none: the next death tells of it alone.
        """
        state = self._cells[str(trial.cell)]
        found: list[Trial] = []
        while trial.phase == "final" and trial.key not in self._died and 1 + len(found) < trial.resources.stack:
            beside = state.next_trial()
            if beside is None or beside.resources != trial.resources or beside.key in self._died:
                break
            self._started(state, beside, place=trial.key)
            found.append(beside)
        return tuple(found)

    def _in_turn(self) -> list[CellState]:
        """The cells after the last one served, those first whose class has an idle worker.

        A worker serves one class; to start one of another class in its place costs seconds in which a slot is idle.
        """
        states = list(self._cells.values())
        turned = [*states[self._turn :], *states[: self._turn]]
        return sorted(turned, key=lambda state: state.plan.resources not in self._idle)

    def _started(self, state: CellState, trial: Trial, place: str | None = None) -> None:
        if trial.key in state.again:
            state.again.remove(trial.key)
        else:
            state.remember(trial)
        self._running[trial.key] = trial.resources
        self._places[trial.key] = place or trial.key
        if self._idle and place is None:  # its own worker, or the one that makes room
            self._idle.remove(trial.resources if trial.resources in self._idle else self._idle[0])

    def tell(self, trial: Trial, result: TrialResult) -> None:
        """A trial has its outcome."""
        state = self._cells[str(trial.cell)]
        known = state.entries[trial.key]
        state.entries[trial.key] = TrialEntry(trial, known.attempt, known.points, result)
        self._freed(trial)

    def requeue(self, trial: Trial, *, alone: bool = False) -> None:
        """A trial did not end and is to be dealt again, with a GPU for itself where it shall be alone."""
        state = self._cells[str(trial.cell)]
        state.again.append(trial.key)
        self._died.add(trial.key)
        if alone:
            state.alone.add(trial.key)
        self._freed(trial)

    def set_aside(self, trial: Trial) -> None:
        """A trial did not end and is not dealt again; its cell waits for it, the others go on."""
        self._aside = True
        self._freed(trial)

    def has_only_what_is_aside(self) -> bool:
        """Whether nothing runs and nothing can be dealt, though trials that were set aside have not ended."""
        return self._aside and not self._running and all(state.next_trial() is None for state in self._cells.values())

    def _freed(self, trial: Trial) -> None:
        if self._running.pop(trial.key, None) is not None:
            place = self._places.pop(trial.key)
            if place not in self._places.values():
                self._idle.append(trial.resources)

    def finished(self) -> bool:
        return all(state.finished() for state in self._cells.values())
