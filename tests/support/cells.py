"""Cells, trials and stores made by hand: what the tests of reports are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.comparison_row import Row
from harness.analysis.stored_study import StoredStudy, SyncMark
from harness.ledger.journal import TrialEntry
from harness.records import (
    Cell,
    CellFacts,
    LeftOut,
    Manifest,
    MetricFacts,
    Optimisation,
    Outcome,
    Phase,
    TaskRef,
    Training,
    Trial,
    TrialResult,
)
from harness.report.report import build_report
from harness.seeds import Seeds

LOSS = MetricFacts(name="loss", unit="nats", better="lower", margin=0.5, scale="log")
ACCURACY = MetricFacts(name="accuracy", unit="%", better="higher", margin=0.5)


def facts(
    model: str, metric: MetricFacts = LOSS, *, task: str = "copy", trials: int = 2, repetitions: int = 2
) -> CellFacts:
    return CellFacts(
        cell=Cell(task=task, model=model),
        task=TaskRef(name=task),
        model=model,
        metric=metric,
        parameters=1000,
        floor=2.0794,
        published=3.5e-5,
        published_source="Table 1",
        trials=trials,
        repetitions=repetitions,
        fingerprint={},
    )


def trial(cell: Cell, phase: Phase, number: int, winner: str | None = None) -> Trial:
    return Trial(
        study="s1",
        cell=cell,
        phase=phase,
        number=number,
        task=TaskRef(name=cell.task),
        model=cell.model,
        params={},
        build={},
        widths=(4,),
        parameters=1010,
        optimisation=Optimisation(learning_rate=0.01),
        training=Training(updates=1, batch_size=1, evaluate_every=1),
        seeds=Seeds.of(0, 0),
        repetition=number if phase == "final" else None,
        winner=winner,
    )


def searched(
    cell: Cell, scores: Sequence[float | None], outcome: Outcome = "diverged", reason: str = ""
) -> list[TrialEntry]:
    """Return search trials: complete if they have a score, else with `outcome`."""
    results = [
        TrialResult(outcome="complete", score=score)
        if score is not None
        else TrialResult(outcome=outcome, reason=reason)
        for score in scores
    ]
    return [TrialEntry(trial(cell, "search", n), 1, (), result) for n, result in enumerate(results)]


def repeated(cell: Cell, winner: int | None, scores: Sequence[float], metric: MetricFacts = LOSS) -> list[TrialEntry]:
    key = trial(cell, "search", winner).key if winner is not None else None
    return [
        TrialEntry(
            trial(cell, "final", n, key),
            1,
            (),
            TrialResult(
                outcome="complete",
                score=score,
                metrics={"test": {metric.name: score}, "test-last3": {metric.name: 2 * score}},
                test_opened=1,
                updates=7 + n,
            ),
        )
        for n, score in enumerate(scores)
    ]


def measured(entry: TrialEntry, seconds: float, peak_bytes: int | None, rejections: tuple[str, ...] = ()) -> TrialEntry:
    """Return the trial with these costs, some parameters and rejected configurations."""
    assert entry.result is not None
    params = {"kernel_size": 3 + entry.trial.number, "factor": 1 / 3, "clip": None, "bias": True}
    return replace(
        entry,
        trial=entry.trial.model_copy(update={"params": params, "rejections": rejections}),
        result=entry.result.model_copy(update={"train_seconds": seconds, "peak_bytes": peak_bytes}),
    )


def cell_of(cell_facts: CellFacts, scores: Sequence[float]) -> list[TrialEntry]:
    """A complete cell with these test scores."""
    return [
        *searched(cell_facts.cell, [0.2, 0.1] if cell_facts.metric.better == "lower" else [0.1, 0.2]),
        *repeated(cell_facts.cell, 1, scores, cell_facts.metric),
    ]


def stored(
    cells: Sequence[CellFacts],
    entries: Sequence[TrialEntry],
    *,
    ledger: Sequence[TrialEntry] | None = None,
    left_out: tuple[LeftOut, ...] = (),
    others: tuple[str, ...] = (),
    study: str = "copying",
) -> StoredStudy:
    """A store that was brought up to `ledger`, or to what it holds."""
    manifest = Manifest(
        study=study,
        study_id="s1",
        created=0,
        protocol="fair",
        sampler="random",
        seed=0,
        cells=tuple(cells),
        left_out=left_out,
    )
    return StoredStudy(manifest, tuple(entries), SyncMark.of(entries if ledger is None else ledger), others)


def rows(study: StoredStudy) -> dict[str, Row]:
    return {row.model: row for row in build_report(study).rows}


def lines_of(text: str, title: str, key: str = "model") -> dict[str, dict[str, str]]:
    """The first table after a heading: first column → header → text."""
    after = text[text.index(f"# {title}\n") :]
    header, _, *body = [
        [part.strip() for part in line.strip("|").split(" | ")]
        for line in after[after.index(f"| {key}") :].split("\n\n")[0].splitlines()
    ]
    return {cells[0]: dict(zip(header, cells, strict=True)) for cells in body}


def line_of(text: str, model: str, task: str = "copy") -> dict[str, str]:
    return lines_of(text, task)[model]
