"""What may differ between two runs of one study: checks that the new trials are comparable with the earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import LedgerError
from harness.ledger.journal import TrialEntry
from harness.records import OF_A_TASK, Cell, CellFacts, Manifest, Phase, Trial
from harness.samplers import WITHOUT_HISTORY
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.schema import Study


def check_same_study(folder: Path, study: Study, before: Manifest) -> None:
    """Raise LedgerError if the study differs in what all its cells share."""
    now = {"protocol": study.protocol, "sampler": study.search.sampler, "seed": study.search.seed}
    earlier = {name: getattr(before, name) for name in now}
    if now != earlier:
        raise LedgerError(_changed(folder, "the study", earlier, now))


def check_same_cells(folder: Path, cells: Sequence[CellFacts], before: Manifest, *, by_task: bool) -> None:
    """Raise LedgerError if a planned cell differs from what it was.

    by_task: whether the cells of a task, also those of earlier runs, must agree in what they share.
    """
    for facts in cells:
        for old in before.cells:
            if old.cell == facts.cell and old.fingerprint != facts.fingerprint:
                raise LedgerError(_changed(folder, str(facts.cell), old.fingerprint, facts.fingerprint))
            if by_task and old.cell.task == facts.cell.task:
                both = old.setting == facts.setting == "searched"
                task_before, task_now = (_task_fingerprint(of, searched=both) for of in (old, facts))
                if task_before != task_now:
                    raise LedgerError(_changed(folder, str(old.cell), task_before, task_now))


def check_restored_cells(
    folder: Path, proposers: Iterable[Proposer], before: Manifest, entries: Sequence[TrialEntry]
) -> None:
    """Raise LedgerError if the trials of a planned cell that the manifest lacks are not those that it would train.

    Such a cell has lost its fingerprint (see `described`), so its trials are made again and compared.
    """
    described = {facts.cell for facts in before.cells}
    for proposer in proposers:
        if proposer.plan.cell not in described:
            _check_trials(folder, CellState(proposer, before.study_id), entries)


def _check_trials(folder: Path, state: CellState, entries: Sequence[TrialEntry]) -> None:
    plan, cell = state.plan, state.plan.cell
    for entry in entries:
        then = entry.trial
        if then.cell != cell:
            continue
        now = None
        if then.phase == "search" and (not state.searched or plan.sampler.value in WITHOUT_HISTORY):
            now = state.search_trial(then.number)
        elif then.phase == "final" and plan.setting is not None:
            now = state.final_trial(then.repetition or 0)
        if now is not None and now.digest != then.digest:
            raise LedgerError(_changed(folder, str(cell), _settings(then), _settings(now)))
        state.entries[then.key] = entry


def _settings(trial: Trial) -> dict[str, object]:
    """Return what a user sets of a trial, by the name that a message has for it."""
    return {name: [getattr(trial, field) for field in fields] for name, fields in OF_A_TRIAL.items()}


def check_not_smaller(folder: Path, cell: Cell, phase: Phase, present: int, budget: int) -> None:
    """Raise LedgerError if a cell has more trials of a phase than its budget."""
    key = "trials" if phase == "search" else "repetitions"
    if present > budget:
        raise LedgerError(
            f"{folder}: {cell} holds {present} {phase} trials, more than budget.{key} = {budget}; "
            "raise it, or use --fresh"
        )


def _task_fingerprint(facts: CellFacts, *, searched: bool) -> dict[str, object]:
    """Return the part of a cell's fingerprint that all models of a task share, or all searched ones."""
    return {name: facts.fingerprint.get(name) for name in OF_A_TASK if searched or name != "pruning"}


def _changed(folder: Path, cell: str, before: Mapping[str, object], now: Mapping[str, object]) -> str:
    names = sorted(_WORDS.get(name, name) for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return (
        f"{folder}: {cell} was started with other {', '.join(names)}; its trials cannot be resumed. "
        "Restore these settings, give the study another name, or use --fresh"
    )


_WORDS = {"pruning": "rungs of search.pruning, which depend on budget.trials and [training] too"}
"""Parts of a fingerprint whose names do not say what to restore."""

OF_A_TRIAL: Mapping[str, tuple[str, ...]] = {
    "task options": ("task",),
    "model": ("model",),
    "training": ("training",),
    "optimisation": ("optimisation",),
    "search space or published setting": ("params", "build", "embedding", "embedding_dropout", "tied"),
    "parameters or tolerance": ("widths", "parameters"),
    "seed": ("seeds",),
    "data": ("data",),
    "plugins": ("plugins",),
}
"""What a study says → the fields of a trial that follow from it."""
