"""The live view of a study: cells, trials done, best so far, time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from harness.cli.actions.formatting import duration_text
from harness.ledger.journal import TrialEntry
from harness.plugin.hookspecs import hookimpl
from harness.records import CellFacts, Point, Trial, TrialResult
from harness.study.plan import Plan


@dataclass
class _CellView:
    """What one line of the view shows."""

    facts: CellFacts
    ended: Counter[str] = field(default_factory=Counter)
    """Phase → trials ended."""
    running: set[str] = field(default_factory=set)
    """Keys of trials that were dealt and have not ended."""
    lost: int = 0
    best: float | None = None

    def heard(self, score: float) -> None:
        pick = min if self.facts.metric.better == "lower" else max
        self.best = score if self.best is None else pick(self.best, score)


class Progress:
    """Hears a study's hooks.  On a terminal a table that is redrawn, elsewhere one line a finished trial."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._cells = {cell_plan.cell: _CellView(cell_plan.facts) for cell_plan in plan.cells}
        self._total = plan.trials()
        self._begun = time.monotonic()
        self._done = 0
        """Trials ended in this run of the command."""
        self._before = 0

    def begin(self, entries: Iterable[TrialEntry]) -> Progress:
        """Count what earlier runs of the command have done; they say nothing of the pace of this one."""
        for entry in entries:
            view = self._cells.get(entry.trial.cell)
            if view is not None and entry.result is not None:
                view.ended[entry.trial.phase] += 1
                view.lost += entry.result.outcome != "complete"
                if entry.result.score is not None:
                    view.heard(entry.result.score)
                self._before += 1
        return self

    @hookimpl
    def harness_trial_started(self, trial: Trial) -> None:
        self._cells[trial.cell].running.add(trial.key)

    @hookimpl
    def harness_trial_reported(self, trial: Trial, point: Point) -> None:
        view = self._cells[trial.cell]
        if trial.phase == "search" or not view.facts.trials:
            view.heard(point.metrics[view.facts.metric.name])

    @hookimpl
    def harness_trial_finished(self, trial: Trial, result: TrialResult) -> None:
        view = self._cells[trial.cell]
        view.running.discard(trial.key)
        view.ended[trial.phase] += 1
        view.lost += result.outcome != "complete"
        self._done += 1
        if not self._console.is_terminal:
            self._console.print(self._line(trial, result, view), markup=False, highlight=False, soft_wrap=True)

    def _line(self, trial: Trial, result: TrialResult, view: _CellView) -> str:
        score = f"{view.facts.metric.name} {result.score:.5g}" if result.score is not None else result.reason
        place = f"{trial.cell} {trial.phase} {trial.number}"
        return (
            f"[{self._before + self._done}/{self._total}] {place}: {result.outcome}, {score}, "
            f"{result.train_seconds:.1f} s; {self._left()}"
        )

    def _left(self) -> str:
        """Time left at the pace of this run so far."""
        missing = self._total - self._before - self._done
        if missing <= 0 or self._done == 0:
            return f"{duration_text(time.monotonic() - self._begun)} so far"
        return f"about {duration_text(missing * (time.monotonic() - self._begun) / self._done)} left"

    def __rich__(self) -> Table:
        table = Table(caption=f"{self._before + self._done} of {self._total} trials, {self._left()}")
        for heading in ("task", "model", "search", "final", "running", "lost", "best validation"):
            table.add_column(heading, justify="left" if heading in ("task", "model") else "right")
        for cell, view in self._cells.items():
            best = "" if view.best is None else f"{view.best:.5g} {view.facts.metric.unit}"
            table.add_row(
                cell.task,
                cell.model,
                f"{view.ended['search']}/{view.facts.trials}",
                f"{view.ended['final']}/{view.facts.repetitions}",
                str(len(view.running) or ""),
                str(view.lost or ""),
                best,
            )
        return table


@contextmanager
def progress(console: Console, plan: Plan) -> Iterator[Progress]:
    """The view, shown while the context lasts."""
    view = Progress(console, plan)
    if not console.is_terminal:
        yield view
        return
    with Live(view, console=console, refresh_per_second=2):
        yield view
