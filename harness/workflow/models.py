"""Send the trained models of a study to MLflow."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cell_result import CellResult
from harness.api.signature import Tokens
from harness.errors import HarnessError
from harness.plugin.local import is_local
from harness.plugin.registry import plugin_border
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
    rows: dict[str, pd.DataFrame | None] = {}
    """Label of a task → its example rows."""
    for result in results.stored.results:
        cell, setting, best = result.facts.cell, result.setting, best_repetition(result)
        if result.state != "complete" or setting is None or best is None or best.result is None:
            continue
        if any(map(is_local, setting.plugins)) or known.get(str(cell)) == best.result.weights_sha256:
            continue
        try:
            winner = results.winner(cell.task, cell.model)
            with plugin_border(str(cell), *setting.plugins):
                if cell.task not in rows:
                    rows[cell.task] = winner.task.example_rows(ROWS)
                example = _example(winner, rows[cell.task])
            _send(winner, example, result, uri, (name, study_id))
        except HarnessError as error:
            problems.append(f"{cell}: its model is not in MLflow: {error}")
    return problems


def _send(winner: Winner, example: tuple[Any, Any], result: CellResult, uri: str, study: tuple[str, str]) -> None:
    """Log one model.  example: input and output.  study: name and id."""
    with tempfile.TemporaryDirectory(prefix="seqharness-model-") as folder:
        place = Path(folder) / "winner"
        winner.save(place)
        model = ServedModel(
            cell=result.facts.cell,
            digest=winner.saved.record.weights_sha256 or "",
            folder=place,
            example=example[0],
            output=example[1],
            description=model_description(result, winner.trial.repetition),
            params={name: str(value) for name, value in winner.get_params().items()},
            requirements=_requirements(winner),
        )
        log_model(uri, *study, model)


def _requirements(winner: Winner) -> tuple[str, ...]:
    plugins = {plugin.name: plugin.version for plugin in winner.trial.plugins}
    core = {name: version(name) for name in ("seqharness", "torch", "mlflow")}
    return tuple(f"{name}=={number}" for name, number in {**core, **plugins}.items())


def _example(winner: Winner, rows: pd.DataFrame | None) -> tuple[Any, Any]:
    """Return some input and the prediction for it.  rows: of the user's file; None: sequences of zeros."""
    if rows is not None:
        return rows, winner.predict(rows)
    signature = winner.task.signature()
    if isinstance(signature.input, Tokens):
        zeros = np.zeros((2, signature.length), dtype=np.int64)
    else:
        zeros = np.zeros((2, signature.length, signature.in_features), dtype=np.float32)
    return zeros, winner.outputs_of(zeros)
