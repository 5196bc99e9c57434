"""Send the trained models of a study to MLflow."""

from __future__ import annotations

import contextlib
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cell_result import CellResult
from harness.api.signature import Tokens
from harness.api.task import Task
from harness.errors import HarnessError
from harness.plugin.local import is_local
from harness.recommendation.predictor import Winner
from harness.recommendation.saved_winner import best_repetition
from harness.tracking.description import model_description
from harness.tracking.logged_model import ServedModel, log_model, models_in
from harness.workflow.results import Results

ROWS = 100
"""Rows of the user's file of which the input example is made."""


def send_models(results: Results, uri: str) -> list[str]:
    """Log the best repetition of every complete cell as an MLflow model, unless MLflow has it.

    Cells with classes of a notebook are left out: another process cannot load them.  Returns what went wrong, one line
    per model; raises TrackingError if MLflow cannot be reached.
    """
    name, study_id = results.name, results.study_id
    known = models_in(uri, name, study_id)
    problems: list[str] = []
    for result in results.stored.results:
        cell, setting, best = result.facts.cell, result.setting, best_repetition(result)
        if result.state != "complete" or setting is None or best is None or best.result is None:
            continue
        if any(map(is_local, setting.plugins)) or known.get(str(cell)) == best.result.weights_sha256:
            continue
        try:
            _send(results.winner(cell.task, cell.model), result, uri, (name, study_id))
        except HarnessError as error:
            problems.append(f"{cell}: its model is not in MLflow: {error}")
    return problems


def _send(winner: Winner, result: CellResult, uri: str, study: tuple[str, str]) -> None:
    """Log one model.  study: name and id."""
    example, output = _example(winner)
    with tempfile.TemporaryDirectory(prefix="seqharness-model-") as folder:
        place = Path(folder) / "winner"
        winner.save(place)
        model = ServedModel(
            cell=result.facts.cell,
            digest=winner.saved.record.weights_sha256 or "",
            folder=place,
            example=example,
            output=output,
            description=model_description(result, winner.trial.repetition),
            params={name: str(value) for name, value in winner.get_params().items()},
            requirements=_requirements(winner),
        )
        log_model(uri, *study, model)


def _requirements(winner: Winner) -> tuple[str, ...]:
    plugins = {plugin.name: plugin.version for plugin in winner.trial.plugins}
    core = {name: version(name) for name in ("seqharness", "torch", "mlflow")}
    return tuple(f"{name}=={number}" for name, number in {**core, **plugins}.items())


def _example(winner: Winner) -> tuple[Any, Any]:
    """Return some input and the prediction for it: rows of the user's file, otherwise sequences of zeros."""
    rows = _rows(winner.task)
    if rows is not None:
        with contextlib.suppress(HarnessError):  # the first rows alone may not be a whole sequence
            return rows, winner.predict(rows)
    signature = winner.task.signature()
    if isinstance(signature.input, Tokens):
        zeros = np.zeros((2, signature.length), dtype=np.int64)
    else:
        zeros = np.zeros((2, signature.length, signature.in_features), dtype=np.float32)
    return zeros, winner.outputs_of(zeros)


def _rows(task: Task) -> pd.DataFrame | None:
    """Return the first rows of the user's table without the target; None if the task reads no table."""
    path, target = getattr(task, "data", None), getattr(task, "target", None)
    if not isinstance(path, str):
        return None
    try:
        if path.endswith(".parquet"):
            frame = pd.read_parquet(path).head(ROWS)
        elif path.endswith((".csv", ".tsv")):
            frame = pd.read_csv(path, sep=None, engine="python", nrows=ROWS)
        else:
            return None
    except (OSError, ValueError):
        return None
    return frame.drop(columns=[target], errors="ignore")
