"""What may differ between two runs of one study: checks that the new trials are comparable with the earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import LedgerError
from harness.ledger.journal import TrialEntry
from harness.records import OF_A_TASK, Cell, CellFacts, Manifest, Phase
from harness.study.cell_plan import CellPlan
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
    folder: Path, plans: Iterable[CellPlan], before: Manifest, entries: Iterable[TrialEntry]
) -> None:
    """Raise LedgerError if the trials of a planned cell that the manifest lacks were trained in another way.

    Such a cell has lost its fingerprint (see `described`), so its trials tell what they were trained with.
    """
    described = {facts.cell for facts in before.cells}
    lost = {plan.cell: plan for plan in plans if plan.cell not in described}
    for entry in entries:
        trial, plan = entry.trial, lost.get(entry.trial.cell)
        if plan is None:
            continue
        then = {"task options": trial.task, "training": trial.training, "data": trial.data, "plugins": trial.plugins}
        now = {
            "task options": plan.facts.task,
            "training": plan.training,
            "data": dict(plan.data),
            "plugins": plan.plugins,
        }
        if then != now:
            raise LedgerError(_changed(folder, str(plan.cell), then, now))


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
