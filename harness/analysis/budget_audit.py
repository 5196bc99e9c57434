"""Audit budgets: what each cell of a task was allocated and used, and which cells are comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.analysis.cell_result import CellResult, capped, on_one_scale, outcomes_of
from harness.halving import Rung, total_updates
from harness.records import OF_A_TASK, Cell, Plugin


@dataclass(frozen=True)
class BudgetUse:
    """Budget allocated to one cell and used by it.

    Superseded final trials count, unless a field says otherwise.
    """

    model: str
    search_allocated: int
    search_outcomes: Mapping[str, int]
    repetitions_allocated: int
    repetition_outcomes: Mapping[str, int]
    """Outcomes of the current winner's repetitions."""
    updates_allocated: int | None
    """Updates per trial; None before the first trial, or if trials differ."""
    batch_size: int | None
    updates: int
    """Updates done by all trials."""
    search_updates_allocated: int | None
    """Updates that all search trials may do together; None before the first trial, or if trials differ."""
    search_updates: int
    """Updates done by search trials."""
    rungs: tuple[Rung, ...]
    """Rungs of successive halving; empty without pruning."""
    seconds: float
    """Training and evaluation time of all trials, in seconds."""
    peak_bytes: int | None
    superseded: int
    test_opened: int
    """How often the test split was scored."""
    test_due: int
    """How often the test split should have been scored: once per final trial with a score."""
    selection: str
    """What selected the setting of the repetitions."""
    seeds: tuple[int, ...]
    """Seeds of the initial weights, by repetition."""
    data: Mapping[str, str]
    """File name → sha256."""
    plugins: tuple[Plugin, ...]
    devices: tuple[str, ...]


def budget_use(result: CellResult) -> BudgetUse:
    """Return what a cell was allocated and what it used."""
    trials = [entry.trial for entry in result.entries]
    trial_results = [entry.result for entry in result.entries if entry.result is not None]
    finals = [entry for entry in result.entries if entry.trial.phase == "final" and entry.result is not None]
    full_length = _only({trial.training.updates for trial in trials})
    return BudgetUse(
        model=result.facts.cell.model,
        search_allocated=result.facts.trials,
        search_outcomes={str(outcome): n for outcome, n in outcomes_of(result.search).items()},
        repetitions_allocated=result.facts.repetitions,
        repetition_outcomes={str(outcome): n for outcome, n in outcomes_of(result.finals).items()},
        updates_allocated=full_length,
        batch_size=_only({trial.training.batch_size for trial in trials}),
        updates=sum(trial_result.updates for trial_result in trial_results),
        search_updates_allocated=_search_updates(result, full_length),
        search_updates=sum(entry.result.updates for entry in result.search if entry.result is not None),
        rungs=result.facts.rungs,
        seconds=result.train_seconds,
        peak_bytes=result.peak_bytes,
        superseded=len(result.superseded),
        test_opened=result.test_opened,
        test_due=sum(entry.result is not None and entry.result.score is not None for entry in finals),
        selection=_selection(result),
        seeds=tuple(entry.trial.seeds.init for entry in result.finals),
        data=dict(sorted({name: digest for trial in trials for name, digest in trial.data.items()}.items())),
        plugins=tuple(dict.fromkeys(plugin for trial in trials for plugin in trial.plugins)),
        devices=tuple(sorted({trial_result.device for trial_result in trial_results if trial_result.device})),
    )


def _only(values: set[int]) -> int | None:
    return values.pop() if len(values) == 1 else None


def _search_updates(result: CellResult, full_length: int | None) -> int | None:
    if result.facts.rungs:
        return total_updates(result.facts.rungs)
    return None if full_length is None else result.facts.trials * full_length


def _selection(result: CellResult) -> str:
    if result.facts.trials == 0:
        return "published setting"
    if result.winner is None:
        return "nothing"
    last = f", of the {result.facts.rungs[-1].trials} in the last rung" if result.facts.rungs else ""
    return f"validation, trial {result.winner.trial.number} of {result.facts.trials}{last}"


@dataclass(frozen=True)
class ComparableCells:
    """The cells of a task, reduced to one common budget."""

    results: tuple[CellResult, ...]
    capped: Mapping[Cell, str] = field(default_factory=dict)
    """Cell → what was dropped so that all cells have the same budget, in words."""
    refused: Mapping[Cell, str] = field(default_factory=dict)
    """Cell → why it cannot be compared with the others."""


def equalize_budgets(results: Sequence[CellResult], protocol: str, *, race: bool = False) -> ComparableCells:
    """Cap the cells of one task to the budget that all of them were allocated, or refuse those that cannot be capped.

    Published settings next to a search are extra to the budget and stay unchanged.  The cells of a race stay
    unchanged too: their repetitions are unequal by design.
    """
    searched = [result for result in results if result.facts.setting == "searched"]
    if not searched:
        return ComparableCells(tuple(results))
    differing = _differing(searched) if protocol == "fair" else ()
    if differing:
        reason = f"the cells of this task differ in {', '.join(differing)}"
        return ComparableCells(tuple(results), refused={result.facts.cell: reason for result in searched})
    if race:
        return ComparableCells(tuple(results))
    trials = min(result.facts.trials for result in searched)
    repetitions = min(result.facts.repetitions for result in searched)
    reduced = {
        result.facts.cell: capped(result, trials, repetitions)
        for result in searched
        if _exceeds(result, trials, repetitions)
    }
    kept = {cell: result for cell, result in reduced.items() if result.finals or result.state == "failed"}
    original = {result.facts.cell: result for result in results}
    return ComparableCells(
        on_one_scale(kept.get(result.facts.cell, result) for result in results),
        capped={cell: _capped(original[cell], trials, repetitions) for cell in kept},
        refused={cell: _winner_beyond(original[cell], trials) for cell in reduced.keys() - kept.keys()},
    )


def _differing(results: Sequence[CellResult]) -> tuple[str, ...]:
    """Return what all cells of a task must share but do not."""
    fingerprints = [result.facts.fingerprint for result in results]
    return tuple(name for name in OF_A_TASK if len({fingerprint.get(name) for fingerprint in fingerprints}) > 1)


def _exceeds(result: CellResult, trials: int, repetitions: int) -> bool:
    return result.facts.trials > trials or result.facts.repetitions > repetitions


def _capped(result: CellResult, trials: int, repetitions: int) -> str:
    pairs = ((result.facts.trials, trials, "search trials"), (result.facts.repetitions, repetitions, "repetitions"))
    parts = [f"{common} of {allocated} {what}" for allocated, common, what in pairs if allocated > common]
    return f"capped to the common budget, the first {' and '.join(parts)}"


def _winner_beyond(result: CellResult, trials: int) -> str:
    return (
        f"{result.facts.trials} search trials were allocated, but only {trials} to another cell, and the best of the "
        f"first {trials} has no repetitions"
    )
