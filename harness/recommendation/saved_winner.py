"""A trained model that can predict: where its records and weights are, in a study's folder or in one of its own."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.analysis.cell_result import CellResult, summarize_cells
from harness.errors import LedgerError, StudyError, UnknownNameError, did_you_mean
from harness.ledger.folder import PREDICTION, write_atomically
from harness.ledger.journal import Snapshot, TrialEntry, read_study
from harness.recommendation.result import ANSWER, Recommendation
from harness.records import Record, Trial

WINNER = "winner.json"
WEIGHTS = "weights.pt"

R = TypeVar("R", bound=Record)


class WinnerRecord(Record):
    """What is needed besides the weights to predict with a trained model; written to `winner.json` by `Winner.save`."""

    schema_version: int = 1
    trial: Trial
    """The repetition that trained the weights."""
    code: str
    """Digest of the code that trained it: see `harness.study.fingerprint`."""
    weights_sha256: str | None
    prediction: str | None = None
    """What the task needs to know of its training files: see `Task.prediction_facts`."""
    recommendation: Recommendation | None = None
    """None if a model of a study was chosen without a race."""


@dataclass(frozen=True)
class SavedWinner:
    """A trained model on disk."""

    record: WinnerRecord
    weights: Path

    def copy_to(self, folder: Path) -> None:
        """Write both to a folder of their own.  Raises LedgerError if it holds anything or cannot be written."""
        if folder.exists() and any(folder.iterdir()):
            raise LedgerError(f"{folder}: is not empty; give another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.weights, folder / WEIGHTS)
        except OSError as error:
            raise LedgerError(f"{folder}: cannot be written ({error.strerror})") from error
        write_atomically(folder / WINNER, self.record.model_dump_json(indent=1))


def find_winner(folder: Path, task: str | None = None, model: str | None = None) -> SavedWinner:
    """Return the trained model in a folder that `Winner.save` wrote, or the best one of a study.

    Of a recommendation, that is the recommended model; of another study, the model with the best mean test score on
    the task.  Of its repetitions it is the one with the best validation score.  task, model: labels, to choose others.
    Raises LedgerError if there is none, UnknownNameError or StudyError if the labels do not choose one.
    """
    if (folder / WINNER).exists():
        return SavedWinner(_read(folder / WINNER, WinnerRecord), folder / WEIGHTS)
    if (folder / ANSWER).exists() and model is None:
        recommendation = read_recommendation(folder)
        selected = recommendation.winner
        if selected is None:
            raise LedgerError(f"{folder}: has no winner ({recommendation.verdict}); see {folder / 'recommendation.md'}")
        return _saved(folder, read_study(folder), selected.key, recommendation)
    snapshot = read_study(folder)
    return _saved(folder, snapshot, _best(snapshot, task, model).trial.key)


def read_recommendation(folder: Path) -> Recommendation:
    """Return the recommendation in a study's folder.  Raises LedgerError if there is none or it cannot be read."""
    if not (folder / ANSWER).exists():
        raise LedgerError(f"{folder}: has no recommendation yet; `harness recommend` writes one at its end")
    return _read(folder / ANSWER, Recommendation)


def _read(path: Path, kind: type[R]) -> R:
    try:
        return kind.model_validate_json(path.read_text())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LedgerError(f"{path}: cannot be read ({reason}); run the command that wrote it again") from error


def _saved(folder: Path, snapshot: Snapshot, key: str, recommendation: Recommendation | None = None) -> SavedWinner:
    entry = next((entry for entry in snapshot.entries() if entry.trial.key == key), None)
    if entry is None or entry.result is None or entry.result.weights is None:
        raise LedgerError(f"{folder}: its ledger has no {key}; run `harness recommend` again")
    facts = next(facts for facts in snapshot.manifest.cells if facts.cell == entry.trial.cell)
    prediction = folder / PREDICTION / f"{entry.trial.cell.task}.json"
    record = WinnerRecord(
        trial=entry.trial,
        code=facts.fingerprint["code"],
        weights_sha256=entry.result.weights_sha256,
        prediction=prediction.read_text() if prediction.exists() else None,
        recommendation=recommendation,
    )
    return SavedWinner(record, folder / entry.result.weights)


def _best(snapshot: Snapshot, task: str | None, model: str | None) -> TrialEntry:
    """Return the repetition with the best validation score of the chosen cell."""
    results = [result for result in summarize_cells(snapshot.manifest.cells, snapshot.entries()) if _weights(result)]
    tasks = list(dict.fromkeys(result.facts.cell.task for result in results))
    if not results:
        raise LedgerError(f"{snapshot.folder}: holds no trained model yet; run the study to its end")
    if task is None and len(tasks) > 1:
        raise StudyError(f"{snapshot.folder}: has several tasks; name one of them with --task: {', '.join(tasks)}")
    chosen = _named("task", tasks[0] if task is None else task, tasks)
    of_task = {result.facts.cell.model: result for result in results if result.facts.cell.task == chosen}
    cell = _leader(list(of_task.values())) if model is None else of_task[_named("model", model, list(of_task))]
    best = best_repetition(cell)
    assert best is not None  # `results` has only cells with weights
    return best


def best_repetition(cell: CellResult) -> TrialEntry | None:
    """Return the repetition with the best validation score of those whose weights are stored; None if there is none."""
    sign = 1 if cell.facts.metric.better == "lower" else -1
    return min(_weights(cell), key=lambda entry: sign * _score(entry), default=None)


def _score(entry: TrialEntry) -> float:
    assert entry.result is not None  # `_weights` has checked
    assert entry.result.score is not None
    return entry.result.score


def _weights(result: CellResult) -> list[TrialEntry]:
    """Return the repetitions whose weights can be loaded."""
    return [
        entry
        for entry in result.finals
        if entry.result is not None and entry.result.weights is not None and entry.result.score is not None
    ]


def _leader(results: Sequence[CellResult]) -> CellResult:
    sign = 1 if results[0].facts.metric.better == "lower" else -1

    def mean(result: CellResult) -> float:
        summary = result.summary("test")
        return math.inf if summary is None else sign * summary.mean

    return min(results, key=lambda result: (result.state != "complete", mean(result), result.facts.cell.model))


def _named(kind: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise UnknownNameError(f"no {kind} {name!r} with trained models;{did_you_mean(name, known)} {', '.join(known)}")
    return name
