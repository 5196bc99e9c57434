"""One run of one study, from start to end: plan, ledger, scheduler, executor and listeners."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.files import verify_all
from harness.errors import LedgerError
from harness.execution.controller import StudyController
from harness.execution.environment import environment_versions, git_commit, machine
from harness.execution.resumption import check_not_smaller, check_restored_cells, check_same_cells, check_same_study
from harness.execution.trial_source import TrialSource
from harness.ledger.folder import (
    JOURNAL,
    MANIFEST,
    PREDICTION,
    RACE,
    STUDY_FILE,
    keep_earlier_study,
    read_manifest,
    write_atomically,
)
from harness.ledger.journal import check_journal_present, without_garbage_collection
from harness.ledger.lease import leased
from harness.ledger.ledger import Ledger, repair
from harness.plugin.loader import Loaded, register_listener
from harness.plugin.registry import plugin_border
from harness.records import Manifest
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.search.scheduler import TrialScheduler
from harness.seeds import Seeds
from harness.study.file import study_toml
from harness.study.plan import Plan
from harness.study.schema import Study

Execute = Callable[[TrialSource], None]
"""Trains the trials of a source until it is finished or interrupted."""


@dataclass(frozen=True)
class StudyOutcome:
    """How a run of a study ended."""

    study_id: str
    folder: Path
    complete: bool
    """Whether every cell has all trials of its budget."""
    failed: tuple[str, ...]
    """Cells without a complete final trial for each repetition, and why."""
    messages: tuple[str, ...]
    """Notes for the user: repaired journals, skipped checkpoints, hooks that raised."""


@dataclass
class Runner:
    """One run of one study.  `check` finds user errors before anything is written."""

    plan: Plan
    loaded: Loaded
    runs: Path
    fresh: bool = False
    held: bool = False
    """Whether the caller holds the lease of the folder; otherwise `run` takes it."""
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        search = self.study.search
        self._proposers = {cell.cell: Proposer(cell, seed=search.seed) for cell in self.plan.cells}
        self.folder = (self.runs / self.study.name).resolve()
        self._checked = False

    @property
    def study(self) -> Study:
        return self.plan.study

    def check(self) -> None:
        """Check budgets and data files before a folder is created.

        Raises BudgetError for a budget that no widths meet, DataError for missing or corrupt data files, and
        PluginError for a plugin that raises.
        """
        if self._checked:
            return
        for plan in self.plan.cells:
            with plugin_border(f"study {self.study.name!r}, {plan.cell}", *plan.plugins):
                _ = self._proposers[plan.cell].propose(()) if plan.setting is None else plan.published_size()
        verify_all([file for plan in self.plan.cells for file in plan.task.files()])
        self._checked = True

    def run(self, execute: Execute, listeners: Callable[[Ledger], Sequence[object]] = lambda _: ()) -> StudyOutcome:
        """Start or resume the study, until it is finished or interrupted.

        listeners: creates the listeners that receive the lifecycle hooks of this run.
        """
        self.check()
        with contextlib.nullcontext() if self.held else leased(self.folder):
            return self._run(execute, listeners)

    def _run(self, execute: Execute, listeners: Callable[[Ledger], Sequence[object]]) -> StudyOutcome:
        before = self._earlier()
        self.manifest = self._manifest(before)
        prediction = self._prediction_facts()
        if self.fresh:  # not before: what may refuse leaves the earlier study in its place
            keep_earlier_study(self.folder)
        with without_garbage_collection():
            ledger = self._open_ledger(before)
            scheduler = self._scheduler(ledger)
        unregister: list[Callable[[], None]] = []
        try:
            source = StudyController(ledger, scheduler, self.loaded, self.messages)
            self._write_study(prediction)
            unregister = [register_listener(self.loaded, listener) for listener in listeners(ledger)]
            source.call_hook("harness_study_started", study=self.study, study_id=self.study_id, folder=str(self.folder))
            try:
                execute(source)
            finally:
                source.call_hook(
                    "harness_study_finished",
                    study=self.study,
                    study_id=self.study_id,
                    complete=source.scheduler.finished(),
                )
            return self._outcome(source)
        finally:
            for undo in unregister:
                undo()

    @property
    def study_id(self) -> str:
        return self.manifest.study_id

    def _earlier(self) -> Manifest | None:
        """Return the manifest of the study that this run resumes; None if it starts one."""
        if self.fresh:
            return None
        before = read_manifest(self.folder)
        if before is None and _holds_trials(self.folder):
            raise LedgerError(f"{self.folder}: holds trials but no {MANIFEST}; restore it, or use --fresh")
        if before is not None:
            check_journal_present(self.folder)
        return before

    def _open_ledger(self, before: Manifest | None) -> Ledger:
        repaired = repair(self.folder)
        if repaired:
            self.messages.append(repaired)
        ledger = Ledger(self.folder, self.manifest)
        if before is not None:
            check_restored_cells(self.folder, self._proposers.values(), before, ledger.entries())
        self.manifest = ledger.manifest
        if ledger.unprotected:
            self.messages.append(
                f"{self.folder / JOURNAL}: {ledger.unprotected} records of an older version carry no checksums; "
                "earlier changes of them cannot be detected"
            )
        return ledger

    def _prediction_facts(self) -> dict[str, str]:
        """Return task label → what the task needs to know of its training files to predict."""
        prediction = {}
        for plan in {plan.cell.task: plan for plan in self.plan.cells}.values():
            with plugin_border(f"study {self.study.name!r}, {plan.cell}", *plan.plugins):
                facts = plan.task.prediction_facts()
            if facts is not None:
                prediction[plan.cell.task] = facts
        return prediction

    def _write_study(self, prediction: Mapping[str, str]) -> None:
        """Write study file, manifest, and what tasks need for predictions, by task label.

        This comes after every check that may refuse to resume, so that a refusal leaves the folder as it was.
        """
        write_atomically(self.folder / STUDY_FILE, study_toml(self.study))
        write_atomically(self.folder / MANIFEST, self.manifest.model_dump_json(indent=1))
        for task, facts in prediction.items():
            (self.folder / PREDICTION).mkdir(exist_ok=True)
            write_atomically(self.folder / PREDICTION / f"{task}.json", facts)

    def _manifest(self, before: Manifest | None) -> Manifest:
        """Return the manifest of this study.  It keeps the cells of earlier runs that are not in this plan.

        Some of these may be left out now: see `described`.
        """
        cells = tuple(plan.facts for plan in self.plan.cells)
        left_out = self.plan.left_out
        data = {name: digest for plan in self.plan.cells for name, digest in plan.data.items()}
        if before is not None:
            check_same_study(self.folder, self.study, before)
            check_same_cells(self.folder, cells, before, by_task=self.study.protocol == "fair")
            planned = {facts.cell for facts in cells}
            cells = (*(facts for facts in before.cells if facts.cell not in planned), *cells)
            stated = planned | {left.cell for left in left_out}
            left_out = (*(left for left in before.left_out if left.cell not in stated), *left_out)
            data = {**before.data, **data}
        return Manifest(
            study=self.study.name,
            study_id=before.study_id if before else uuid.uuid4().hex[:12],
            created=before.created if before else time.time(),
            protocol=self.study.protocol,
            sampler=self.study.search.sampler,
            seed=self.study.search.seed,
            cells=cells,
            left_out=left_out,
            plugins=self.loaded.registry.plugins,
            versions=environment_versions(),
            machine=machine(),
            git=git_commit(),
            data=data,
            race=not self.fresh and (self.folder / RACE).is_file(),
            fixed={**(before.fixed if before else {}), **self._fixed()},
        )

    def _fixed(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Return task label → the values that the task draws once per study."""
        seeds = Seeds.of(self.study.search.seed, 0)
        drawn = {plan.cell.task: plan.task.fixed(seeds) for plan in self.plan.cells}
        return {label: values for label, values in drawn.items() if values}

    def _scheduler(self, ledger: Ledger) -> TrialScheduler:
        """Return the scheduler in the state of an undisturbed run.  Trials without a result are scheduled again."""
        states = {cell: CellState(proposer, self.study_id) for cell, proposer in self._proposers.items()}
        for entry in ledger.entries():
            if entry.trial.cell in states:
                states[entry.trial.cell].entries[entry.trial.key] = entry
        for state in states.values():
            facts = state.plan.facts
            check_not_smaller(self.folder, state.plan.cell, "search", len(state.searched), facts.trials)
            check_not_smaller(self.folder, state.plan.cell, "final", len(state.finals()), facts.repetitions)
            searched = [entry for entry in state.searched if entry.result is None and not entry.rungs]
            finals = [entry for entry in state.finals() if entry.result is None]
            state.again = [entry.trial.key for entry in (*searched, *finals)]
        return TrialScheduler(list(states.values()))

    def _outcome(self, source: StudyController) -> StudyOutcome:
        complete = source.scheduler.finished()
        reasons = [_failure(state) for state in source.scheduler.cells.values()] if complete else []
        failed = tuple(reason for reason in reasons if reason is not None)
        return StudyOutcome(self.study_id, self.folder, complete, failed, tuple(self.messages))


def _holds_trials(folder: Path) -> bool:
    journal = folder / JOURNAL
    return journal.exists() and journal.stat().st_size > 0


def _failure(state: CellState) -> str | None:
    """Return in one line why a cell lacks complete final trials, and which plugins provide it; None if it has all."""
    finals = state.finals()
    reasons = [entry.result.reason for entry in (*state.searched, *finals) if entry.result and entry.result.reason]
    plugins = ", ".join(f"{plugin.name} {plugin.version}" for plugin in state.plan.plugins)
    last = f": {reasons[-1]}" if reasons else ""
    named = all(f"{plugin.name} {plugin.version}" in last for plugin in state.plan.plugins)
    reason = last if named else f"{last} (from {plugins})"
    if state.plan.setting is None and state.winner() is None:
        return f"{state.plan.cell}: no search trial completed{reason}"
    scored = sum(entry.result is not None and entry.result.score is not None for entry in finals)
    if scored < state.plan.facts.repetitions:
        return f"{state.plan.cell}: {scored} of {state.plan.facts.repetitions} final trials have a score{reason}"
    return None
