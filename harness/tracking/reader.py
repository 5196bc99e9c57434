"""Reading a study back from MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import ValidationError

from harness.analysis.cell_result import Curve, Curves
from harness.analysis.stored_study import StoredStudy, SyncMark
from harness.errors import TrackingError, UnknownNameError
from harness.ledger.journal import TrialEntry
from harness.records import Manifest, Trial, TrialResult
from harness.tracking import run_data, trial_run
from harness.tracking.client import (
    READERS,
    R,
    as_tracking_error,
    find_experiment,
    mlflow_client,
    search_runs,
    study_runs,
    without_credentials,
)
from harness.tracking.store import entry_order


def read_store(uri: str, study: str, study_id: str | None = None, *, curves: bool = False) -> StoredStudy:
    """Return a study as the store holds it: the newest of its name, or the one with `study_id`.

    curves: also read those of final trials, one request per trial and metric, several at a time. Raises
    UnknownNameError if there is none, and TrackingError if the store cannot be reached or lacks the manifest.
    """
    with as_tracking_error(uri):
        client = mlflow_client(uri)
        experiment = find_experiment(client, uri, study)
        ids = _study_ids(client, experiment)
        if not ids or (study_id is not None and study_id not in ids):
            known = ", ".join(ids) or "none; `harness sync` sends a study's folder"
            raise UnknownNameError(
                f"{without_credentials(uri)}: study {study!r} has no id {study_id!r}; it has: {known}"
            )
        chosen = study_id or ids[0]
        held = study_runs(client, experiment, chosen)
        entries = [_entry(client, run) for run in held.values() if _is_trial_that_arrived(run)]
        manifest = _parsed(Manifest, _text(client, held[chosen], run_data.MANIFEST_FILE), chosen)
        return StoredStudy(
            manifest=manifest,
            entries=tuple(sorted(entries, key=entry_order)),
            mark=_mark(client, held[chosen]),
            others=tuple(other for other in ids if other != chosen),
            curves=_curves(client, manifest, held, entries) if curves else {},
        )


def _curves(client: MlflowClient, manifest: Manifest, held: Mapping[str, Run], entries: Sequence[TrialEntry]) -> Curves:
    """Return the validation metric and the gradient norm of every final trial, as curves.

    MLflow's client reads one metric of one run per request; the server's bulk endpoint drops points. Several concurrent
    requests hide the latency of a remote server.
    """
    metrics = {facts.cell: facts.metric.name for facts in manifest.cells}
    finals = [entry.trial for entry in entries if entry.trial.phase == "final"]
    with ThreadPoolExecutor(READERS, thread_name_prefix="harness-curves") as readers:
        reading = {
            trial.key: {
                name: readers.submit(_curve, client, held[trial.key], stored)
                for name, stored in (
                    (metrics[trial.cell], trial_run.validation_name(metrics[trial.cell])),
                    ("gradient_norm", "gradient_norm"),
                )
            }
            for trial in finals
        }
        return {key: {name: one.result() for name, one in each.items()} for key, each in reading.items()}


def _curve(client: MlflowClient, run: Run, name: str) -> Curve:
    if name not in run.data.metrics:
        return ()
    return tuple(sorted({one.step: one.value for one in client.get_metric_history(run.info.run_id, name)}.items()))


def _study_ids(client: MlflowClient, experiment: str) -> list[str]:
    """Newest first."""
    found = search_runs(client, experiment, f"tags.`{run_data.KIND}` = 'study'")
    created = {run.data.tags[run_data.STUDY_ID]: run.info.start_time for run in found}
    return sorted(created, key=lambda one: (created[one], one), reverse=True)


def _is_trial_that_arrived(run: Run) -> bool:
    """Return whether a trial arrived completely: a run is created before it is filled, and its status is written
    last.
    """
    return run.data.tags[run_data.KIND] == "trial" and run_data.STATUS in run.data.tags


def _entry(client: MlflowClient, run: Run) -> TrialEntry:
    tags = run.data.tags
    trial = tags.get(run_data.TRIAL) or _text(client, run, run_data.TRIAL_FILE)
    ended = tags.get(run_data.STATUS) == "ended"
    result = (tags.get(run_data.RESULT) or _text(client, run, run_data.RESULT_FILE)) if ended else None
    return TrialEntry(
        trial=_parsed(Trial, trial, tags[run_data.KEY]),
        attempt=int(tags.get(run_data.ATTEMPT, 0)),
        result=_parsed(TrialResult, result, tags[run_data.KEY]) if result is not None else None,
    )


def _mark(client: MlflowClient, run: Run) -> SyncMark | None:
    text = run.data.tags.get(run_data.MARK)
    if text is None:
        return None
    return SyncMark.from_json(_text(client, run, run_data.MARK_FILE) if text == run_data.MARK_FILE else text)


def _text(client: MlflowClient, run: Run, file: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run.info.run_id, file, folder)).read_text(encoding="utf-8")


def _parsed(kind: type[R], text: str, where: str) -> R:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise TrackingError(
            f"{where}: the store's {kind.__name__} cannot be read ({str(error).splitlines()[0]}); "
            "read it with the version of the harness that wrote it"
        ) from error
