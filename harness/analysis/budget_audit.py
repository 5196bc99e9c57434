"""The audit of a task: the budget that each cell was allocated and used, and which cells may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.analysis.cell_result import CellResult, capped, on_one_scale, outcomes_of
from harness.records import OF_A_TASK, Cell, Plugin


@dataclass(frozen=True)
class Spending:
    """The budget of one cell, including superseded finals unless a field says otherwise."""

    model: str
    search_granted: int
    search_outcomes: Mapping[str, int]
    repetitions_granted: int
    repetition_outcomes: Mapping[str, int]
    """Outcomes of the present winner's repetitions."""
    updates_granted: int | None
    """Updates allocated to each trial; None before the first one starts, or if trials differ."""
    batch_size: int | None
    updates: int
    """Done by all trials."""
    seconds: float
    """Training and evaluation of all trials."""
    peak_bytes: int | None
    superseded: int
    test_opened: int
    """How often the test split was scored."""
    test_due: int
    """How often it should have been scored: once per completed final trial."""
    selection: str
    """What selected the setting that was repeated."""
    seeds: tuple[int, ...]
    """Initial-weight seeds of the repetitions, in order."""
    data: Mapping[str, str]
    """File name → sha256."""
    plugins: tuple[Plugin, ...]
    devices: tuple[str, ...]


def spending(one: CellResult) -> Spending:
    trials = [entry.trial for entry in one.entries]
    results = [entry.result for entry in one.entries if entry.result is not None]
    finals = [entry for entry in one.entries if entry.trial.phase == "final" and entry.result is not None]
    return Spending(
        model=one.facts.cell.model,
        search_granted=one.facts.trials,
        search_outcomes={str(outcome): n for outcome, n in outcomes_of(one.search).items()},
        repetitions_granted=one.facts.repetitions,
        repetition_outcomes={str(outcome): n for outcome, n in outcomes_of(one.finals).items()},
        updates_granted=_only({trial.training.updates for trial in trials}),
        batch_size=_only({trial.training.batch_size for trial in trials}),
        updates=sum(result.updates for result in results),
        seconds=one.train_seconds,
        peak_bytes=one.peak_bytes,
        superseded=len(one.superseded),
        test_opened=one.test_opened,
        test_due=sum(entry.result is not None and entry.result.score is not None for entry in finals),
        selection=_selection(one),
        seeds=tuple(entry.trial.seeds.init for entry in one.finals),
        data=dict(sorted({name: digest for trial in trials for name, digest in trial.data.items()}.items())),
        plugins=tuple(dict.fromkeys(plugin for trial in trials for plugin in trial.plugins)),
        devices=tuple(sorted({result.device for result in results if result.device})),
    )


def _only(values: set[int]) -> int | None:
    return values.pop() if len(values) == 1 else None


def _selection(one: CellResult) -> str:
    if one.facts.trials == 0:
        return "published setting"
    if one.winner is None:
        return "nothing"
    return f"validation, trial {one.winner.trial.number} of {one.facts.trials}"


@dataclass(frozen=True)
class Level:
    """The cells of a task at an equal budget."""

    standings: tuple[CellResult, ...]
    capped: Mapping[Cell, str] = field(default_factory=dict)
    """What was left out of a cell so that all have an equal budget, in words."""
    refused: Mapping[Cell, str] = field(default_factory=dict)
    """Why a cell cannot be compared with the others."""


def level(standings: Sequence[CellResult], protocol: str, *, race: bool = False) -> Level:
    """Return the cells of one task, capped to the budget that all of them have, or rejected if that is impossible.

    Published settings beside a search are extra to the budget and stay as they are. So do the cells of a race, whose
    repetitions are unequal by design.
    """
    searched = [one for one in standings if one.facts.setting == "searched"]
    if not searched:
        return Level(tuple(standings))
    differing = _differing(searched) if protocol == "fair" else ()
    if differing:
        why = f"the cells of this task differ in {', '.join(differing)}"
        return Level(tuple(standings), refused={one.facts.cell: why for one in searched})
    if race:
        return Level(tuple(standings))
    trials = min(one.facts.trials for one in searched)
    repetitions = min(one.facts.repetitions for one in searched)
    levelled = {
        one.facts.cell: capped(one, trials, repetitions) for one in searched if _exceeds(one, trials, repetitions)
    }
    kept = {cell: one for cell, one in levelled.items() if one.finals or one.state == "failed"}
    of_cell = {one.facts.cell: one for one in standings}
    return Level(
        on_one_scale(kept.get(one.facts.cell, one) for one in standings),
        capped={cell: _capped(of_cell[cell], trials, repetitions) for cell in kept},
        refused={
            cell: f"granted {of_cell[cell].facts.trials} search trials where another was granted {trials}, and the "
            f"best of its first {trials} has no repetitions"
            for cell in levelled.keys() - kept.keys()
        },
    )


def _differing(standings: Sequence[CellResult]) -> tuple[str, ...]:
    prints = [one.facts.fingerprint for one in standings]
    return tuple(name for name in OF_A_TASK if len({one.get(name) for one in prints}) > 1)


def _exceeds(one: CellResult, trials: int, repetitions: int) -> bool:
    return one.facts.trials > trials or one.facts.repetitions > repetitions


def _capped(one: CellResult, trials: int, repetitions: int) -> str:
    pairs = ((one.facts.trials, trials, "search trials"), (one.facts.repetitions, repetitions, "repetitions"))
    parts = [f"{common} of {granted} {what}" for granted, common, what in pairs if granted > common]
    return f"capped to the common budget, the first {' and '.join(parts)}"
