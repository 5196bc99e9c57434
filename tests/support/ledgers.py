"""The trials of a study's folder, to compare two runs of one study."""

from __future__ import annotations

from pathlib import Path

from harness.ledger.journal import TrialEntry, read_study

Facts = dict[str, object]


def reproducible(entry: TrialEntry) -> Facts:
    """Return what must not depend on interruptions or the executor: all but times, nodes and the study's random id."""
    trial = entry.trial.model_dump(mode="json", exclude={"study", "winner"})
    winner = entry.trial.winner.partition("/")[2] if entry.trial.winner else None
    assert entry.result is not None
    result = entry.result
    curve = [(point.update, point.train_loss, point.gradient_norm, point.metrics) for point in entry.points]
    scores = (result.outcome, result.score, result.metrics, result.updates, result.best_update, result.test_opened)
    return {"trial": trial, "winner": winner, "curve": curve, "scores": scores}


def entries_by_key(folder: Path) -> dict[str, TrialEntry]:
    """Return the trials by key, without the study's random id."""
    return {entry.trial.key.partition("/")[2]: entry for entry in read_study(folder).entries()}


def reproducible_by_key(folder: Path) -> dict[str, Facts]:
    """Return what must be equal in every run of a study, by key."""
    return {key: reproducible(entry) for key, entry in entries_by_key(folder).items()}
