"""The live view of a running study: its cells, finished trials, best scores and remaining time."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from harness.ledger.journal import TrialEntry
from harness.plugin.hookspecs import hookimpl
from harness.records import CellFacts, Point, Trial, TrialResult
from harness.study.plan import Plan
from harness.workflow.formatting import duration_text
from harness.workflow.study_log import logger


@dataclass
class _CellView:
    """The numbers of one cell in the view."""

    facts: CellFacts
    ended: Counter[str] = field(default_factory=Counter)
    """Phase → number of trials that have ended."""
    running: set[str] = field(default_factory=set)
    """Keys of the running trials."""
    unscored: int = 0
    """Trials that ended without completing."""
    best: float | None = None
    """Best validation score so far."""

    def add_score(self, score: float) -> None:
        better_of = min if self.facts.metric.better == "lower" else max
        self.best = score if self.best is None else better_of(self.best, score)


class Progress:
    """A listener on a study's hooks.

    It redraws a table on a terminal and prints one line per trial elsewhere.  It logs every event.
    """

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._cells = {cell_plan.cell: _CellView(cell_plan.facts) for cell_plan in plan.cells}
        self._total = plan.trials()
        self._started = time.monotonic()
        self._ended = 0
        """Trials that ended in this run of the command."""
        self._ended_before = 0
        """Trials that ended in earlier runs of the command."""

    def begin(self, entries: Iterable[TrialEntry]) -> Progress:
        """Count the trials of earlier runs of the command.  They do not enter the estimate of the remaining time."""
        for entry in entries:
            view = self._cells.get(entry.trial.cell)
            if view is not None and entry.result is not None:
                view.ended[entry.trial.phase] += 1
                view.unscored += entry.result.outcome not in ("complete", "pruned")
                if entry.result.score is not None:
                    view.add_score(entry.result.score)
                self._ended_before += 1
        return self

    @hookimpl
    def harness_trial_started(self, trial: Trial, attempt: int) -> None:
        self._cells[trial.cell].running.add(trial.key)
        logger.debug("%s: started, attempt %d", _name(trial), attempt)

    @hookimpl
    def harness_trial_reported(self, trial: Trial, point: Point) -> None:
        view = self._cells[trial.cell]
        if logger.isEnabledFor(logging.DEBUG):
            scores = ", ".join(f"{name} {value:.5g}" for name, value in point.metrics.items())
            logger.debug("%s: update %d, training loss %.5g, %s", _name(trial), point.update, point.train_loss, scores)
        if trial.phase == "search" or not view.facts.trials:
            view.add_score(point.metrics[view.facts.metric.name])

    @hookimpl
    def harness_trial_paused(self, trial: Trial) -> None:
        self._cells[trial.cell].running.discard(trial.key)

    @hookimpl
    def harness_trial_finished(self, trial: Trial, result: TrialResult) -> None:
        view = self._cells[trial.cell]
        view.running.discard(trial.key)
        view.ended[trial.phase] += 1
        view.unscored += result.outcome not in ("complete", "pruned")
        self._ended += 1
        line = self._line(trial, result, view)
        logger.info("%s", line)
        if not self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _line(self, trial: Trial, result: TrialResult, view: _CellView) -> str:
        score = f"{view.facts.metric.name} {result.score:.5g}" if result.score is not None else result.reason
        score += f" at update {result.updates}" if result.outcome == "pruned" else ""
        return (
            f"[{self._ended_before + self._ended}/{self._total}] {_name(trial)}: {result.outcome}, {score}, "
            f"{result.train_seconds:.1f} s; {self._time_text()}"
        )

    def _time_text(self) -> str:
        """Return the remaining time at the speed of this run, or the time so far if there is no estimate."""
        remaining = self._total - self._ended_before - self._ended
        seconds = time.monotonic() - self._started
        # Under pruning trials have unequal lengths, and many end at once.
        if remaining <= 0 or self._ended == 0 or any(view.facts.rungs for view in self._cells.values()):
            return f"{duration_text(seconds)} so far"
        return f"about {duration_text(remaining * seconds / self._ended)} left"

    def __rich__(self) -> Table:
        table = Table(caption=f"{self._ended_before + self._ended} of {self._total} trials, {self._time_text()}")
        for heading in ("task", "model", "search", "final", "running", "not completed", "best validation"):
            table.add_column(heading, justify="left" if heading in ("task", "model") else "right")
        for cell, view in self._cells.items():
            best = "" if view.best is None else f"{view.best:.5g} {view.facts.metric.unit}"
            table.add_row(
                cell.task,
                cell.model,
                f"{view.ended['search']}/{view.facts.trials}",
                f"{view.ended['final']}/{view.facts.repetitions}",
                str(len(view.running) or ""),
                str(view.unscored or ""),
                best,
            )
        return table


def _name(trial: Trial) -> str:
    return f"{trial.cell} {trial.phase} {trial.number}"


@contextmanager
def progress(console: Console, plan: Plan) -> Iterator[Progress]:
    """Show the view until the context ends."""
    view = Progress(console, plan)
    if not console.is_terminal:
        yield view
        return
    with Live(view, console=console, refresh_per_second=2):
        yield view
