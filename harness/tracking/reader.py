"""Read a study back from MLflow."""

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
from harness.ledger.journal import TrialEntry, described
from harness.records import Manifest, Trial, TrialResult
from harness.redaction import without_credentials
from harness.tracking import run_data, trial_run
from harness.tracking.client import (
    CONCURRENT_REQUESTS,
    R,
    find_experiment,
    mlflow_client,
    search_runs,
    study_runs,
)
from harness.tracking.sqlite_file import check_exists
from harness.tracking.store_errors import as_tracking_error


def read_store(uri: str, study: str, study_id: str | None = None, *, curves: bool = False) -> StoredStudy:
    """Return a study as the store holds it: the newest of its name, or the one with `study_id`.

    curves: whether to read the curves of final trials, too; one request per trial and metric, several at a time.
    Raises UnknownNameError if there is no such study, and TrackingError if the store cannot be reached or lacks the
    manifest.
    """
    with as_tracking_error(uri):
        check_exists(uri)
        client = mlflow_client(uri)
        experiment = find_experiment(client, uri, study)
        ids = _study_ids(client, experiment)
        if not ids or (study_id is not None and study_id not in ids):
            present = ", ".join(ids) or "none; `harness sync` sends a study's folder"
            raise UnknownNameError(
                f"{without_credentials(uri)}: study {study!r} has no id {study_id!r}; it has: {present}"
            )
        chosen = study_id or ids[0]
        runs = study_runs(client, experiment, chosen)
        entries = [_entry(client, run) for run in runs.values() if _is_whole_trial(run)]
        stored = _parsed(Manifest, _text(client, runs[chosen], run_data.MANIFEST_FILE), chosen)
        manifest, known = described(stored, sorted(entries, key=_entry_order))
        return StoredStudy(
            manifest=manifest,
            entries=known,
            mark=_mark(client, runs[chosen]),
            others=tuple(other for other in ids if other != chosen),
            curves=_curves(client, manifest, runs, known) if curves else {},
        )


def _curves(client: MlflowClient, manifest: Manifest, runs: Mapping[str, Run], entries: Sequence[TrialEntry]) -> Curves:
    """Return the curves of the cell's metric on validation and of the gradient norm, for every final trial.

    MLflow's client reads one metric of one run per request.  The server's request for several metrics is made for its
    own UI and leaves out points.  So several requests are open at the same time, which hides the latency of a server.
    """
    metrics = {facts.cell: facts.metric.name for facts in manifest.cells}
    finals = [entry.trial for entry in entries if entry.trial.phase == "final"]
    with ThreadPoolExecutor(CONCURRENT_REQUESTS, thread_name_prefix="harness-curves") as pool:
        requests = {
            trial.key: {
                name: pool.submit(_curve, client, runs[trial.key], stored)
                for name, stored in (
                    (metrics[trial.cell], trial_run.validation_name(metrics[trial.cell])),
                    ("gradient_norm", "gradient_norm"),
                )
            }
            for trial in finals
        }
        return {
            key: {name: request.result() for name, request in of_trial.items()} for key, of_trial in requests.items()
        }


def _curve(client: MlflowClient, run: Run, name: str) -> Curve:
    """Return a metric of a run as (update, value), in order of updates; empty if the run lacks the metric."""
    if name not in run.data.metrics:
        return ()
    history = client.get_metric_history(run.info.run_id, name)
    return tuple(sorted({metric.step: metric.value for metric in history}.items()))


def _study_ids(client: MlflowClient, experiment: str) -> list[str]:
    """Return the study ids of an experiment, the newest first."""
    runs = search_runs(client, experiment, f"tags.`{run_data.KIND}` = 'study'")
    created = {run.data.tags[run_data.STUDY_ID]: run.info.start_time for run in runs}
    return sorted(created, key=lambda study_id: (created[study_id], study_id), reverse=True)


def _is_whole_trial(run: Run) -> bool:
    """Return whether a run holds a whole trial: a run is created before it is filled, and this tag is written last."""
    return run.data.tags[run_data.KIND] == "trial" and run_data.STATUS in run.data.tags


def _entry(client: MlflowClient, run: Run) -> TrialEntry:
    """Return a trial without its curve."""
    tags = run.data.tags
    trial = tags.get(run_data.TRIAL) or _text(client, run, run_data.TRIAL_FILE)
    ended = tags.get(run_data.STATUS) == "ended"
    result = (tags.get(run_data.RESULT) or _text(client, run, run_data.RESULT_FILE)) if ended else None
    return TrialEntry(
        trial=_parsed(Trial, trial, tags[run_data.KEY]),
        attempt=int(tags.get(run_data.ATTEMPT, 0)),
        result=_parsed(TrialResult, result, tags[run_data.KEY]) if result is not None else None,
    )


def _entry_order(entry: TrialEntry) -> tuple[str, bool, int]:
    """Return the sort key of trials: by cell, search before finals, by number."""
    return str(entry.trial.cell), entry.trial.phase == "final", entry.trial.number


def _mark(client: MlflowClient, run: Run) -> SyncMark | None:
    """Return the mark of a study's run; None if the study was never sent completely."""
    text = run.data.tags.get(run_data.MARK)
    if text is None:
        return None
    return SyncMark.from_json(_text(client, run, run_data.MARK_FILE) if text == run_data.MARK_FILE else text)


def _text(client: MlflowClient, run: Run, file: str) -> str:
    """Return the text of an artifact."""
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run.info.run_id, file, folder)).read_text(encoding="utf-8")


def _parsed(kind: type[R], text: str, key: str) -> R:
    """Return a record from its JSON.  key: of its run.  Raises TrackingError if the record cannot be read."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise TrackingError(
            f"{key}: the {kind.__name__} in the MLflow store cannot be read ({str(error).splitlines()[0]}); "
            "read it with the version of the harness that wrote it"
        ) from error
